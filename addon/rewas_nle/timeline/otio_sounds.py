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

REAPER_KEY = "reaper"
"""Key of the metadata with the volume, pan, fades and envelopes of a REAPER project."""


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
        volume: Linear volume, or None if the file does not state it.
        pan: From -1 (left) to 1 (right), or None if the file does not state it.
        has_envelopes: Whether envelopes change its volume or pan.
        has_fades: Whether it has fades.
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
    volume: float | None = None
    pan: float | None = None
    has_envelopes: bool = False
    has_fades: bool = False
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
    notes = (*reader.notes, *reader.notes_on_tracks())
    return FoundSounds(sounds, start.to_seconds() if start is not None else None, notes)


class _Reader:
    def __init__(self, to_path: PathConversion) -> None:
        self._to_path = to_path
        self.notes: list[ExchangeNote] = []
        self._mixed_tracks: dict[str, str] = {}

    def notes_on_tracks(self) -> Iterator[ExchangeNote]:
        """Yield what tracks do to their sounds."""
        if self._mixed_tracks:
            first, *more = self._mixed_tracks.values()
            also = f" and {len(more)} more change" if more else " changes"
            yield ExchangeNote(
                f'The track "{first}"{also} the volume or pan of {"their" if more else "its"} sounds in the file.',
                "The volume, pan and envelopes of tracks are not imported. Change the strips instead.",
            )

    def read(self, holder: Any, begin_s: Fraction, is_muted: bool, track_name: str, depth: int) -> Iterator[FoundSound]:
        """Yield the sounds in a stack or track. begin_s: its start. is_muted: whether its container is."""
        if depth > MAX_DEPTH:
            raise OtioError(f"It is nested more than {MAX_DEPTH} levels deep.", "Export it again with fewer levels.")
        is_muted = is_muted or not holder.enabled
        if holder.source_range is not None:
            # Sounds that the range hides are included, because the range does not trim their strips.
            begin_s -= holder.source_range.start_time.to_seconds()
        is_audio = isinstance(holder, Track) and holder.kind == "Audio"
        if is_audio and any(isinstance(child, Clip) for child in holder.children):
            mixed = as_mapping(holder.metadata.get(REAPER_KEY))
            if (mixed.get("volume", 1), mixed.get("pan", 0), mixed.get("envelopes", False)) != (1, 0, False):
                # Items that overlap are on several tracks here.
                self._mixed_tracks[str(mixed.get("guid") or holder.name)] = holder.name
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
        if any(isinstance(effect, LinearTimeWarp) and effect.time_scalar != 1 for effect in clip.effects):
            self.notes.append(
                ExchangeNote(
                    f'The sound "{clip.name}" is played at another speed in the file.',
                    "Render it to a new file there, because the import cannot change the speed of a sound.",
                )
            )
            return
        offset_s = Fraction(0)
        available = available_range(clip)
        if clip.source_range is not None:
            offset_s = clip.source_range.start_time.to_seconds()
            offset_s -= available.start_time.to_seconds() if available is not None else 0
        state = as_mapping(clip.metadata.get(BLENDER_KEY))
        link = as_mapping(as_mapping(state.get("rewas")).get("stem"))
        mixed = as_mapping(clip.metadata.get(REAPER_KEY))
        yield FoundSound(
            name=clip.name,
            path=self._to_path(reference.target_url),
            begin_s=begin_s,
            end_s=begin_s + duration_s,
            media_begin_s=begin_s - offset_s,
            is_muted=is_muted or not clip.enabled,
            track_name=track_name,
            volume=_number(mixed.get("volume")),
            pan=_number(mixed.get("pan")),
            has_envelopes=mixed.get("envelopes") is True,
            has_fades=any(_number(mixed.get(name)) for name in ("fade_in_s", "fade_out_s")),
            owner=str(link.get("owner", "")),
            role=str(link.get("role", "")),
            is_from_blender=bool(state.get("type")),
            settings=as_mapping(clip.metadata.get(REWAS_KEY)),
        )


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < 1e6 else None
