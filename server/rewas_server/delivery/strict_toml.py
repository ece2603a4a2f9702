"""Reads TOML into dataclasses strictly: each key must exist there and have the right type."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from rewas_api.errors import ProblemError, SettingsProblem

T = TypeVar("T")
_TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text in quotes"}


def read_table(kind: type[T], table: Mapping[str, Any], file_name: str, prefix: str = "") -> T:
    """Build a dataclass from a TOML table. Keys that are missing keep their defaults.

    Args:
        kind: Dataclass with fields of str, int, float, bool, Literal, tuples of these, and other dataclasses.
        table: The table, as tomllib reads it.
        file_name: Name of the file in errors.
        prefix: The table's own name with a dot, "" for the whole file.

    Raises ProblemError (SETTINGS) for an unknown or missing key, for a value of the wrong type, and for a ValueError of
    the dataclass. A ValueError says what is wrong and, after a line break, what to do.
    """
    hints = typing.get_type_hints(kind)
    known = {field.name: field for field in dataclasses.fields(kind) if field.init}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise _unknown_key(key, known, file_name, prefix)
    values = {}
    for name, field in known.items():
        if name in table:
            values[name] = _read_value(hints[name], table[name], file_name, f"{prefix}{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise SettingsProblem(f"{file_name} has no setting `{prefix}{name}`.", "Add it.")
    try:
        return kind(**values)
    except ValueError as error:
        what, _, remedy = str(error).partition("\n")
        raise SettingsProblem(f"In {file_name}: {what}", remedy) from error


def _read_value(kind: Any, value: Any, file_name: str, name: str) -> Any:
    if isinstance(kind, types.UnionType):
        (kind,) = (each for each in typing.get_args(kind) if each is not types.NoneType)
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise SettingsProblem(f"In {file_name}: `{name}` is not a table.", f"Write it as [{name}].")
        return read_table(typing.cast("type[Any]", kind), value, file_name, f"{name}.")
    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        choices = typing.get_args(kind)
        if value not in choices or isinstance(value, bool):
            raise SettingsProblem(f"In {file_name}: `{name}` is {_shown(value)}.", f"Use one of {_listed(choices)}.")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise SettingsProblem(f"In {file_name}: `{name}` is {_shown(value)}.", "Write a list in brackets: [ … ].")
        (inner, _) = typing.get_args(kind)
        return tuple(_read_value(inner, each, file_name, name) for each in value)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise SettingsProblem(
            f"In {file_name}: `{name}` is {_shown(value)}.", f"Its value must be {_TYPE_NAMES[kind]}."
        )
    return value


def _unknown_key(key: str, known: Mapping[str, Any], file_name: str, prefix: str) -> ProblemError:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    remedy = f"Did you mean `{prefix}{near[0]}`?" if near else f"Remove it, or use one of {_listed(known)}."
    return SettingsProblem(f"In {file_name}: there is no setting `{prefix}{key}`.", remedy)


def _listed(names: typing.Iterable[Any]) -> str:
    return ", ".join(map(str, names))


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | Mapping):
        return "a list" if isinstance(value, list) else "a table"
    return f'"{value[:80]}"' if isinstance(value, str) else str(value)[:80]
