# SPDX-License-Identifier: GPL-3.0-or-later
"""The events of a drawn energy curve, such as the strikes of a hammer, and what an editor does to them.

All times are in seconds from the start of the strip's content.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .energy_keys import LOUDEST_DB, SILENCE_DB, EnergyKey, levels_at

MIN_RISE_DB = 4.3
"""Smaller rises are fluctuations of a continuous sound. The server's events have the same limit."""
_FLAT_DB = 0.1
"""Valleys whose levels differ by less are flat: an event begins at the end of one and ends where the next begins."""
_STEEP_S = 0.001
"""Length of a step that a move makes where an event was cut off by the end of the curve."""
_SAME_DB = 1e-6


@dataclass(frozen=True)
class EnergyEvent:
    """A peak with its rise and fall.

    start_s and end_s: the valleys beside it, or the ends of the curve. start_db and end_db: the background there.
    """

    start_s: float
    peak_s: float
    end_s: float
    start_db: float
    peak_db: float
    end_db: float


def find_events(keys: Sequence[EnergyKey], min_rise_db: float = MIN_RISE_DB) -> tuple[EnergyEvent, ...]:
    """Find the peaks with a rise and a fall of at least `min_rise_db`, in order of time.

    At the ends of the curve, one of the two is enough. A steady sound is not an event.
    """
    levels = [key.level_db for key in keys]
    turns = _find_turns(levels, min_rise_db)
    events = []
    for place, (peak, is_peak) in enumerate(turns):
        if not is_peak:
            continue
        first, last = 0, len(keys) - 1
        has_start, has_end = place > 0, place + 1 < len(turns)
        if has_start:
            valley = turns[place - 1][0]
            first = max(index for index in range(valley, peak) if levels[index] <= levels[valley] + _FLAT_DB)
        if has_end:
            valley = turns[place + 1][0]
            last = min(index for index in range(peak + 1, valley + 1) if levels[index] <= levels[valley] + _FLAT_DB)
        start_db = levels[first if has_start else last]
        end_db = levels[last if has_end else first]
        times = (keys[first].time_s, keys[peak].time_s, keys[last].time_s)
        events.append(EnergyEvent(*times, start_db, levels[peak], end_db))
    return tuple(events)


def event_at(events: Sequence[EnergyEvent], time_s: float) -> EnergyEvent | None:
    """Return the event at a time."""
    return next((event for event in events if event.start_s <= time_s <= event.end_s), None)


def mute_event(keys: Sequence[EnergyKey], event: EnergyEvent) -> tuple[EnergyKey, ...]:
    """Replace an event with the background beneath it."""
    return _replace(keys, [EnergyKey(point.time_s, point.beneath_db) for point in _points(keys, event)])


def isolate_event(keys: Sequence[EnergyKey], event: EnergyEvent) -> tuple[EnergyKey, ...]:
    """Keep only one event, and silence everything else."""
    alone = [
        EnergyKey(point.time_s, SILENCE_DB + point.share * (event.peak_db - SILENCE_DB))
        for point in _points(keys, event)
    ]
    return _replace([EnergyKey(key.time_s, SILENCE_DB) for key in keys], alone)


def boost_event(keys: Sequence[EnergyKey], event: EnergyEvent, change_db: float) -> tuple[EnergyKey, ...]:
    """Raise the peak of an event by some decibels, or lower it, but not below its background."""
    peak_db = min(event.peak_db + change_db, LOUDEST_DB)
    return _replace(keys, [EnergyKey(point.time_s, point.above(peak_db)) for point in _points(keys, event)])


