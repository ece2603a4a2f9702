"""Cutting a sound that goes round in a circle to another length, so that its end still goes on with its beginning."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from rewas_engine.curves.curve import FloatArray
from rewas_engine.curves.energy import EnergyCurve
from rewas_engine.errors import SettingsError

LOOP_FADE_S = Fraction(20, 1000)
"""How long, at least, the end of a loop fades into its beginning."""
JOIN_S = Fraction(1, 20)
"""So much before and after the join is held against each other."""
MAX_DROP_NATS = 1.0
"""At most so much less (8.7 dB) may be asked for after the join than before it."""


def check_loop_join(energy: EnergyCurve) -> None:
    """Raises SettingsError for an energy that is much louder at its end than at its beginning: a loop would break off.

    It may rise there, as with every strike.
    """
    values = energy.values
    count = max(1, min(len(values) // 2, int(JOIN_S * energy.rate_hz)))
    first, last = float(values[:count].mean()), float(values[-count:].mean())
    if last - first > MAX_DROP_NATS:
        raise SettingsError(
            f"The energy ends at {last:.1f} nats and begins at {first:.1f}, so the loop would break off at its join.",
            "Let it end as it begins: fade it out, or give another one.",
        )


def shorten_loop(circle: FloatArray, samples: int, fade: int) -> FloatArray:
    """Samples [samples] of a circle [length], at most its length, which form a circle too.

    fade: over at least so many samples, and all that are left out, what follows the end fades into the beginning. How
    alike the two are is measured, so that alike or not they keep their power.
    """
    over = min(samples, max(fade, circle.size - samples))
    made = circle[:samples].copy()
    after = circle.take(np.arange(samples, samples + over), mode="wrap")
    angle = (np.arange(over, dtype=np.float32) + 0.5) / over * np.pi / 2
    falling, rising = np.cos(angle), np.sin(angle)
    alike = _correlation(after, made[:over])
    made[:over] = (after * falling + made[:over] * rising) / np.sqrt(1 + 2 * alike * falling * rising)
    return made


def _correlation(one: FloatArray, other: FloatArray) -> float:
    """Correlation of two waveforms around 0. What would cancel itself out is not raised without end."""
    power = float(np.sqrt(np.square(one).sum() * np.square(other).sum()))
    return max(-0.8, float(one @ other) / power) if power else 0.0
