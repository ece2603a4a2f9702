"""Limits the true peak of delivered sounds."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from rewas_engine.media.loudness import MAX_TRUE_PEAK_DB, METER_TOLERANCE_DB, db_to_gain, limiting_gain, true_peak_of


def true_peak_gain_db(
    waveforms: Iterable[NDArray[np.float32]], sample_rate_hz: int, max_true_peak_dbtp: float = MAX_TRUE_PEAK_DB
) -> float:
    """Return the gain at which no true peak exceeds the limit, in dB; 0 if none does.

    One gain for all stems of a take keeps their balance. A gain changes nothing but the level, whereas a limiter also
    changes the waveform.

    Args:
        waveforms: Sounds `[channels, samples]` that get the same gain.
        sample_rate_hz: Sample rate of the sounds.
        max_true_peak_dbtp: The limit, according to ITU-R BS.1770-4.
    """
    peak = max((true_peak_of(waveform, sample_rate_hz) for waveform in waveforms), default=0.0)
    return peak_gain_db(peak, max_true_peak_dbtp)


def peak_gain_db(true_peak: float, max_true_peak_dbtp: float = MAX_TRUE_PEAK_DB) -> float:
    """Return the gain that brings a true peak, given as a magnitude, to the limit, in dB; 0 if it is not higher."""
    # Rounding to 24 bits raises a peak by far less than this tolerance.
    ceiling = db_to_gain(max_true_peak_dbtp - METER_TOLERANCE_DB)
    return float(20 * np.log10(limiting_gain(true_peak, ceiling)))


def apply_gain(waveform: NDArray[np.float32], gain_db: float) -> NDArray[np.float32]:
    """Return a waveform with a gain applied."""
    return waveform * np.float32(db_to_gain(gain_db))
