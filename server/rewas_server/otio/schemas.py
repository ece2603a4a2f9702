"""Explains why OpenTimelineIO cannot read a file, in the words of its JSON instead of OTIO's C++ types."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import opentimelineio as otio

from rewas_server.otio.names import shorten_name

_SCHEMA_KEY = "OTIO_SCHEMA"
_ROLES = {
    "effects": "an effect",
    "markers": "a marker",
    "media_reference": "a media reference",
    "media_references": "a media reference",
    "children": "a child",
    "tracks": "a stack",
}
_TIMES = {"RationalTime", "TimeRange", "TimeTransform", "Box2d", "V2d"}
_FREE_KEYS = frozenset({"metadata", "parameters"})
"""Objects of any schema may lie below these keys."""
_CPP_TYPES = re.compile(r"N\d+open\w+|opentim\w+::\S+")


def describe_read_error(subject: str, text: str, error: Exception) -> tuple[str, str]:
    """Return what is wrong with the OTIO JSON in `text`, and a remedy.

    Args:
        subject: "The clip", or "The timeline reel.otio".
        text: The JSON that OTIO could not read.
        error: The error that OTIO raised.
    """
    try:
        found = next(_unreadable(json.loads(text), "", ""), None)
    except (ValueError, RecursionError):
        return f"{subject} is not valid OpenTimelineIO JSON ({_plain(error)}).", "Write it with OTIO 0.18."
    if found is None:
        return f"{subject} is not valid OpenTimelineIO JSON ({_plain(error)}).", "Write it with OTIO 0.18."
    owner, role, schema = found
    return (
        f'{owner or subject} has {role} of the schema "{schema}", which OpenTimelineIO cannot read here.',
        "Remove it, install the OpenTimelineIO plugin that defines it, or write the file with OTIO 0.18.",
    )


def _unreadable(value: Any, owner: str, key: str) -> Iterator[tuple[str, str, str]]:
    """Yield owner, role and schema of each object that OTIO does not know or that is too new for it."""
    if isinstance(value, list):
        for item in value:
            yield from _unreadable(item, owner, key)
    if not isinstance(value, Mapping):
        return
    schema = value.get(_SCHEMA_KEY)
    if isinstance(schema, str):
        if not _is_readable(schema):
            yield owner, _ROLES.get(key, "an object"), schema[:80]
        if isinstance(value.get("name"), str) and value["name"] and key not in ("effects", "markers"):
            kind = schema.partition(".")[0].lower()
            owner = f'The {shorten_name(kind)} "{shorten_name(value["name"])}"'
    for below, item in value.items():
        if below not in _FREE_KEYS:
            # The keys of media references are names.
            yield from _unreadable(item, owner, key if key == "media_references" and schema is None else below)


def _is_readable(schema: str) -> bool:
    name, _, version = schema.partition(".")
    known = otio.core.type_version_map()
    return name in _TIMES or (name in known and version.isdecimal() and int(version) <= known[name])


def _plain(error: Exception) -> str:
    """The sentence of an error of OTIO, unless it names C++ types."""
    sentence = str(error)
    return "its structure is not that of a timeline" if _CPP_TYPES.search(sentence) else shorten_name(sentence)
