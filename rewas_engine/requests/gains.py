"""Gains of stems, and the limit that keeps the true peaks of the stems and of their sum below -1 dBTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from rewas_engine.media.loudness import db_to_gain, limiting_gain, true_peak
from rewas_engine.media.stem import Stem, spread_channels

PCM24_STEPS = 2**23
"""Number of steps of a 24-bit sample from 0 to full scale."""
_CHUNK_SAMPLES = 2**16


def apply_gains(stems: Mapping[str, Stem], gains_db: Mapping[str, float]) -> dict[str, Stem]:
    """Apply a gain to each stem, and lower all stems equally if a true peak would exceed -1 dBTP.

    Args:
        stems: Stems of equal length, by role. They may differ in their numbers of channels.
        gains_db: Gain of each stem, by role.

    Returns:
        The stems. Every sample is a whole number of 24-bit steps, so that a delivered mix is exactly the sum of the
        delivered stems.
    """
    rate_hz = next(iter(stems.values())).sample_rate_hz
    peaks = [true_peak(_amplified(stem, gains_db[role]), rate_hz) for role, stem in stems.items()]
    if len(stems) > 1:
        peaks.append(true_peak(_mix(stems, gains_db), rate_hz))
    # Rounding may raise each stem by half a step.
    lowered = limiting_gain(max(peaks), reserve=(len(stems) + 1) / PCM24_STEPS)
    scaled = {}
    for role, stem in stems.items():
        waveform = np.empty_like(stem.waveform)
        for part in _parts(stem):
            amplified = lowered * db_to_gain(gains_db[role]) * stem.waveform[:, part].astype(np.float64)
            waveform[:, part] = np.round(amplified * PCM24_STEPS) / PCM24_STEPS
        scaled[role] = Stem(role, waveform, stem.sample_rate_hz)
    return scaled


def _parts(stem: Stem) -> list[slice]:
    return [slice(first, first + _CHUNK_SAMPLES) for first in range(0, stem.waveform.shape[1], _CHUNK_SAMPLES)]


def _amplified(stem: Stem, gain_db: float) -> Iterator[NDArray[np.float64]]:
    for part in _parts(stem):
        yield db_to_gain(gain_db) * stem.waveform[:, part].astype(np.float64)


def _mix(stems: Mapping[str, Stem], gains_db: Mapping[str, float]) -> Iterator[NDArray[np.float64]]:
    every = [_amplified(stem, gains_db[role]) for role, stem in stems.items()]
    channels = max(len(stem.waveform) for stem in stems.values())
    for parts in zip(*every, strict=True):
        spread = [spread_channels(part, channels) for part in parts]
        yield sum(spread[1:], start=spread[0])
