# SPDX-License-Identifier: GPL-3.0-or-later
"""Fades of sounds: keyframes of the volume, from 0 up and down to 0, as Blender's operator Add Fades makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isclose

from .exchanged import Curve, ExchangedStrip

VOLUME_PATH = "volume"
_SAME_VOLUME = 1e-4
_SAME_FRAME = 1e-2


@dataclass(frozen=True)
class Fades:
    """How long a sound fades in and out, in frames."""

    in_frames: int = 0
    out_frames: int = 0

    def within(self, frames: int) -> Fades:
        """Return the fades of a sound that has this length: they do not overlap."""
        in_frames = min(self.in_frames, frames)
        return Fades(in_frames, min(self.out_frames, frames - in_frames))


@dataclass(frozen=True)
class Level:
    """The volume of a sound. volume: linear, between its fades."""

    volume: float = 1.0
    fades: Fades = Fades()

    def is_same(self, other: Level) -> bool:
        """Return whether two levels sound the same."""
        return self.fades == other.fades and is_same_volume(self.volume, other.volume)


def is_same_volume(first: float, second: float) -> bool:
    """Return whether two linear volumes are equal, except for rounding in files."""
    return abs(first - second) <= _SAME_VOLUME * max(1.0, abs(first))


def level_of(strip: ExchangedStrip) -> Level | None:
    """Return the volume and fades of a sound strip, or None if its volume is not a number or animated otherwise."""
    curve = next((curve for curve in strip.curves if curve.path == VOLUME_PATH), None)
    if curve is None:
        volume = strip.properties.get(VOLUME_PATH, 1.0)
        return Level(float(volume)) if isinstance(volume, int | float) else None
    points = [(key[0], key[1]) for key in curve.keys]
    if curve.flags or len(points) < 2:
        return None
    volume = max(value for _, value in points)
    in_frames = points[1][0] if _is_near(points[0], (0, 0)) else 0
    out_frames = strip.frames - points[-2][0] if _is_near(points[-1], (strip.frames, 0)) else 0
    level = Level(volume, Fades(round(in_frames), round(out_frames)))
    expected = _points(level, strip.frames)
    is_known = len(points) == len(expected) and all(map(_is_near, points, expected))
    return level if volume > 0 and is_known else None


def fade_curve(level: Level, frames: int) -> Curve | None:
    """Return the keyframes of a volume with fades, or None if there are no fades. frames: length of the sound."""
    points = _points(level, frames)
    keys = tuple(
        (frame, value, "LINEAR", frame, value, frame, value, "VECTOR", "VECTOR")
        for frame, value in ((float(frame), float(value)) for frame, value in points)
    )
    return Curve(VOLUME_PATH, 0, keys) if keys else None


def _points(level: Level, frames: int) -> Sequence[tuple[float, float]]:
    """Return the frame and volume of each key, from the first frame of the sound."""
    fades, points = level.fades.within(frames), []
    if fades.in_frames:
        points = [(0, 0.0), (fades.in_frames, level.volume)]
    if fades.out_frames:
        falls_from = (frames - fades.out_frames, level.volume)
        points += [*([] if falls_from in points else [falls_from]), (frames, 0.0)]
    return points


def _is_near(first: tuple[float, float], second: tuple[float, float]) -> bool:
    is_near: bool = isclose(first[0], second[0], abs_tol=_SAME_FRAME)
    return is_near and is_same_volume(first[1], second[1])
