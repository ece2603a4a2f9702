"""Which events of an energy curve are strikes, and the level of the background that they rise from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from rewas_engine.curves.curve import Nats
from rewas_engine.curves.energy import SILENCE_NATS, EnergyCurve
from rewas_engine.curves.events import EnergyEvent, find_events, remove_events
from rewas_engine.recordings.profiles import FRAME_RATE_HZ

MIN_RISE_NATS = 0.5
SHARP_RISE_FRAMES = 10
"""Frames within which the energy of a strike rises from a fifth to four fifths."""
BACKGROUND_REACH_FRAMES = 400
"""A strike shows the level of the background for this long before and after it."""
SAME_LEVEL_NATS = 0.7
"""If a strike rises from one level and falls to another that differs by more than this, it has no background."""
FLUCTUATION_SHARE = 0.3
"""A rise above the background by less than this share of the strikes around it is a fluctuation of the background."""
STEADY_FRAMES = 200
"""Time for which a level lasts if it is a background rather than the tail of a strike."""


@dataclass(frozen=True, eq=False)
class CurveStrikes:
    """The strikes of a curve `[T]` at FRAME_RATE_HZ.

    Attributes:
        events: The strikes, in order of time.
        backgrounds_nats: Level of the background that the strikes around each frame rise from, `[T]`; SILENCE_NATS
            where there is none.
    """

    events: tuple[EnergyEvent, ...]
    backgrounds_nats: Nats

    def removed_from(self, asked_nats: Nats) -> Nats:
        """The curve without its strikes, `[T]`."""
        return remove_events(asked_nats, self.events)


def find_strikes(asked_nats: Nats) -> CurveStrikes:
    """Find the events of a curve that rise as sharply as a strike, without the fluctuations of a background."""
    sharp = [
        event
        for event in find_events(EnergyCurve(asked_nats.astype(np.float32), Fraction(FRAME_RATE_HZ)), MIN_RISE_NATS)
        if is_sharp(asked_nats, event)
    ]
    backgrounds, heights = _backgrounds(sharp, asked_nats.size)
    kept = []
    for event in sharp:
        peak = event.start_index + int(asked_nats[event.start_index : event.end_index].argmax())
        is_above = max(event.left_nats, event.right_nats) > backgrounds[peak] - SAME_LEVEL_NATS
        if not is_above or event.peak_nats - backgrounds[peak] >= FLUCTUATION_SHARE * heights[peak]:
            kept.append(event)
    return CurveStrikes(tuple(kept), backgrounds)


def find_onsets(asked_nats: Nats) -> CurveStrikes:
    """Find all events of a curve, however slowly they rise, as strikes without a background."""
    events = find_events(EnergyCurve(asked_nats.astype(np.float32), Fraction(FRAME_RATE_HZ)), MIN_RISE_NATS)
    return CurveStrikes(events, np.full(asked_nats.size, SILENCE_NATS))


def is_sharp(asked_nats: Nats, event: EnergyEvent) -> bool:
    """Whether the rise of an event is that of a strike rather than of a swell."""
    rise = asked_nats[max(0, event.start_index - 1) : event.end_index]
    peak = int(rise.argmax())
    low = rise[: peak + 1].min()
    if peak == 0 or rise[peak] <= SILENCE_NATS + 0.1:
        return peak == 0
    shares = (rise[: peak + 1] - low) / max(rise[peak] - low, 1e-9)
    return int(np.flatnonzero(shares < 0.8)[-1]) - int(np.flatnonzero(shares < 0.2)[-1]) <= SHARP_RISE_FRAMES


def steady_level(asked_nats: Nats) -> Nats:
    """The level that a curve does not fall below for STEADY_FRAMES around each frame, `[T]`."""
    lowest = minimum_filter1d(asked_nats, STEADY_FRAMES, mode="nearest")
    return np.asarray(
        maximum_filter1d(lowest, STEADY_FRAMES, mode="nearest", origin=-1 if STEADY_FRAMES % 2 == 0 else 0)
    )


def _backgrounds(events: Sequence[EnergyEvent], count: int) -> tuple[Nats, NDArray[np.float64]]:
    """Level of the background around each frame `[count]`, and height of the highest strike above it `[count]`."""
    levels, heights = np.full(count, SILENCE_NATS), np.zeros(count)
    for event in events:
        level = max(event.left_nats, event.right_nats)
        is_even = abs(event.left_nats - event.right_nats) < SAME_LEVEL_NATS
        if not is_even or min(event.left_nats, event.right_nats) < SILENCE_NATS + 1.0:
            continue
        reach = slice(max(0, event.start_index - BACKGROUND_REACH_FRAMES), event.end_index + BACKGROUND_REACH_FRAMES)
        higher = heights[reach] < event.peak_nats - level
        levels[reach] = np.where(higher, level, levels[reach])
        heights[reach] = np.where(higher, event.peak_nats - level, heights[reach])
    return levels, heights
