"""Edits of an energy curve: plain values that say what is changed, each with the words that mean it.

`parse_edit` reads the words, `str` writes them: parse_edit("gate -8") == Gate(-8.0) and str(Gate(-8.0)) == "gate -8".
Edits keep a curve's length and rate. What is silent stays silent, but where something is smoothed or laid into silence.
Levels are nats of log-mel magnitude, times are seconds from the clip's start.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from rewas_engine.clip import LONGEST_S
from rewas_engine.energy import LOUDEST_NATS, SILENCE_NATS, SILENT_BELOW_NATS, EnergyCurve
from rewas_engine.energy_events import EnergyEvent, Nats, audible, events_named, outline, with_event, without_event
from rewas_engine.errors import SettingsError

LARGEST_CHANGE_NATS = 20.0
"""From silence to the loudest sound it is less."""
LARGEST_FACTOR = 100.0
LARGEST_RATIO = 1000.0
LONGEST_SMOOTHING_S = 60.0


class EnergyEdit(ABC):
    """A change of an energy curve. Equal edits are equal values; `str` gives the words that `parse_edit` reads."""

    def applied_to(self, curve: EnergyCurve) -> EnergyCurve:
        """The edited curve, of the same length and rate, nowhere below silence.

        Raises SettingsError where it would be louder than sound can be, or for an event that is not there.
        """
        lifted = EnergyCurve(audible(curve).astype(np.float32), curve.rate_hz, curve.source)
        values = np.maximum(self._edited(lifted), SILENCE_NATS)
        if values.max() > LOUDEST_NATS:
            raise SettingsError(
                f"The edit “{self}” would make the energy {values.max():.1f} nats, louder than sound can be.",
                f"Ask for less; the loudest is {LOUDEST_NATS:.0f} nats.",
            )
        return EnergyCurve(values.astype(np.float32), curve.rate_hz, curve.source)

    @abstractmethod
    def _edited(self, curve: EnergyCurve) -> Nats:
        """The edited values [T] of a curve that is nowhere below silence."""

    @abstractmethod
    def __str__(self) -> str: ...


def edited(curve: EnergyCurve, edits: Iterable[EnergyEdit]) -> EnergyCurve:
    """The curve after edits, one after another. Raises SettingsError where one of them cannot be applied."""
    for edit in edits:
        curve = edit.applied_to(curve)
    return curve


@dataclass(frozen=True)
class Scale(EnergyEdit):
    """Multiply the height above silence. factor: 0 is silence, 1 changes nothing; up to 100."""

    factor: float

    def __post_init__(self) -> None:
        _check("The factor of scale", self.factor, 0, LARGEST_FACTOR)

    def _edited(self, curve: EnergyCurve) -> Nats:
        return SILENCE_NATS + (audible(curve) - SILENCE_NATS) * self.factor

    def __str__(self) -> str:
        return f"scale {_number(self.factor)}"


@dataclass(frozen=True)
class Offset(EnergyEdit):
    """Raise what sounds, or lower it. nats: within ±20; 1 nat is 8.7 dB."""

    nats: float

    def __post_init__(self) -> None:
        _check("The offset", self.nats, -LARGEST_CHANGE_NATS, LARGEST_CHANGE_NATS, "nats")

    def _edited(self, curve: EnergyCurve) -> Nats:
        values = audible(curve)
        return np.where(values > SILENT_BELOW_NATS, values + self.nats, values)

    def __str__(self) -> str:
        return f"offset {_number(self.nats)}"


@dataclass(frozen=True)
class Smooth(EnergyEdit):
    """Smooth with a Savitzky-Golay filter of order 2, as the paper smooths. window_s: its width; 0 changes nothing."""

    window_s: float

    def __post_init__(self) -> None:
        _check("The window of smooth", self.window_s, 0, LONGEST_SMOOTHING_S, "s")

    def _edited(self, curve: EnergyCurve) -> Nats:
        values = audible(curve)
        window = 2 * int(self.window_s * float(curve.rate_hz) / 2) + 1
        # Beside a steep rise the filter's parabolas undershoot and overshoot.
        return np.clip(curve.smoothed(window).values.astype(np.float64), values.min(), values.max())

    def __str__(self) -> str:
        return f"smooth {_number(self.window_s)}"


@dataclass(frozen=True)
class Gate(EnergyEdit):
    """Silence what is below a threshold. nats: the threshold."""

    nats: float

    def __post_init__(self) -> None:
        _check("The threshold of gate", self.nats, -LARGEST_CHANGE_NATS, LOUDEST_NATS, "nats")

    def _edited(self, curve: EnergyCurve) -> Nats:
        values = audible(curve)
        return np.where(values < self.nats, SILENCE_NATS, values)

    def __str__(self) -> str:
        return f"gate {_number(self.nats)}"


@dataclass(frozen=True)
class Compress(EnergyEdit):
    """Make what is above a threshold rise less. nats: the threshold. ratio: 1 changes nothing, 2 halves the rise."""

    nats: float
    ratio: float

    def __post_init__(self) -> None:
        _check("The threshold of compress", self.nats, -LARGEST_CHANGE_NATS, LOUDEST_NATS, "nats")
        _check("The ratio of compress", self.ratio, 1, LARGEST_RATIO)

    def _edited(self, curve: EnergyCurve) -> Nats:
        values = audible(curve)
        above = np.maximum(values - self.nats, 0)
        return values - above * (1 - 1 / self.ratio)

    def __str__(self) -> str:
        return f"compress {_number(self.nats)} {_number(self.ratio)}"


@dataclass(frozen=True)
class FadeIn(EnergyEdit):
    """Rise from silence at the clip's start: the height above silence grows evenly. length_s: how long; 0 is none."""

    length_s: float

    def __post_init__(self) -> None:
        _check("The length of fade in", self.length_s, 0, LONGEST_S, "s")

    def _edited(self, curve: EnergyCurve) -> Nats:
        return _faded(audible(curve), curve.times_s(), self.length_s)

    def __str__(self) -> str:
        return f"fade in {_number(self.length_s)}"


