"""Energy from motion alone: the baselines that an estimator must beat."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from rewas_engine.curves.energy import FloatArray

SMOOTHING_S = 0.08
"""Standard deviation of the smoothing of the log difference, the best value between 0.04 and 0.16 s on real clips."""
MIN_FLOW_PIXELS = 16
FLOW_PERCENTILE = 95
"""The fastest part of a frame counts, because most of a frame is background."""


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


def optical_flow(frames: NDArray[np.uint8]) -> FloatArray | None:
    """Speed [T] of the fastest part of each frame in pixels per frame, for brightness frames [T, H, W].

    Farnebäck's dense flow between neighbouring frames; its median vector, which is the motion of the camera, is
    subtracted. The first value is 0. None if OpenCV is not installed (the extra `flow`), or for frames below
    MIN_FLOW_PIXELS.
    """
    if min(frames.shape[1:]) < MIN_FLOW_PIXELS:
        return None
    try:
        import cv2
    except ImportError:
        return None
    speeds = np.zeros(len(frames), np.float32)
    for number in range(1, len(frames)):
        unused = np.zeros((*frames.shape[1:], 2), np.float32)
        flow = cv2.calcOpticalFlowFarneback(frames[number - 1], frames[number], unused, 0.5, 3, 15, 3, 5, 1.2, 0)
        moving = flow - np.median(flow.reshape(-1, 2), axis=0)
        speeds[number] = np.percentile(np.hypot(moving[..., 0], moving[..., 1]), FLOW_PERCENTILE)
    return speeds
