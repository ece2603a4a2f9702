"""Loudness and true peak according to ITU-R BS.1770-4, and limiting of the true peak."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import pyloudnorm
import soxr
from numpy.typing import NDArray
from scipy.signal import upfirdn

from rewas_engine.media.audio import sample_peak

MAX_TRUE_PEAK_DB = -1.0
"""Highest true peak of a delivered sound, in dBTP (EBU R 128)."""
METER_TOLERANCE_DB = 0.1
"""The oversampling filters of two meters differ by up to a tenth of a decibel."""
PEAK_CEILING = 10 ** ((MAX_TRUE_PEAK_DB - METER_TOLERANCE_DB) / 20)
"""Magnitude to which peaks are limited."""
_PEAK_SLACK = 1 + 1e-4
"""A limited sound that was rounded to 24 bits may exceed the ceiling by this factor without being lowered again."""
_BLOCK_S = Fraction(4, 10)
_PIECE_S = 20
_METER_CHANNELS = 5
ABSOLUTE_GATE_LUFS = -70.0
_RELATIVE_GATE_LU = -10.0
_OVERSAMPLING = 8
"""Four times, as BS.1770 requires at 48 kHz, may miss 0.7 dB of a peak with energy close to half the sample rate."""
_FFMPEG_METER_HZ = 192_000
_SHORT_FILTER_TAPS = 32
_SHORT_FILTER_BETA = 9.0
"""Parameter of the Kaiser window of the short filter."""
_OUTER_PHASE = (14, 90, -161, 272, -487, 1125, 7964, -838, 390, -218, 122, -68)
_INNER_PHASE = (-239, 240, -424, 730, -1364, 3810, 6388, -1641, 832, -477, 271, -155)
_STANDARD_PHASES = np.array([_OUTER_PHASE, _INNER_PHASE, _INNER_PHASE[::-1], _OUTER_PHASE[::-1]]) / 2**13
"""The filter in annex 2 of BS.1770-4, which oversamples four times."""
_CHUNK_SAMPLES = 2**18


def integrated_loudness_lufs(waveform: NDArray[np.floating], sample_rate_hz: int) -> float | None:
    """Measure the gated loudness of a waveform `[channels, samples]`.

    The gating blocks of long sounds do not cross the borders between pieces of 20 s, so that memory stays bounded.
    Sounds shorter than a block of 0.4 s are one block. Of more than five channels, whose places are unknown, all count
    the same.

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
        powers: NDArray[np.float64] | float = 0.0
        with np.errstate(divide="ignore"):
            # The meter takes at most five channels.
            for channels in [part] if part.shape[1] <= _METER_CHANNELS else part.T:
                meter.integrated_loudness(channels)
                powers = powers + 10 ** (np.array(meter.blockwise_loudness) / 10)
            blocks += (10 * np.log10(powers)).tolist()
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
    """Highest magnitude of a sound between and at its samples, by oversampling.

    Meters with different filters measure different peaks in sounds with energy close to half their sample rate. The
    highest of three counts: a sharp filter, a short one, and that of BS.1770.

    Args:
        chunks: Consecutive parts `[channels, samples]` of the sound.
        sample_rate_hz: Samples per second.
    """
    # FFmpeg's meter resamples to exactly 192 kHz. If the rate does not divide that, it measures at other positions.
    factor = _OVERSAMPLING * (2 if _FFMPEG_METER_HZ % sample_rate_hz else 1)
    resampler: soxr.ResampleStream | None = None
    filters = (_Oversampler.short(factor), _Oversampler(_STANDARD_PHASES.T.ravel(), len(_STANDARD_PHASES)))
    peak = 0.0
    channels = 1
    for chunk in chunks:
        if resampler is None:
            channels = chunk.shape[0]
            resampler = soxr.ResampleStream(1, factor, channels, dtype="float32", quality="HQ")
        part = np.ascontiguousarray(chunk.T, np.float32)
        peak = max(peak, sample_peak(part), sample_peak(resampler.resample_chunk(part)))
        peak = max(peak, *(each.peak(part) for each in filters))
    if resampler is not None:
        rest = resampler.resample_chunk(np.empty((0, channels), np.float32), last=True)
        peak = max(peak, sample_peak(rest), *(each.last_peak() for each in filters))
    return peak


class _Oversampler:
    """Oversamples a sound with a short filter, part by part.

    Args:
        coefficients: The filter at the higher rate.
        factor: Ratio of the higher rate to the original one.
    """

    def __init__(self, coefficients: NDArray[np.floating], factor: int) -> None:
        self._factor = factor
        self._filter = np.asarray(coefficients, np.float32)
        self._overlap = -(-len(coefficients) // factor)
        self._before: NDArray[np.float32] | None = None

    @classmethod
    def short(cls, factor: int) -> _Oversampler:
        """Return a windowed sinc as short as those of common meters."""
        length = _SHORT_FILTER_TAPS * factor
        times = np.arange(length + 1) / factor - _SHORT_FILTER_TAPS / 2
        return cls(np.sinc(times) * np.kaiser(length + 1, _SHORT_FILTER_BETA), factor)

    def peak(self, part: NDArray[np.float32]) -> float:
        """Add a part `[samples, channels]`, and return the highest magnitude up to half a filter before its end."""
        before = np.zeros((self._overlap, part.shape[1]), np.float32) if self._before is None else self._before
        joined = np.concatenate([before, part])
        self._before = joined[-self._overlap :]
        dense = upfirdn(self._filter, joined, up=self._factor, axis=0)
        # Elsewhere, the filter reaches beyond these samples.
        return sample_peak(dense[len(self._filter) - 1 : len(joined) * self._factor])

    def last_peak(self) -> float:
        """Return the highest magnitude after the end of the last part; 0 before the first."""
        return 0.0 if self._before is None else self.peak(np.zeros_like(self._before))


def true_peak_of(waveform: NDArray[np.floating], sample_rate_hz: int) -> float:
    """Highest magnitude of a waveform `[channels, samples]` between and at its samples."""
    starts = range(0, waveform.shape[1], _CHUNK_SAMPLES)
    return true_peak((waveform[:, first : first + _CHUNK_SAMPLES] for first in starts), sample_rate_hz)


def limit_true_peak(waveform: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float32]:
    """Scale a waveform `[channels, samples]` down so that its true peak is at most MAX_TRUE_PEAK_DB."""
    gain = limiting_gain(true_peak_of(waveform, sample_rate_hz))
    return waveform if gain == 1 else np.asarray(waveform * gain, np.float32)


def limiting_gain(peak: float, ceiling: float = PEAK_CEILING, reserve: float = 0.0) -> float:
    """Factor that brings the magnitude of a peak to a ceiling; 1 if it is not higher.

    A sound that was limited before gets the factor 1, so that limiting it again changes no sample.

    Args:
        peak: Magnitude of the peak.
        ceiling: Highest magnitude.
        reserve: How far below the ceiling higher peaks are lowered.
    """
    return 1.0 if peak <= ceiling * _PEAK_SLACK else (ceiling - reserve) / peak


def db_to_gain(level_db: float) -> float:
    """Factor of a level in decibels."""
    return float(10 ** (level_db / 20))
