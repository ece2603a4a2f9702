"""One recording, of any length, rate and number of channels, cut into the clips that a pack is trained on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from rewas_engine.conditioning.mel import normalised
from rewas_engine.conditioning.windows import window_starts
from rewas_engine.errors import MediaError, SettingsError
from rewas_engine.exact_time import sample_count
from rewas_engine.media.audio import read_audio
from rewas_engine.media.video import probe_video, read_frames
from rewas_engine.runtime.progress import CancelSignal
from rewas_engine.training.recording_catalog import Recording

LONGEST_READ_S = 1200
"""Of a longer recording only so much is read."""
SILENT_PEAK = 1e-4
"""Clips whose peak is below -80 dB are silent."""
SILENT_SHARE = 1e-2
"""So are clips that are 40 dB weaker than their recording's strongest."""
SOUNDING_FOR_EACH_SILENT = 10
"""Silence is learnt from few examples: one silent clip is kept for so many of the same recording that sound."""
SHORT_SHARE = 0.5
"""A sound that fills less of a clip is heard in a second clip too, repeated: it must not be learnt as a beginning."""
LONGEST_GAP_S = 1.5
SOFTEST_REPETITION = 0.25
WEAKEST_SHARE = 0.1
"""A clip that is weaker by more than 20 dB than its recording keeps its distance: what is faint stays faint."""


