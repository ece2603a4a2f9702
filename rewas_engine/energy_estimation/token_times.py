"""Times of the video encoder's tokens: their true centres, or the even grid of the release."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter

from rewas_engine.curves.energy import FloatArray

RELEASED_TOKENS = 112
"""14 segments of 8 tokens."""
RELEASED_FRAMES = 125
"""Frames that the release reads from a clip: 5 s at 25 frames per second."""
RELEASED_CONTROL_FRAMES = 512
"""Mel frames that the release stretches its tokens over: 5.12 s."""
SMOOTHING_TOKENS, SMOOTHING_ORDER = 9, 2


def resample_nearest(values: FloatArray, count: int) -> FloatArray:
    """Resample values [T] to `count` values without interpolation: index floor(i·T / count)."""
    return np.asarray(values[np.arange(count) * len(values) // count])


def released_smoothing(values: FloatArray) -> FloatArray:
    """Smooth values [T] with the Savitzky-Golay filter of the paper; the ends continue the last parabola."""
    return np.asarray(savgol_filter(values, SMOOTHING_TOKENS, SMOOTHING_ORDER, mode="interp"), np.float32)


def released_control(tokens: FloatArray) -> FloatArray:
    """Energies [512] at the mel frame rate from the energies of the 112 tokens, exactly as the release computes them.

    The tokens overlap by half, but the release places them one after another, so the sound is up to 0.5 s off.
    """
    return resample_nearest(released_smoothing(tokens), RELEASED_CONTROL_FRAMES)


def interpolate_at_token_times(
    energies: FloatArray, token_times_frames: NDArray[np.floating], count: int
) -> FloatArray:
    """Interpolate the energies of tokens at the centre of each frame.

    Args:
        energies: [N], one per token.
        token_times_frames: [N], true times in frames from the start of the clip.
        count: Number of frames.

    Returns:
        Energies [count]. Tokens at the same time are averaged; before the first and after the last, values are held.
    """
    times, which = np.unique(np.asarray(token_times_frames, np.float64), return_inverse=True)
    means = np.bincount(which, weights=energies) / np.bincount(which)
    return np.asarray(np.interp(np.arange(count) + 0.5, times, means), np.float32)
