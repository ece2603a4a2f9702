"""Adds stems to a timeline on audio tracks, each exactly below its clip, and removes them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import opentimelineio as otio

from rewas_api.clip_settings import METADATA_KEY
from rewas_engine.exact_time import sample_count
from rewas_server.delivery.layout import StemTrack, arrange_tracks
from rewas_server.delivery.profiles import SCHEMA, ProfileTables
from rewas_server.delivery.stems import PlacedStem
from rewas_server.otio.clips import timeline_frame_rate, timeline_start_s
from rewas_server.otio.exact_times import exact_seconds, rational_time

_MADE_BY = "batch"
_ROUNDING_SAMPLES = 2
"""A time reference and a handle are each rounded to a sample."""
_DEFAULTS = ProfileTables(schema=SCHEMA)


def add_stem_tracks(
    timeline: otio.schema.Timeline, stems: Sequence[PlacedStem], profile: ProfileTables = _DEFAULTS
) -> None:
    """Append audio tracks with the stems. Existing tracks do not change.

    Times on a track are whole frames if all its stems begin and end on a frame of the timeline, or of their clips.
    Otherwise, they are whole samples, each rounded from its exact value.
    """
    start_s, frame_rate = timeline_start_s(timeline), timeline_frame_rate(timeline)
    for track in arrange_tracks(stems, profile):
        timeline.tracks.append(_make_track(track, start_s, frame_rate))


def remove_stem_tracks(timeline: otio.schema.Timeline) -> int:
    """Remove the stems that were added to a timeline, and their tracks if nothing else is on them.

    Returns the number of stems removed.
    """
    removed = 0
    for number, track in reversed(list(enumerate(timeline.tracks))):
        if not is_stem_track(track):
            continue
        own = [index for index, item in enumerate(track) if is_stem_clip(item)]
        removed += len(own)
        if all(isinstance(item, otio.schema.Gap) or is_stem_clip(item) for item in track):
            del timeline.tracks[number]
            continue
        for index in own:
            track[index] = otio.schema.Gap(duration=track[index].source_range.duration)
    return removed


def is_stem_track(item: otio.core.Composable) -> bool:
    """Whether an item is an audio track that `add_stem_tracks` has made."""
    return (
        isinstance(item, otio.schema.Track)
        and item.kind == otio.schema.TrackKind.Audio
        and "role" in _metadata_of(item)
    )


def is_stem_clip(item: otio.core.Composable) -> bool:
    """Whether an item is the clip of a stem."""
    return isinstance(item, otio.schema.Clip) and item.source_range is not None and "role" in _metadata_of(item)


def _metadata_of(item: otio.core.SerializableObjectWithMetadata) -> Any:
    ours = item.metadata.get(METADATA_KEY)
    return ours if hasattr(ours, "items") else {}


class _Units:
    """Times on one track as OTIO times, whole frames or whole samples."""

    def __init__(self, stems: Sequence[PlacedStem], start_s: Fraction, timeline_rate: Fraction) -> None:
        rates = dict.fromkeys([timeline_rate, *(stem.frame_rate for stem in stems)])
        frame_rate = next((rate for rate in rates if _are_whole(stems, start_s, rate)), None)
        sample_rate_hz = max(stem.sample_rate_hz for stem in stems)
        self._is_in_frames = frame_rate is not None
        self._rate = Fraction(sample_rate_hz) if frame_rate is None else frame_rate
        self._float_rate = float(self._rate)

    def count(self, time_s: Fraction) -> int:
        """Return a time in frames or samples. A sample is rounded half up."""
        # Integers, because a fraction takes ten times as long.
        doubled = 2 * time_s.numerator * self._rate.numerator
        divisor = time_s.denominator * self._rate.denominator
        return (doubled + divisor) // (2 * divisor)

    def time(self, count: int) -> otio.opentime.RationalTime:
        """Return a number of frames or samples as an OTIO time."""
        return otio.opentime.RationalTime(count, self._float_rate)

    def begin_in_media(self, stem: PlacedStem, position_s: Fraction) -> int:
        """Return the timecode at which a stem's clip begins, in frames or samples. position_s: its timecode."""
        in_file_samples = stem.time_reference_samples + sample_count(stem.head_handle_s, stem.sample_rate_hz)
        if not self._is_in_frames:
            return self.count(Fraction(in_file_samples, stem.sample_rate_hz))
        frames = self.count(position_s)
        if abs(in_file_samples - sample_count(position_s, stem.sample_rate_hz)) <= _ROUNDING_SAMPLES:
            return frames
        # Files count from midnight, so the two may differ by a day of timecode.
        return frames + round((Fraction(in_file_samples, stem.sample_rate_hz) - position_s) * self._rate)


