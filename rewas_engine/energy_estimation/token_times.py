"""Where in time the video encoder's tokens stand: truly, or as the release laid them out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter

from rewas_engine.curves.energy import FloatArray

RELEASED_TOKENS = 112
"""14 segments of 8 tokens."""
RELEASED_FRAMES = 125
"""Pictures that the release sees of a clip: five seconds at 25 a second."""
RELEASED_CONTROL_FRAMES = 512
"""Mel frames that the release lays its tokens over: 5.12 seconds."""
SMOOTHING_TOKENS, SMOOTHING_ORDER = 9, 2


def resample_nearest(values: FloatArray, count: int) -> FloatArray:
    """The values [T] at another count, without anything between them: index floor(i·T / count)."""
    return np.asarray(values[np.arange(count) * len(values) // count])


def released_smoothing(values: FloatArray) -> FloatArray:
    """Values [T] through the Savitzky-Golay filter of the paper; at the ends the last parabola goes on."""
    return np.asarray(savgol_filter(values, SMOOTHING_TOKENS, SMOOTHING_ORDER, mode="interp"), np.float32)


def released_control(tokens: FloatArray) -> FloatArray:
    """Energies [512] at the mel frame rate from those of the 112 tokens, exactly as the release computes them.

    The tokens overlap by half, and the release lays them side by side: what is heard is up to half a second off.
    """
    return resample_nearest(released_smoothing(tokens), RELEASED_CONTROL_FRAMES)


def interpolate_at_token_times(
    energies: FloatArray, token_times_frames: NDArray[np.floating], count: int
) -> FloatArray:
    """Energies [count] at the middle of each frame from those of tokens [N], each at its true time.

    token_times_frames: [N] in frames from the clip's start. Tokens of one time are averaged; between times the energy
    is linear, and at the ends it is held.
    """
    times, which = np.unique(np.asarray(token_times_frames, np.float64), return_inverse=True)
    means = np.bincount(which, weights=energies) / np.bincount(which)
    return np.asarray(np.interp(np.arange(count) + 0.5, times, means), np.float32)
