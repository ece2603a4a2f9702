"""What every curve of a clip has in common: values at an exact rate, read at any other, and smoothed."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.errors import SettingsError

FloatArray = NDArray[np.float32]
Nats = NDArray[np.float64]


class SampledCurve:
    """Values over a clip, one row or several beside each other.

    values: [T] or [T, rows] float32. Value i stands at (i + 0.5) / rate_hz seconds after the clip's first frame.
    rate_hz: values per second, exact.
    """

    values: FloatArray
    rate_hz: Fraction

    @property
    def duration_s(self) -> Fraction:
        """Length of the curve in seconds."""
        return len(self.values) / self.rate_hz

    def times_s(self) -> NDArray[np.float64]:
        """Times of the values in seconds from the clip's start, [T]."""
        return np.asarray((np.arange(len(self.values)) + 0.5) / float(self.rate_hz))

    def resample(self, rate_hz: Fraction | int, count: int) -> FloatArray:
        """The curve read at another rate, linear between values and held at the ends: [count] or [count, rows]."""
        times_s = (np.arange(count) + 0.5) / float(rate_hz)
        return interpolate(self.values, self.times_s(), times_s).astype(np.float32)


def validate_samples(values: object, rate_hz: Any, name: str) -> tuple[FloatArray, Fraction]:
    """Values and rate of a curve as what they should be, the values not writable. name: "energy curve".

    Raises SettingsError for what is not numbers or not finite, and for a rate that is not positive.
    """
    try:
        numbers = np.array(values, dtype=np.float32, ndmin=1)
    except (ValueError, TypeError) as error:
        raise SettingsError(
            f"The {name} is not made of numbers ({error}).", "Give one row of numbers, in nats."
        ) from error
    above_0 = "Give a rate above 0 values per second."
    try:
        exact_hz = Fraction(rate_hz)
    except (ValueError, TypeError, OverflowError, ZeroDivisionError) as error:
        raise SettingsError(f"The {name}'s rate is {rate_hz!r}.", above_0) from error
    if exact_hz <= 0:
        raise SettingsError(f"The {name}'s rate is {exact_hz} Hz.", above_0)
    if not np.isfinite(numbers).all():
        position = int(np.argwhere(~np.isfinite(numbers))[0][0])
        value = numbers[position] if numbers.ndim == 1 else numbers[position][~np.isfinite(numbers[position])][0]
        raise SettingsError(f"Value {position} of the {name} is {value}.", "Give finite numbers, in nats.")
    numbers.setflags(write=False)
    return numbers, exact_hz


def interpolate(values: NDArray[Any], places: NDArray[Any], wanted: NDArray[Any]) -> Nats:
    """Values [T] or [T, rows] that stand at places [T], read at others [N], held at the ends: [N] or [N, rows]."""
    if values.ndim == 1:
        return np.asarray(np.interp(wanted, places, values))
    return np.stack([np.interp(wanted, places, row) for row in values.T], axis=-1)


def smooth_values(values: NDArray[Any], window_values: int) -> NDArray[Any]:
    """Values [T] or [T, rows] through a Savitzky-Golay filter of order 2; as they are where it would do nothing."""
    # Most of what a command takes to start would be this import.
    from scipy.signal import savgol_filter

    count = len(values)
    window = min(window_values, count - (count + 1) % 2)
    return values if window < 3 else np.asarray(savgol_filter(values, window, 2, axis=0, mode="interp"))


def find_runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First position and end, which is one past the last, of every run of flags [N] that are set, in order."""
    between = np.zeros(len(flags) + 2, np.bool_)
    between[1:-1] = flags
    edges = np.flatnonzero(between[1:] != between[:-1])
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
