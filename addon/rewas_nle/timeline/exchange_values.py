# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties, takes and curves of exchanged strips as JSON values, with paths that the caller converts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from .exchanged import Curve, FilePath
from .takes import Take

PathConversion = Callable[[str], str]
"""Turns a path into the location to write, or the other way round."""

_FILE_KEY = "file_path"
_ENERGIES = ("requested_energy", "output_energy")


def write_values(value: Any, to_url: PathConversion) -> Any:
    """Return JSON values for properties."""
    if isinstance(value, FilePath):
        return {_FILE_KEY: to_url(value.path) if value.path else ""}
    if isinstance(value, Mapping):
        return {name: write_values(each, to_url) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [write_values(each, to_url) for each in value]
    return value


def read_values(value: Any, to_path: PathConversion) -> Any:
    """Return the properties that JSON values stand for."""
    if isinstance(value, dict):
        if value.keys() == {_FILE_KEY} and isinstance(value[_FILE_KEY], str):
            return FilePath(to_path(value[_FILE_KEY]) if value[_FILE_KEY] else "")
        return {name: read_values(each, to_path) for name, each in value.items()}
    if isinstance(value, list):
        return [read_values(each, to_path) for each in value]
    return value


def as_mapping(value: Any) -> Mapping[str, Any]:
    """Return a value, or an empty mapping if it is not a mapping."""
    return value if isinstance(value, Mapping) else {}


def write_take(take: Take, to_url: PathConversion) -> dict[str, Any]:
    """Return a take as JSON values. The values of a curve are one string, so that they do not fill a line each."""
    values: dict[str, Any] = json.loads(take.to_json())
    values["media"] = to_url(take.media) if take.media else ""
    for stem in values["stems"]:
        stem["path"] = to_url(stem["path"])
    for name in _ENERGIES:
        if values[name] is not None:
            values[name]["values"] = " ".join(map(str, values[name]["values"]))
    return values


def read_take(values: Mapping[str, Any], to_path: PathConversion) -> Take:
    """Return the take that JSON values stand for. Raises ValueError if they are not those of a take."""
    try:
        copy = dict(values)
        for name in _ENERGIES:
            if copy[name] is not None:
                texts = copy[name]["values"].split()
                copy[name] = {**copy[name], "values": [float(text) for text in texts]}
        take = Take.from_json(json.dumps(copy))
        stems = tuple(replace(stem, path=type(stem.path)(to_path(str(stem.path)))) for stem in take.stems)
        return replace(take, stems=stems, media=to_path(take.media) if take.media else "")
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a take: {error!r}") from error


def write_curve(curve: Curve) -> dict[str, Any]:
    """Return an animated property as JSON values."""
    return {
        "path": curve.path,
        "index": curve.index,
        "keys": [list(key) for key in curve.keys],
        "extrapolation": curve.extrapolation,
        "flags": list(curve.flags),
    }


def read_curve(values: Any) -> Curve:
    """Return the animated property that JSON values stand for. Raises ValueError."""
    try:
        keys = tuple(_read_key(*key) for key in values["keys"])
        flags = tuple(str(flag) for flag in values.get("flags", ()))
        return Curve(str(values["path"]), int(values["index"]), keys, str(values["extrapolation"]), flags)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a curve: {error!r}") from error


def _read_key(*key: Any) -> Any:
    frame, value, interpolation, left_frame, left, right_frame, right, left_type, right_type = key
    numbers = [float(number) for number in (frame, value, left_frame, left, right_frame, right)]
    texts = (str(interpolation), str(left_type), str(right_type))
    return (*numbers[:2], texts[0], *numbers[2:], *texts[1:])
