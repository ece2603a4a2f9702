# SPDX-License-Identifier: GPL-3.0-or-later
"""An energy curve as keys joined by straight lines, in decibels: what the user sees, edits and draws."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from operator import itemgetter
from typing import NamedTuple

from .takes import EnergyCurve

DB_PER_NAT = 20 / math.log(10)
"""Energies of the contract are natural logarithms of magnitudes, in nats."""
SILENCE_DB = -100.0
LOUDEST_DB = 20.0
"""Upper limit of a level, louder than any generated sound."""
SILENCE_NATS = SILENCE_DB / DB_PER_NAT
"""The energy of silence in the contract."""
TOLERANCE_DB = 0.5
"""How far an estimated or drawn curve may deviate from its keys. Nobody hears half a decibel, and fewer keys are easier
to edit."""
MIN_GAP_S = 1e-4
"""Keys that are closer than this are one key."""


class EnergyKey(NamedTuple):
    """A point of a curve: seconds from the start of a strip's content, and decibels."""

    time_s: float
    level_db: float


def normalise_keys(keys: Iterable[tuple[float, float]]) -> tuple[EnergyKey, ...]:
    """Return keys in order of time, with levels from silence to LOUDEST_DB. Of keys at one time, the last counts."""
    apart: list[EnergyKey] = []
    next_s = -math.inf
    for time_s, level_db in sorted(keys, key=itemgetter(0)):
        level_db = SILENCE_DB if level_db < SILENCE_DB else LOUDEST_DB if level_db > LOUDEST_DB else level_db
        if time_s >= next_s:
            apart.append(EnergyKey(time_s, level_db))
            next_s = time_s + MIN_GAP_S
        else:
            apart[-1] = EnergyKey(apart[-1].time_s, level_db)
    return tuple(apart)


def level_at(keys: Sequence[tuple[float, float]], time_s: float) -> float:
    """Return the level at a time, in decibels. The first and the last level extend to either side."""
    return levels_at(keys, (time_s,))[0]


def levels_at(keys: Sequence[tuple[float, float]], times_s: Iterable[float]) -> list[float]:
    """Return the levels at times, in decibels. Raises ValueError if there are no keys."""
    if not keys:
        raise ValueError("a curve without keys has no level")
    key_times_s = [time_s for time_s, _ in keys]
    levels = []
    for time_s in times_s:
        after = bisect_right(key_times_s, time_s)
        if after in (0, len(keys)):
            levels.append(keys[min(after, len(keys) - 1)][1])
        else:
            (left_s, left_db), (right_s, right_db) = keys[after - 1], keys[after]
            levels.append(left_db + (right_db - left_db) * (time_s - left_s) / (right_s - left_s))
    return levels


def decimate(
    times_s: Sequence[float], levels_db: Sequence[float], tolerance_db: float = TOLERANCE_DB
) -> tuple[EnergyKey, ...]:
    """Return the samples that suffice as keys: the lines between them pass each sample within the tolerance.

    The first and the last sample are kept, and so are both ends of each silence: what is silent stays silent.

    Args:
        times_s: Times of the samples in seconds, rising.
        levels_db: Levels of the samples in decibels.
        tolerance_db: Largest deviation in decibels.
    """
    levels = [min(max(level_db, SILENCE_DB), LOUDEST_DB) for level_db in levels_db]
    if not levels:
        return ()
    kept = {0, len(levels) - 1}
    for index, (level, following) in enumerate(pairwise(levels)):
        if (level == SILENCE_DB) != (following == SILENCE_DB):
            kept |= {index, index + 1}
    waiting = list(pairwise(sorted(kept)))
    while waiting:
        # The sample that is farthest from the line becomes a key, which divides the line in two.
        first, last = waiting.pop()
        start_s, start_db = times_s[first], levels[first]
        slope = (levels[last] - start_db) / (times_s[last] - start_s)
        worst, worst_db = first, tolerance_db
        for index in range(first + 1, last):
            error_db = abs(levels[index] - start_db - slope * (times_s[index] - start_s))
            if error_db > worst_db:
                worst, worst_db = index, error_db
        if worst != first:
            kept.add(worst)
            waiting += [(first, worst), (worst, last)]
    return tuple(EnergyKey(times_s[index], levels[index]) for index in sorted(kept))


def keys_from_curve(curve: EnergyCurve, start_s: Fraction, tolerance_db: float = TOLERANCE_DB) -> tuple[EnergyKey, ...]:
    """Return the keys of a curve in nats that begins at `start_s` of the content."""
    start, rate_hz = float(start_s), float(curve.rate_hz)
    times_s = [start + (index + 0.5) / rate_hz for index in range(len(curve.values))]
    return decimate(times_s, [nats * DB_PER_NAT for nats in curve.values], tolerance_db)


def cut_keys(keys: Sequence[EnergyKey], start_s: Fraction, duration_s: Fraction) -> tuple[EnergyKey, ...]:
    """Return the keys of a range, with times from its start, and a key at either end."""
    start, end = float(start_s), float(start_s + duration_s)
    inner = [key for key in keys if start + MIN_GAP_S <= key.time_s <= end - MIN_GAP_S]
    ends = levels_at(keys, (start, end))
    cut = [EnergyKey(start, ends[0]), *inner, EnergyKey(end, ends[1])]
    return tuple(EnergyKey(key.time_s - start, key.level_db) for key in cut)


def shift_keys(keys: Iterable[tuple[float, float]], seconds: float) -> tuple[EnergyKey, ...]:
    """Return the keys at later times."""
    return tuple(EnergyKey(time_s + seconds, level_db) for time_s, level_db in keys)