@dataclass(frozen=True)
class FadeOut(EnergyEdit):
    """Fall to silence at the clip's end: the height above silence falls evenly. length_s: how long; 0 is none."""

    length_s: float

    def __post_init__(self) -> None:
        _check("The length of fade out", self.length_s, 0, LONGEST_S, "s")

    def _edited(self, curve: EnergyCurve) -> Nats:
        return _faded(audible(curve), float(curve.duration_s) - curve.times_s(), self.length_s)

    def __str__(self) -> str:
        return f"fade out {_number(self.length_s)}"


@dataclass(frozen=True)
class Shift(EnergyEdit):
    """Move everything in time; what leaves the clip is gone, what comes in is silence. by_s: later where above 0."""

    by_s: float

    def __post_init__(self) -> None:
        _check("The shift", self.by_s, -LONGEST_S, LONGEST_S, "s")

    def _edited(self, curve: EnergyCurve) -> Nats:
        return _read_at(audible(curve), _places(curve) - self.by_s * float(curve.rate_hz))

    def __str__(self) -> str:
        return f"shift {_number(self.by_s)}"


@dataclass(frozen=True)
class Stretch(EnergyEdit):
    """Stretch time from the clip's start on; what leaves the clip is gone, what is missing is silence.

    factor: 2 makes everything twice as slow, 1 changes nothing; from 0.01 to 100.
    """

    factor: float

    def __post_init__(self) -> None:
        _check("The factor of stretch", self.factor, 1 / LARGEST_FACTOR, LARGEST_FACTOR)

    def _edited(self, curve: EnergyCurve) -> Nats:
        # Value i stands at i + 0.5: the clip's start keeps its place, not the first value.
        return _read_at(audible(curve), (_places(curve) + 0.5) / self.factor - 0.5)

    def __str__(self) -> str:
        return f"stretch {_number(self.factor)}"


@dataclass(frozen=True)
class IsolateEvents(EnergyEdit):
    """Keep some events and silence everything else. numbers: of `find_events`, from 1."""

    numbers: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_numbers("isolate", self.numbers)

    def _edited(self, curve: EnergyCurve) -> Nats:
        values, kept = audible(curve), np.full(curve.values.size, SILENCE_NATS)
        for event in events_named(curve, self.numbers):
            kept = with_event(kept, outline(values, event), event.first_value, event.peak_nats)
        return kept

    def __str__(self) -> str:
        return f"isolate {_events(self.numbers)}"


@dataclass(frozen=True)
class MuteEvents(EnergyEdit):
    """Take some events away; what lies beneath them goes on. numbers: of `find_events`, from 1."""

    numbers: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_numbers("mute", self.numbers)

    def _edited(self, curve: EnergyCurve) -> Nats:
        values = audible(curve)
        for event in events_named(curve, self.numbers):
            values = without_event(values, event)
        return values

    def __str__(self) -> str:
        return f"mute {_events(self.numbers)}"


