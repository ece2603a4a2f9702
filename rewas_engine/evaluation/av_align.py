"""AV-Align (Yariv et al. 2023, "Diverse and Aligned Audio-to-Video Generation via Text-to-Video Model Adaptation").

Peaks of the motion in the picture against onsets of the sound: the size of their intersection over that of their union,
where a peak of one lies within a frame of a peak of the other.
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
"""Of the pyramid at most: motion of up to about 2**LEVELS pixels a frame is followed."""
SMALLEST_SIDE_PIXELS = 8
WINDOW_PIXELS = 2.0
"""Standard deviation of the window in which neighbours are taken to move together."""
STIFFNESS = 20.0
"""Squared brightness a pixel that counts as no texture: flat areas stay where they are."""
STEPS = 2


def av_align(
    audio_peaks_s: NDArray[np.floating],
    video_peaks_s: NDArray[np.floating],
    frame_rate: Fraction | float,
    *,
    one_to_one: bool = False,
) -> float:
    """Intersection over union of peaks in seconds, audio [N] and video [M].

    As published: an audio peak is in the intersection where any video peak is less than a frame away, and the union is
    N + M − intersection. Several audio peaks may so share one video peak, and the figure may exceed 1.
    one_to_one: each peak has one partner at most, which keeps the figure in 0..1 and makes it symmetric.
    Both sides empty: 1.0, nothing moves and nothing sounds. One side empty: 0.0.
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
    """Times in seconds, ascending, of the local maxima of the flow's magnitude in brightness [T, H, W].

    Frame i stands at i / frame_rate seconds, as in the paper's release.
    """
    return np.asarray(argrelmax(flow_magnitude(frames))[0] / float(frame_rate))


def flow_magnitude(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean length of the optical flow since the frame before, [T] in pixels, of brightness [T, H, W].

    The first value repeats the second, as in the paper's release. The flow is Lucas and Kanade's (1981) in every pixel,
    from coarse to fine; the release takes OpenCV's Farnebäck, which spreads motion further into its surroundings, so
    that magnitudes differ, and peaks by a frame now and then. Give small frames: each of 64x64 takes about 6 ms.
    """
    if len(frames) < 2:
        return np.zeros(len(frames))
    moved = [
        float(np.hypot(*_flow(before.astype(np.float32), after.astype(np.float32))).mean())
        for before, after in pairwise(frames)
    ]
    return np.array([moved[0], *moved])


def _flow(before: FloatArray, after: FloatArray) -> FloatArray:
    """Displacements down and to the right, [2, H, W] in pixels, that bring one picture [H, W] to the next."""
    pyramid = [(before, after)]
    while len(pyramid) < LEVELS and min(pyramid[-1][0].shape) >= 2 * SMALLEST_SIDE_PIXELS:
        pyramid.append((_halved(pyramid[-1][0]), _halved(pyramid[-1][1])))
    flow = np.zeros((2, *pyramid[-1][0].shape), np.float32)
    for earlier, later in reversed(pyramid):
        flow = _enlarged(flow, earlier.shape)
        for _ in range(STEPS):
            flow = flow + _correction(earlier, later, flow)
    return flow


def _correction(before: FloatArray, after: FloatArray, flow: FloatArray) -> FloatArray:
    """What a flow [2, H, W] lacks: the least squares of brightness constancy about every pixel."""
    rows, columns = np.indices(before.shape, np.float32)
    returned = map_coordinates(after, [rows + flow[0], columns + flow[1]], order=1, mode="nearest")
    down, right = np.gradient((before + returned) / 2)
    change = returned - before

    def about(product: FloatArray) -> FloatArray:
        return np.asarray(gaussian_filter(product, WINDOW_PIXELS))

    down_down, right_right = about(down * down) + STIFFNESS, about(right * right) + STIFFNESS
    down_right, down_change, right_change = about(down * right), about(down * change), about(right * change)
    determinant = down_down * right_right - down_right**2
    return np.stack(
        [
            (down_right * right_change - right_right * down_change) / determinant,
            (down_right * down_change - down_down * right_change) / determinant,
        ]
    )


def _halved(picture: FloatArray) -> FloatArray:
    return np.asarray(gaussian_filter(picture, 1.0)[::2, ::2])


def _enlarged(flow: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """A flow of a halved picture for one of a shape: twice as long, between the known pixels linear."""
    if flow.shape[1:] == shape:
        return flow
    rows, columns = np.indices(shape, np.float32) / 2
    return np.stack([2 * map_coordinates(part, [rows, columns], order=1, mode="nearest") for part in flow])
