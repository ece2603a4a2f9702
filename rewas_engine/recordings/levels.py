"""Gains that give a sound a wanted energy.

Energies are means over log-mel bins that have a floor. A gain of one nat therefore raises the energy of a sound with
few audible bins by less than one nat. For this reason, the gains are computed from the bins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rewas_engine.curves.curve import Nats
from rewas_engine.curves.energy import SILENCE_NATS

FloatArray = NDArray[np.floating]
MUTE_NATS = -14.0
"""Gain of silence: -122 dB."""
_BISECTIONS = 14


def energy_of(powers: FloatArray) -> Nats:
    """Energy `[...]` in nats of mel powers `[..., bins]`, which are squared magnitudes."""
    return np.asarray(np.maximum(0.5 * np.log(powers + 1e-30), SILENCE_NATS).mean(axis=-1), np.float64)


def gains_for(
    powers: FloatArray,
    wanted_nats: FloatArray,
    *,
    background: FloatArray | float = 0.0,
    max_gain_nats: float,
) -> Nats:
    """Find the gains that give frames a wanted energy.

    Args:
        powers: Mel powers of the sound, `[T, bins]`.
        wanted_nats: Wanted energies, `[T]`.
        background: Mel powers of what sounds at the same time, `[T, bins]`.
        max_gain_nats: Largest gain.

    Returns:
        Gains `[T]` in nats, from MUTE_NATS to the largest gain. Where no gain is right, the nearest of these.
    """
    low = np.full(wanted_nats.shape, MUTE_NATS)
    high = np.full(wanted_nats.shape, float(max_gain_nats))
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        is_too_soft = energy_of(np.exp(2 * middle)[:, None] * powers + background) < wanted_nats
        low, high = np.where(is_too_soft, middle, low), np.where(is_too_soft, high, middle)
    gains = 0.5 * (low + high)
    return np.where(wanted_nats <= SILENCE_NATS + 1e-3, MUTE_NATS, gains)
