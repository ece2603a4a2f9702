"""AV-Align (Yariv et al. 2023, "Diverse and Aligned Audio-to-Video Generation via Text-to-Video Model Adaptation").

Peaks of the motion in the picture against onsets of the sound: the size of their intersection over that of their union,
where a peak of one lies within a frame of a peak of the other.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewas_engine.evaluation.onsets import TimesArray, match_onsets


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
    union = len(audio_peaks_s) + len(video_peaks_s) - shared
    # Two audio peaks about each of as many video peaks leave nothing in the published union.
    return shared / union if union > 0 else float(shared)


def flow_magnitude(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean length of the optical flow since the frame before, [T] in pixels, of brightness [T, H, W].

    The first value repeats the second, as in the paper's release.
    """
    raise NotImplementedError


def motion_peaks(frames: NDArray[np.uint8], frame_rate: Fraction | float) -> TimesArray:
    """Times in seconds, ascending, of the local maxima of the flow's magnitude in brightness [T, H, W]."""
    raise NotImplementedError
