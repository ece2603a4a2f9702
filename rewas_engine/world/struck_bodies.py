"""Strikes of one body: soft and hard ones, which differ slightly from one another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.world.synthesis import decaying_modes, normalise_peak

FloatArray = NDArray[np.floating[Any]]
VARIANTS = 3

Strikes = tuple[list[FloatArray], list[FloatArray]]
"""Soft and hard strikes of one body, VARIANTS of each, peak 1."""


def struck_body(
    rng: np.random.Generator,
    frequencies_hz: FloatArray,
    decays_s: FloatArray,
    amplitudes: FloatArray,
    contact: Callable[[], FloatArray],
    contact_gain: tuple[float, float],
) -> Strikes:
    """Strikes of a body with modes. A soft strike excites more of the low modes and makes less contact noise."""
    duration_s = float(min(3.0, 7.0 * decays_s.max() + 0.02))
    places = rng.uniform(0.7, 1.0, (2 * VARIANTS, frequencies_hz.size)) * amplitudes
    low = frequencies_hz.min()
    places[:VARIANTS] *= (low / frequencies_hz) ** 0.5
    bodies = decaying_modes(frequencies_hz, decays_s, places, duration_s)
    strikes = []
    for variant, body in enumerate(bodies):
        strike = normalise_peak(body)
        burst = normalise_peak(contact()) * contact_gain[0 if variant < VARIANTS else 1]
        longest = np.zeros(max(strike.size, burst.size))
        longest[: strike.size] += strike
        longest[: burst.size] += burst
        strikes.append(normalise_peak(longest))
    return strikes[:VARIANTS], strikes[VARIANTS:]
