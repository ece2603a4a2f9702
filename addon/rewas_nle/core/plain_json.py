# SPDX-License-Identifier: GPL-3.0-or-later
"""Frozen dataclasses as JSON values. Fractions and paths become strings; unknown fields are ignored when reading."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from fractions import Fraction
from pathlib import Path
from typing import Any


def to_plain(value: Any) -> Any:
    """Convert dataclasses, tuples, fractions and paths to what the json module writes."""
    if dataclasses.is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, Fraction | Path):
        return str(value)
    return value


def from_plain(kind: Any, plain: Any) -> Any:
    """Convert back to a value of type `kind`. Raises ValueError if the value does not have this type."""
    arguments = typing.get_args(kind)
    if isinstance(kind, types.UnionType):
        (wanted,) = (choice for choice in arguments if choice is not type(None))
        return None if plain is None else from_plain(wanted, plain)
    if typing.get_origin(kind) is tuple:
        if not isinstance(plain, list):
            raise ValueError(f"not a list: {plain!r:.40}")
        return tuple(from_plain(arguments[0], item) for item in plain)
    if dataclasses.is_dataclass(kind):
        return _dataclass_from(kind, plain)
    if kind in (Fraction, Path):
        return _from_text(kind, plain)
    if kind is float and type(plain) is int:
        return float(plain)
    if type(plain) is not kind:
        raise ValueError(f"not of type {kind.__name__}: {plain!r:.40}")
    return plain


def _from_text(kind: Any, plain: Any) -> Any:
    if not isinstance(plain, str):
        raise ValueError(f"not a text: {plain!r:.40}")
    try:
        return kind(plain)
    except ZeroDivisionError:
        raise ValueError(f"not a fraction: {plain!r:.40}") from None


def _dataclass_from(kind: Any, plain: Any) -> Any:
    if not isinstance(plain, dict):
        raise ValueError(f"not a JSON object: {plain!r:.40}")
    try:
        return kind(**{name: from_plain(hint, plain[name]) for name, hint in _fields(kind).items() if name in plain})
    except TypeError as error:  # a field without a default is missing
        raise ValueError(str(error)) from None


@functools.cache
def _fields(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}
