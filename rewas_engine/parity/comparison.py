"""How far an array of ours lies from one of the reference implementation."""

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
    """One array held against its reference.

    array: file and name. difference: the largest absolute difference over the reference's standard deviation, or over
    its size where it is a single number. bound: the largest that passes; 0 asks for the same bits.
    """

    array: str
    difference: float
    bound: float

    @property
    def passed(self) -> bool:
        """Whether it lies within its bound."""
        return self.difference <= self.bound


def compare(
    array: str, ours: ArrayLike | torch.Tensor, reference: ArrayLike | SampledArray, bound: float = BOUND
) -> Comparison:
    """Hold an array against its reference, of which a part may be all that is kept.

    What has another shape or is not finite, anywhere, is infinitely far.
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
    """The comparisons as lines of a Markdown table."""
    rows = [
        f"| {one.array} | {_number(one.difference)} | {_number(one.bound)} | {'yes' if one.passed else '**no**'} |"
        for one in comparisons
    ]
    return ["| array | difference | bound | within |", "|---|---|---|---|", *rows]


def _number(value: float) -> str:
    return "0" if value == 0 else f"{value:.1e}"


def _plain(values: ArrayLike | torch.Tensor) -> ArrayLike:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values
