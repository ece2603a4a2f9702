# SPDX-License-Identifier: GPL-3.0-or-later
"""Clips and timelines in OpenTimelineIO's terms.

OpenTimelineIO and rewas_api are imported inside the functions: they come as wheels of the extension, and a Blender
that could not load them must still be able to say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .strips import ChosenClip

if TYPE_CHECKING:
    import opentimelineio as otio


@dataclass(frozen=True)
class SoundOnTimeline:
    """A generated sound as it stands on the timeline.

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
    items: tuple[ChosenClip | SoundOnTimeline, ...]


def rational_time(seconds: Fraction, *rates: Fraction) -> otio.opentime.RationalTime:
    """The time at the first of the rates that gives a whole number of frames, else at the first rate."""
    import opentimelineio as otio

    rate = next((rate for rate in rates if (seconds * rate).denominator == 1), rates[0])
    return otio.opentime.RationalTime(float(seconds * rate), float(rate))


def clip_to_otio(clip: ChosenClip) -> otio.schema.Clip:
    """The clip with its source range, its media by path, the media's own range and rate, and its prompt."""
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


def sound_to_otio(sound: SoundOnTimeline, rate: Fraction) -> otio.schema.Clip:
    """The generated sound in scene frames, with its provenance; disabled where its strip is muted."""
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
    picture: Sequence[NamedTrack],
    sound: Sequence[NamedTrack],
) -> otio.schema.Timeline:
    """The tracks, bottom channel first, with gaps between strips. Scene frame start_frame is the timeline's zero."""
    import opentimelineio as otio

    timeline = otio.schema.Timeline(name=name, global_start_time=otio.opentime.RationalTime(0, float(rate)))
    for kind, tracks in ((otio.schema.TrackKind.Video, picture), (otio.schema.TrackKind.Audio, sound)):
        for named in tracks:
            timeline.tracks.append(_track(named, kind, rate, start_frame))
    return timeline


def _track(named: NamedTrack, kind: str, rate: Fraction, start_frame: int) -> otio.schema.Track:
    import opentimelineio as otio

    track = otio.schema.Track(name=named.name, kind=kind)
    at_frame = start_frame
    for item in sorted(named.items, key=lambda item: item.start_frame):
        if item.start_frame > at_frame:
            gap = otio.opentime.RationalTime(item.start_frame - at_frame, float(rate))
            track.append(otio.schema.Gap(duration=gap))
        track.append(clip_to_otio(item) if isinstance(item, ChosenClip) else sound_to_otio(item, rate))
        at_frame = item.start_frame + item.frames
    return track


def split_overlaps(items: Iterable[ChosenClip | SoundOnTimeline]) -> list[tuple[ChosenClip | SoundOnTimeline, ...]]:
    """The items in layers without overlaps: Blender allows overlaps on a channel, a track holds none."""
    layers: list[list[ChosenClip | SoundOnTimeline]] = []
    for item in sorted(items, key=lambda item: item.start_frame):
        for layer in layers:
            if layer[-1].start_frame + layer[-1].frames <= item.start_frame:
                layer.append(item)
                break
        else:
            layers.append([item])
    return [tuple(layer) for layer in layers]


def write_timeline(timeline: otio.schema.Timeline, path: Path) -> None:
    """Write the .otio file, whole or not at all. Raises OSError where the folder cannot be written."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.write_text(timeline.to_json_string(indent=2), encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
