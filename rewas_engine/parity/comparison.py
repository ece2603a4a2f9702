"""Comparison of our arrays with those of the reference implementation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from rewas_engine.parity.reference_arrays import SampledArray

BOUND = 1e-4
"""Largest difference that passes, in standard deviations of the reference array."""
SAMPLER_BOUND = 1e-5


@dataclass(frozen=True)
class Comparison:
    """One array compared with its reference.

    Args:
        array: File and name.
        difference: Largest absolute difference, in standard deviations of the reference; relative for a single number.
        bound: Largest difference that passes; 0 requires identical values.
    """

    array: str
    difference: float
    bound: float

    @property
    def passed(self) -> bool:
        """Whether the difference is within the bound."""
        return self.difference <= self.bound


def compare(
    array: str, ours: ArrayLike | torch.Tensor, reference: ArrayLike | SampledArray, bound: float = BOUND
) -> Comparison:
    """Compare an array with its reference, which may hold only a sample of the values.

    The difference is infinite if the shapes differ or a value is not finite.
    """
    found = np.asarray(_plain(ours), np.float64)
    wanted = np.asarray(reference.values if isinstance(reference, SampledArray) else reference, np.float64)
    shape = reference.shape if isinstance(reference, SampledArray) else wanted.shape
    if found.shape != shape or not np.isfinite(found).all():
        return Comparison(array, float("inf"), bound)
    std = float(wanted.std())
    if isinstance(reference, SampledArray):
        found, std = reference.sample(found), reference.std
    scale = std or float(np.abs(wanted).max()) or 1.0
    return Comparison(array, float(np.abs(found - wanted).max(initial=0.0)) / scale, bound)


def table(comparisons: Iterable[Comparison]) -> list[str]:
    """Format comparisons as lines of a Markdown table."""
    rows = [
        f"| {one.array} | {_number(one.difference)} | {_number(one.bound)} | {'yes' if one.passed else '**no**'} |"
        for one in comparisons
    ]
    return ["| array | difference | bound | within |", "|---|---|---|---|", *rows]


def _number(value: float) -> str:
    return "0" if value == 0 else f"{value:.1e}"


def _plain(values: ArrayLike | torch.Tensor) -> ArrayLike:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values
