"""Paired differences between two methods over the same clips, with bootstrap intervals (Efron and Tibshirani 1993)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
INTERVAL = 0.95


@dataclass(frozen=True)
class PairedDifference:
    """Mean difference of a method from a baseline over clips.

    Attributes:
        mean: Mean of the method minus the baseline.
        low, high: Ends of the 95 % percentile interval of that mean over resampled clips.
        clips: Number of clips.
    """

    mean: float
    low: float
    high: float
    clips: int


def paired_difference(method: Sequence[float], baseline: Sequence[float]) -> PairedDifference:
    """Compare two methods clip by clip. The same values always give the same interval.

    Args:
        method: Figures [N] of the method.
        baseline: Figures [N] of the baseline, for the same clips.

    Raises:
        ValueError: The numbers of clips differ, or there are none.
    """
    if len(method) != len(baseline) or not len(method):
        raise ValueError(f"{len(method)} figures cannot be paired with {len(baseline)}")
    differences = np.asarray(method, np.float64) - np.asarray(baseline, np.float64)
    drawn = np.random.default_rng(0).integers(0, differences.size, (RESAMPLES, differences.size))
    means = differences[drawn].mean(axis=1)
    tail = (1 - INTERVAL) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return PairedDifference(float(differences.mean()), float(low), float(high), differences.size)
