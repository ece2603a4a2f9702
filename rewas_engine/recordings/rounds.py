"""Group the events of a recording that are variations of one sound, such as for round robin."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RANGE_NATS = 6.0
"""Values this far below the loudest band do not count."""
DISTANCE_NATS = 1.1
"""Largest RMS difference between an event and the mean of its round."""

FloatArray = NDArray[np.float32]


def group_rounds(spectra: Sequence[FloatArray]) -> list[int]:
    """Group events by the shape of their spectrum, whatever their level.

    Each event joins the nearest round, or begins a new one. The time is proportional to events times rounds.

    Args:
        spectra: Log-mel spectrum `[bins]` in nats of each event.

    Returns:
        The round of each event, counted from 0 in the order of their first events.
    """
    means = np.empty((0, 0))
    counts: list[int] = []
    rounds: list[int] = []
    for spectrum in spectra:
        shape = _shape(spectrum)
        distances = np.sqrt(((means - shape) ** 2).mean(axis=1)) if counts else np.empty(0)
        nearest = int(distances.argmin()) if counts else -1
        if counts and distances[nearest] <= DISTANCE_NATS:
            counts[nearest] += 1
            means[nearest] += (shape - means[nearest]) / counts[nearest]
            rounds.append(nearest)
        else:
            means = np.vstack([means, shape]) if counts else shape[None].copy()
            counts.append(1)
            rounds.append(len(counts) - 1)
    return rounds


def _shape(spectrum: FloatArray) -> NDArray[np.float64]:
    """The spectrum relative to its loudest band, without what is too soft to matter."""
    return np.maximum(np.asarray(spectrum, np.float64) - float(spectrum.max()), -RANGE_NATS)
