"""Energy from motion alone: the baselines that an estimator must beat."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from rewas_engine.curves.energy import FloatArray

SMOOTHING_S = 0.08
"""Standard deviation of the smoothing of the log difference, the best value between 0.04 and 0.16 s on real clips."""


def frame_difference(frames: NDArray[np.uint8]) -> FloatArray:
    """Mean absolute change of brightness [T] from the previous frame, in levels of 0..255, for frames [T, H, W].

    The first value is 0.
    """
    moving = frames.astype(np.float32)
    changes = np.abs(np.diff(moving, axis=0)).mean(axis=(1, 2))
    return np.concatenate([np.zeros(1, np.float32), changes])


def smoothed_log_difference(difference: FloatArray, rate_hz: Fraction | float) -> FloatArray:
    """ln(1 + difference) of a frame difference [T], smoothed over time: [T]."""
    return np.asarray(gaussian_filter1d(np.log1p(difference), SMOOTHING_S * float(rate_hz)), np.float32)
