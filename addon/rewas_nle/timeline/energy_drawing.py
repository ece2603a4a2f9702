# SPDX-License-Identifier: GPL-3.0-or-later
"""The shapes of energy curves over the strips of the sequencer.

A curve has frames from the start of a strip's content, and levels in decibels. Its outline has the same frames, and
heights as fractions of a channel. It keeps only the peaks and valleys of each pixel, so that a long curve is drawn as
fast as a short one. Blender in Linux distributions may have no numpy, so slices of arrays do the work.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from .energy_keys import DB_PER_NAT, SILENCE_DB, EnergyKey
from .takes import EnergyCurve

FloatArray: TypeAlias = "array[float]"

LOWEST_DB = SILENCE_DB
"""At the bottom of a strip."""
HIGHEST_DB = 0.0
"""At the top of a strip. The few sounds that are louder are drawn there, too."""
CURVE_BOTTOM, CURVE_TOP = 0.16, 0.78
"""The part of a channel's height that curves use. Marks of the check are below it, names of strips above."""
_HEIGHT_PER_DB = (CURVE_TOP - CURVE_BOTTOM) / (HIGHEST_DB - LOWEST_DB)


@dataclass(frozen=True, eq=False)
class Outline:
    """What is drawn of a curve: points that lines join.

    xs: frames from the start of the strip's content, in order. ys: heights, as fractions of a channel.
    """

    xs: FloatArray
    ys: FloatArray


class Curve(ABC):
    """A curve that is linear between its points. Frames count from the start of the strip's content."""

    _levels: Sequence[float]
    _db_per_level = 1.0

    def outline(self, start_frame: float, end_frame: float, bin_frames: float) -> Outline | None:
        """Return what to draw of the curve between two frames, or None if it has no part there.

        Args:
            start_frame: First visible frame of the strip.
            end_frame: The frame after its last visible one.
            bin_frames: Width of a bin, within which only the highest and the lowest level are drawn.
        """
        start_frame, end_frame = self._range_within(start_frame, end_frame)
        if start_frame >= end_frame:
            return None
        first, last = self._index_after(start_frame), self._index_from(end_frame)
        bins = range(math.floor(start_frame / bin_frames), math.ceil(end_frame / bin_frames))
        if last - first <= 2 * len(bins):
            frames, levels = [self._frame(index) for index in range(first, last)], [*self._levels[first:last]]
        else:
            frames, levels = self._extremes(first, last, bins, bin_frames)
            frames = [min(max(frame, start_frame), end_frame) for frame in frames]
        levels = [self._level_at(start_frame), *levels, self._level_at(end_frame)]
        heights = [_height(level, self._db_per_level) for level in levels]
        return Outline(array("d", [start_frame, *frames, end_frame]), array("d", heights))

    def _extremes(self, first: int, last: int, bins: range, bin_frames: float) -> tuple[list[float], list[float]]:
        """Return the lowest and the highest level of each bin and where to draw them, accurate to one bin."""
        borders = [min(max(self._index_from(number * bin_frames), first), last) for number in bins[1:]]
        frames: list[float] = []
        levels: list[float] = []
        for number, begin, end in zip(bins, [first, *borders], [*borders, last], strict=True):
            if begin < end:
                part = self._levels[begin:end]
                low, high = min(part), max(part)
                frames += ((number + 0.25) * bin_frames, (number + 0.75) * bin_frames)
                levels += (low, high) if part[0] <= part[-1] else (high, low)
        return frames, levels

    @abstractmethod
    def _range_within(self, start_frame: float, end_frame: float) -> tuple[float, float]: ...

    @abstractmethod
    def _index_from(self, frame: float) -> int:
        """Return the index of the first point at a frame or after it."""

    @abstractmethod
    def _index_after(self, frame: float) -> int:
        """Return the index of the first point after a frame."""

    @abstractmethod
    def _frame(self, index: int) -> float: ...

    def _level_at(self, frame: float) -> float:
        after = self._index_after(frame)
        if after == 0:
            return self._levels[0]
        if after == len(self._levels):
            return self._levels[-1]
        before = self._frame(after - 1)
        share = (frame - before) / (self._frame(after) - before)
        return self._levels[after - 1] + share * (self._levels[after] - self._levels[after - 1])


