"""Agreement of two curves of energy, and what is said of many of them: mean, median and the worse tenth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewas_engine.curves.energy import FloatArray, energy_agreement

LAG_S = 0.2
"""Sound follows motion by up to so much, or runs before it."""
SHORTEST_OVERLAP_VALUES = 3


@dataclass(frozen=True)
class Agreement:
    """How well one curve follows another.

    correlation: Pearson's at zero lag, None where a curve is constant. mae_nats: mean absolute difference.
    best_correlation: the highest within ±LAG_S, None where it is defined at no lag. best_lag_s: how much later the
    produced curve runs there.
    """

    correlation: float | None
    mae_nats: float
    best_correlation: float | None
    best_lag_s: float | None


@dataclass(frozen=True)
class Summary:
    """Figures of many clips. worse_tenth: the 10th percentile, or the 90th of errors. undefined: clips without one.

    Mean, median and worse tenth are None where no clip has a figure.
    """

    count: int
    undefined: int
    mean: float | None
    median: float | None
    worse_tenth: float | None


def correlation(requested: FloatArray, produced: FloatArray) -> float | None:
    """Pearson correlation of curves [T] on one time grid, or None where one of them is constant."""
    return energy_agreement(requested, produced)[1]


def agreement(
    requested: FloatArray, produced: FloatArray, rate_hz: Fraction | float, lag_s: float = LAG_S
) -> Agreement:
    """How well produced [T] follows requested [T], both in nats at rate_hz."""
    mae_nats, at_zero = energy_agreement(requested, produced)
    best = best_lag(requested, produced, rate_hz, lag_s)
    return Agreement(at_zero, mae_nats, *(best if best is not None else (None, None)))


def best_lag(
    requested: FloatArray, produced: FloatArray, rate_hz: Fraction | float, lag_s: float = LAG_S
) -> tuple[float, float] | None:
    """Highest correlation within ±lag_s and its lag in seconds, or None where no lag has a correlation.

    A positive lag: produced runs later. Each lag is judged on the values that overlap. Of equals the smallest lag wins.
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
    """Mean, median and worse tenth of many clips' figures.

    errors: less is better, so the worse tenth is the 90th percentile. undefined_as: what stands for None; without it
    such clips are left out and only counted.
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


def certainty(values: Sequence[float] | NDArray[np.floating]) -> str:
    """A note on a mean: of how many clips it is, and its standard error."""
    return f"{len(values)} clips, standard error {float(np.std(values)) / max(1, len(values)) ** 0.5:.3f}"
