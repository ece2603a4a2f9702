"""Events of an energy curve: their onsets, lengths and strengths, and the background below them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from rewas_engine.curves.curve import Nats
from rewas_engine.curves.energy import SILENCE_NATS, EnergyCurve, FloatArray
from rewas_engine.errors import SettingsError

MIN_EVENT_RISE_NATS = 0.5
"""Smaller rises are fluctuations of a continuous sound. 0.5 nats are 4.3 dB."""
_SHARP_SHARE, _SLOW_SHARE, _SHARP_RISE_S = 0.8, 0.2, 0.1
"""Shares of a rise. A rise that takes longer than _SHARP_RISE_S from the lower to the upper one begins at the lower."""
_ATTACK_BELOW_TOP_NATS = 0.15
"""How far below the top of its attack the onset of a strike lies. A spectrogram smears a strike in both directions: the
higher the strike rises, the earlier the smear begins. No single share of the rise is therefore right both for strikes
out of silence and for strikes out of a background. For the synthetic struck classes, this locates all onsets within
10 ms, and on average within 4 ms.
"""
_DECAY_SHARE = 0.1
"""An event ends when its height has fallen to this share."""

_MAX_STRENGTH, _STRENGTH_PER_NAT = 0.9, 0.3
"""Fitted to the synthetic struck classes: strength of a clip's strongest onset, and how much the logarithm of strength
falls with each nat below it."""


@dataclass(frozen=True)
class EnergyEvent:
    """One event of a curve.

    Attributes:
        number: Position in time, from 1.
        time_s: Onset in seconds from the clip's start.
        length_s: Seconds until a tenth of the height is left, or until the next event.
        peak_nats: Largest value.
        strength_nats: Height of the peak above the background.
        start_index: First value of the event. Events do not overlap.
        end_index: Index after the last value.
        left_nats: Background energy at the start.
        right_nats: Background energy at the end.
    """

    number: int
    time_s: float
    length_s: float
    peak_nats: float
    strength_nats: float
    start_index: int
    end_index: int
    left_nats: float
    right_nats: float


@dataclass(frozen=True)
class _Peak:
    """Indices of a peak and its neighbouring valleys. None: the curve ends before a valley."""

    left_valley: int | None
    peak: int
    right_valley: int | None


def find_events(curve: EnergyCurve, min_rise_nats: float = MIN_EVENT_RISE_NATS) -> tuple[EnergyEvent, ...]:
    """Find the events of a curve: peaks with a rise and a fall of at least `min_rise_nats`.

    At the clip's start and end, one of the two is enough. A steady sound is not an event.

    Raises:
        SettingsError: `min_rise_nats` is not above 0.
    """
    if not 0 < min_rise_nats < float("inf"):
        raise SettingsError(f"The minimum rise of an event is {min_rise_nats} nats.", "Give a number above 0.")
    values = clamp_to_silence(curve)
    hills = enumerate(_find_peaks(values.tolist(), min_rise_nats), start=1)
    return tuple(_build_event(number, hill, values, float(curve.rate_hz)) for number, hill in hills)


def onset_strengths(curve: EnergyCurve, *, rate_hz: Fraction, count: int) -> FloatArray:
    """Convert a curve to the control `onsets`, which keeps times and strengths but not the shape of each sound.

    Args:
        curve: The curve.
        rate_hz: Frames per second of the result.
        count: Frames of the result.

    Returns:
        Strengths `[count]` from 0 to 1, above 0 in the frames that contain an onset.
    """
    strengths = np.zeros(count, np.float32)
    events = find_events(curve)
    loudest_nats = max((event.peak_nats for event in events), default=0.0)
    for event in events:
        frame = int(event.time_s * float(rate_hz) + 1e-9)
        strength = _MAX_STRENGTH * np.exp(_STRENGTH_PER_NAT * (event.peak_nats - loudest_nats))
        if frame < count:
            strengths[frame] = max(strengths[frame], strength)
    return strengths


def select_events(curve: EnergyCurve, numbers: Sequence[int]) -> list[EnergyEvent]:
    """Return the events with these numbers, without duplicates. Raises SettingsError for an unknown number."""
    events = find_events(curve)
    for number in numbers:
        if not 1 <= number <= len(events):
            there = {0: "no events", 1: "1 event"}.get(len(events), f"{len(events)} events")
            raise SettingsError(f"There is no event {number}: the curve has {there} at that point.", "List the events.")
    return [events[number - 1] for number in dict.fromkeys(numbers)]


def clamp_to_silence(curve: EnergyCurve) -> Nats:
    """Return the values `[T]` of a curve, raised to silence where they are lower."""
    return np.maximum(curve.values.astype(np.float64), SILENCE_NATS)


def remove_events(values: Nats, events: Iterable[EnergyEvent]) -> Nats:
    """Replace events in values `[T]` by their backgrounds."""
    changed = values.copy()
    for event in events:
        changed[event.start_index : event.end_index] = _background(values, event)
    return changed


def event_shape(values: Nats, event: EnergyEvent) -> Nats:
    """Shape of an event `[values of the event]`: 0 at the background, 1 at the peak."""
    bed = _background(values, event)
    return np.asarray((values[event.start_index : event.end_index] - bed) / (event.peak_nats - bed))


def insert_event(values: Nats, shape: Nats, start_index: float, peak_nats: float) -> Nats:
    """Insert an event into values `[T]`. Values above its peak stay as they are.

    Args:
        values: Energies in nats.
        shape: Result of `event_shape`.
        start_index: Position of the first value of the shape; may lie between two values.
        peak_nats: Energy at the peak of the event.
    """
    places = np.arange(values.size) - start_index
    share = np.interp(places, np.arange(-1, shape.size + 1), np.pad(shape, 1))
    return np.asarray(values + share * np.maximum(peak_nats - values, 0.0))


def _background(values: Nats, event: EnergyEvent) -> Nats:
    """Background of an event: a line from valley to valley, or the values where they are lower."""
    count = event.end_index - event.start_index
    line = np.linspace(event.left_nats, event.right_nats, count + 2)[1:-1]
    return np.minimum(values[event.start_index : event.end_index], line)


def _find_peaks(values: list[float], rise_nats: float) -> Iterator[_Peak]:
    """Find the peaks between which the values fall and rise by `rise_nats`, in order.

    A flat valley ends the event before it at its first value and begins the next one at its last.
    """
    low_first = low_last = high = 0
    left_valley: int | None = None
    peak: int | None = None
    climbing = False
    for index, value in enumerate(values):
        if climbing:
            high = index if value > values[high] else high
            if values[high] - value >= rise_nats:
                peak, climbing = high, False
                low_first = low_last = index
            continue
        if value < values[low_first]:
            low_first = low_last = index
        elif value == values[low_first]:
            low_last = index
        if value - values[low_first] >= rise_nats:
            if peak is not None:
                yield _Peak(left_valley, peak, low_first)
            left_valley, peak, climbing, high = low_last, None, True, index
        elif peak is None and left_valley is None:
            # The event may have begun before the clip: a fall from the highest value so far is its end.
            high = index if value > values[high] else high
            if values[high] - value >= rise_nats:
                peak = high
                low_first = low_last = index
    if climbing:
        yield _Peak(left_valley, high, None)
    elif peak is not None:
        yield _Peak(left_valley, peak, low_first)


def _build_event(number: int, hill: _Peak, values: Nats, rate_hz: float) -> EnergyEvent:
    first = 0 if hill.left_valley is None else hill.left_valley + 1
    end = values.size if hill.right_valley is None else hill.right_valley
    valleys = [float(values[valley]) for valley in (hill.left_valley, hill.right_valley) if valley is not None]
    # At the clip's start or end there is only one valley.
    left_nats, right_nats = valleys[0], valleys[-1]
    peak_nats = float(values[hill.peak])
    time_s = 0.0
    if hill.left_valley is not None:
        time_s = _onset_s(values[hill.left_valley : hill.peak + 1], rate_hz) + hill.left_valley / rate_hz
    end_s = end / rate_hz
    level = right_nats + _DECAY_SHARE * (peak_nats - right_nats)
    quiet = np.flatnonzero(values[hill.peak : end + 1] <= level)
    if quiet.size:
        after = hill.peak + int(quiet[0])
        end_s = (after - 0.5 + _crossing_fraction(values[after - 1], values[after], level)) / rate_hz
    beneath_nats = np.interp(hill.peak, [first - 1, end], [left_nats, right_nats])
    strength_nats = peak_nats - float(beneath_nats)
    return EnergyEvent(number, time_s, end_s - time_s, peak_nats, strength_nats, first, end, left_nats, right_nats)


def _onset_s(rise: Nats, rate_hz: float) -> float:
    """Time of the onset in seconds from the first value of a rise, whose last value is the highest."""

    def last_below(level_nats: float, end: int) -> tuple[int, float]:
        """Last value before `end` that is below a level, and the time in seconds at which the level is crossed."""
        below = int(np.flatnonzero(rise[:end] < level_nats)[-1])
        return below, (below + 0.5 + _crossing_fraction(rise[below], rise[below + 1], level_nats)) / rate_hz

    height_nats = rise[-1] - rise[0]
    below, sharp_s = last_below(rise[0] + _SHARP_SHARE * height_nats, rise.size)
    slow_s = last_below(rise[0] + _SLOW_SHARE * height_nats, rise.size)[1]
    if sharp_s - slow_s > _SHARP_RISE_S:
        return slow_s
    # The loudest value may belong to a later part of the sound. The attack ends where the values stop rising.
    top = below + 1
    while top + 1 < rise.size and rise[top + 1] > rise[top]:
        top += 1
    beneath_nats = min(_ATTACK_BELOW_TOP_NATS, (1 - _SHARP_SHARE) * height_nats, rise[top] - rise[below])
    return last_below(rise[top] - beneath_nats, top + 1)[1]


def _crossing_fraction(before_nats: float, after_nats: float, level_nats: float) -> float:
    """Fraction of the way from one value to the next at which a line between them crosses a level."""
    return float((level_nats - before_nats) / (after_nats - before_nats))
