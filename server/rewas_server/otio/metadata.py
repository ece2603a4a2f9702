"""Reads the metadata of OpenTimelineIO objects, where programs store what the objects have no fields for."""

from __future__ import annotations

from collections.abc import Container, Iterator
from itertools import islice
from typing import Any

_MAX_DEPTH = 3
_MANY_KEYS = 50


def keys_of(metadata: Any) -> tuple[str, ...]:
    """Return the keys of metadata. OTIO raises a C++ exception at the end of a loop, which takes as long as 50 keys."""
    return tuple(islice(metadata, len(metadata)))


def has_key(metadata: Any, key: str) -> bool:
    """Whether metadata has a key.

    OTIO raises C++ exceptions for keys that are missing and at the end of a loop. Each takes as long as 50 keys.
    """
    count = len(metadata)
    if count > _MANY_KEYS:
        return key in metadata
    keys = iter(metadata)
    return any(next(keys) == key for _ in range(count))


def texts_at(metadata: Any, path: tuple[str, ...], labels: Container[str] = ()) -> Iterator[str]:
    """Yield the texts at and below a path in metadata.

    Args:
        metadata: Of an OpenTimelineIO object.
        path: The keys that lead to the texts: ("cmx_3600", "comments").
        labels: Keys in lower case that state the purpose of their text. They are put in front of it: "sfx: a door".
    """
    value = metadata
    for key in path:
        if not hasattr(value, "items") or not has_key(value, key):
            return
        value = value[key]
    yield from _texts_in(value, labels, 0)


def _texts_in(value: Any, labels: Container[str], depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif depth > _MAX_DEPTH:
        return
    elif hasattr(value, "items"):
        for key in list(islice(value, len(value))):
            try:
                item = value[key]
            except KeyError:  # OTIO cannot find a key with a null character again.
                continue
            name = str(key).strip()
            if isinstance(item, str) and name.lower() in labels:
                if item.strip():
                    yield f"{name}: {item}"
            else:
                yield from _texts_in(item, labels, depth + 1)
    elif hasattr(value, "__iter__"):
        for item in value:
            yield from _texts_in(item, labels, depth + 1)
