"""Stretches of a row of flags that are set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def runs_of(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First position and end, which is one past the last, of every run of flags [N] that are set, in order."""
    edges = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    firsts, ends = np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)
    return list(zip(firsts.tolist(), ends.tolist(), strict=True))
