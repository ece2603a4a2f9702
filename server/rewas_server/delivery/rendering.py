"""Renders generated stems for delivery: rate, length with handles, channels, fades, and one gain for each take."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from rewas_api.errors import ProblemError, ProblemKind
from rewas_engine.exact_time import sample_count
from rewas_engine.media.audio import read_audio_file
from rewas_server.delivery.continuity import Run
from rewas_server.delivery.fades import apply_fades
from rewas_server.delivery.layout import LaidOutStem
from rewas_server.delivery.loudness import measure_loudness
from rewas_server.delivery.metadata import BroadcastMetadata, TimecodeRate
from rewas_server.delivery.peaks import apply_gain, true_peak_gain_db
from rewas_server.delivery.profiles import FileFormat, Profile
from rewas_server.delivery.stems import GeneratedStem, TimelineFacts
from rewas_server.delivery.time_reference import time_reference_samples

_VERSION = 3
"""Raise it when a change makes the same stem and profile give a different file."""
_HALF_POWER = np.float32(np.sqrt(0.5))
_MAX_MISSING_SAMPLES = 2
"""Ranges that are rounded twice may be a sample short at either end."""


@dataclass(frozen=True)
class DeliveredRange:
    """The range of a stem that is in a delivered file.

    Attributes:
        head_frames: Whole frames of the timeline before the clip.
        tail_frames: Whole frames after it.
        head_s: The time before the clip, in seconds.
        tail_s: The time after it, in seconds.
        samples: Length of the file, per channel.
        time_reference_samples: Timecode of its first sample, in samples since midnight.
        first_sample: Index of its first sample in the generated sound, at the rate of the file.
        fades_in: Whether the file fades in. Otherwise, it continues the previous file.
        fades_out: Whether the file fades out. Otherwise, the next file continues it.
    """

    head_frames: int
    tail_frames: int
    head_s: Fraction
    tail_s: Fraction
    samples: int
    time_reference_samples: int
    first_sample: int
    fades_in: bool
    fades_out: bool


@dataclass(frozen=True, eq=False)
class RenderedStem:
    """waveform: `[channels, samples]` at the profile's rate. metadata: with loudness. gain_db: 0 or lower."""

    waveform: NDArray[np.float32]
    metadata: BroadcastMetadata
    gain_db: float


def delivered_range(
    stem: GeneratedStem, profile: Profile, facts: TimelineFacts, run: Run | None = None
) -> DeliveredRange:
    """Return the range of a stem to deliver: the clip with the handles of the profile, as far as the sound reaches.

    The files of a run join without a gap, and with the samples that the sound has there: all positions are rounded in
    the same way, and all but the first count from the first file of the run.

    Args:
        stem: The stem.
        profile: The delivery profile.
        facts: Facts about the timeline.
        run: The run to which the stem belongs; None if it neither continues another one nor is continued.
    """
    run = run or Run.of_one(stem)
    rate_hz = profile.file.sample_rate_hz
    head, tail = _handle_frames(stem, profile, facts)
    head_s, tail_s = head / facts.frame_rate, tail / facts.frame_rate
    begin_s = facts.start_s + stem.position_s - head_s
    begin_samples = sample_count(begin_s, rate_hz)
    first_head_s = _handle_frames(run.first, profile, facts)[0] / facts.frame_rate
    run_samples = sample_count(facts.start_s + run.first.position_s - first_head_s, rate_hz)
    first_sample = sample_count(max(run.first.head_handle_s - first_head_s, Fraction(0)), rate_hz)
    continued_by = None if tail else run.following
    if continued_by is not None:
        samples = sample_count(facts.start_s + continued_by.position_s, rate_hz) - begin_samples
    else:
        samples = sample_count(head_s + stem.duration_s + tail_s, rate_hz)
    return DeliveredRange(
        head_frames=head,
        tail_frames=tail,
        head_s=head_s,
        tail_s=tail_s,
        samples=samples,
        time_reference_samples=time_reference_samples(begin_s, _timecode_rate(facts), rate_hz),
        first_sample=max(0, first_sample + begin_samples - run_samples),
        fades_in=head > 0 or not run.continues(stem),
        fades_out=continued_by is None,
    )


