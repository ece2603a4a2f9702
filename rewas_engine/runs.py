"""Stretches of a row of flags that are set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def runs_of(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First position and end, which is one past the last, of every run of flags [N] that are set, in order."""
    between = np.zeros(len(flags) + 2, np.bool_)
    between[1:-1] = flags
    edges = np.flatnonzero(between[1:] != between[:-1])
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
