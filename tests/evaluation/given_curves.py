"""Curves whose correlations, errors and lags are known by hand."""

from __future__ import annotations

import numpy as np

from rewas_engine.curves.energy import FloatArray

STEPS = np.tile(np.repeat(np.array([-1, -1, 1, 1], np.float32), 8), 4)
"""128 values, 16 low and 16 high in turn: mean 0, deviation 1. Shifted by n of up to 16 it correlates by 1 - n / 8."""
ACROSS = np.tile(np.repeat(np.array([-1, 1, -1, 1], np.float32), 8), 4)
"""As many, 8 low and 8 high in turn: mean 0, deviation 1, correlation with STEPS 0."""


def following(correlation: float, curve: FloatArray = STEPS, across: FloatArray = ACROSS) -> FloatArray:
    """A curve of mean 0 and deviation 1 that correlates so much with another such one.

    Of STEPS it differs by |1 - c ± √(1 - c²)|, half the time each; for c in 0..1 that is √(1 - c²) on average.
    """
    return np.asarray(correlation * curve + (1 - correlation**2) ** 0.5 * across, np.float32)
