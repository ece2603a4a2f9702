"""A timeline as one request for each of its clips, and the timeline with their sounds.

`plan_timeline` makes the requests, the ordinary sound job generates each of them, and `assemble_timeline` puts their
stems on audio tracks. A server stores each request as a separate job.

A clip's request holds an ordinary OTIO clip. Its media begins at the timecode at which the source range lies on the
timeline, so its sound gets the time reference of the timeline like that of any clip gets its timecode. Its number on
the timeline, with which its file names begin, has no place in OTIO and is in `metadata["rewas"]`, which travels with
the clip and is stored with its request. Settings are a message of the contract, which editors write too, so the number
is not among them.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import opentimelineio as otio

from rewas_api.clip_settings import METADATA_KEY, ClipSettings
from rewas_api.v1 import rewas_pb2
from rewas_engine.media.stem import MIX
from rewas_server.delivery.metadata import TimecodeRate
from rewas_server.delivery.stems import PlacedStem
from rewas_server.delivery.time_reference import time_reference_samples
from rewas_server.otio.clip_keys import COUNTS_BY_MEDIA_KEY, NUMBER_KEY
from rewas_server.otio.clip_media import reference_for
from rewas_server.otio.clips import ClipSource, PromptedClip, timeline_start_s
from rewas_server.otio.exact_times import exact_rate
from rewas_server.otio.schemas import restore_schemas
from rewas_server.otio.stem_tracks import add_stem_tracks
from rewas_server.work.requests import TimelineRequest
from rewas_server.work.stem_provenance import SoundProvenance

_MAX_EXACT_INTEGER = 2**53


@dataclass(frozen=True)
class PlannedClip:
    """The request for one clip of a timeline.

    Attributes:
        name: Of the clip, as lists show it.
        work: What generates exactly the sound of this clip.
        amount_s: Seconds of sound, all takes together.
    """

    name: str
    work: rewas_pb2.SoundWork
    amount_s: Fraction


def plan_timeline(request: TimelineRequest, default_pack: str) -> tuple[PlannedClip, ...]:
    """Return the requests for the clips of a timeline, in the order of its clips.

    A seed that the timeline leaves open is drawn here, so that a request gives the same sound whenever it runs.
    """
    start_s = timeline_start_s(request.timeline)
    return tuple(
        _plan_clip(number, place, start_s, request, default_pack) for number, place in enumerate(request.clips, start=1)
    )


def assemble_timeline(request: TimelineRequest, clips: Sequence[rewas_pb2.TimelineClip]) -> rewas_pb2.TimelineResult:
    """Put the stems of the clips that have a sound on audio tracks of the timeline, which changes.

    The media references of stems contain the names of their files.

    clips: the outcome of each of the request's clips, in the order of the timeline. The result also has the refused
        clips.
    """
    add_stem_tracks(
        request.timeline,
        [
            stem
            for number, (place, clip) in enumerate(zip(request.clips, clips, strict=True), start=1)
            if clip.HasField("sound")
            for stem in _placed_stems(request.timeline, number, place, clip.sound)
        ],
    )
    outcomes = request.with_refused(
        clips, lambda refused: rewas_pb2.TimelineClip(name=refused.name, problem=refused.problem.to_proto())
    )
    # Without white space: a timeline that fits into a message still does with its stems.
    return rewas_pb2.TimelineResult(
        timeline_otio_json=restore_schemas(request.timeline.to_json_string(indent=-1), indent=None),
        clips=outcomes,
        failed_clip_count=sum(not clip.HasField("sound") for clip in outcomes),
    )


def build_sound_work(
    source: ClipSource,
    settings: ClipSettings,
    frame_rate: Fraction,
    *,
    number: int | None = None,
    uploaded_media: Mapping[str, str] | None = None,
) -> rewas_pb2.SoundWork:
    """Return the request for the sound of one clip.

    Args:
        source: What the clip shows. Its sound gets `timecode_s` as its time reference.
        settings: Of the sound.
        frame_rate: Of the clip.
        number: Of the clip on its timeline, from 1. The names of its files begin with it.
        uploaded_media: SHA-256 of uploaded files by location, of this clip or others.
    """
    assert source.duration_s is not None
    covered_begin_s, covered_end_s = source.covered_s
    media_length_s = covered_end_s if source.media_length_s is None else source.media_length_s
    available_range = _exact_range(source.timecode_s - covered_begin_s, media_length_s, frame_rate)
    clip = otio.schema.Clip(
        name=source.name,
        media_reference=reference_for(source, available_range),
        source_range=_exact_range(source.timecode_s, source.duration_s, frame_rate),
    )
    if source.speed == 0:
        clip.effects.append(otio.schema.FreezeFrame())
    elif source.speed != 1:
        clip.effects.append(otio.schema.LinearTimeWarp(time_scalar=float(source.speed)))
    held: dict[str, object] = {} if number is None else {NUMBER_KEY: number}
    if source.media_length_s is None:
        held[COUNTS_BY_MEDIA_KEY] = True
    if held:
        clip.metadata[METADATA_KEY] = held
    return rewas_pb2.SoundWork(
        clip_otio_json=clip.to_json_string(indent=-1),
        uploaded_media={
            url: uploaded_media[url]
            for url in (source.target_url, *settings.references)
            if uploaded_media is not None and url in uploaded_media
        },
        settings=settings.to_proto(),
    )


def _plan_clip(
    number: int, place: PromptedClip, timeline_begin_s: Fraction, request: TimelineRequest, default_pack: str
) -> PlannedClip:
    settings = place.settings.over(ClipSettings(pack=default_pack, seed=secrets.randbelow(2**31)))
    source = replace(place.source, timecode_s=timeline_begin_s + place.position_s, duration_s=place.duration_s)
    work = build_sound_work(
        source,
        settings,
        place.frame_rate,
        number=number,
        uploaded_media=request.uploaded_media,
    )
    return PlannedClip(source.name, work, place.duration_s * (settings.takes or 1))


def _exact_range(start_s: Fraction, duration_s: Fraction, rate: Fraction) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(_exact_time(start_s, rate), _exact_time(duration_s, rate))


def _exact_time(seconds: Fraction, rate: Fraction) -> otio.opentime.RationalTime:
    """Return a time that `exact_seconds` reads back: whole frames if possible, else as a whole number at any rate."""
    frames = seconds * rate
    is_whole = frames.denominator == 1 and abs(frames) <= _MAX_EXACT_INTEGER
    if is_whole and exact_rate(float(rate), "The clip", "time") == rate:
        return otio.opentime.RationalTime(float(frames), float(rate))
    if max(abs(seconds.numerator), seconds.denominator) > _MAX_EXACT_INTEGER:
        # Only absurd rates give such times, and no sample is as short as the difference.
        seconds = seconds.limit_denominator(10**9)
    return otio.opentime.RationalTime(float(seconds.numerator), float(seconds.denominator))


def _placed_stems(
    timeline: otio.schema.Timeline, clip_number: int, place: PromptedClip, sound: rewas_pb2.SoundResult
) -> Iterator[PlacedStem]:
    """Yield the stems of a clip. Only those of the first take without faults are audible, without their mix."""
    audible_take = next((number for number, take in enumerate(sound.takes, start=1) if not take.faults), 1)
    timecode_rate = TimecodeRate.usual(place.frame_rate)
    made = SoundProvenance(ClipSettings.from_proto(sound.settings), sound.pack)
    for number, take in enumerate(sound.takes, start=1):
        for stem in take.stems:
            yield PlacedStem(
                clip_name=place.source.name,
                clip_number=clip_number,
                role=stem.role,
                take_number=number,
                track=stem.role,
                is_audible=number == audible_take and stem.role != MIX,
                position_s=place.position_s,
                duration_s=place.duration_s,
                frame_rate=place.frame_rate,
                target_url=stem.artifact.name,
                sample_rate_hz=stem.sample_rate_hz,
                samples=stem.samples,
                channels=stem.channels,
                time_reference_samples=time_reference_samples(
                    timeline_start_s(timeline) + place.position_s, timecode_rate, stem.sample_rate_hz
                ),
                provenance=made.of_stem(take, stem.role),
            )
