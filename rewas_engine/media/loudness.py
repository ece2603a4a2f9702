"""Loudness and true peak, after ITU-R BS.1770-4, and the limit of the true peak."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import pyloudnorm
import soxr
from numpy.typing import NDArray

from rewas_engine.media.audio import sample_peak

MAX_TRUE_PEAK_DB = -1.0
"""Highest true peak of a delivered sound, in dBTP (EBU R 128)."""
PEAK_CEILING = 10 ** ((MAX_TRUE_PEAK_DB - 0.1) / 20)
"""Magnitude to which peaks are limited: the oversampling filters of two meters differ by up to a tenth of a decibel."""
_BLOCK_S = Fraction(4, 10)
_PIECE_S = 20
ABSOLUTE_GATE_LUFS = -70.0
_RELATIVE_GATE_LU = -10.0
_MIN_OVERSAMPLED_HZ = 192_000
_CHUNK_SAMPLES = 2**18


def integrated_loudness_lufs(waveform: NDArray[np.floating], sample_rate_hz: int) -> float | None:
    """Measure the gated loudness of a waveform `[channels, samples]` with up to five channels.

    The gating blocks of long sounds do not cross the borders between pieces of 20 s, so that memory stays bounded.
    Sounds shorter than a block of 0.4 s are one block.

    Returns:
        Loudness in LUFS; None below the absolute gate of -70 LUFS.
    """
    samples = waveform.shape[1]
    blocks: list[float] = []
    piece = _PIECE_S * sample_rate_hz
    block = int(_BLOCK_S * sample_rate_hz) + 1
    for first in range(0, samples, piece):
        part = np.asarray(waveform[:, first : first + piece].T, np.float64)
        if len(part) < block and first:
            break  # less than a block is left
        meter = pyloudnorm.Meter(sample_rate_hz, block_size=min(float(_BLOCK_S), len(part) / sample_rate_hz))
        with np.errstate(divide="ignore"):
            meter.integrated_loudness(part)
        blocks += meter.blockwise_loudness
    return gated_mean_db(np.array(blocks))


def gated_mean_db(levels_db: NDArray[np.floating], absolute_gate_db: float = ABSOLUTE_GATE_LUFS) -> float | None:
    """Mean of the powers of levels `[T]` that pass both gates of BS.1770, in dB; None if none passes."""
    audible = levels_db[levels_db > absolute_gate_db]
    if not audible.size:
        return None
    loud = audible[audible > _mean_db(audible) + _RELATIVE_GATE_LU]
    return _mean_db(loud)


def _mean_db(levels_db: NDArray[np.floating]) -> float:
    return float(10 * np.log10(np.mean(10 ** (levels_db / 10))))


def true_peak(chunks: Iterable[NDArray[np.floating]], sample_rate_hz: int) -> float:
    """Highest magnitude of a sound between and at its samples, by oversampling to at least 192 kHz.

    Args:
        chunks: Consecutive parts `[channels, samples]` of the sound.
        sample_rate_hz: Samples per second.
    """
    factor = max(1, -(-_MIN_OVERSAMPLED_HZ // sample_rate_hz))
    resampler: soxr.ResampleStream | None = None
    peak = 0.0
    channels = 1
    for chunk in chunks:
        if resampler is None:
            channels = chunk.shape[0]
            resampler = soxr.ResampleStream(1, factor, channels, dtype="float32", quality="HQ")
        part = np.ascontiguousarray(chunk.T, np.float32)
        peak = max(peak, sample_peak(part), sample_peak(resampler.resample_chunk(part)))
    if resampler is not None:
        peak = max(peak, sample_peak(resampler.resample_chunk(np.empty((0, channels), np.float32), last=True)))
    return peak


def true_peak_of(waveform: NDArray[np.floating], sample_rate_hz: int) -> float:
    """Highest magnitude of a waveform `[channels, samples]` between and at its samples."""
    starts = range(0, waveform.shape[1], _CHUNK_SAMPLES)
    return true_peak((waveform[:, first : first + _CHUNK_SAMPLES] for first in starts), sample_rate_hz)


def limit_true_peak(waveform: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float32]:
    """Scale a waveform `[channels, samples]` down so that its true peak is at most MAX_TRUE_PEAK_DB."""
    peak = true_peak_of(waveform, sample_rate_hz)
    return waveform if peak <= PEAK_CEILING else np.asarray(waveform * (PEAK_CEILING / peak), np.float32)


def db_to_gain(level_db: float) -> float:
    """Factor of a level in decibels."""
    return float(10 ** (level_db / 20))
