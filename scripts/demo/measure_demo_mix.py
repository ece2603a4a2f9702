"""Measure a rendered film: its length, the position of each stem in its sound, and how onsets fit contacts."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from scipy.signal import correlate

FloatArray = NDArray[np.float32]
SEARCH_RADIUS_S = 0.25
MATCH_THRESHOLD = 0.7
"""Normalised correlation. Lossy compression of noise lowers it; a different sound is far below."""


@dataclass(frozen=True, eq=False)
class Mix:
    """A decoded film. frames, frame_rate: of its video. waveform: [samples] mono, from the first frame."""

    frames: int
    frame_rate: Fraction
    waveform: FloatArray
    sample_rate_hz: int


def read_mix(path: Path) -> Mix:
    """Decode a film. Raises RuntimeError if it has no video or no sound."""
    with av.open(str(path)) as container:
        if not container.streams.video or not container.streams.audio:
            raise RuntimeError(f"{path} has no video or no sound.")
        video, sound = container.streams.video[0], container.streams.audio[0]
        frames, pieces, sound_start_s = 0, [], None
        for packet in container.demux(video, sound):
            for frame in packet.decode():
                if isinstance(frame, av.AudioFrame):
                    sound_start_s = frame.time if sound_start_s is None else sound_start_s
                    pieces.append(frame.to_ndarray().mean(axis=0))
                else:
                    frames += 1
        waveform = np.concatenate(pieces).astype(np.float32)
        lead_samples = round((sound_start_s or 0.0) * sound.rate)
        waveform = np.pad(waveform, (lead_samples, 0)) if lead_samples >= 0 else waveform[-lead_samples:]
        return Mix(frames, Fraction(video.average_rate), waveform, sound.rate)


def stem_lag_s(mix: Mix, stem: FloatArray, expected_start_s: Fraction) -> float:
    """Return the delay of a stem in the mix, in seconds. Negative means early.

    stem: [samples] mono, at the mix's rate. Raises RuntimeError if the stem cannot be found in the mix.
    """
    margin = round(SEARCH_RADIUS_S * mix.sample_rate_hz)
    start = round(expected_start_s * mix.sample_rate_hz)
    padded = np.pad(mix.waveform, margin)
    section = padded[start : start + stem.size + 2 * margin]
    if section.size < stem.size:
        raise RuntimeError("The mix ends before the stem does.")
    correlation = correlate(section, stem, mode="valid", method="fft")
    lag = int(np.argmax(correlation))
    found = section[lag : lag + stem.size]
    norm = float(np.linalg.norm(found) * np.linalg.norm(stem))
    if norm == 0 or correlation[lag] / norm < MATCH_THRESHOLD:
        raise RuntimeError("The stem cannot be found in the mix.")
    return (lag - margin) / mix.sample_rate_hz


def matched_offsets_s(
    onsets: NDArray[np.float64], contacts_s: tuple[float, ...], within_s: float = 0.05
) -> list[float]:
    """Pair contacts with their nearest onsets, one to one. Returns the delay of each paired onset in seconds."""
    pairs = sorted(
        (abs(onset - contact_s), number, index)
        for number, contact_s in enumerate(contacts_s)
        for index, onset in enumerate(onsets)
        if abs(onset - contact_s) <= within_s
    )
    paired: dict[int, int] = {}
    for _, number, index in pairs:
        if number not in paired and index not in paired.values():
            paired[number] = index
    return [float(onsets[index] - contacts_s[number]) for number, index in sorted(paired.items())]


def onset_f_score(matched: int, onsets: int, contacts: int) -> float:
    """Return the harmonic mean of precision and recall of the onsets."""
    return 2 * matched / (onsets + contacts) if onsets + contacts else 1.0
