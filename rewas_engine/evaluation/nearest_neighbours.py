"""Distances of embeddings from their nearest neighbours in another set, and what they say about two sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewas_engine.curves.energy import FloatArray

RESAMPLES = 2000
INTERVAL = 0.95

Distances = NDArray[np.float64]


@dataclass(frozen=True)
class Nearness:
    """How near sounds are to real ones, relative to real ones among each other.

    Attributes:
        value: 1 if they are as near as real ones, 0.5 if they are twice as far.
        low, high: Ends of the 95 % percentile interval over resampled kinds and sounds.
    """

    value: float
    low: float
    high: float


def cosine_distances(first: FloatArray, second: FloatArray) -> Distances:
    """1 minus the cosine of each pair, [N, M], of embeddings [N, D] and [M, D]."""

    def unit(embeddings: FloatArray) -> Distances:
        wide = np.asarray(embeddings, np.float64)
        return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True))

    return 1 - unit(first) @ unit(second).T


def nearest_other_distances(embeddings: FloatArray, references: FloatArray) -> Distances:
    """Distance [N] from each embedding to the nearest reference except the one of the same number.

    Args:
        embeddings: [N, D], the references themselves, or a sound for each of them.
        references: [N, D], two or more.
    """
    distances = cosine_distances(embeddings, references)
    np.fill_diagonal(distances, np.inf)
    return np.asarray(distances.min(axis=1))


def nearest_distances(embeddings: FloatArray, references: FloatArray) -> Distances:
    """Distance [K] from each embedding to the nearest reference, when a random one of them is left out.

    One is left out so that the distances can be compared with those of `nearest_other_distances`.

    Args:
        embeddings: [K, D].
        references: [N, D], two or more.
    """
    nearest, next_nearest = np.partition(cosine_distances(embeddings, references), 1, axis=1)[:, :2].T
    share = 1 / len(references)
    return np.asarray((1 - share) * nearest + share * next_nearest)


def nearness(real: Sequence[Distances], made: Sequence[Distances], *, paired: bool) -> Nearness:
    """Compare distances to real sounds. The same distances always give the same interval.

    Args:
        real: For each kind, distances [N] of real sounds from other real ones.
        made: For each kind, distances [K] of other sounds from real ones.
        paired: Whether sounds of the same number belong together, so that they are resampled together.
    """
    rng = np.random.default_rng(0)
    of_kinds = np.empty((RESAMPLES, len(real), 2))
    for number, (one, other) in enumerate(zip(real, made, strict=True)):
        drawn = rng.integers(0, len(one), (RESAMPLES, len(one)))
        of_kinds[:, number, 0] = one[drawn].mean(axis=1)
        drawn = drawn if paired else rng.integers(0, len(other), (RESAMPLES, len(other)))
        of_kinds[:, number, 1] = other[drawn].mean(axis=1)
    kinds = rng.integers(0, len(real), (RESAMPLES, len(real)))
    sums = np.take_along_axis(of_kinds, kinds[..., None], axis=1).sum(axis=1)
    tail = (1 - INTERVAL) / 2
    low, high = np.quantile(_ratio(sums[:, 0], sums[:, 1]), [tail, 1 - tail])
    of_real, of_made = (np.sum([each.mean() for each in sets]) for sets in (real, made))
    return Nearness(float(_ratio(of_real, of_made)), float(low), float(high))


def _ratio(real: Distances, made: Distances) -> Distances:
    """The quotient; sounds that do not differ from real ones are as near as they can be."""
    smallest = np.finfo(np.float64).eps
    return np.asarray(np.maximum(real, smallest) / np.maximum(made, smallest))
