"""Cuts: where one shot of a clip ends and the next begins, found on small pictures."""

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
"""Pictures are looked at this small: what a cut changes is seen there, and grain is not."""
MIN_SHOT_S = Fraction(1, 5)
"""What is shown for less is a flash, or something that passes close to the camera, and no shot."""
MIN_CUT_LEVELS = 12.0
"""Levels of brightness, of 255, by which a cut changes the picture at least, in the mean over its blocks."""
MIN_CUT_RATIO = 3.5
"""How many times as much a cut changes as the pictures around it do."""
_BLOCK = 6
_SEARCH_RADIUS_PX = 3
"""So far a block is looked for around its place, in pixels of the small picture, in every direction."""
_GRAIN_LEVELS = 1.0
"""Between two pictures of a still shot there is so much grain."""
_CHUNK_FRAMES = 256
_MAX_FRAME_RATE = Fraction(60)
"""Of a film with more pictures a second not all are looked at."""


@dataclass(frozen=True)
class Cut:
    """Where a new shot begins. frame: its first picture. levels: by how much it is another picture, 0 to 255."""

    frame: int
    levels: float


def find_cuts(
    clip: VideoClip, *, on_progress: ProgressCallback | None = None, cancel: CancelSignal | None = None
) -> tuple[Fraction, ...]:
    """The cuts in a clip, in seconds from its start, each at least MIN_SHOT_S from the next and from both ends.

    See `detect_cuts` for what is found and what is not. It needs no pack. Raises MediaError, Cancelled.
    """
    read, tracker = read_clip(clip), ProgressTracker(on_progress, cancel)
    rate = min(read.frame_rate, _MAX_FRAME_RATE)
    count = frame_count(read.duration_s, rate)
    shown = iter_frames(
        read.path,
        start_s=read.start_s,
        duration_s=read.duration_s,
        frame_rate=rate,
        width=SMALL_WIDTH,
        height=SMALL_HEIGHT,
        cancel=cancel,
    )

    def report_progress() -> Iterator[NDArray[np.uint8]]:
        for number, picture in enumerate(shown, start=1):
            yield picture
            if number % _CHUNK_FRAMES == 0:
                tracker.report("decode", number, count)

    with tracker.stage("decode"):
        found = [cut.frame / rate for cut in detect_cuts(FrameStream(report_progress(), count), rate)]
    latest_s = read.duration_s - MIN_SHOT_S
    return tuple(time_s for time_s in found if MIN_SHOT_S <= time_s <= latest_s)


def detect_cuts(frames: FrameSequence, frame_rate: Fraction) -> list[Cut]:
    """The cuts in a moving picture of brightness [T, SMALL_HEIGHT, SMALL_WIDTH], in order.

    Two pictures are as unlike as the blocks of the one are from whatever lies near their place in the other. At a cut
    all pictures up to MIN_SHOT_S before it are unlike all those up to MIN_SHOT_S after it (after a flash the
    old picture is back), and much more so than neighbours are elsewhere around it (rain and waves are always another
    picture). A dissolve changes too little from picture to picture, and is not found.
    """
    reach = max(1, int(MIN_SHOT_S * frame_rate))
    found: list[Cut] = []
    for frame, around, place in _cut_candidates(frames, reach):
        levels = _cut_levels(around, place)
        if levels is None:
            continue
        if found and frame - found[-1].frame < reach:
            # Two within the least length of a shot are one, in several steps: the greatest counts.
            found[-1] = max(found[-1], Cut(frame, levels), key=lambda cut: cut.levels)
        else:
            found.append(Cut(frame, levels))
    return found


def _cut_candidates(frames: FrameSequence, reach: int) -> Iterator[tuple[int, FloatArray, int]]:
    """Pictures that differ much from the one before, with those around them, and their place among these."""
    total = len(frames)
    for first in range(1, total, _CHUNK_FRAMES):
        begin, end = max(0, first - reach), min(total, first + _CHUNK_FRAMES + reach)
        some = np.asarray(frames[begin:end], np.float32)
        changes = np.abs(np.diff(some, axis=0)).mean(axis=(1, 2))
        for frame in range(first, min(total, first + _CHUNK_FRAMES)):
            left, right = max(begin, frame - reach), min(end, frame + reach)
            usual = np.median(changes[left - begin : right - begin - 1])
            # Blocks are found again somewhere: what differs little where it stands differs no more than that.
            if changes[frame - 1 - begin] >= max(MIN_CUT_LEVELS, 2 * usual):
                yield frame, some[left - begin : right - begin], frame - left


def _cut_levels(around: FloatArray, place: int) -> float | None:
    """How unlike the pictures from a place on are to those before it, at least; None where that is no cut."""
    least = block_difference(around[place - 1], around[place])
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
    """Levels by which the blocks of a picture [H, W] differ from what is most like them nearby in another: the mean."""
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
