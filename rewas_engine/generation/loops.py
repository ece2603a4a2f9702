"""Loops: sounds whose end joins their beginning."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from rewas_engine.curves.curve import FloatArray
from rewas_engine.curves.energy import EnergyCurve
from rewas_engine.errors import SettingsError

LOOP_FADE_S = Fraction(20, 1000)
"""Shortest crossfade from the end of a loop to its beginning."""
JOIN_WINDOW_S = Fraction(1, 20)
"""The energy is compared over this long before and after the join."""
MAX_DROP_NATS = 1.0
"""How much lower (8.7 dB) the energy may be after the join than before it."""
_MIN_CORRELATION = -0.8


def check_loop_join(energy: EnergyCurve) -> None:
    """Raise SettingsError if the energy is much louder at its end than at its beginning.

    Such a loop would break off at its join. A rise at the join is fine, as at the start of any strike.
    """
    values = energy.values
    count = max(1, min(len(values) // 2, int(JOIN_WINDOW_S * energy.rate_hz)))
    first, last = float(values[:count].mean()), float(values[-count:].mean())
    if last - first > MAX_DROP_NATS:
        raise SettingsError(
            f"The energy ends at {last:.1f} nats and begins at {first:.1f}, so the loop would break off at its join.",
            "Make the energy end as softly as it begins: fade it out, or use another curve.",
        )


def shorten_loop(loop: FloatArray, samples: int, fade: int) -> FloatArray:
    """Shorten a loop so that it remains a loop.

    The samples after the new end are faded into the beginning. The fade has constant power, whatever the correlation of
    the two.

    Args:
        loop: [N] samples.
        samples: Length of the result, at most N.
        fade: Shortest length of the fade, in samples; it is at least as long as the part that is cut off.

    Returns:
        [samples], a loop.
    """
    over = min(samples, max(fade, loop.size - samples))
    shortened = loop[:samples].copy()
    after = loop.take(np.arange(samples, samples + over), mode="wrap")
    angle = (np.arange(over, dtype=np.float32) + 0.5) / over * np.pi / 2
    falling, rising = np.cos(angle), np.sin(angle)
    correlation = _correlation(after, shortened[:over])
    shortened[:over] = (after * falling + shortened[:over] * rising) / np.sqrt(1 + 2 * correlation * falling * rising)
    return shortened


def _correlation(one: FloatArray, other: FloatArray) -> float:
    """Correlation of two waveforms, limited so that a fade between opposite waveforms is not amplified too much."""
    power = float(np.sqrt(np.square(one).sum() * np.square(other).sum()))
    return max(_MIN_CORRELATION, float(one @ other) / power) if power else 0.0