def _handle_frames(stem: GeneratedStem, profile: Profile, facts: TimelineFacts) -> tuple[int, int]:
    if not profile.file.handle_frames:
        return 0, 0
    head, tail = (
        max(0, min(profile.file.handle_frames, int(held_s * facts.frame_rate)))
        for held_s in (stem.head_handle_s, stem.tail_handle_s)
    )
    return head, tail


def common_key(profile: Profile, facts: TimelineFacts) -> str:
    """Return a text that changes with everything that determines the content of all files of a delivery."""
    timeline = (facts.name, facts.frame_rate, facts.is_drop_frame)
    return repr((_VERSION, profile.file, profile.credits, profile.content_credentials, timeline))


def render_key(
    number: int,
    stems: Sequence[LaidOutStem],
    runs: Sequence[Run],
    group: Sequence[int],
    held: DeliveredRange,
    common: str,
) -> str:
    """Return a text that changes with everything that determines the content of a file.

    Args:
        number: Index of the stem in `stems`.
        stems: All stems of the delivery.
        runs: Their runs.
        group: Indices of all stems of the group, since they get the same gain.
        held: The range of the stem that is delivered.
        common: The `common_key` of the delivery.
    """
    laid_out = stems[number]
    stem = laid_out.stem
    # Where a run is cut does not matter for the gain.
    sounds = sorted(
        {
            (stems[one].stem.role, stems[one].stem.sha256, runs[one].first.head_handle_s, runs[one].duration_s)
            for one in group
        }
    )
    content = (
        common,
        (stem.role, stem.sha256),
        [(role, sha256, str(head_s), str(duration_s)) for role, sha256, head_s, duration_s in sounds],
        stem.loops,
        stem.provenance,
        stem.clip_name,
        stem.media_name,
        stem.take_number,
        laid_out.track,
        (held.head_frames, held.tail_frames, held.samples, held.time_reference_samples),
        (held.first_sample, held.fades_in, held.fades_out),
    )
    return hashlib.sha256(repr(content).encode()).hexdigest()


def render_group(
    group: Sequence[tuple[LaidOutStem, DeliveredRange]],
    profile: Profile,
    facts: TimelineFacts,
    wanted: Collection[int],
) -> Iterator[RenderedStem]:
    """Render some stems of a group, in their order.

    Args:
        group: All delivered stems of the group with their ranges, since they get the same gain.
        profile: The delivery profile.
        facts: Facts about the timeline.
        wanted: Which stems of the group to render, as indices from 0.

    Raises:
        ProblemError: MEDIA for a stem that cannot be read or is too short.
    """
    read: dict[Path, tuple[NDArray[np.float32], tuple[str, ...]]] = {}
    sounds = [_prepare(each.stem, profile.file, held, read) for each, held in group]
    limit = profile.file.max_true_peak_db
    gain_db = true_peak_gain_db((waveform for waveform, _ in sounds), profile.file.sample_rate_hz, limit)
    for index, ((each, held), (waveform, changes)) in enumerate(zip(group, sounds, strict=True)):
        if index not in wanted:
            continue
        if gain_db:
            waveform = apply_gain(waveform, gain_db)
            lowered = f"lowered by {-gain_db:.2f} dB with all stems of the take to a true peak of {limit:g} dBTP"
            changes = (*changes, lowered)
        metadata = _metadata(each, held, profile, facts, waveform.shape[0], changes)
        loudness = measure_loudness(waveform, profile.file.sample_rate_hz)
        yield RenderedStem(waveform, replace(metadata, loudness=loudness), gain_db)


