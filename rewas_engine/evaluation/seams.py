"""Audibility of the joins between windows and of the end of a loop: borders compared with the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rewas_engine.curves.energy import FloatArray

NEAR_FRAMES = 8
"""Frames within this distance count as at a border: 80 ms on each side."""
FAR_FRAMES = 24
"""Frames at least this far from every border count as elsewhere."""
_RESAMPLINGS = 2000


@dataclass(frozen=True)
class BorderComparison:
    """Comparison of a measure at borders and elsewhere, over sounds.

    Attributes:
        at: Mean at borders.
        elsewhere: Mean elsewhere.
        ratio: at / elsewhere.
        low: Lower end of the 95 % confidence interval of the ratio, by bootstrap over the sounds.
        high: Upper end.
    """

    at: float
    elsewhere: float
    ratio: float
    low: float
    high: float


def window_borders(starts: Sequence[int], window: int) -> list[int]:
    """Frames at which a window begins or ends within a sound, and at which the windows of a vocoder are joined."""
    rims = [border for earlier, later in pairwise(starts) for border in (later, earlier + window)]
    joins = [(later + earlier + window) // 2 for earlier, later in pairwise(starts)]
    return sorted({*rims, *joins})


def border_masks(borders: Sequence[int], frames: int, margin: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks [T] of the frames at borders and elsewhere, without a margin at each end."""
    distance = np.abs(np.arange(frames)[:, None] - np.asarray(borders)[None, :]).min(axis=1)
    inside = np.zeros(frames, np.bool_)
    inside[margin : frames - margin] = True
    return inside & (distance <= NEAR_FRAMES), inside & (distance > FAR_FRAMES)


def spectral_flux(log_mel: FloatArray) -> FloatArray:
    """Flux [T]: mean absolute change of a log-mel [T, bins] from the previous frame, in nats; 0 for the first."""
    return np.asarray(np.abs(np.diff(log_mel, axis=0, prepend=log_mel[:1])).mean(axis=1), np.float32)


def compare(at: Sequence[float], elsewhere: Sequence[float], seed: int = 0) -> BorderComparison:
    """Compare a measure at borders and elsewhere. `at`, `elsewhere`: one mean per sound."""
    here, there = np.asarray(at, np.float64), np.asarray(elsewhere, np.float64)
    drawn = np.random.default_rng(seed).integers(0, here.size, (_RESAMPLINGS, here.size))
    ratios = here[drawn].mean(axis=1) / there[drawn].mean(axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return BorderComparison(
        float(here.mean()), float(there.mean()), float(here.mean() / there.mean()), float(low), float(high)
    )
