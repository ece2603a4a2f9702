"""Events of an energy curve: where something begins to sound, how strongly, for how long; and what lies beneath."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from rewas_engine.curves.curve import Nats
from rewas_engine.curves.energy import SILENCE_NATS, EnergyCurve, FloatArray
from rewas_engine.errors import SettingsError

MIN_EVENT_RISE_NATS = 0.5
"""What rises by less is taken for a fluctuation of what sounds already; it is 4.3 dB."""
_SHARP_SHARE, _SLOW_SHARE, _SHARP_RISE_S = 0.8, 0.2, 0.1
"""How far up a rise the onset lies. Spectrograms smear a strike to both sides: on the world's struck classes its moment
lies high on the rise, to 11 ms. What rises slower than this begins at the foot."""
_DECAY_SHARE = 0.1
"""An event has ended where no more than this is left of its height."""

_MAX_STRENGTH, _STRENGTH_PER_NAT = 0.9, 0.3
"""On the world's struck classes the strongest onset of a clip is about this strong, and the logarithm of strength falls
by so much for each nat below it."""


@dataclass(frozen=True)
class EnergyEvent:
    """One event of a curve.

    number: from 1, in order of time. time_s: its onset, in seconds from the clip's start. length_s: until a tenth of
    its height is left, or until the next event. peak_nats: the loudest value. strength_nats: how far the peak stands
    above what sounds beneath it. first_value, end_index: the values that belong to it are [first_value, end_index);
    no two events share any. left_nats, right_nats: the energy beneath it, at both ends.
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
    """A peak and the valleys beside it, as indices of values. None: there is no valley before the curve's end."""

    left_valley: int | None
    peak: int
    right_valley: int | None


def find_events(curve: EnergyCurve, min_rise_nats: float = MIN_EVENT_RISE_NATS) -> tuple[EnergyEvent, ...]:
    """The events of a curve: peaks that the energy rises to and falls from by at least min_rise_nats.

    What sounds already at the clip's start, or still at its end, counts where the other side rises or falls enough; a
    sound that is steady throughout is no event. Raises SettingsError for a rise that is not above 0.
    """
    if not 0 < min_rise_nats < float("inf"):
        raise SettingsError(f"The least rise of an event is {min_rise_nats} nats.", "Give a number above 0.")
    values = clamp_to_silence(curve)
    hills = enumerate(_find_peaks(values.tolist(), min_rise_nats), start=1)
    return tuple(_build_event(number, hill, values, float(curve.rate_hz)) for number, hill in hills)


def onset_strengths(curve: EnergyCurve, *, rate_hz: Fraction, count: int) -> FloatArray:
    """The onsets that a curve holds, as the control `onsets` takes them: sharp times instead of a shape.

    Returns [count] strengths at rate_hz: 0 where nothing begins, up to 1 in the frame that an onset falls into. Edits
    of the curve are edits of its onsets.
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
    """The events of these numbers, each once. Raises SettingsError for one that is not there."""
    events = find_events(curve)
    for number in numbers:
        if not 1 <= number <= len(events):
            there = {0: "no events", 1: "1 event"}.get(len(events), f"{len(events)} events")
            raise SettingsError(f"There is no event {number}: the curve has {there} at that point.", "List the events.")
    return [events[number - 1] for number in dict.fromkeys(numbers)]


def clamp_to_silence(curve: EnergyCurve) -> Nats:
    """The curve's values [T], none below silence."""
    return np.maximum(curve.values.astype(np.float64), SILENCE_NATS)


def remove_event(values: Nats, event: EnergyEvent) -> Nats:
    """The values [T] with what lies beneath the event in its place."""
    changed = values.copy()
    changed[event.start_index : event.end_index] = _background(values, event)
    return changed


def event_shape(values: Nats, event: EnergyEvent) -> Nats:
    """The event's shape [its values]: 0 where nothing of it is heard, 1 at its peak."""
    bed = _background(values, event)
    return np.asarray((values[event.start_index : event.end_index] - bed) / (event.peak_nats - bed))


def insert_event(values: Nats, shape: Nats, start_index: float, peak_nats: float) -> Nats:
    """The values [T] with an event laid over them.

    shape: of `outline`. first_value: where its first value falls, whole or between two values. Where it sounds louder
    than the event's peak already, nothing changes.
    """
    places = np.arange(values.size) - start_index
    share = np.interp(places, np.arange(-1, shape.size + 1), np.pad(shape, 1))
    return np.asarray(values + share * np.maximum(peak_nats - values, 0.0))


def _background(values: Nats, event: EnergyEvent) -> Nats:
    """What lies beneath an event: a line from valley to valley, or the values themselves where they are lower."""
    count = event.end_index - event.start_index
    line = np.linspace(event.left_nats, event.right_nats, count + 2)[1:-1]
    return np.minimum(values[event.start_index : event.end_index], line)


def _find_peaks(values: list[float], rise_nats: float) -> Iterator[_Peak]:
    """Peaks between which the values fall and rise by rise_nats, in order.

    Of a level valley its near end counts for either hill, so that a gap of silence belongs to none.
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
            # It may have begun before the clip did: a fall from the highest value so far is the end of an event.
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
    # Where a sound runs on to the clip's end, silence may be all that would be left without it.
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
    """When something begins that rises from its first value to its last and highest, in seconds."""

    def last_below_s(share: float) -> float:
        level = rise[0] + share * (rise[-1] - rise[0])
        below = int(np.flatnonzero(rise < level)[-1])
        return (below + 0.5 + _crossing_fraction(rise[below], rise[below + 1], level)) / rate_hz

    sharp_s, slow_s = last_below_s(_SHARP_SHARE), last_below_s(_SLOW_SHARE)
    return sharp_s if sharp_s - slow_s <= _SHARP_RISE_S else slow_s


def _crossing_fraction(before_nats: float, after_nats: float, level_nats: float) -> float:
    """How far it is from one value to the next, 0 to 1, to where a line between them meets the level."""
    return float((level_nats - before_nats) / (after_nats - before_nats))