class KeyedCurve(Curve):
    """A drawn curve, whose first and last level continue to the ends of the strip.

    Args:
        keys: The keys, at least one.
        rate: Frames per second of the scene.
    """

    def __init__(self, keys: Sequence[EnergyKey], rate: Fraction) -> None:
        fps = float(rate)
        self._frames = [key.time_s * fps for key in keys]
        self._levels = [key.level_db for key in keys]

    def _range_within(self, start_frame: float, end_frame: float) -> tuple[float, float]:
        return start_frame, end_frame

    def _index_from(self, frame: float) -> int:
        return bisect_left(self._frames, frame)

    def _index_after(self, frame: float) -> int:
        return bisect_right(self._frames, frame)

    def _frame(self, index: int) -> float:
        return self._frames[index]


class SampledCurve(Curve):
    """The energy of a take, which is as long as its sound.

    Args:
        energy: The curve, with at least one value.
        lead_in_s: Time from the start of the strip's content to the start of the take.
        rate: Frames per second of the scene.
    """

    _db_per_level = DB_PER_NAT

    def __init__(self, energy: EnergyCurve, lead_in_s: Fraction, rate: Fraction) -> None:
        self._levels = energy.values
        self._start_frame = float(lead_in_s * rate)
        self._step_frames = float(rate / energy.rate_hz)

    def _range_within(self, start_frame: float, end_frame: float) -> tuple[float, float]:
        own_end = self._start_frame + len(self._levels) * self._step_frames
        return max(start_frame, self._start_frame), min(end_frame, own_end)

    def _index_from(self, frame: float) -> int:
        return self._limited(math.ceil((frame - self._start_frame) / self._step_frames - 0.5))

    def _index_after(self, frame: float) -> int:
        return self._limited(math.floor((frame - self._start_frame) / self._step_frames - 0.5) + 1)

    def _limited(self, index: int) -> int:
        return min(max(index, 0), len(self._levels))

    def _frame(self, index: int) -> float:
        return self._start_frame + (index + 0.5) * self._step_frames


def height_of(level_db: float) -> float:
    """Return how high a level lies in a strip, as a fraction of its channel."""
    return _height(level_db, 1.0)


def level_at_height(height: float) -> float:
    """Return the level in decibels at a height in a strip, as a fraction of its channel."""
    share = min(max((height - CURVE_BOTTOM) / (CURVE_TOP - CURVE_BOTTOM), 0.0), 1.0)
    return LOWEST_DB + share * (HIGHEST_DB - LOWEST_DB)


def bin_width_frames(px_per_frame: float) -> float:
    """Return the width of the bins for which peaks and valleys are kept: a power of two that is about two pixels.

    It stays the same while the user zooms a little, and so do the outlines.
    """
    return float(2.0 ** round(1 - math.log2(px_per_frame)))


def line_points(outline: Outline, by_frames: float, by_channels: float) -> FloatArray:
    """Return pairs of points that lines join, moved in the timeline: x, y, x, y, … in single precision.

    Frames from a near anchor stay exact, even after hours.
    """
    xs, ys = _moved(outline, by_frames, by_channels)
    points: FloatArray = array("f", bytes(16 * (len(xs) - 1)))
    points[0::4], points[1::4], points[2::4], points[3::4] = xs[:-1], ys[:-1], xs[1:], ys[1:]
    return points


def area_points(outline: Outline, by_frames: float, by_channels: float) -> FloatArray:
    """Return a strip of triangles from the bottom to the line, moved in the timeline: x, y, x, y, …

    Its first and last points occur twice, so that the strips of several outlines can be joined.
    """
    xs, ys = _moved(outline, by_frames, by_channels)
    bottoms: FloatArray = array("f", [CURVE_BOTTOM + by_channels]) * len(xs)
    points: FloatArray = array("f", bytes(16 * len(xs)))
    points[0::4], points[1::4], points[2::4], points[3::4] = xs, bottoms, xs, ys
    return points[:2] + points + points[-2:]


def _moved(outline: Outline, by_frames: float, by_channels: float) -> tuple[FloatArray, FloatArray]:
    xs: FloatArray = array("f", [x + by_frames for x in outline.xs])
    ys: FloatArray = array("f", [y + by_channels for y in outline.ys])
    return xs, ys


def _height(level: float, db_per_level: float) -> float:
    height = CURVE_BOTTOM + (level * db_per_level - LOWEST_DB) * _HEIGHT_PER_DB
    return CURVE_TOP if height > CURVE_TOP else CURVE_BOTTOM if height < CURVE_BOTTOM else height
