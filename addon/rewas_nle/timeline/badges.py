# SPDX-License-Identifier: GPL-3.0-or-later
"""Positions of a strip's badge and marks in the sequencer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .sequencer_view import SequencerView

_MARK_HEIGHT = 0.08
_STRIP_BOTTOM, _STRIP_TOP = 0.06, 0.94


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    left: float
    bottom: float
    right: float
    top: float


@dataclass(frozen=True)
class FlaggedStrip:
    """A strip with a badge. marks: ranges in scene frames."""

    start_frame: float
    end_frame: float
    channel: int
    marks: tuple[tuple[float, float], ...]


def mark_boxes(strip: FlaggedStrip, view: SequencerView) -> list[Box]:
    """Return the visible marks of a strip: bars along its lower edge, at least two pixels wide."""
    boxes = []
    for start, end in strip.marks:
        start, end = max(start, strip.start_frame), min(end, strip.end_frame)
        if start >= end:
            continue
        left, bottom = view.to_pixel(start, strip.channel + _STRIP_BOTTOM)
        right, top = view.to_pixel(end, strip.channel + _STRIP_BOTTOM + _MARK_HEIGHT)
        if right >= 0 and left <= view.width_px:
            boxes.append(Box(left, bottom, max(right, left + 2), max(top, bottom + 3)))
    return boxes


def badge_box(strip: FlaggedStrip, view: SequencerView, size_px: float) -> Box | None:
    """Return the square of a badge, at the right end of a strip's visible part, or None if it does not fit."""
    left, _ = view.to_pixel(strip.start_frame, strip.channel)
    right, top = view.to_pixel(strip.end_frame, strip.channel + _STRIP_TOP)
    right = min(right, view.width_px) - size_px * 0.3
    if right - size_px < max(left, 0):
        return None
    top -= size_px * 0.2
    return Box(right - size_px, top - size_px, right, top)


def box_triangles(boxes: Iterable[Box]) -> list[tuple[float, float]]:
    """Return two triangles for each rectangle, as a flat list of points."""
    points = []
    for box in boxes:
        corners = ((box.left, box.bottom), (box.right, box.bottom), (box.right, box.top), (box.left, box.top))
        points += [corners[index] for index in (0, 1, 2, 0, 2, 3)]
    return points
