# SPDX-License-Identifier: GPL-3.0-or-later
"""A line that the user draws over a strip with the pen, and the energy curve that it changes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .energy_keys import EnergyKey, decimate, level_at, levels_at

_SMOOTHED_COLUMNS = 2
"""On each side: enough against the steps of pixels, too little to blunt a strike."""
_JOIN_S = 0.005
"""How long the change between the old curve and the line takes, at either end of the line."""


class Stroke:
    """A line drawn with the mouse: one level for each column of time.

    Moving back draws over what is there. With `is_straight`, the line is straight from where the mouse was before.

    Args:
        column_s: Width of a column in seconds, about that of a pixel.
        time_s: Where the line begins.
        level_db: The level there.
    """

    def __init__(self, column_s: float, time_s: float, level_db: float) -> None:
        self._column_s = column_s
        self._levels: dict[int, float] = {}
        self._last = (self._column(time_s), level_db)
        self._corner: tuple[tuple[int, float], dict[int, float]] | None = None
        self._levels[self._last[0]] = level_db

    def move(self, time_s: float, level_db: float, *, is_straight: bool = False) -> None:
        """Draw to a time and level."""
        if is_straight and self._corner is None:
            self._corner = (self._last, dict(self._levels))
        if not is_straight:
            self._corner = None
        if self._corner is not None:
            self._last, self._levels = self._corner[0], dict(self._corner[1])
        to = (self._column(time_s), level_db)
        self._fill(self._last, to)
        self._last = to

    def points(self) -> tuple[EnergyKey, ...]:
        """Return the smoothed line, with a point in the middle of each column."""
        columns = range(min(self._levels), max(self._levels) + 1)
        levels = _smooth([self._levels[column] for column in columns])
        return tuple(
            EnergyKey((column + 0.5) * self._column_s, level) for column, level in zip(columns, levels, strict=True)
        )

    def _column(self, time_s: float) -> int:
        return math.floor(time_s / self._column_s)

    def _fill(self, start: tuple[int, float], end: tuple[int, float]) -> None:
        step = 1 if end[0] >= start[0] else -1
        count = abs(end[0] - start[0])
        for index in range(1, count + 1):
            self._levels[start[0] + step * index] = start[1] + (end[1] - start[1]) * index / count
        self._levels[end[0]] = end[1]


def paint(
    keys: Sequence[EnergyKey], line: Sequence[EnergyKey], *, start_s: float, end_s: float
) -> tuple[EnergyKey, ...]:
    """Replace the part of a curve beneath a line.

    Args:
        keys: The curve, with at least one key.
        line: What was drawn, with at least one point.
        start_s: Start of the strip, in seconds from the start of its content. The line is cut off there.
        end_s: End of the strip.
    """
    first_s, last_s = max(line[0].time_s, start_s), min(line[-1].time_s, end_s)
    if first_s >= last_s:
        return tuple(keys)
    times = [first_s, *(point.time_s for point in line if first_s < point.time_s < last_s), last_s]
    before, after = first_s - _JOIN_S, last_s + _JOIN_S
    ends = [EnergyKey(time_s, level_at(keys, time_s)) for time_s in (before, after)]
    return (
        *(key for key in keys if key.time_s < before),
        ends[0],
        *decimate(times, levels_at(line, times)),
        ends[1],
        *(key for key in keys if key.time_s > after),
    )


def _smooth(levels_db: Sequence[float]) -> list[float]:
    """Average each level with its neighbours, with fewer of them near the ends, which stay where the user put them."""
    smooth = []
    for index in range(len(levels_db)):
        reach = min(_SMOOTHED_COLUMNS, index, len(levels_db) - 1 - index)
        near = levels_db[index - reach : index + reach + 1]
        smooth.append(sum(near) / len(near))
    return smooth
