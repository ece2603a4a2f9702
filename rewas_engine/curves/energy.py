"""Energy curves: loudness over time, estimated from a video and used to control the sound."""

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
"""Energies up to this value count as silence, so that a user can type -11.5 for silence."""
MAX_ENERGY_NATS = 5.0
"""Upper limit of requested energies, far above any normalised sound."""


@dataclass(frozen=True, eq=False)
class EnergyCurve(SampledCurve):
    """Energy over time: the mean over the mel bins of a log-mel spectrogram.

    Attributes:
        values: `[T]` float32 in nats. Value i belongs to (i + 0.5) / rate_hz seconds after the clip's start.
        rate_hz: Values per second, exact.
        source: "picture", "audio" or "user".

    Raises:
        SettingsError: The curve is empty or not one-dimensional, the rate is not positive, or a value is not finite or
            exceeds MAX_ENERGY_NATS.
    """

    values: FloatArray
    rate_hz: Fraction
    source: str = field(default="user")

    def __post_init__(self) -> None:
        values, rate_hz = validate_samples(self.values, self.rate_hz, "energy curve")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "rate_hz", rate_hz)
        if values.ndim != 1 or values.size == 0:
            raise SettingsError(
                "The energy curve is empty or not one-dimensional.", "Give a sequence of at least one value."
            )
        if values.max() > MAX_ENERGY_NATS:
            position = int(values.argmax())
            raise SettingsError(
                f"Value {position} of the energy curve is {values[position]:.1f} nats, louder than any sound.",
                f"Give log-mel energies between {SILENCE_NATS:.1f} (silence) and {MAX_ENERGY_NATS:.1f} nats.",
            )

    def with_duration(self, duration_s: Fraction) -> EnergyCurve:
        """Cut the curve to a duration, or pad it with silence. Raises SettingsError if the duration is not above 0."""
        if not duration_s > 0:
            raise SettingsError(
                f"The duration of the energy curve is {float(duration_s):g} s.", "Give a duration above 0 s."
            )
        values = np.full(math.ceil(duration_s * self.rate_hz), SILENCE_NATS, np.float32)
        length = min(values.size, self.values.size)
        values[:length] = self.values[:length]
        return EnergyCurve(values, self.rate_hz, self.source)

    def scale(self, factor: float) -> EnergyCurve:
        """Multiply the height above silence. 0 gives silence, 1 the same curve.

        Raises:
            SettingsError: The factor is negative, or a value would exceed MAX_ENERGY_NATS.
        """
        if not factor >= 0:
            raise SettingsError(f"The factor of the energy is {factor}.", "Give a factor of 0 or more.")
        return EnergyCurve(SILENCE_NATS + (self.values - SILENCE_NATS) * factor, self.rate_hz, self.source)

    def smooth(self, window_values: int = 9) -> EnergyCurve:
        """Smooth with a Savitzky-Golay filter of order 2, as the paper smooths the output of φ."""
        # At the edge of a loud sound the parabolas overshoot.
        smooth = np.minimum(smooth_values(self.values, window_values), MAX_ENERGY_NATS)
        return EnergyCurve(smooth, self.rate_hz, self.source)


def energy_agreement(requested: FloatArray, produced: FloatArray) -> tuple[float, float | None]:
    """Compare two energies `[T]` in nats on the same time grid.

    Returns:
        Mean absolute difference in nats, and the Pearson correlation, or None if a curve is constant.
    """
    mae_nats = float(np.mean(np.abs(requested - produced)))
    # Not the standard deviation, which rounding makes differ from 0 for a constant float32 curve.
    if requested.size < 2 or np.ptp(requested) < 1e-5 or np.ptp(produced) < 1e-5:
        return mae_nats, None
    return mae_nats, float(np.corrcoef(requested.astype(np.float64), produced.astype(np.float64))[0, 1])