@dataclass(frozen=True)
class BoostEvents(EnergyEdit):
    """Make the peaks of some events louder, or softer, down to what lies beneath them.

    numbers: of `find_events`, from 1. nats: within ±20.
    """

    numbers: tuple[int, ...]
    nats: float

    def __post_init__(self) -> None:
        _check_numbers("boost", self.numbers)
        _check("The change of boost", self.nats, -LARGEST_CHANGE_NATS, LARGEST_CHANGE_NATS, "nats")

    def _edited(self, curve: EnergyCurve) -> Nats:
        values = audible(curve)
        for event in events_named(curve, self.numbers):
            shape, beneath = outline(values, event), without_event(values, event)
            values = with_event(beneath, shape, event.first_value, event.peak_nats + self.nats)
        return values

    def __str__(self) -> str:
        return f"boost {_events(self.numbers)} by {_number(self.nats)}"


@dataclass(frozen=True)
class MoveEvent(EnergyEdit):
    """Move one event. number: of `find_events`, from 1. to_s: where its onset shall be, within the curve."""

    number: int
    to_s: float

    def __post_init__(self) -> None:
        _check_numbers("move", (self.number,))
        _check("The time to move to", self.to_s, 0, LONGEST_S, "s")

    def _edited(self, curve: EnergyCurve) -> Nats:
        (event,) = events_named(curve, (self.number,))
        _check_within(self, self.to_s, curve)
        values = audible(curve)
        return with_event(
            without_event(values, event),
            outline(values, event),
            _first_value_at(self.to_s, event, curve),
            event.peak_nats,
        )

    def __str__(self) -> str:
        return f"move event {self.number} to {_number(self.to_s)}"


@dataclass(frozen=True)
class DuplicateEvent(EnergyEdit):
    """Lay a copy of one event somewhere else. number: of `find_events`, from 1. to_s: the copy's onset."""

    number: int
    to_s: float

    def __post_init__(self) -> None:
        _check_numbers("duplicate", (self.number,))
        _check("The time of the copy", self.to_s, 0, LONGEST_S, "s")

    def _edited(self, curve: EnergyCurve) -> Nats:
        (event,) = events_named(curve, (self.number,))
        _check_within(self, self.to_s, curve)
        values = audible(curve)
        return with_event(values, outline(values, event), _first_value_at(self.to_s, event, curve), event.peak_nats)

    def __str__(self) -> str:
        return f"duplicate event {self.number} to {_number(self.to_s)}"


def _first_value_at(onset_s: float, event: EnergyEvent, curve: EnergyCurve) -> float:
    """Where on a curve an event begins once its onset lies at another time."""
    return event.first_value + (onset_s - event.time_s) * float(curve.rate_hz)


def _faded(values: Nats, distances_s: Nats, length_s: float) -> Nats:
    """Values [T] whose height above silence grows with the distance [T] from an end, up to a length."""
    share = np.minimum(distances_s, length_s) / length_s if length_s > 0 else np.ones(values.size)
    return SILENCE_NATS + (values - SILENCE_NATS) * share


def _places(curve: EnergyCurve) -> Nats:
    """0, 1, … for each value [T] of a curve."""
    return np.arange(curve.values.size, dtype=np.float64)


def _read_at(values: Nats, places: Nats) -> Nats:
    """Values [T] read at places [T] between them, held for half a value around the ends, silent beyond."""
    within = (places >= -0.5) & (places <= values.size - 0.5)
    return np.where(within, np.interp(places, np.arange(values.size), values), SILENCE_NATS)


def _check(what: str, value: float, lowest: float, highest: float, unit: str = "") -> None:
    if not lowest <= value <= highest:
        within = f"from {_number(lowest)} to {_number(highest)}"
        raise SettingsError(f"{what} is {_shown(value, unit)}.", f"Give a number {_shown(within, unit)}.")


def _check_numbers(verb: str, numbers: tuple[int, ...]) -> None:
    if not numbers:
        raise SettingsError(f"It is not said which event to {verb}.", "Name an event by its number.")
    for number in numbers:
        if number < 1:
            raise SettingsError(f"There is no event {number} to {verb}.", "Events are counted from 1.")


def _check_within(edit: EnergyEdit, time_s: float, curve: EnergyCurve) -> None:
    if time_s > float(curve.duration_s):
        raise SettingsError(
            f"The edit “{edit}” leads beyond the end of the curve, at {float(curve.duration_s):.3f} s.",
            "Choose an earlier time.",
        )


def _shown(value: object, unit: str) -> str:
    return f"{value} {unit}".rstrip()


def _number(value: float) -> str:
    """The shortest words for a number that are read as the same number."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def _events(numbers: tuple[int, ...]) -> str:
    return f"event {numbers[0]}" if len(numbers) == 1 else f"events {' '.join(map(str, numbers))}"
