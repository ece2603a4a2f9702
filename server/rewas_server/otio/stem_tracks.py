"""Adds stems to a timeline: one audio track per role and take, each stem exactly below its clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import opentimelineio as otio

from rewas_api.clip_settings import METADATA_KEY
from rewas_server.files.delivery import Provenance
from rewas_server.otio.clips import PromptedClip, rational_time, timeline_start_s


@dataclass(frozen=True)
class PlacedStem:
    """A stem and its clip.

    take_number: from 1. samples: per channel, at sample_rate_hz.
    """

    clip: PromptedClip
    role: str
    take_number: int
    path: Path
    sample_rate_hz: int
    samples: int
    provenance: Provenance


def timecode_samples(timeline: otio.schema.Timeline, clip: PromptedClip, sample_rate_hz: int) -> int:
    """Return the start of a clip in samples since midnight of the timeline's timecode, rounded half up."""
    return max(0, int((timeline_start_s(timeline) + clip.position_s) * sample_rate_hz + Fraction(1, 2)))


def add_stem_tracks(timeline: otio.schema.Timeline, stems: Sequence[PlacedStem]) -> None:
    """Append audio tracks with the stems. Existing tracks do not change.

    There is one track per role and take. If clips overlap, the stem of the later clip goes to another track with a
    number.
    """
    by_track: dict[tuple[str, int], list[PlacedStem]] = {}
    for stem in stems:
        by_track.setdefault((stem.role, stem.take_number), []).append(stem)
    for (role, take_number), members in by_track.items():
        for lane_number, lane in enumerate(_lanes(members), start=1):
            name = f"ReWaS {role}, take {take_number}" + (f" ({lane_number})" if lane_number > 1 else "")
            timeline.tracks.append(_track(name, role, take_number, lane))


def _lanes(stems: Sequence[PlacedStem]) -> list[list[PlacedStem]]:
    """Distribute stems over the fewest rows without overlaps."""
    lanes: list[list[PlacedStem]] = []
    for stem in sorted(stems, key=lambda stem: stem.clip.position_s):
        for lane in lanes:
            if lane[-1].clip.position_s + lane[-1].clip.duration_s <= stem.clip.position_s:
                lane.append(stem)
                break
        else:
            lanes.append([stem])
    return lanes


def _track(name: str, role: str, take_number: int, stems: Sequence[PlacedStem]) -> otio.schema.Track:
    track = otio.schema.Track(name=name, kind=otio.schema.TrackKind.Audio)
    track.metadata[METADATA_KEY] = {"role": role, "take": take_number}
    reached_s = Fraction(0)
    for stem in stems:
        # Each gap is the difference of two exact positions, so that rounding errors do not accumulate.
        gap_s = stem.clip.position_s - reached_s
        if gap_s > 0:
            track.append(otio.schema.Gap(duration=rational_time(gap_s, stem.clip.frame_rate)))
        track.append(_stem_clip(stem))
        reached_s = stem.clip.position_s + stem.clip.duration_s
    return track


def _stem_clip(stem: PlacedStem) -> otio.schema.Clip:
    """Create a clip whose ranges start at the Broadcast WAV time reference, as other tools expect."""
    reference_samples = stem.provenance.time_reference_samples
    media = otio.schema.ExternalReference(
        target_url=str(stem.path),
        available_range=otio.opentime.TimeRange(
            otio.opentime.RationalTime(reference_samples, stem.sample_rate_hz),
            otio.opentime.RationalTime(stem.samples, stem.sample_rate_hz),
        ),
    )
    clip = otio.schema.Clip(
        name=f"{stem.clip.source.name} {stem.role}",
        media_reference=media,
        source_range=otio.opentime.TimeRange(
            rational_time(Fraction(reference_samples, stem.sample_rate_hz), stem.clip.frame_rate),
            rational_time(stem.clip.duration_s, stem.clip.frame_rate),
        ),
    )
    clip.metadata[METADATA_KEY] = {
        "role": stem.role,
        "take": stem.take_number,
        "prompt": stem.provenance.prompt,
        "seed": stem.provenance.seed,
        "pack": stem.provenance.pack_name,
        "pack_version": stem.provenance.pack_version,
        "licence": stem.provenance.licence,
    }
    return clip
