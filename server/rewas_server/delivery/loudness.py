"""Loudness figures of a sound, according to ITU-R BS.1770-4 and EBU R 128."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyloudnorm import IIRfilter
from scipy.signal import lfilter

from rewas_engine.media.loudness import ABSOLUTE_GATE_LUFS, gated_mean_db, true_peak_of

_SLOTS_PER_S = 10
"""Windows begin every 100 ms, as EBU Tech 3341 and Tech 3342 require."""
_MOMENTARY_SLOTS = 4
_SHORT_TERM_SLOTS = 30
_MIN_RANGE_SLOTS = 600
"""EBU Tech 3341: the loudness range is not stable within the first 60 seconds."""
_RANGE_GATE_LU = -20.0
_OFFSET_LU = -0.691
_MAX_CHANNELS = 2
"""The weight of further channels depends on their loudspeakers, which the files do not name."""
_PART_SLOTS = 100
_FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class LoudnessFigures:
    """Loudness of a sound. A figure is None if the sound is silent or too short for it.

    Attributes:
        integrated_lufs: Gated loudness of the whole sound, if it has at least 0.4 s.
        range_lu: Loudness range, if the sound has at least 60 s.
        max_true_peak_dbtp: Highest true peak.
        max_momentary_lufs: Highest loudness in any 0.4 s.
        max_short_term_lufs: Highest loudness in any 3 s.
    """

    integrated_lufs: float | None = None
    range_lu: float | None = None
    max_true_peak_dbtp: float | None = None
    max_momentary_lufs: float | None = None
    max_short_term_lufs: float | None = None


def measure_loudness(
    waveform: NDArray[np.float32], sample_rate_hz: int, true_peak: float | None = None
) -> LoudnessFigures:
    """Measure a waveform `[channels, samples]`. If it has more than two channels, only the true peak is measured.

    true_peak: magnitude of the true peak, if it is known.
    """
    peak = true_peak_of(waveform, sample_rate_hz) if true_peak is None else true_peak
    peak_dbtp = float(20 * np.log10(peak)) if peak else None
    channels, samples = waveform.shape
    if channels > _MAX_CHANNELS or samples * _SLOTS_PER_S < sample_rate_hz * _MOMENTARY_SLOTS:
        return LoudnessFigures(max_true_peak_dbtp=peak_dbtp)
    powers = np.concatenate(list(_slot_powers(waveform, sample_rate_hz)))
    momentary = _window_loudness(powers, _MOMENTARY_SLOTS)
    short_term = _window_loudness(powers, _SHORT_TERM_SLOTS)
    return LoudnessFigures(
        integrated_lufs=gated_mean_db(momentary),
        range_lu=_loudness_range_lu(short_term) if len(powers) >= _MIN_RANGE_SLOTS else None,
        max_true_peak_dbtp=peak_dbtp,
        max_momentary_lufs=_audible_maximum(momentary),
        max_short_term_lufs=_audible_maximum(short_term),
    )


def _slot_powers(waveform: NDArray[np.float32], sample_rate_hz: int) -> Iterator[_FloatArray]:
    """Yield the weighted power of each complete slot of 100 ms, all channels together."""
    filters = (
        IIRfilter(3.99984385397, 0.7071752369554193, 1681.9744509555319, sample_rate_hz, "high_shelf_DeMan"),
        IIRfilter(0.0, 0.5003270373253953, 38.13547087613982, sample_rate_hz, "high_pass_DeMan"),
    )
    states = [np.zeros((len(waveform), 2)) for _ in filters]
    slot_count = waveform.shape[1] * _SLOTS_PER_S // sample_rate_hz
    # A slot has whole samples at a rate such as 22 050 Hz, but not at one such as 11 025 Hz.
    borders = np.arange(slot_count + 1) * sample_rate_hz // _SLOTS_PER_S
    for first in range(0, slot_count, _PART_SLOTS):
        places = borders[first : first + _PART_SLOTS + 1]
        part = waveform[:, places[0] : places[-1]].astype(np.float64)
        for number, weighting in enumerate(filters):
            part, states[number] = lfilter(weighting.b, weighting.a, part, axis=1, zi=states[number])
        sums = np.add.reduceat((part**2).sum(axis=0), places[:-1] - places[0])
        yield sums / np.diff(places)


def _window_loudness(powers: _FloatArray, slots: int) -> _FloatArray:
    """Loudness of each window with this number of slots, in LUFS."""
    if len(powers) < slots:
        return np.empty(0)
    means = np.lib.stride_tricks.sliding_window_view(powers, slots).mean(axis=1)
    with np.errstate(divide="ignore"):
        return np.asarray(_OFFSET_LU + 10 * np.log10(means))


def _loudness_range_lu(short_term: _FloatArray) -> float | None:
    """Loudness range according to EBU Tech 3342."""
    audible = short_term[short_term >= ABSOLUTE_GATE_LUFS]
    if not audible.size:
        return None
    gate = 10 * np.log10(np.mean(10 ** (audible / 10))) + _RANGE_GATE_LU
    low, high = np.percentile(audible[audible >= gate], [10, 95])
    return float(high - low)


def _audible_maximum(levels: _FloatArray) -> float | None:
    highest = float(levels.max(initial=-np.inf))
    return highest if highest > ABSOLUTE_GATE_LUFS else None
