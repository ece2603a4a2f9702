"""AV-Align (Yariv et al. 2023, "Diverse and Aligned Audio-to-Video Generation via Text-to-Video Model Adaptation").

AV-Align is the intersection over union of motion peaks in the video and onsets in the sound. Two peaks match if they
are less than one frame apart.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.signal import argrelmax

from rewas_engine.curves.onsets import TimesArray, match_onsets

FloatArray = NDArray[np.float32]

LEVELS = 4
"""Maximum number of pyramid levels, for motion of up to about 2**LEVELS pixels per frame."""
SMALLEST_SIDE_PIXELS = 8
WINDOW_PIXELS = 2.0
"""Standard deviation of the window in which neighbouring pixels are assumed to move together."""
STIFFNESS = 20.0
"""Squared brightness per pixel below which an area counts as untextured, and has no motion."""
STEPS = 2


def av_align(
    audio_peaks_s: NDArray[np.floating],
    video_peaks_s: NDArray[np.floating],
    frame_rate: Fraction | float,
    *,
    one_to_one: bool = False,
) -> float:
    """Compute the intersection over union of audio and video peaks.

    As published, an audio peak is in the intersection if any video peak is less than a frame away, and the union is
    N + M − intersection. Several audio peaks can therefore share one video peak, and the value can exceed 1.

    Args:
        audio_peaks_s: [N] seconds.
        video_peaks_s: [M] seconds.
        frame_rate: Video frames per second.
        one_to_one: Give each peak at most one partner, so that the value is symmetric and in 0..1.

    Returns:
        1.0 if both sides are empty, 0.0 if only one is.
    """
    if len(audio_peaks_s) == 0 or len(video_peaks_s) == 0:
        return float(len(audio_peaks_s) == len(video_peaks_s))
    window_s = 1 / float(frame_rate)
    if one_to_one:
        shared = len(match_onsets(audio_peaks_s, video_peaks_s, window_s))
    else:
        video = np.asarray(video_peaks_s, np.float64)
        near = [bool(((video - window_s < peak) & (peak < video + window_s)).any()) for peak in audio_peaks_s]
        shared = sum(near)
    return shared / (len(audio_peaks_s) + len(video_peaks_s) - shared)


def motion_peaks(frames: NDArray[np.uint8], frame_rate: Fraction | float) -> TimesArray:
    """Times of the local maxima of the flow magnitude, [N] seconds, ascending.

    Args:
        frames: Brightness [T, H, W]. Frame i is at i / frame_rate seconds, as in the paper's release.
        frame_rate: Frames per second.
    """
    return np.asarray(argrelmax(flow_magnitude(frames))[0] / float(frame_rate))


def flow_magnitude(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean length of the optical flow from the previous frame, [T] pixels, of brightness [T, H, W].

    The first value repeats the second, as in the paper's release. The flow is computed by the method of Lucas and
    Kanade (1981) at every pixel, from coarse to fine. The release uses OpenCV's Farnebäck, which spreads motion
    farther into its surroundings, so magnitudes differ, and peaks occasionally differ by one frame. Use small frames: a
    frame of 64x64 pixels takes about 6 ms.
    """
    if len(frames) < 2:
        return np.zeros(len(frames))
    moved = [
        float(np.hypot(*_flow(before.astype(np.float32), after.astype(np.float32))).mean())
        for before, after in pairwise(frames)
    ]
    return np.array([moved[0], *moved])


def _flow(before: FloatArray, after: FloatArray) -> FloatArray:
    """Displacements (down, right), [2, H, W] pixels, that map one frame [H, W] to the next."""
    pyramid = [(before, after)]
    while len(pyramid) < LEVELS and min(pyramid[-1][0].shape) >= 2 * SMALLEST_SIDE_PIXELS:
        pyramid.append((_halve(pyramid[-1][0]), _halve(pyramid[-1][1])))
    flow = np.zeros((2, *pyramid[-1][0].shape), np.float32)
    for earlier, later in reversed(pyramid):
        flow = _enlarge(flow, earlier.shape)
        for _ in range(STEPS):
            flow = flow + _correction(earlier, later, flow)
    return flow


def _correction(before: FloatArray, after: FloatArray, flow: FloatArray) -> FloatArray:
    """Correction to a flow [2, H, W]: least squares of brightness constancy around every pixel."""
    rows, columns = np.indices(before.shape, np.float32)
    warped = map_coordinates(after, [rows + flow[0], columns + flow[1]], order=1, mode="nearest")
    down, right = np.gradient((before + warped) / 2)
    change = warped - before

    def window_mean(product: FloatArray) -> FloatArray:
        return np.asarray(gaussian_filter(product, WINDOW_PIXELS))

    down_down, right_right = window_mean(down * down) + STIFFNESS, window_mean(right * right) + STIFFNESS
    down_right = window_mean(down * right)
    down_change, right_change = window_mean(down * change), window_mean(right * change)
    determinant = down_down * right_right - down_right**2
    return np.stack(
        [
            (down_right * right_change - right_right * down_change) / determinant,
            (down_right * down_change - down_down * right_change) / determinant,
        ]
    )


def _halve(frame: FloatArray) -> FloatArray:
    return np.asarray(gaussian_filter(frame, 1.0)[::2, ::2])


def _enlarge(flow: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Upsample the flow of a halved frame to a shape: twice the length, linear interpolation."""
    if flow.shape[1:] == shape:
        return flow
    rows, columns = np.indices(shape, np.float32) / 2
    return np.stack([2 * map_coordinates(part, [rows, columns], order=1, mode="nearest") for part in flow])
