"""The keys of metadata["rewas"] of a clip, and notes about those that nothing reads."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import fields
from itertools import islice
from typing import Any

from rewas_api.clip_settings import METADATA_KEY, ClipSettings
from rewas_server.otio.clips import clip_label
from rewas_server.otio.metadata import keys_of
from rewas_server.otio.names import shorten_name
from rewas_server.otio.pictures import Picture

NUMBER_KEY = "timeline_number"
"""Key in metadata["rewas"] of a clip whose request is one of a timeline's: its number there, from 1."""
COUNTS_BY_MEDIA_KEY = "counts_by_media"
"""Key in metadata["rewas"] of a clip whose available range is a guess, because its timeline stated none. Its start is
that of the timeline, which may be a timecode of the media."""
ANNOTATION_KEY = "annotation"
"""Key in metadata["rewas"] of a clip: the sentences about its picture and its sound."""
_SETTINGS = frozenset({*(each.name for each in fields(ClipSettings)), "track"})
_KNOWN = _SETTINGS | {NUMBER_KEY, COUNTS_BY_MEDIA_KEY, ANNOTATION_KEY}
_MAX_NOTES = 20
_LAYER_NAMES = ("ambience", "ambiance")


def unknown_key_notes(pictures: Sequence[Picture]) -> list[str]:
    """Return a sentence for each key in metadata["rewas"] of the visible clips that is ignored.

    Stems have further keys, which describe how they were made.
    """
    clips: dict[str, list[str]] = {}
    for picture in pictures:
        if picture.part == 1 and not picture.hidden:
            for key in _unknown_keys(picture):
                clips.setdefault(key, []).append(clip_label(picture.clip))
    return [_note(key, labels) for key, labels in islice(clips.items(), _MAX_NOTES)]


def _unknown_keys(picture: Picture) -> Iterator[str]:
    if METADATA_KEY not in picture.metadata_keys:
        return
    held: Any = picture.clip.metadata[METADATA_KEY]
    if not hasattr(held, "items"):
        return
    keys = keys_of(held)
    if "role" not in keys:
        yield from (key for key in keys if key not in _KNOWN)


def _note(key: str, labels: Sequence[str]) -> str:
    more = len(labels) - 1
    owner = labels[0] + (f" and {more} more" if more > 1 else " and 1 more" if more else "")
    verb = "have" if more else "has"
    said = f'{owner} {verb} "{shorten_name(key)}" in metadata["{METADATA_KEY}"], which is not a setting and is ignored.'
    if key.strip().lower() in _LAYER_NAMES:
        return f'{said} Write it as one of the "layers".'
    near = difflib.get_close_matches(key.strip().lower(), sorted(_SETTINGS), n=1, cutoff=0.5)
    return f'{said} Did you mean "{near[0]}"?' if near else said