def move_event(
    keys: Sequence[EnergyKey], event: EnergyEvent, by_s: float, *, start_s: float, end_s: float
) -> tuple[EnergyKey, ...]:
    """Move an event in time and leave the background beneath it. Louder parts of the curve hide it.

    Args:
        keys: The curve.
        event: One of its events.
        by_s: Seconds; above 0 is later.
        start_s: Start of the strip. The peak stays within the strip.
        end_s: End of the strip.
    """
    by_s = min(max(by_s, start_s - event.peak_s), end_s - event.peak_s)
    if by_s == 0.0:
        return tuple(keys)
    base = mute_event(keys, event)
    moved = [EnergyKey(point.time_s + by_s, point.share) for point in _points(keys, event)]
    moved = [EnergyKey(moved[0].time_s - _STEEP_S, 0.0), *moved, EnergyKey(moved[-1].time_s + _STEEP_S, 0.0)]
    first_s, last_s = min(start_s, base[0].time_s), max(end_s, base[-1].time_s)
    bends = {first_s, last_s, *(key.time_s for key in base), *(key.time_s for key in moved)}
    times = sorted(time_s for time_s in bends if first_s <= time_s <= last_s)
    beneath, shares = levels_at(base, times), levels_at(moved, times)
    return _simplified(
        EnergyKey(time_s, beneath_db + share * max(event.peak_db - beneath_db, 0.0))
        for time_s, beneath_db, share in zip(times, beneath, shares, strict=True)
    )


@dataclass(frozen=True)
class _Point:
    """A point of an event. beneath_db: the background. share: 0 at the background, 1 at the peak."""

    time_s: float
    beneath_db: float
    share: float

    def above(self, peak_db: float) -> float:
        """Return its level in decibels for another level of the peak."""
        return self.beneath_db + self.share * max(peak_db - self.beneath_db, 0.0)


def _points(keys: Sequence[EnergyKey], event: EnergyEvent) -> list[_Point]:
    """Return the points of an event at which its curve or its background may bend.

    The background is a line from valley to valley, or the curve where it is lower.
    """
    inside = [key for key in keys if event.start_s <= key.time_s <= event.end_s]
    span_s = event.end_s - event.start_s
    lines = [event.start_db + (key.time_s - event.start_s) / span_s * (event.end_db - event.start_db) for key in inside]
    points = []
    for number, (key, line_db) in enumerate(zip(inside, lines, strict=True)):
        beneath_db = min(key.level_db, line_db)
        points.append(_Point(key.time_s, beneath_db, (key.level_db - beneath_db) / (event.peak_db - beneath_db)))
        if number + 1 == len(inside):
            break
        following = inside[number + 1]
        above_db, next_above_db = key.level_db - line_db, following.level_db - lines[number + 1]
        if above_db * next_above_db < 0:
            share = above_db / (above_db - next_above_db)
            time_s = key.time_s + share * (following.time_s - key.time_s)
            if key.time_s < time_s < following.time_s:
                points.append(_Point(time_s, line_db + share * (lines[number + 1] - line_db), 0.0))
    return points


def _replace(keys: Sequence[EnergyKey], inside: Sequence[EnergyKey]) -> tuple[EnergyKey, ...]:
    """Replace the part of a curve that other keys span with these keys."""
    before = [key for key in keys if key.time_s < inside[0].time_s]
    after = [key for key in keys if key.time_s > inside[-1].time_s]
    return _simplified([*before, *inside, *after])


def _simplified(keys: Iterable[EnergyKey]) -> tuple[EnergyKey, ...]:
    """Return keys without those that lie on the line between their neighbours."""
    every = list(keys)
    kept = every[:1]
    for key, following in pairwise(every[1:]):
        before = kept[-1]
        share = (key.time_s - before.time_s) / (following.time_s - before.time_s)
        if abs(before.level_db + share * (following.level_db - before.level_db) - key.level_db) > _SAME_DB:
            kept.append(key)
    return (*kept, *every[1:][-1:])


def _find_turns(levels: Sequence[float], rise_db: float) -> list[tuple[int, bool]]:
    """Return the indices of valleys and peaks (True), alternating, between which the levels change by `rise_db`."""
    turns: list[tuple[int, bool]] = []
    low = high = 0
    climbs: bool | None = None
    for index, level in enumerate(levels):
        if level > levels[high]:
            high = index
        if level < levels[low]:
            low = index
        if climbs is not True and level - levels[low] >= rise_db:
            turns.append((low, False))
            climbs, high = True, index
        elif climbs is not False and levels[high] - level >= rise_db:
            turns.append((high, True))
            climbs, low = False, index
    if climbs is not None:
        turns.append((high, True) if climbs else (low, False))
    return turns
