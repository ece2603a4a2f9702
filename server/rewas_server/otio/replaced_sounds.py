"""Mutes the earlier generated sounds of clips that get new sounds from a batch: the two must never play together.

The add-on records in the metadata of each sound that it generated which picture it belongs to. Other sounds do not
change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import opentimelineio as otio

from rewas_server.otio.metadata import has_key

BLENDER_KEY = "blender"
"""Key of the add-on's metadata."""
_REPLACED_KEY = "replaced_by_batch"
"""Key in metadata["blender"] of a sound that was muted. The add-on imports such a sound as it was before."""


def mute_replaced_sounds(timeline: otio.schema.Timeline, pictures: Iterable[otio.core.Item]) -> int:
    """Mute the sounds on the audio tracks of a timeline that the add-on generated for pictures. Returns their number.

    pictures: the clips that get new sounds.
    """
    owners = {uid for each in pictures if isinstance(uid := _at(each.metadata, "rewas", "uid"), str) and uid}
    muted = 0
    for clip in _sounds(timeline) if owners else ():
        if clip.enabled and _at(clip.metadata, "rewas", "stem", "owner") in owners:
            clip.enabled = False
            clip.metadata[BLENDER_KEY][_REPLACED_KEY] = True
            muted += 1
    return muted


def unmute_replaced_sounds(timeline: otio.schema.Timeline) -> None:
    """Unmute the sounds that `mute_replaced_sounds` has muted."""
    for clip in _sounds(timeline):
        if _at(clip.metadata, _REPLACED_KEY) is True:
            clip.enabled = True
            del clip.metadata[BLENDER_KEY][_REPLACED_KEY]


def _sounds(timeline: otio.schema.Timeline) -> Iterator[otio.schema.Clip]:
    for clip in timeline.find_clips():
        track = clip.parent()
        if isinstance(track, otio.schema.Track) and track.kind == otio.schema.TrackKind.Audio:
            yield clip


def _at(metadata: Any, *path: str) -> object:
    """Return the value at a path in the add-on's metadata; None if there is none."""
    value: Any = metadata
    for key in (BLENDER_KEY, *path):
        if not hasattr(value, "items") or not has_key(value, key):
            return None
        value = value[key]
    return value


__all__ = ["mute_replaced_sounds", "unmute_replaced_sounds"]
