"""A timeline as one request for each of its clips, and the timeline with their sounds.

`plan_timeline` makes the requests, the ordinary sound job generates each of them, and `assemble_timeline` puts their
stems on audio tracks. A server stores each request as a separate job; `generate_timeline` runs all three parts in the
caller's process.

A clip's request holds an ordinary OTIO clip. Its media begins at the timecode at which the source range lies on the
timeline, so its sound gets the time reference of the timeline like that of any clip gets its timecode. Its number on
the timeline, with which its file names begin, has no place in OTIO and is in `metadata["rewas"]`, which travels with
the clip and is stored with its request. Settings are a message of the contract, which editors write too, so the number
is not among them.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import opentimelineio as otio

from rewas_api.clip_settings import METADATA_KEY, ClipSettings
from rewas_api.errors import ProblemError
from rewas_api.v1 import rewas_pb2
from rewas_engine import Cancelled, EngineError
from rewas_engine.media.stem import MIX
from rewas_engine.runtime.progress import CancelSignal
from rewas_server.files.delivery import Provenance, StemFolder
from rewas_server.otio.clips import PromptedClip, exact_rate, timeline_start_s
from rewas_server.otio.stem_tracks import PlacedStem, add_stem_tracks, timecode_samples
from rewas_server.work.clip_outcomes import no_sound_problem
from rewas_server.work.context import MonotonicProgress, WorkContext
from rewas_server.work.requests import NUMBER_KEY, SoundRequest, TimelineRequest, parse_request
from rewas_server.work.translation import problem_from_error

_MAX_EXACT_INTEGER = 2**53
_log = logging.getLogger(__name__)


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

    clips: what became of each clip, in the order of the timeline.
    """
    add_stem_tracks(
        request.timeline,
        [
            stem
            for place, clip in zip(request.clips, clips, strict=True)
            if clip.HasField("sound")
            for stem in _placed_stems(request.timeline, place, clip.sound)
        ],
    )
    # Without white space: a timeline that fits into a message still does with its stems.
    return rewas_pb2.TimelineResult(timeline_otio_json=request.timeline.to_json_string(indent=-1), clips=clips)


def generate_timeline(
    request: TimelineRequest, context: WorkContext, progress: MonotonicProgress, cancel: CancelSignal
) -> rewas_pb2.TimelineResult:
    """Generate sound for every clip with a prompt, and put the stems on audio tracks.

    A clip that fails does not stop the others: the result holds its problem.

    Raises:
        ProblemError: No clip has a sound.
        Cancelled: On request. No stem is left behind.
    """
    planned = plan_timeline(request, context.default_pack)
    clips: list[rewas_pb2.TimelineClip] = []
    with StemFolder(context.output_dir) as folder:
        for clip, part in zip(planned, _parts(planned), strict=True):
            clips.append(_generate_clip(clip, context, folder, progress, part, cancel))
        problem = no_sound_problem(request.name, clips)
        if problem is not None:
            raise problem
        return assemble_timeline(request, clips)


def _plan_clip(
    number: int, place: PromptedClip, timeline_begin_s: Fraction, request: TimelineRequest, default_pack: str
) -> PlannedClip:
    source = place.source
    settings = place.settings.over(ClipSettings(pack=default_pack, seed=secrets.randbelow(2**31)))
    timecode_s = timeline_begin_s + place.position_s
    media_begin_s = timecode_s - source.start_s
    clip = otio.schema.Clip(
        name=source.name,
        media_reference=otio.schema.ExternalReference(
            target_url=source.target_url,
            available_range=_exact_range(media_begin_s, source.start_s + place.duration_s, place.frame_rate),
        ),
        source_range=_exact_range(timecode_s, place.duration_s, place.frame_rate),
    )
    clip.metadata[METADATA_KEY] = {NUMBER_KEY: number}
    uploads = request.uploaded_media
    work = rewas_pb2.SoundWork(
        clip_otio_json=clip.to_json_string(indent=-1),
        uploaded_media={url: uploads[url] for url in [source.target_url] if url in uploads},
        settings=settings.to_proto(),
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
    timeline: otio.schema.Timeline, place: PromptedClip, sound: rewas_pb2.SoundResult
) -> Iterator[PlacedStem]:
    prompts = {layer.name: layer.prompt for layer in sound.settings.layers}
    prompts[MIX] = "; ".join([sound.settings.prompt, *prompts.values()])
    for number, take in enumerate(sound.takes, start=1):
        seeds = {layer.name: layer.seed for layer in take.layers}
        for stem in take.stems:
            yield PlacedStem(
                clip=place,
                role=stem.role,
                take_number=number,
                path=Path(stem.artifact.path),
                sample_rate_hz=stem.sample_rate_hz,
                samples=stem.samples,
                provenance=Provenance(
                    prompt=prompts.get(stem.role, sound.settings.prompt),
                    seed=seeds.get(stem.role, take.seed),
                    pack_name=sound.pack.name,
                    pack_version=sound.pack.version,
                    licence=sound.pack.licence,
                    time_reference_samples=timecode_samples(timeline, place, stem.sample_rate_hz),
                ),
            )


def _parts(planned: Sequence[PlannedClip]) -> Iterator[tuple[float, float]]:
    """Yield where the work for each clip begins and ends in the whole, 0 to 1."""
    total_s = sum(clip.amount_s for clip in planned)
    done_s = Fraction(0)
    for clip in planned:
        yield float(done_s / total_s), float((done_s + clip.amount_s) / total_s)
        done_s += clip.amount_s


def _generate_clip(
    clip: PlannedClip,
    context: WorkContext,
    folder: StemFolder,
    progress: MonotonicProgress,
    part: tuple[float, float],
    cancel: CancelSignal,
) -> rewas_pb2.TimelineClip:
    # Generating imports the networks, which takes seconds; planning and assembling do not need them.
    from rewas_server.work.sound import generate_sound

    if cancel.is_set():
        raise Cancelled
    try:
        request = parse_request(rewas_pb2.SubmitJobRequest(sound=clip.work))
        assert isinstance(request, SoundRequest)
        with StemFolder(context.output_dir) as own_folder:
            sound = generate_sound(request, context, progress, cancel, own_folder, part)
        folder.adopt(own_folder)
        return rewas_pb2.TimelineClip(name=clip.name, sound=sound)
    except Cancelled:
        raise
    except Exception as error:
        if not isinstance(error, ProblemError | EngineError | OSError | MemoryError):
            _log.exception('The clip "%s" failed.', clip.name)
        return rewas_pb2.TimelineClip(name=clip.name, problem=problem_from_error(error).to_proto())
