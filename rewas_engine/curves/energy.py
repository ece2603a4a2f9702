"""Energy: how strongly it sounds, over time. The curve that a picture gives and that steers the sound."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from rewas_engine.curves.curve import FloatArray as FloatArray
from rewas_engine.curves.curve import SampledCurve, smooth_values, validate_samples
from rewas_engine.errors import SettingsError

SILENCE_NATS = float(np.log(1e-5))
"""Energy of digital silence: the floor of the log-mel spectrogram, -11.5129 nats."""
SILENCE_THRESHOLD_NATS = -11.5
"""At this energy and below nothing is heard: what is typed as -11.5 means silence."""
MAX_ENERGY_NATS = 5.0
"""No normalised sound comes near this energy; requests above it are refused."""


@dataclass(frozen=True, eq=False)
class EnergyCurve(SampledCurve):
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
        values, rate_hz = validate_samples(self.values, self.rate_hz, "energy curve")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "rate_hz", rate_hz)
        if values.ndim != 1 or values.size == 0:
            raise SettingsError("The energy curve is empty or not one row of values.", "Give one value or more.")
        if values.max() > MAX_ENERGY_NATS:
            position = int(values.argmax())
            raise SettingsError(
                f"Value {position} of the energy curve is {values[position]:.1f} nats, louder than sound can be.",
                f"Give log-mel energies between {SILENCE_NATS:.1f} (silence) and {MAX_ENERGY_NATS:.1f} nats.",
            )

    def with_duration(self, duration_s: Fraction) -> EnergyCurve:
        """The curve cut to a duration, or followed by silence up to it. Raises SettingsError for one not above 0."""
        if not duration_s > 0:
            raise SettingsError(f"The energy curve shall last {float(duration_s):g} s.", "Give a duration above 0 s.")
        values = np.full(math.ceil(duration_s * self.rate_hz), SILENCE_NATS, np.float32)
        length = min(values.size, self.values.size)
        values[:length] = self.values[:length]
        return EnergyCurve(values, self.rate_hz, self.source)

    def scale(self, factor: float) -> EnergyCurve:
        """The curve with its height above silence multiplied: 0 is silence, 1 leaves it as it is.

        Raises SettingsError for a negative factor or one that makes the curve louder than LOUDEST_NATS.
        """
        if not factor >= 0:
            raise SettingsError(f"The energy's factor is {factor}.", "Give a factor of 0 or more.")
        return EnergyCurve(SILENCE_NATS + (self.values - SILENCE_NATS) * factor, self.rate_hz, self.source)

    def smooth(self, window_values: int = 9) -> EnergyCurve:
        """The curve through a Savitzky-Golay filter of order 2, as the paper smooths φ's output."""
        # At the edge of a loud sound the parabolas overshoot.
        smooth = np.minimum(smooth_values(self.values, window_values), MAX_ENERGY_NATS)
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