def _prepare(
    stem: GeneratedStem,
    file: FileFormat,
    held_range: DeliveredRange,
    read: dict[Path, tuple[NDArray[np.float32], tuple[str, ...]]],
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Return the samples of a stem `[channels, samples]` before the gain of its group, and how they were changed.

    read: the sounds that were already read, since many clips may use parts of one sound.
    """
    if stem.path not in read:
        read[stem.path] = _read(stem.path, file.sample_rate_hz)
    sound, changes = read[stem.path]
    first, length = held_range.first_sample, held_range.samples
    missing = first + length - sound.shape[1]
    if missing > _MAX_MISSING_SAMPLES:
        raise ProblemError(
            f'The {stem.role} stem of the clip "{stem.clip_name}" is {missing / file.sample_rate_hz:.3f} s shorter '
            "than the clip.",
            "Generate its sound again.",
            ProblemKind.MEDIA,
        )
    cut = np.zeros((sound.shape[0], length), np.float32)
    held = sound[:, first : first + length]
    cut[:, : held.shape[1]] = held
    waveform = _with_channels(cut, file.channels)
    if waveform.shape[0] > cut.shape[0]:
        changes = (*changes, "mono sound in both channels at -3 dB")
    elif waveform.shape[0] < cut.shape[0]:
        changes = (*changes, f"mean of {cut.shape[0]} channels")
    is_whole_loop = stem.loops and first == 0 and missing >= 0
    if not is_whole_loop:
        waveform = apply_fades(
            waveform,
            file.sample_rate_hz,
            at_start=held_range.fades_in,
            at_end=held_range.fades_out,
            fade_s=Fraction(str(file.fade_ms)) / 1000,
        )
    return waveform, changes


def _read(path: Path, sample_rate_hz: int) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Return a sound `[channels, samples]` at a sample rate, and how it was changed. Raises ProblemError."""
    if not path.is_file():
        raise ProblemError(
            f"The generated sound {path} no longer exists.",
            "Run the same command again to generate the missing sounds.",
            ProblemKind.MEDIA,
        )
    sound, rate_hz = read_audio_file(path)
    if rate_hz == sample_rate_hz:
        return sound, ()
    resampled = soxr.resample(np.ascontiguousarray(sound.T), rate_hz, sample_rate_hz, quality="VHQ")
    return np.asarray(resampled, np.float32).reshape(-1, sound.shape[0]).T, (f"resampled from {rate_hz} Hz",)


def _with_channels(waveform: NDArray[np.float32], channels: str) -> NDArray[np.float32]:
    count = waveform.shape[0]
    if channels == "stereo":
        if count == 2:
            return waveform
        mono = waveform if count == 1 else waveform.mean(axis=0, keepdims=True)
        # As loud as in mono, and as a mono file in the centre of a stereo bus.
        return np.repeat(mono * _HALF_POWER, 2, axis=0)
    return waveform if count == 1 else np.asarray(waveform.mean(axis=0, keepdims=True), np.float32)


def _metadata(
    laid_out: LaidOutStem,
    held: DeliveredRange,
    profile: Profile,
    facts: TimelineFacts,
    channels: int,
    processing: tuple[str, ...],
) -> BroadcastMetadata:
    stem, credits = laid_out.stem, profile.credits
    names = (stem.role,) if channels == 1 else (f"{stem.role} L", f"{stem.role} R")
    rights = f"© {credits.copyright}" if credits.copyright else ""
    return BroadcastMetadata(
        provenance=stem.provenance,
        time_reference_samples=held.time_reference_samples,
        timecode_rate=_timecode_rate(facts),
        title=stem.clip_name,
        track_names=names,
        project=credits.project or facts.name,
        take=str(stem.take_number),
        tape=stem.media_name,
        note=f"Track {laid_out.track}.",
        credits=", ".join(each for each in (credits.creator, rights, credits.contact) if each),
        processing=processing,
        # Not the current time, so that delivering the same sound again gives the same file.
        created=stem.created or datetime.fromtimestamp(stem.path.stat().st_mtime).astimezone(),
    )


def _timecode_rate(facts: TimelineFacts) -> TimecodeRate:
    return TimecodeRate(facts.frame_rate, facts.is_drop_frame)
