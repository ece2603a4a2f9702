"""The base of all curves: values at an exact rate, resampling and smoothing."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.errors import SettingsError

FloatArray = NDArray[np.float32]
Nats = NDArray[np.float64]


class SampledCurve:
    """Values over a clip.

    Attributes:
        values: `[T]` or `[T, rows]` float32. Value i belongs to (i + 0.5) / rate_hz seconds after the clip's start.
        rate_hz: Values per second, exact.
    """

    values: FloatArray
    rate_hz: Fraction

    @property
    def duration_s(self) -> Fraction:
        """Length of the curve in seconds."""
        return len(self.values) / self.rate_hz

    def times_s(self) -> NDArray[np.float64]:
        """Times of the values in seconds from the clip's start, `[T]`."""
        return np.asarray((np.arange(len(self.values)) + 0.5) / float(self.rate_hz))

    def resample(self, rate_hz: Fraction | int, count: int) -> FloatArray:
        """Interpolate at another rate, holding the first and last values: `[count]` or `[count, rows]`."""
        times_s = (np.arange(count) + 0.5) / float(rate_hz)
        return interpolate(self.values, self.times_s(), times_s).astype(np.float32)

    def retime(self, speed: Fraction, duration_s: Fraction) -> FloatArray:
        """Return the values for a clip that shows the range of this curve at another speed, at the same rate.

        Values are interpolated in slow motion and averaged above normal speed.

        Args:
            speed: Seconds of this curve in one second of the clip, not 0. Below 0, the clip runs backwards.
            duration_s: Duration of the clip in seconds, above 0.
        """
        values = self.values if speed > 0 else self.values[::-1]
        count, shown_hz = math.ceil(duration_s * self.rate_hz), self.rate_hz * abs(speed)
        if abs(speed) <= 1:
            times_s = (np.arange(len(values)) + 0.5) / float(shown_hz)
            return interpolate(values, times_s, (np.arange(count) + 0.5) / float(self.rate_hz)).astype(np.float32)
        sums = np.concatenate([np.zeros_like(values[:1], np.float64), np.cumsum(values, axis=0, dtype=np.float64)])
        # Places are in values of this curve. Each average covers at least half a value.
        begins = np.minimum(np.arange(count) * float(abs(speed)), len(values) - 0.5)
        ends = np.maximum(np.minimum(begins + float(abs(speed)), len(values)), begins + 0.5)
        places = np.arange(len(sums), dtype=np.float64)
        covered = interpolate(sums, places, ends) - interpolate(sums, places, begins)
        return np.asarray(covered.T / (ends - begins), np.float32).T


def validate_samples(values: object, rate_hz: Any, name: str) -> tuple[FloatArray, Fraction]:
    """Convert the values and rate of a curve. The returned values are read-only.

    Args:
        values: Numbers of any type and shape.
        rate_hz: Values per second.
        name: Name of the curve in error messages, such as "energy curve".

    Raises:
        SettingsError: The values are not finite numbers, or the rate is not positive.
    """
    try:
        numbers = np.array(values, dtype=np.float32, ndmin=1)
    except (ValueError, TypeError) as error:
        raise SettingsError(
            f"The {name} contains values that are not numbers ({error}).", "Give a sequence of numbers, in nats."
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


def interpolate(values: NDArray[Any], positions: NDArray[Any], query: NDArray[Any]) -> Nats:
    """Interpolate values `[T]` or `[T, rows]` from `positions` to `query`, holding the first and last values."""
    if values.ndim == 1:
        return np.asarray(np.interp(query, positions, values))
    return np.stack([np.interp(query, positions, row) for row in values.T], axis=-1)


def smooth_values(values: NDArray[Any], window_values: int) -> NDArray[Any]:
    """Smooth values `[T]` or `[T, rows]` with a Savitzky-Golay filter of order 2."""
    # Imported here, because this takes most of the start-up time of a command.
    from scipy.signal import savgol_filter

    count = len(values)
    window = min(window_values, count - (count + 1) % 2)
    return values if window < 3 else np.asarray(savgol_filter(values, window, 2, axis=0, mode="interp"))


def find_runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Ranges [start, end) of the runs of set flags `[N]`, in order."""
    between = np.zeros(len(flags) + 2, np.bool_)
    between[1:-1] = flags
    edges = np.flatnonzero(between[1:] != between[:-1])
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
