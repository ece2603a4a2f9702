"""Reads OTIO JSON with objects that this OpenTimelineIO does not know, and explains why it cannot read others.

An object of a newer version, or of a schema that only another program knows, becomes the nearest object that OTIO
knows, and keeps everything that it holds. `restore_schemas` restores the original objects in the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import opentimelineio as otio

from rewas_api.errors import ProblemError, ProblemKind
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
_FREE = "metadata"
_BASES = {
    "effects": "Effect.1",
    "markers": "Marker.2",
    "media_reference": "MissingReference.1",
    "media_references": "MissingReference.1",
    "children": "Gap.1",
}
"""How an object of an unknown schema is read, by the key that holds it."""
_KEPT_KEY = "rewas_kept_schema"
_CPP_TYPES = re.compile(r"N\d+open\w+|opentim\w+::\S+")


def parse_any(text: str, subject: str) -> tuple[Any, tuple[str, ...]]:
    """Parse OTIO JSON, and return the object and what the user should know about it, as sentences.

    subject: "The clip", or "The timeline reel.otio". Raises ProblemError (TIMELINE).
    """
    try:
        # OTIO's reader overflows the stack on deep nesting and crashes the process; Python's reader only raises.
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _not_readable(subject, error) from error
    # Registers the schemas of plugins. Reading through the adapter would also run the hooks of all plugins.
    otio.plugins.ActiveManifest()
    try:
        found = otio.core.deserialize_json_from_string(text)
        notes: tuple[str, ...] = ()
    except MemoryError:
        raise
    except Exception as error:  # The reader raises all kinds of C++ errors.
        found, notes = _parse_unknown(document, subject, error)
    if "SerializableObjectRef" in text:
        _check_cycles(found, subject)
    return found, notes


def _parse_unknown(document: Any, subject: str, error: Exception) -> tuple[Any, tuple[str, ...]]:
    unreadable = list(_unreadable(document, "", ""))
    if not unreadable:
        raise _not_readable(subject, error) from error
    notes = []
    for value, owner, key in unreadable:
        schema = value[_SCHEMA_KEY]
        nearest = _nearest_schema(schema, key)
        if nearest is None:
            raise ProblemError(
                f'{owner or subject} has {_ROLES.get(key, "an object")} of the schema "{schema[:80]}", which '
                "OpenTimelineIO cannot read here.",
                "Remove it, install the OpenTimelineIO plugin that defines it, or write the file with OTIO 0.18.",
                ProblemKind.TIMELINE,
            ) from error
        kept = {"schema": schema, "keys": sorted(value)}
        value.update({name: default for name, default in _defaults(nearest).items() if name not in value})
        value[_KEPT_KEY], value[_SCHEMA_KEY] = kept, nearest
        what = f'{owner or subject} has {_ROLES.get(key, "an object")} of the schema "{schema[:80]}"'
        notes.append(
            f"{what}, which OpenTimelineIO {otio.__version__} does not know. It was read as {nearest}, and stays as it "
            "is in the file."
        )
    try:
        return otio.core.deserialize_json_from_string(json.dumps(document)), tuple(dict.fromkeys(notes))
    except MemoryError:
        raise
    except Exception as second:
        raise _not_readable(subject, second) from second


def restore_schemas(text: str, indent: int | None = 4) -> str:
    """Return OTIO JSON with the original objects instead of those that `parse_any` read. indent: of that text."""
    if f'"{_KEPT_KEY}"' not in text:
        return text
    document = json.loads(text)
    pending = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            kept = value.pop(_KEPT_KEY, None)
            if isinstance(kept, dict) and isinstance(kept.get("schema"), str) and isinstance(kept.get("keys"), list):
                for added in set(value) - set(kept["keys"]):
                    del value[added]
                value[_SCHEMA_KEY] = kept["schema"]
            pending += value.values()
        elif isinstance(value, list):
            pending += value
    return json.dumps(document, indent=indent, ensure_ascii=False)


def _nearest_schema(schema: str, key: str) -> str | None:
    """Return the known schema as which an object of an unknown one is read; None if there is none."""
    name, _, version = schema.partition(".")
    known = otio.core.type_version_map()
    if name in known and version.isdecimal() and int(version) > known[name]:
        return f"{name}.{known[name]}"
    return _BASES.get(key) if name not in known else None


def _defaults(schema: str) -> dict[str, Any]:
    """Return the JSON of an empty object of a schema that OTIO knows: its reader requires every key."""
    constructor = getattr(otio.schema, schema.partition(".")[0], None)
    return {} if constructor is None else json.loads(constructor().to_json_string())


def _check_cycles(found: Any, subject: str) -> None:
    """Refuse an object that contains itself: OTIO reads it, and fails or hangs later."""
    try:
        found.to_json_string(indent=-1)
    except MemoryError:
        raise
    except Exception as error:
        raise ProblemError(
            f"{subject} contains an object that contains itself.", "Write it without the cycle.", ProblemKind.TIMELINE
        ) from error


def _not_readable(subject: str, error: Exception) -> ProblemError:
    return ProblemError(
        f"{subject} is not valid OpenTimelineIO JSON ({_plain(error)}).",
        "Write it with OTIO 0.18.",
        ProblemKind.TIMELINE,
    )


def _unreadable(value: Any, owner: str, key: str) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Yield each object that OTIO does not know or that is too new for it, its owner and its role."""
    if isinstance(value, list):
        for item in value:
            yield from _unreadable(item, owner, key)
    if not isinstance(value, dict):
        return
    schema = value.get(_SCHEMA_KEY)
    if isinstance(schema, str):
        # Objects of any schema may lie within metadata, but none that is too new.
        if not _is_readable(schema) and (key != _FREE or _is_too_new(schema)):
            yield value, owner, key
            if not _is_too_new(schema):
                # Whatever is in an object of an unknown schema stays as it is.
                key = _FREE
        if isinstance(value.get("name"), str) and value["name"] and key not in ("effects", "markers"):
            kind = schema.partition(".")[0].lower()
            owner = f'The {shorten_name(kind)} "{shorten_name(value["name"])}"'
    for below, item in list(value.items()):
        role = below
        if key == _FREE or below in _FREE_KEYS:
            role = _FREE
        elif key == "media_references" and schema is None:
            # The keys of media references are names.
            role = key
        yield from _unreadable(item, owner, role)


def _is_readable(schema: str) -> bool:
    name, _, version = schema.partition(".")
    known = otio.core.type_version_map()
    return name in _TIMES or (name in known and version.isdecimal() and int(version) <= known[name])


def _is_too_new(schema: str) -> bool:
    name, _, version = schema.partition(".")
    known = otio.core.type_version_map()
    return name in known and version.isdecimal() and int(version) > known[name]


def _plain(error: Exception) -> str:
    """The message of an OTIO error, unless it names C++ types."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    sentence = str(error)
    return "its structure is not that of a timeline" if _CPP_TYPES.search(sentence) else shorten_name(sentence)
