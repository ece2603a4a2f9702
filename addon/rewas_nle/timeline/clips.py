# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts clips and timelines to OpenTimelineIO.

OpenTimelineIO and rewas_api are imported inside the functions: they are wheels of the extension, and the add-on must be
able to report that they cannot be loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .strips import SelectedClip

if TYPE_CHECKING:
    import opentimelineio as otio


@dataclass(frozen=True)
class TimelineSound:
    """A generated sound on the timeline.

    start_frame, frames: scene frames between its handles. lead_in_frames: scene frames of its content before the left
    handle. content_frames: scene frames of the whole content. metadata: its provenance.
    """

    name: str
    path: str
    start_frame: int
    frames: int
    lead_in_frames: int
    content_frames: int
    muted: bool
    metadata: dict[str, Any]


@dataclass(frozen=True)
class NamedTrack:
    """The clips or sounds of one channel."""

    name: str
    items: tuple[SelectedClip | TimelineSound, ...]


def rational_time(seconds: Fraction, *rates: Fraction) -> otio.opentime.RationalTime:
    """Return the time at the first rate that gives a whole number of frames, or at the first rate."""
    import opentimelineio as otio

    rate = next((rate for rate in rates if (seconds * rate).denominator == 1), rates[0])
    return otio.opentime.RationalTime(float(seconds * rate), float(rate))


def clip_to_otio(clip: SelectedClip) -> otio.schema.Clip:
    """Return the clip with its source range, media reference, available range and prompt."""
    import opentimelineio as otio

    from rewas_api.clip_settings import ClipSettings, write_clip_settings

    media = otio.schema.ExternalReference(
        target_url=clip.path,
        available_range=otio.opentime.TimeRange(
            rational_time(Fraction(0), clip.media_rate),
            otio.opentime.RationalTime(clip.media_frames, float(clip.media_rate)),
        ),
    )
    otio_clip = otio.schema.Clip(
        name=clip.name,
        media_reference=media,
        source_range=otio.opentime.TimeRange(
            rational_time(clip.source_start_s, clip.media_rate, clip.rate),
            rational_time(clip.source_duration_s, clip.media_rate, clip.rate),
        ),
    )
    otio_clip.enabled = not clip.muted
    if clip.prompt:
        write_clip_settings(otio_clip, ClipSettings(prompt=clip.prompt))
    return otio_clip


def sound_to_otio(sound: TimelineSound, rate: Fraction) -> otio.schema.Clip:
    """Return the generated sound in scene frames with its provenance. It is disabled if its strip is muted."""
    import opentimelineio as otio

    def frames(count: int) -> otio.opentime.RationalTime:
        return otio.opentime.RationalTime(count, float(rate))

    clip = otio.schema.Clip(
        name=sound.name,
        media_reference=otio.schema.ExternalReference(
            target_url=sound.path,
            available_range=otio.opentime.TimeRange(frames(0), frames(sound.content_frames)),
        ),
        source_range=otio.opentime.TimeRange(frames(sound.lead_in_frames), frames(sound.frames)),
        metadata={"rewas": sound.metadata},
    )
    clip.enabled = not sound.muted
    return clip


def timeline_to_otio(
    name: str,
    *,
    rate: Fraction,
    start_frame: int,
    movie_tracks: Sequence[NamedTrack],
    sound_tracks: Sequence[NamedTrack],
) -> otio.schema.Timeline:
    """Return a timeline of the tracks, bottom channel first. Scene frame `start_frame` is its time zero."""
    import opentimelineio as otio

    timeline = otio.schema.Timeline(name=name, global_start_time=otio.opentime.RationalTime(0, float(rate)))
    for kind, tracks in ((otio.schema.TrackKind.Video, movie_tracks), (otio.schema.TrackKind.Audio, sound_tracks)):
        for named_track in tracks:
            timeline.tracks.append(_track(named_track, kind, rate, start_frame))
    return timeline


def _track(named_track: NamedTrack, kind: str, rate: Fraction, start_frame: int) -> otio.schema.Track:
    import opentimelineio as otio

    track = otio.schema.Track(name=named_track.name, kind=kind)
    at_frame = start_frame
    for item in sorted(named_track.items, key=lambda item: item.start_frame):
        if item.start_frame > at_frame:
            gap = otio.opentime.RationalTime(item.start_frame - at_frame, float(rate))
            track.append(otio.schema.Gap(duration=gap))
        track.append(clip_to_otio(item) if isinstance(item, SelectedClip) else sound_to_otio(item, rate))
        at_frame = item.start_frame + item.frames
    return track


def split_overlaps(items: Iterable[SelectedClip | TimelineSound]) -> list[tuple[SelectedClip | TimelineSound, ...]]:
    """Distribute items over layers without overlaps: a Blender channel may have overlaps, a track may not."""
    layers: list[list[SelectedClip | TimelineSound]] = []
    for item in sorted(items, key=lambda item: item.start_frame):
        for layer in layers:
            if layer[-1].start_frame + layer[-1].frames <= item.start_frame:
                layer.append(item)
                break
        else:
            layers.append([item])
    return [tuple(layer) for layer in layers]


def write_timeline(timeline: otio.schema.Timeline, path: Path) -> None:
    """Write the .otio file atomically. Raises OSError if it cannot be written."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.write_text(timeline.to_json_string(indent=2), encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
