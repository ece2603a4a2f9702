"""Cut a recording of any length, rate and channel count into training clips."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from rewas_engine.conditioning.levels import normalise
from rewas_engine.conditioning.windows import window_starts
from rewas_engine.errors import MediaError, SettingsError
from rewas_engine.exact_time import sample_count
from rewas_engine.media.audio import read_audio
from rewas_engine.media.video import probe_video, read_frames
from rewas_engine.runtime.progress import CancelSignal
from rewas_engine.training.recording_catalog import Recording

LONGEST_READ_S = 1200
"""Longer recordings are read only up to this length."""
SILENT_PEAK = 1e-4
"""Clips with a peak below -80 dB are silent."""
SILENT_SHARE = 1e-2
"""Clips 40 dB weaker than the strongest clip of their recording count as silent too."""
SOUNDING_FOR_EACH_SILENT = 10
"""Number of sounding clips of a recording for each silent clip that is kept, because silence needs few examples."""
SHORT_SHARE = 0.5
"""A sound that fills less than this share of a clip gets a second clip in which it repeats. Otherwise the model would
learn that it occurs only at the start.
"""
LONGEST_GAP_S = 1.5
SOFTEST_REPETITION = 0.25
WEAKEST_SHARE = 0.1
"""A clip more than 20 dB weaker than its recording is not raised to full level."""


@dataclass(frozen=True)
class ClipFormat:
    """Format of the training clips.

    Attributes:
        sample_rate_hz: Sample rate.
        duration_s: Length of a clip.
        hop_s: Largest distance between the starts of consecutive clips; below duration_s they overlap.
        most_clips: Maximum number of clips per recording, spread evenly over it, so that a long one does not dominate.
        frame_rate: Frames per second.
        width: Frame width in pixels.
        height: Frame height in pixels.

    Raises:
        SettingsError: A value is out of range.
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
            raise SettingsError(f"most_clips is {self.most_clips}.", "Give 1 or more.")

    @property
    def samples(self) -> int:
        """Length of a clip in samples."""
        return sample_count(self.duration_s, self.sample_rate_hz)

    @property
    def frames(self) -> int:
        """Number of frames of a clip."""
        return -int(-self.duration_s * self.frame_rate // 1)


@dataclass(frozen=True)
class RecordingClips:
    """The clips of one recording.

    Attributes:
        starts_s: Start of each clip in seconds from the first sample of the recording, or first frame if it has video.
        sounds: [N, samples] int16, with a peak of half the range.
        frames: [N, T, H, W] uint8 brightness, or None.
    """

    starts_s: tuple[Fraction, ...]
    sounds: NDArray[np.int16]
    frames: NDArray[np.uint8] | None


def cut_recording(recording: Recording, clips: ClipFormat, cancel: CancelSignal | None = None) -> RecordingClips:
    """Read a recording as mono and cut it into clips. A recording shorter than a clip is padded with silence.

    A short sound without video gets a second clip in which it repeats at random times and levels.

    Raises:
        MediaError: The recording cannot be read, is silent throughout, or lacks sound or requested video.
        Cancelled: The work was cancelled.
    """
    video = probe_video(recording.path) if recording.is_seen else None
    try:
        sound = read_audio(
            recording.path,
            start_s=Fraction(0),
            duration_s=Fraction(LONGEST_READ_S) if video is None else min(video.duration_s, Fraction(LONGEST_READ_S)),
            sample_rate_hz=clips.sample_rate_hz,
            origin_s=None if video is None else video.start_s,
            cancel=cancel,
        )
    except (av.FFmpegError, ValueError, OSError) as error:
        raise MediaError(f"The sound of {recording.name} cannot be decoded ({error}).", "Export it again.") from error
    if video is None:
        # Beyond the end of the file, silence is returned.
        sound = np.trim_zeros(sound, "b")
    if not np.isfinite(sound).all():
        raise MediaError(f"{recording.name} contains samples that are not numbers.", "Export it again.")
    if not sound.size or _peak(sound) < SILENT_PEAK:
        raise MediaError(f"{recording.name} is silent throughout.", "Leave it out, or export it again.")
    starts = _choose_starts(sound, clips)
    parts = [sound[start : start + clips.samples] for start in starts]
    if video is None and sound.size < SHORT_SHARE * clips.samples:
        starts.append(0)
        parts.append(_repeat(sound, clips, recording.name))
    starts_s = tuple(Fraction(start, clips.sample_rate_hz) for start in starts)
    loudest = _peak(sound)
    sounds = np.stack([_prepare(part, loudest, clips.samples) for part in parts])
    frames = (
        None
        if video is None
        else np.stack([_read_clip_frames(recording, start_s, clips, cancel) for start_s in starts_s])
    )
    return RecordingClips(starts_s, sounds, frames)


def _read_clip_frames(
    recording: Recording, start_s: Fraction, clips: ClipFormat, cancel: CancelSignal | None
) -> NDArray[np.uint8]:
    return read_frames(
        recording.path,
        start_s=start_s,
        duration_s=clips.duration_s,
        frame_rate=clips.frame_rate,
        width=clips.width,
        height=clips.height,
        cancel=cancel,
    )


def _choose_starts(sound: NDArray[np.float32], clips: ClipFormat) -> list[int]:
    """Choose the first samples of the clips: sounding ones, up to most_clips, and a few silent ones."""
    overlap = clips.samples - sample_count(clips.hop_s, clips.sample_rate_hz)
    starts = window_starts(sound.size, clips.samples, overlap)
    parts = [sound[start : start + clips.samples] for start in starts]
    strengths = np.array([part.std(dtype=np.float64) for part in parts])
    peaks = np.array([_peak(part) for part in parts])
    sounding = (peaks >= SILENT_PEAK) & (strengths >= SILENT_SHARE * strengths.max())
    kept_sounding = _thin(np.flatnonzero(sounding), clips.most_clips)
    silent = _thin(np.flatnonzero(~sounding), len(kept_sounding) // SOUNDING_FOR_EACH_SILENT)
    return [starts[index] for index in sorted([*kept_sounding, *silent])]


def _repeat(sound: NDArray[np.float32], clips: ClipFormat, name: str) -> NDArray[np.float32]:
    """Build a clip in which a short sound repeats, with gaps and levels that are seeded by its name."""
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


def _thin(indices: NDArray[np.intp], most: int) -> list[int]:
    if len(indices) <= most:
        return [int(index) for index in indices]
    return [int(indices[position * len(indices) // most]) for position in range(most)]


def _peak(sound: NDArray[np.float32]) -> float:
    """Half the range that the samples span: the peak, without a constant offset."""
    return float(np.ptp(sound)) / 2


def _prepare(sound: NDArray[np.float32], loudest: float, samples: int) -> NDArray[np.int16]:
    """Normalise a clip and pad it with silence. Clips that are faint in their recording stay faint."""
    share = _peak(sound) / loudest
    prepared = np.zeros(samples, np.int16)
    prepared[: sound.size] = np.round(normalise(sound) * min(1.0, share / WEAKEST_SHARE) * np.iinfo(np.int16).max)
    return prepared