def _are_whole(stems: Sequence[PlacedStem], start_s: Fraction, rate: Fraction) -> bool:
    times = (start_s, *(time for stem in stems for time in (stem.position_s, stem.duration_s)))
    return all((time.numerator * rate.numerator) % (time.denominator * rate.denominator) == 0 for time in times)


def _make_track(planned: StemTrack, start_s: Fraction, timeline_rate: Fraction) -> otio.schema.Track:
    track = otio.schema.Track(name=planned.name, kind=otio.schema.TrackKind.Audio)
    track.enabled = planned.is_audible
    track.metadata[METADATA_KEY] = {
        "role": planned.role,
        "take": planned.take_number,
        "track": planned.track,
        "made_by": _MADE_BY,
    }
    units = _Units(planned.stems, start_s, timeline_rate)
    reached = 0
    for stem, further_takes in zip(planned.stems, planned.further_takes, strict=True):
        # Each length is the difference of two positions, so that rounding errors do not accumulate.
        begin, end = units.count(stem.position_s), units.count(stem.position_s + stem.duration_s)
        if begin > reached:
            track.append(otio.schema.Gap(duration=units.time(begin - reached)))
        clip_range = otio.opentime.TimeRange(
            units.time(units.begin_in_media(stem, start_s + stem.position_s)), units.time(end - begin)
        )
        track.append(_stem_clip(stem, clip_range, further_takes))
        reached = end
    return track


def _stem_clip(
    stem: PlacedStem, clip_range: otio.opentime.TimeRange, further_takes: Sequence[PlacedStem]
) -> otio.schema.Clip:
    clip = otio.schema.Clip(
        name=f"{stem.clip_name} {stem.role}", media_reference=_reference(stem, clip_range), source_range=clip_range
    )
    if further_takes:
        active = clip.active_media_reference_key
        references = {active: _reference(stem, clip_range)}
        for take in further_takes:
            key = f"take {take.take_number}"
            references[key] = _reference(take, clip_range)
            references[key].metadata[METADATA_KEY] = _provenance(take)
        clip.set_media_references(references, active)
    clip.metadata[METADATA_KEY] = _provenance(stem)
    return clip


def _reference(stem: PlacedStem, clip_range: otio.opentime.TimeRange) -> otio.schema.ExternalReference:
    """Create a reference whose range begins at the Broadcast WAV time reference, as other tools expect.

    A clip may begin or end between two samples, up to one sample outside its file. The range is then extended to the
    clip, because some tools refuse a clip that is longer than its media.
    """
    begin, end = (
        exact_seconds(time, "A stem", "time") * stem.sample_rate_hz
        for time in (clip_range.start_time, clip_range.end_time_exclusive())
    )
    first, last = stem.time_reference_samples, stem.time_reference_samples + stem.samples
    first_covered = begin if 0 < first - begin <= 1 else Fraction(first)
    last_covered = end if 0 < end - last <= 1 else Fraction(last)
    return otio.schema.ExternalReference(
        target_url=stem.target_url,
        available_range=otio.opentime.TimeRange(
            rational_time(first_covered / stem.sample_rate_hz, Fraction(stem.sample_rate_hz)),
            rational_time((last_covered - first_covered) / stem.sample_rate_hz, Fraction(stem.sample_rate_hz)),
        ),
    )


def _provenance(stem: PlacedStem) -> dict[str, Any]:
    provenance = stem.provenance
    return {
        "role": stem.role,
        "take": stem.take_number,
        "track": stem.track,
        "prompt": provenance.prompt,
        "seed": provenance.seed,
        "pack": provenance.pack_name,
        "pack_version": provenance.pack_version,
        "licence": provenance.licence,
        "permitted_use": provenance.permitted_use,
        **({"like": provenance.reference} if provenance.reference else {}),
        "digital_source_type": provenance.digital_source_type,
        **({"recordings": [vars(each) for each in provenance.recordings]} if provenance.recordings else {}),
        "sample_rate_hz": stem.sample_rate_hz,
        "samples": stem.samples,
        "channels": stem.channels,
        "time_reference_samples": stem.time_reference_samples,
        **stem.origin,
    }
