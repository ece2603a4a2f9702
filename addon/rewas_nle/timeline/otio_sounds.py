# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the sounds of an OpenTimelineIO timeline and their positions, to compare them with those of a scene."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from .exchange_values import PathConversion, as_mapping
from .exchanged import BLENDER_KEY, REWAS_KEY, ExchangeNote
from .otio_import import MAX_DEPTH, available_range, item_duration_s
from .otio_json import Clip, ExternalReference, LinearTimeWarp, OtioError, Stack, Timeline, Track, Transition
from .otio_mix import Mix, MixedTracks, read_mix


@dataclass(frozen=True)
class FoundSound:
    """A sound in a file.

    Attributes:
        name: Name of its clip.
        path: Absolute path of its file.
        begin_s: Its start, in seconds from the start of the timeline.
        end_s: Its end.
        media_begin_s: Time of the first sample of its file, which may be before its start.
        is_muted: Whether it, or something that contains it, is disabled.
        track_name: Name of its track.
        mix: Its volume, pan and fades.
        is_retimed: Whether it is played at another speed, so that `media_begin_s` is unknown.
        owner: Identifier of the strip that it was generated for, "" if unknown.
        role: Its role among the sounds of that strip.
        is_from_blender: Whether the add-on exported it, so that its name was that of a strip.
        settings: How it was generated, as ReWaS metadata.
    """

    name: str
    path: str
    begin_s: Fraction
    end_s: Fraction
    media_begin_s: Fraction
    is_muted: bool = False
    track_name: str = ""
    mix: Mix = field(default_factory=Mix)
    is_retimed: bool = False
    owner: str = ""
    role: str = ""
    is_from_blender: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_generated(self) -> bool:
        """Whether the file states that ReWaS generated it."""
        return "role" in self.settings


@dataclass(frozen=True)
class FoundSounds:
    """The sounds in a file. start_s: timecode of its first frame, None if it has none. notes: what was not read."""

    sounds: tuple[FoundSound, ...]
    start_s: Fraction | None
    notes: tuple[ExchangeNote, ...]


def read_sounds(timeline: Timeline, to_path: PathConversion) -> FoundSounds:
    """Return the sounds of a timeline.

    to_path: returns the absolute path of a location in the file. Raises OtioError for an invalid time.
    """
    reader = _Reader(to_path)
    sounds = tuple(reader.read(timeline.tracks, Fraction(0), False, "", 0))
    start = timeline.global_start_time
    return FoundSounds(sounds, start.to_seconds() if start is not None else None, tuple(reader.tracks.notes()))


class _Reader:
    def __init__(self, to_path: PathConversion) -> None:
        self._to_path = to_path
        self.tracks = MixedTracks()

    def read(self, holder: Any, begin_s: Fraction, is_muted: bool, track_name: str, depth: int) -> Iterator[FoundSound]:
        """Yield the sounds in a stack or track. begin_s: its start. is_muted: whether its container is."""
        if depth > MAX_DEPTH:
            raise OtioError(f"It is nested more than {MAX_DEPTH} levels deep.", "Export it again with fewer levels.")
        is_muted = is_muted or not holder.enabled
        if holder.source_range is not None:
            # Sounds that the range hides are included, because the range does not trim their strips.
            begin_s -= holder.source_range.start_time.to_seconds()
        is_audio = isinstance(holder, Track) and holder.kind == "Audio"
        if isinstance(holder, Track) and is_audio:
            self.tracks.add(holder)
        for child in holder.children:
            if isinstance(child, Stack | Track):
                name = child.name if isinstance(child, Track) else track_name
                yield from self.read(child, begin_s, is_muted, name, depth + 1)
            elif isinstance(child, Clip) and is_audio:
                yield from self._read_clip(child, begin_s, is_muted, track_name)
            if isinstance(holder, Track) and not isinstance(child, Transition):
                begin_s += item_duration_s(child)

    def _read_clip(self, clip: Clip, begin_s: Fraction, is_muted: bool, track_name: str) -> Iterator[FoundSound]:
        reference = clip.media_reference
        duration_s = item_duration_s(clip)
        if not isinstance(reference, ExternalReference) or not reference.target_url or duration_s <= 0:
            return
        offset_s = Fraction(0)
        available = available_range(clip)
        if clip.source_range is not None:
            offset_s = clip.source_range.start_time.to_seconds()
            offset_s -= available.start_time.to_seconds() if available is not None else 0
        state = as_mapping(clip.metadata.get(BLENDER_KEY))
        link = as_mapping(as_mapping(state.get("rewas")).get("stem"))
        yield FoundSound(
            name=clip.name,
            path=self._to_path(reference.target_url),
            begin_s=begin_s,
            end_s=begin_s + duration_s,
            media_begin_s=begin_s - offset_s,
            is_muted=is_muted or not clip.enabled,
            track_name=track_name,
            mix=read_mix(clip.metadata),
            is_retimed=any(isinstance(effect, LinearTimeWarp) and effect.time_scalar != 1 for effect in clip.effects),
            owner=str(link.get("owner", "")),
            role=str(link.get("role", "")),
            is_from_blender=bool(state.get("type")),
            settings=as_mapping(clip.metadata.get(REWAS_KEY)),
        )
