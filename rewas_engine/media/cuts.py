"""Find cuts: the times at which one shot of a clip ends and the next begins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewas_engine.curves.energy import FloatArray
from rewas_engine.media.clip import VideoClip
from rewas_engine.media.frame_stream import FrameSequence, FrameStream
from rewas_engine.media.probe import read_clip
from rewas_engine.media.video import frame_count, iter_frames
from rewas_engine.runtime.progress import CancelSignal, ProgressCallback, ProgressTracker

SMALL_WIDTH, SMALL_HEIGHT = 64, 36
"""Size of the analysed frames: small enough to hide grain, large enough to show cuts."""
MIN_SHOT_S = Fraction(1, 5)
"""Shorter shots are flashes, or objects that pass close to the camera."""
MIN_CUT_LEVELS = 12.0
"""Smallest mean block difference at a cut, in levels of 255."""
MIN_CUT_RATIO = 3.5
"""Smallest ratio of the difference at a cut to the usual difference around it."""
_BLOCK = 6
_SEARCH_RADIUS_PX = 3
"""Search radius of a block, in pixels of the small frame."""
_GRAIN_LEVELS = 1.0
"""Difference between two frames of a still shot, caused by grain."""
_CHUNK_FRAMES = 256
_MAX_FRAME_RATE = Fraction(60)
"""Videos with more frames per second are subsampled."""


@dataclass(frozen=True)
class Cut:
    """A cut: the first frame of the new shot, and the difference from the old one, from 0 to 255."""

    frame: int
    levels: float


def find_cuts(
    clip: VideoClip, *, on_progress: ProgressCallback | None = None, cancel: CancelSignal | None = None
) -> tuple[Fraction, ...]:
    """Find the cuts of a clip. No pack is needed.

    Returns:
        Seconds from the clip's start, at least MIN_SHOT_S from each other and from both ends.

    Raises:
        MediaError: The clip cannot be read.
        Cancelled: The caller asked to stop.
    """
    read, tracker = read_clip(clip), ProgressTracker(on_progress, cancel)
    if read.is_frozen:
        return ()
    # Slow motion repeats frames, which would hide how much neighbouring frames differ.
    rate = min(read.frame_rate * min(abs(read.speed), Fraction(1)), _MAX_FRAME_RATE)
    count = frame_count(read.duration_s, rate)
    shown = iter_frames(
        read.path,
        start_s=read.start_s,
        duration_s=read.duration_s,
        frame_rate=rate,
        width=SMALL_WIDTH,
        height=SMALL_HEIGHT,
        speed=read.speed,
        sequence=read.sequence,
        cancel=cancel,
    )

    def report_progress() -> Iterator[NDArray[np.uint8]]:
        for number, frame in enumerate(shown, start=1):
            yield frame
            if number % _CHUNK_FRAMES == 0:
                tracker.report("decode", number, count)

    with tracker.stage("decode"):
        found = [cut.frame / rate for cut in detect_cuts(FrameStream(report_progress(), count), rate)]
    latest_s = read.duration_s - MIN_SHOT_S
    return tuple(time_s for time_s in found if MIN_SHOT_S <= time_s <= latest_s)


def detect_cuts(frames: FrameSequence, frame_rate: Fraction) -> list[Cut]:
    """Detect the cuts in luma frames `[T, SMALL_HEIGHT, SMALL_WIDTH]`, in order.

    Two frames are compared by their best-matching blocks. At a cut, all frames up to MIN_SHOT_S before it differ from
    all frames up to MIN_SHOT_S after it (unlike at a flash), and they differ much more than neighbouring frames around
    the cut do (unlike in rain or waves). Dissolves change too slowly to be detected.
    """
    # A change is compared with those around it, which needs two frames on each side even at a low frame rate.
    reach = max(2, int(MIN_SHOT_S * frame_rate))
    found: list[Cut] = []
    for frame, around, place in _cut_candidates(frames, reach):
        levels = _cut_levels(around, place)
        if levels is None:
            continue
        if found and frame - found[-1].frame < reach:
            # Cuts closer than the shortest shot are one cut in several steps; the largest counts.
            found[-1] = max(found[-1], Cut(frame, levels), key=lambda cut: cut.levels)
        else:
            found.append(Cut(frame, levels))
    return found


def _cut_candidates(frames: FrameSequence, reach: int) -> Iterator[tuple[int, FloatArray, int]]:
    """Find frames that differ much from the previous one. Yields each with the frames around it and its index there."""
    total = len(frames)
    for first in range(1, total, _CHUNK_FRAMES):
        begin, end = max(0, first - reach), min(total, first + _CHUNK_FRAMES + reach)
        some = np.asarray(frames[begin:end], np.float32)
        changes = np.abs(np.diff(some, axis=0)).mean(axis=(1, 2))
        for frame in range(first, min(total, first + _CHUNK_FRAMES)):
            left, right = max(begin, frame - reach), min(end, frame + reach)
            usual = np.median(changes[left - begin : right - begin - 1])
            # The pixel difference is an upper bound of the block difference.
            if changes[frame - 1 - begin] >= max(MIN_CUT_LEVELS, 2 * usual):
                yield frame, some[left - begin : right - begin], frame - left


def _cut_levels(around: FloatArray, place: int) -> float | None:
    """Smallest difference between the frames before and after a position; None if that is not a cut."""
    least = block_difference(around[place - 1], around[place])
    if least < MIN_CUT_LEVELS:
        return None
    steps = [number for number in range(1, len(around)) if number != place]
    usual = (
        float(np.median([block_difference(around[number - 1], around[number]) for number in steps])) if steps else 0.0
    )
    enough = max(MIN_CUT_LEVELS, MIN_CUT_RATIO * (usual + _GRAIN_LEVELS))
    for back in range(place):
        for ahead in range(len(around) - place):
            if least < enough:
                return None
            least = min(least, block_difference(around[place - 1 - back], around[place + ahead]))
    return least if least >= enough else None


def block_difference(one: FloatArray, other: FloatArray) -> float:
    """Mean difference of the blocks of `other` `[H, W]` from their best matches nearby in `one`, in levels."""
    height, width = (size - size % _BLOCK for size in one.shape)
    padded = np.pad(one, _SEARCH_RADIUS_PX, mode="edge")
    shown = other[:height, :width]
    nearest = np.full((height // _BLOCK, width // _BLOCK), np.inf, np.float32)
    for down in range(2 * _SEARCH_RADIUS_PX + 1):
        for right in range(2 * _SEARCH_RADIUS_PX + 1):
            missed = np.abs(padded[down : down + height, right : right + width] - shown)
            means = missed.reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK).mean(axis=(1, 3))
            np.minimum(nearest, means, out=nearest)
    return float(nearest.mean())
