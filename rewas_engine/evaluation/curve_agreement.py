"""Agreement of two energy curves, and summaries over clips: mean, median and worse tenth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewas_engine.curves.energy import FloatArray, energy_agreement

LAG_S = 0.2
"""Largest lag between video and sound, in either direction."""
SHORTEST_OVERLAP_VALUES = 3


@dataclass(frozen=True)
class Agreement:
    """How well one curve follows another.

    Attributes:
        correlation: Pearson correlation at zero lag; None if a curve is constant.
        mae_nats: Mean absolute difference.
        best_correlation: Highest correlation within ±LAG_S; None if it is undefined at every lag.
        best_lag_s: Lag of the produced curve at that correlation, in seconds; positive is later.
    """

    correlation: float | None
    mae_nats: float
    best_correlation: float | None
    best_lag_s: float | None


@dataclass(frozen=True)
class Summary:
    """Statistics over clips; mean, median and worse tenth are None if no clip has a value.

    Attributes:
        count: Number of clips.
        undefined: Number of clips without a value.
        mean: Mean of the defined values.
        median: Median of the defined values.
        worse_tenth: 10th percentile, or the 90th of errors.
    """

    count: int
    undefined: int
    mean: float | None
    median: float | None
    worse_tenth: float | None


def correlation(requested: FloatArray, produced: FloatArray) -> float | None:
    """Pearson correlation of curves [T] on one time grid; None if one of them is constant."""
    return energy_agreement(requested, produced)[1]


def agreement(
    requested: FloatArray, produced: FloatArray, rate_hz: Fraction | float, lag_s: float = LAG_S
) -> Agreement:
    """Measure how well produced [T] follows requested [T], both in nats at rate_hz."""
    mae_nats, at_zero = energy_agreement(requested, produced)
    best = best_lag(requested, produced, rate_hz, lag_s)
    return Agreement(at_zero, mae_nats, *(best if best is not None else (None, None)))


def best_lag(
    requested: FloatArray, produced: FloatArray, rate_hz: Fraction | float, lag_s: float = LAG_S
) -> tuple[float, float] | None:
    """Highest correlation within ±lag_s and its lag in seconds; None if no lag has a correlation.

    A positive lag means that the produced curve is later. Each lag is scored on the overlapping values. In a tie, the
    smallest lag counts.
    """
    reach = int(np.floor(lag_s * float(rate_hz) + 1e-9))
    reach = max(0, min(reach, requested.size - SHORTEST_OVERLAP_VALUES))
    best: tuple[float, float] | None = None
    for lag in sorted(range(-reach, reach + 1), key=abs):
        stop = requested.size - abs(lag)
        found = correlation(requested[max(0, -lag) :][:stop], produced[max(0, lag) :][:stop])
        if found is not None and (best is None or found > best[0] + 1e-9):
            best = found, lag / float(rate_hz)
    return best


def summary(values: Iterable[float | None], *, errors: bool = False, undefined_as: float | None = None) -> Summary:
    """Mean, median and worse tenth of values over clips.

    Args:
        values: One value per clip, None where it is undefined.
        errors: Whether lower is better, so that the worse tenth is the 90th percentile.
        undefined_as: Value that replaces None; without it, such clips are only counted.
    """
    given = list(values)
    figures = [undefined_as if value is None else value for value in given]
    defined = np.array([value for value in figures if value is not None], np.float64)
    undefined = sum(value is None for value in given)
    if defined.size == 0:
        return Summary(len(given), undefined, None, None, None)
    return Summary(
        len(given),
        undefined,
        float(defined.mean()),
        float(np.median(defined)),
        float(np.percentile(defined, 90 if errors else 10)),
    )


def mean_note(values: Sequence[float] | NDArray[np.floating]) -> str:
    """Format a note on a mean: the number of clips and the standard error."""
    return f"{len(values)} clips, standard error {float(np.std(values)) / max(1, len(values)) ** 0.5:.3f}"
