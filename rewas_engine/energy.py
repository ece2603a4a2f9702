"""Energy: how strongly it sounds, over time. The curve that a picture gives and that steers the sound."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewas_engine.errors import SettingsError

SILENCE_NATS = float(np.log(1e-5))
"""Energy of digital silence: the floor of the log-mel spectrogram, -11.5129 nats."""
SILENT_BELOW_NATS = -11.5
"""At this energy and below nothing is heard: what is typed as -11.5 means silence."""
LOUDEST_NATS = 5.0
"""No normalised sound comes near this energy; requests above it are refused."""

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class EnergyCurve:
    """Energy over time: the mean over the mel bins of a log-mel spectrogram.

    values: [T] float32, nats; SILENCE_NATS is silence. Value i stands at (i + 0.5) / rate_hz seconds after the
        clip's first frame.
    rate_hz: values per second, exact.
    source: "picture", "audio" or "user".

    Raises SettingsError for an empty curve, a rate that is not positive, or a value that is not finite or is louder
    than LOUDEST_NATS.
    """

    values: FloatArray
    rate_hz: Fraction
    source: str = field(default="user")

    def __post_init__(self) -> None:
        try:
            values = np.array(self.values, dtype=np.float32, ndmin=1)
        except (ValueError, TypeError) as error:
            raise SettingsError(
                f"The energy curve is not made of numbers ({error}).", "Give one row of numbers, in nats."
            ) from error
        try:
            object.__setattr__(self, "rate_hz", Fraction(self.rate_hz))
        except (ValueError, TypeError, OverflowError, ZeroDivisionError) as error:
            raise SettingsError(
                f"The energy curve's rate is {self.rate_hz!r}.", "Give a rate above 0 values per second."
            ) from error
        values.setflags(write=False)
        object.__setattr__(self, "values", values)
        if values.ndim != 1 or values.size == 0:
            raise SettingsError("The energy curve is empty or not one row of values.", "Give one value or more.")
        if self.rate_hz <= 0:
            raise SettingsError(
                f"The energy curve's rate is {self.rate_hz} Hz.", "Give a rate above 0 values per second."
            )
        if not np.isfinite(values).all():
            position = int(np.flatnonzero(~np.isfinite(values))[0])
            raise SettingsError(
                f"Value {position} of the energy curve is {values[position]}.", "Give finite numbers, in nats."
            )
        if values.max() > LOUDEST_NATS:
            position = int(values.argmax())
            raise SettingsError(
                f"Value {position} of the energy curve is {values[position]:.1f} nats, louder than sound can be.",
                f"Give log-mel energies between {SILENCE_NATS:.1f} (silence) and {LOUDEST_NATS:.1f} nats.",
            )

    @property
    def duration_s(self) -> Fraction:
        """Length of the curve in seconds."""
        return self.values.size / self.rate_hz

    def times_s(self) -> NDArray[np.float64]:
        """Times of the values in seconds from the clip's start, [T]."""
        return np.asarray((np.arange(self.values.size) + 0.5) / float(self.rate_hz))

    def at(self, rate_hz: Fraction | int, count: int) -> FloatArray:
        """The curve read at another rate, linear between values and held at the ends: [count] nats."""
        times_s = (np.arange(count) + 0.5) / float(rate_hz)
        return np.asarray(np.interp(times_s, self.times_s(), self.values), np.float32)

    def lasting(self, duration_s: Fraction) -> EnergyCurve:
        """The curve cut to a duration, or followed by silence up to it. Raises SettingsError for one not above 0."""
        if not duration_s > 0:
            raise SettingsError(f"The energy curve shall last {float(duration_s):g} s.", "Give a duration above 0 s.")
        values = np.full(math.ceil(duration_s * self.rate_hz), SILENCE_NATS, np.float32)
        length = min(values.size, self.values.size)
        values[:length] = self.values[:length]
        return EnergyCurve(values, self.rate_hz, self.source)

    def scaled(self, factor: float) -> EnergyCurve:
        """The curve with its height above silence multiplied: 0 is silence, 1 leaves it as it is.

        Raises SettingsError for a negative factor or one that makes the curve louder than LOUDEST_NATS.
        """
        if not factor >= 0:
            raise SettingsError(f"The energy's factor is {factor}.", "Give a factor of 0 or more.")
        return EnergyCurve(SILENCE_NATS + (self.values - SILENCE_NATS) * factor, self.rate_hz, self.source)

    def smoothed(self, window_values: int = 9) -> EnergyCurve:
        """The curve through a Savitzky-Golay filter of order 2, as the paper smooths φ's output."""
        # Most of what a command takes to start would be this import.
        from scipy.signal import savgol_filter

        window = min(window_values, self.values.size - (self.values.size + 1) % 2)
        if window < 3:
            return self
        # At the edge of a loud sound the parabolas overshoot.
        smooth = np.minimum(savgol_filter(self.values, window, 2, mode="interp"), LOUDEST_NATS)
        return EnergyCurve(smooth, self.rate_hz, self.source)


def energy_agreement(requested: FloatArray, produced: FloatArray) -> tuple[float, float | None]:
    """Mean absolute difference in nats, and Pearson correlation or None where a curve is constant.

    requested, produced: [T] nats, on the same time grid.
    """
    mae_nats = float(np.mean(np.abs(requested - produced)))
    # The mean of a constant float32 is not that constant: its standard deviation may pass for one.
    if requested.size < 2 or np.ptp(requested) < 1e-5 or np.ptp(produced) < 1e-5:
        return mae_nats, None
    return mae_nats, float(np.corrcoef(requested.astype(np.float64), produced.astype(np.float64))[0, 1])
