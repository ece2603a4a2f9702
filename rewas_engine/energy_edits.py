"""Edits that only an energy can undergo: plain values that say what is changed, each with the words that mean it.

`rewas_engine.curve_edits` holds those that it shares with texture.

`parse_edit` reads the words, `str` writes them: parse_edit("gate -8") == Gate(-8.0) and str(Gate(-8.0)) == "gate -8".
Edits keep a curve's length and rate. What is silent stays silent, but where something is smoothed or laid into silence.
Levels are nats of log-mel magnitude, times are seconds from the clip's start.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rewas_engine.clip import LONGEST_S
from rewas_engine.curve import Nats
from rewas_engine.curve_edits import EnergyEdit, check_number, written
from rewas_engine.energy import LOUDEST_NATS, SILENCE_NATS, SILENT_BELOW_NATS, EnergyCurve
from rewas_engine.energy_events import EnergyEvent, audible, events_named, outline, with_event, without_event
from rewas_engine.errors import SettingsError

LARGEST_CHANGE_NATS = 20.0
"""From silence to the loudest sound it is less."""
LARGEST_RATIO = 1000.0


@dataclass(frozen=True)
class Offset(EnergyEdit):
    """Raise what sounds, or lower it. nats: within ±20; 1 nat is 8.7 dB."""

    nats: float

    def __post_init__(self) -> None:
        check_number("The offset", self.nats, -LARGEST_CHANGE_NATS, LARGEST_CHANGE_NATS, "nats")

    def _edited(self, curve: EnergyCurve) -> Nats:
        values = audible(curve)
        return np.where(values > SILENT_BELOW_NATS, values + self.nats, values)

    def __str__(self) -> str:
        return f"offset {written(self.nats)}"


@dataclass(frozen=True)
class Gate(EnergyEdit):
    """Silence what is below a threshold. nats: the threshold."""

    nats: float

    def __post_init__(self) -> None:
        check_number("The threshold of gate", self.nats, -LARGEST_CHANGE_NATS, LOUDEST_NATS, "nats")

    def _edited(self, curve: EnergyCurve) -> Nats:
        values = audible(curve)
        return np.where(values < self.nats, SILENCE_NATS, values)

    def __str__(self) -> str:
        return f"gate {written(self.nats)}"


@dataclass(frozen=True)
class Compress(EnergyEdit):
    """Make what is above a threshold rise less. nats: the threshold. ratio: 1 changes nothing, 2 halves the rise."""

    nats: float
    ratio: float

    def __post_init__(self) -> None:
        check_number("The threshold of compress", self.nats, -LARGEST_CHANGE_NATS, LOUDEST_NATS, "nats")
        check_number("The ratio of compress", self.ratio, 1, LARGEST_RATIO)

    def _edited(self, curve: EnergyCurve) -> Nats:
        values = audible(curve)
        above = np.maximum(values - self.nats, 0)
        return values - above * (1 - 1 / self.ratio)

    def __str__(self) -> str:
        return f"compress {written(self.nats)} {written(self.ratio)}"


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
        check_number("The change of boost", self.nats, -LARGEST_CHANGE_NATS, LARGEST_CHANGE_NATS, "nats")

    def _edited(self, curve: EnergyCurve) -> Nats:
        values = audible(curve)
        for event in events_named(curve, self.numbers):
            shape, beneath = outline(values, event), without_event(values, event)
            values = with_event(beneath, shape, event.first_value, event.peak_nats + self.nats)
        return values

    def __str__(self) -> str:
        return f"boost {_events(self.numbers)} by {written(self.nats)}"


@dataclass(frozen=True)
class MoveEvent(EnergyEdit):
    """Move one event. number: of `find_events`, from 1. to_s: where its onset shall be, within the curve."""

    number: int
    to_s: float

    def __post_init__(self) -> None:
        _check_numbers("move", (self.number,))
        check_number("The time to move to", self.to_s, 0, LONGEST_S, "s")

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
        return f"move event {self.number} to {written(self.to_s)}"


@dataclass(frozen=True)
class DuplicateEvent(EnergyEdit):
    """Lay a copy of one event somewhere else. number: of `find_events`, from 1. to_s: the copy's onset."""

    number: int
    to_s: float

    def __post_init__(self) -> None:
        _check_numbers("duplicate", (self.number,))
        check_number("The time of the copy", self.to_s, 0, LONGEST_S, "s")

    def _edited(self, curve: EnergyCurve) -> Nats:
        (event,) = events_named(curve, (self.number,))
        _check_within(self, self.to_s, curve)
        values = audible(curve)
        return with_event(values, outline(values, event), _first_value_at(self.to_s, event, curve), event.peak_nats)

    def __str__(self) -> str:
        return f"duplicate event {self.number} to {written(self.to_s)}"


def _first_value_at(onset_s: float, event: EnergyEvent, curve: EnergyCurve) -> float:
    """Where on a curve an event begins once its onset lies at another time."""
    return event.first_value + (onset_s - event.time_s) * float(curve.rate_hz)


def _check_numbers(verb: str, numbers: tuple[int, ...]) -> None:
    if not numbers:
        raise SettingsError(f"It is not said which event to {verb}.", "Name an event by its number.")
    for number in numbers:
        if number < 1:
            raise SettingsError(f"There is no event {number} to {verb}.", "Events are counted from 1.")


def _check_within(edit: EnergyEdit, time_s: float, curve: EnergyCurve) -> None:
    if time_s > float(curve.duration_s):
        raise SettingsError(f"The edit “{edit}” leads beyond the end of the clip.", "Choose a time within the clip.")


def _events(numbers: tuple[int, ...]) -> str:
    return f"event {numbers[0]}" if len(numbers) == 1 else f"events {' '.join(map(str, numbers))}"
