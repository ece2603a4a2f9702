"""Curves whose correlations, errors and lags are known."""

from __future__ import annotations

import numpy as np

from rewas_engine.curves.energy import FloatArray

STEPS = np.tile(np.repeat(np.array([-1, -1, 1, 1], np.float32), 8), 4)
"""128 values, alternating 16 low and 16 high: mean 0, deviation 1. Shifted by n up to 16, it correlates by 1 - n / 8.
"""
ACROSS = np.tile(np.repeat(np.array([-1, 1, -1, 1], np.float32), 8), 4)
"""128 values, alternating 8 low and 8 high: mean 0, deviation 1, correlation 0 with STEPS."""


def following(correlation: float, curve: FloatArray = STEPS, across: FloatArray = ACROSS) -> FloatArray:
    """A curve of mean 0 and deviation 1 with a given correlation to another one.

    It differs from STEPS by |1 - c ± √(1 - c²)|, half the time each; for c in 0..1 the average is √(1 - c²).
    """
    return np.asarray(correlation * curve + (1 - correlation**2) ** 0.5 * across, np.float32)