@dataclass(frozen=True)
class ClipFormat:
    """What clips for training are like.

    sample_rate_hz, duration_s: of the sound. hop_s: from the start of a clip to the start of the next one, at most;
    below duration_s they overlap. most_clips: of one recording, spread evenly over it, so that a long one does not
    drown the others. frame_rate, width, height: of the picture.
    Raises SettingsError for values that make no sense.
    """

    sample_rate_hz: int = 16_000
    duration_s: Fraction = Fraction(512, 100)
    hop_s: Fraction = Fraction(256, 100)
    most_clips: int = 40
    frame_rate: Fraction = Fraction(25)
    width: int = 64
    height: int = 64

    def __post_init__(self) -> None:
        if not 0 < self.hop_s <= self.duration_s:
            raise SettingsError(
                f"The hop is {float(self.hop_s):g} s.", f"Give more than 0 and at most {float(self.duration_s):g} s."
            )
        if self.most_clips < 1:
            raise SettingsError(f"{self.most_clips} clips of each recording are none.", "Give 1 or more.")

    @property
    def samples(self) -> int:
        """Length of a clip in samples."""
        return sample_count(self.duration_s, self.sample_rate_hz)

    @property
    def frames(self) -> int:
        """Pictures of a clip."""
        return -int(-self.duration_s * self.frame_rate // 1)


@dataclass(frozen=True)
class RecordingClips:
    """The clips of one recording.

    starts_s: of each, from the recording's first sample, or first picture where there is one.
    sounds: [N, samples] int16, a peak of half the range. frames: [N, T, H, W] uint8 brightness, or None.
    """

    starts_s: tuple[Fraction, ...]
    sounds: NDArray[np.int16]
    frames: NDArray[np.uint8] | None


def cut_recording(recording: Recording, clips: ClipFormat, cancel: CancelSignal | None = None) -> RecordingClips:
    """Read a recording, mixed to mono and at the clips' rates, and cut it; one shorter than a clip ends in silence.

    A short sound without picture gives a second clip, in which it is heard several times, at drawn times and levels.
    Raises MediaError where it cannot be read, is silent throughout, or lacks sound or a picture that is wanted;
    Cancelled where asked to stop.
    """
    picture = probe_video(recording.path) if recording.is_seen else None
    try:
        sound = read_audio(
            recording.path,
            start_s=Fraction(0),
            duration_s=Fraction(LONGEST_READ_S)
            if picture is None
            else min(picture.duration_s, Fraction(LONGEST_READ_S)),
            sample_rate_hz=clips.sample_rate_hz,
            origin_s=None if picture is None else picture.start_s,
            cancel=cancel,
        )
    except (av.FFmpegError, ValueError, OSError) as error:
        raise MediaError(f"The sound of {recording.name} cannot be decoded ({error}).", "Export it again.") from error
    if picture is None:
        # Whatever the file does not hold was read as silence.
        sound = np.trim_zeros(sound, "b")
    if not np.isfinite(sound).all():
        raise MediaError(f"{recording.name} holds samples that are no numbers.", "Export it again.")
    if not sound.size or _peak(sound) < SILENT_PEAK:
        raise MediaError(f"{recording.name} is silent throughout.", "Leave it out, or export it again.")
    starts = _chosen_starts(sound, clips)
    parts = [sound[start : start + clips.samples] for start in starts]
    if picture is None and sound.size < SHORT_SHARE * clips.samples:
        starts.append(0)
        parts.append(_repeated(sound, clips, recording.name))
    starts_s = tuple(Fraction(start, clips.sample_rate_hz) for start in starts)
    loudest = _peak(sound)
    sounds = np.stack([_prepared(part, loudest, clips.samples) for part in parts])
    frames = None if picture is None else np.stack([_seen(recording, start_s, clips, cancel) for start_s in starts_s])
    return RecordingClips(starts_s, sounds, frames)


def _seen(recording: Recording, start_s: Fraction, clips: ClipFormat, cancel: CancelSignal | None) -> NDArray[np.uint8]:
    return read_frames(
        recording.path,
        start_s=start_s,
        duration_s=clips.duration_s,
        frame_rate=clips.frame_rate,
        width=clips.width,
        height=clips.height,
        cancel=cancel,
    )


def _chosen_starts(sound: NDArray[np.float32], clips: ClipFormat) -> list[int]:
    """First samples of the clips: those that sound, thinned to the most that are wanted, and a few silent ones."""
    overlap = clips.samples - sample_count(clips.hop_s, clips.sample_rate_hz)
    starts = window_starts(sound.size, clips.samples, overlap)
    parts = [sound[start : start + clips.samples] for start in starts]
    strengths = np.array([part.std(dtype=np.float64) for part in parts])
    peaks = np.array([_peak(part) for part in parts])
    sounding = (peaks >= SILENT_PEAK) & (strengths >= SILENT_SHARE * strengths.max())
    heard = _thinned(np.flatnonzero(sounding), clips.most_clips)
    silent = _thinned(np.flatnonzero(~sounding), len(heard) // SOUNDING_FOR_EACH_SILENT)
    return [starts[index] for index in sorted([*heard, *silent])]


def _repeated(sound: NDArray[np.float32], clips: ClipFormat, name: str) -> NDArray[np.float32]:
    """A clip in which a short sound is heard again and again, after gaps and at levels that its name decides."""
    rng = np.random.default_rng(np.frombuffer(hashlib.sha256(name.encode()).digest(), np.uint32))
    longest_gap = sample_count(Fraction(LONGEST_GAP_S), clips.sample_rate_hz)
    repeated = np.zeros(clips.samples, np.float32)
    centred = sound - sound.mean()
    start = int(rng.integers(longest_gap))
    while start < clips.samples:
        part = centred[: clips.samples - start]
        repeated[start : start + part.size] += part * np.float32(rng.uniform(SOFTEST_REPETITION, 1.0))
        start += part.size + int(rng.integers(longest_gap))
    return repeated


def _thinned(indices: NDArray[np.intp], most: int) -> list[int]:
    if len(indices) <= most:
        return [int(index) for index in indices]
    return [int(indices[position * len(indices) // most]) for position in range(most)]


def _peak(sound: NDArray[np.float32]) -> float:
    """Half of the range that the samples span: the peak, without a constant offset."""
    return float(np.ptp(sound)) / 2


def _prepared(sound: NDArray[np.float32], loudest: float, samples: int) -> NDArray[np.int16]:
    """A clip as the method prepares every sound, then filled with silence; what is faint in its recording stays so."""
    share = _peak(sound) / loudest
    prepared = np.zeros(samples, np.int16)
    prepared[: sound.size] = np.round(normalised(sound) * min(1.0, share / WEAKEST_SHARE) * np.iinfo(np.int16).max)
    return prepared
