"""Whether a long sound shows where its windows met, and a loop where it closes: borders held against elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rewas_engine.curves.energy import FloatArray

NEAR_FRAMES = 8
"""Frames so near to a border count as at it: 80 ms to each side."""
FAR_FRAMES = 24
"""Frames so far from every border count as elsewhere."""
_RESAMPLINGS = 2000


@dataclass(frozen=True)
class Comparison:
    """A measure at borders and elsewhere, over sounds.

    at, elsewhere: its means. ratio: of the two. low, high: 95 % confidence of the ratio, by bootstrap over the sounds.
    """

    at: float
    elsewhere: float
    ratio: float
    low: float
    high: float


def window_borders(starts: Sequence[int], window: int) -> list[int]:
    """Frames at which a window begins or ends within a sound, and those in which a vocoder's windows are joined."""
    rims = [border for earlier, later in pairwise(starts) for border in (later, earlier + window)]
    joins = [(later + earlier + window) // 2 for earlier, later in pairwise(starts)]
    return sorted({*rims, *joins})


def near_and_far(borders: Sequence[int], frames: int, margin: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which frames [T] lie at borders, and which elsewhere; none within a margin of either end."""
    distance = np.abs(np.arange(frames)[:, None] - np.asarray(borders)[None, :]).min(axis=1)
    inside = np.zeros(frames, np.bool_)
    inside[margin : frames - margin] = True
    return inside & (distance <= NEAR_FRAMES), inside & (distance > FAR_FRAMES)


def spectral_flux(log_mel: FloatArray) -> FloatArray:
    """Flux [T]: mean absolute change of a log-mel [T, bins] from the frame before, in nats; 0 for the first."""
    return np.asarray(np.abs(np.diff(log_mel, axis=0, prepend=log_mel[:1])).mean(axis=1), np.float32)


def compared(at: Sequence[float], elsewhere: Sequence[float], seed: int = 0) -> Comparison:
    """Means of a measure of several sounds at borders and elsewhere. at, elsewhere: one mean for each sound."""
    here, there = np.asarray(at, np.float64), np.asarray(elsewhere, np.float64)
    drawn = np.random.default_rng(seed).integers(0, here.size, (_RESAMPLINGS, here.size))
    ratios = here[drawn].mean(axis=1) / there[drawn].mean(axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return Comparison(
        float(here.mean()), float(there.mean()), float(here.mean() / there.mean()), float(low), float(high)
    )
