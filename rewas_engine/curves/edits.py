"""Edits of curves: energy and texture alike, energy alone, texture alone, and edits of single events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar, overload

import numpy as np

from rewas_engine.curves.curve import Nats, interpolate, smooth_values
from rewas_engine.curves.energy import MAX_ENERGY_NATS, SILENCE_NATS, SILENCE_THRESHOLD_NATS, EnergyCurve
from rewas_engine.curves.events import (
    EnergyEvent,
    clamp_to_silence,
    event_shape,
    insert_event,
    remove_event,
    select_events,
)
from rewas_engine.curves.texture import BAND_NAMES, MAX_BAND_NATS, TextureCurve, tilt_bands
from rewas_engine.errors import SettingsError
from rewas_engine.exact_time import MAX_TIME_S

MAX_FACTOR = 100.0
MAX_SMOOTHING_S = 60.0
Curve = TypeVar("Curve")


class Edit(Protocol[Curve]):
    """What changes curves of one kind."""

    def apply(self, curve: Curve) -> Curve:
        """The edited curve."""


def apply_edits(curve: Curve, edits: Iterable[Edit[Curve]]) -> Curve:
    """The curve, of energy or texture, after edits, one after another.

    Raises SettingsError where one of them cannot be applied.
    """
    for edit in edits:
        curve = edit.apply(curve)
    return curve


class EnergyEdit(ABC):
    """A change of an energy curve. Equal edits are equal values; `str` gives the words that `parse_edit` reads."""

    def apply(self, curve: EnergyCurve) -> EnergyCurve:
        """The edited curve, of the same length and rate, nowhere below silence.

        Raises SettingsError where it would be louder than sound can be, or for an event that is not there.
        """
        lifted = EnergyCurve(clamp_to_silence(curve).astype(np.float32), curve.rate_hz, curve.source)
        values = np.maximum(self._edit_energy(lifted), SILENCE_NATS)
        if values.max() > MAX_ENERGY_NATS:
            raise SettingsError(
                f"The edit “{self}” would make the energy {values.max():.1f} nats, louder than sound can be.",
                f"Ask for less; the loudest is {MAX_ENERGY_NATS:.0f} nats.",
            )
        return EnergyCurve(values.astype(np.float32), curve.rate_hz, curve.source)

    @abstractmethod
    def _edit_energy(self, curve: EnergyCurve) -> Nats:
        """The edited values [T] of a curve that is nowhere below silence."""

    @abstractmethod
    def __str__(self) -> str: ...


class TextureEdit(ABC):
    """A change of a texture. Equal edits are equal values; `str` gives the words that `parse_texture_edit` reads."""

    def apply(self, curve: TextureCurve) -> TextureCurve:
        """The edited texture, of the same length and rate.

        Raises SettingsError where a band would stand further from the others than in any sound.
        """
        values = self._edit_texture(TextureCurve(curve.values, curve.rate_hz, curve.source))
        values -= values.mean(axis=1, keepdims=True)
        if np.abs(values).max() > MAX_BAND_NATS:
            raise SettingsError(
                f"The edit “{self}” would take a band {np.abs(values).max():.1f} nats from the others.",
                f"Ask for less; the most is {MAX_BAND_NATS:g} nats.",
            )
        return TextureCurve(values.astype(np.float32), curve.rate_hz, curve.source)

    @abstractmethod
    def _edit_texture(self, texture: TextureCurve) -> Nats:
        """The edited values [T, 4], an array of its own."""

    @abstractmethod
    def __str__(self) -> str: ...


class CurveEdit(EnergyEdit, TextureEdit):
    """A change that an energy and a texture can undergo alike, as the height of one above silence, of the other's
    bands above their mean. The same words mean it for both.
    """

    @overload
    def apply(self, curve: EnergyCurve) -> EnergyCurve: ...
    @overload
    def apply(self, curve: TextureCurve) -> TextureCurve: ...
    def apply(self, curve: EnergyCurve | TextureCurve) -> EnergyCurve | TextureCurve:
        """The edited curve, of the same length and rate. Raises SettingsError for one that no sound has."""
        if isinstance(curve, TextureCurve):
            return TextureEdit.apply(self, curve)
        return EnergyEdit.apply(self, curve)

    def _edit_energy(self, curve: EnergyCurve) -> Nats:
        return SILENCE_NATS + self._transform(
            clamp_to_silence(curve) - SILENCE_NATS, float(curve.rate_hz), pad_with_silence=True
        )

    def _edit_texture(self, texture: TextureCurve) -> Nats:
        return self._transform(texture.values.astype(np.float64), float(texture.rate_hz), pad_with_silence=False)

    @abstractmethod
    def _transform(self, heights: Nats, rate_hz: float, pad_with_silence: bool) -> Nats:
        """Heights [T] or [T, 4] after the edit, an array of its own.

        pad_with_silence: what comes in from outside the clip is of height 0; else it is as at the clip's end.
        """


@dataclass(frozen=True)
class Scale(CurveEdit):
    """Multiply the height above silence, or how far a texture's bands stand apart.

    factor: 0 is silence, or all bands alike; 1 changes nothing; up to 100.
    """

    factor: float

    def __post_init__(self) -> None:
        check_number("The factor of scale", self.factor, 0, MAX_FACTOR)

    def _transform(self, heights: Nats, rate_hz: float, pad_with_silence: bool) -> Nats:
        return heights * self.factor

    def __str__(self) -> str:
        return f"scale {format_number(self.factor)}"


@dataclass(frozen=True)
class Smooth(CurveEdit):
    """Smooth with a Savitzky-Golay filter of order 2, as the paper smooths. window_s: its width; 0 changes nothing."""

    window_s: float

    def __post_init__(self) -> None:
        check_number("The window of smooth", self.window_s, 0, MAX_SMOOTHING_S, "s")

    def _transform(self, heights: Nats, rate_hz: float, pad_with_silence: bool) -> Nats:
        window = 2 * int(self.window_s * rate_hz / 2) + 1
        # Beside a steep rise the filter's parabolas undershoot and overshoot.
        return np.clip(smooth_values(heights, window), heights.min(axis=0), heights.max(axis=0))

    def __str__(self) -> str:
        return f"smooth {format_number(self.window_s)}"


@dataclass(frozen=True)
class FadeIn(CurveEdit):
    """Rise from silence at the clip's start, or from bands alike: the height grows evenly.

    length_s: how long; 0 is none.
    """

    length_s: float

    def __post_init__(self) -> None:
        check_number("The length of fade in", self.length_s, 0, MAX_TIME_S, "s")

    def _transform(self, heights: Nats, rate_hz: float, pad_with_silence: bool) -> Nats:
        check_fits(self, self.length_s, heights, rate_hz)
        return _apply_fade_in(heights, rate_hz, self.length_s)

    def __str__(self) -> str:
        return f"fade in {format_number(self.length_s)}"


@dataclass(frozen=True)
class FadeOut(CurveEdit):
    """Fall to silence at the clip's end, or to bands alike: the height falls evenly.

    length_s: how long; 0 is none.
    """

    length_s: float

    def __post_init__(self) -> None:
        check_number("The length of fade out", self.length_s, 0, MAX_TIME_S, "s")

    def _transform(self, heights: Nats, rate_hz: float, pad_with_silence: bool) -> Nats:
        check_fits(self, self.length_s, heights, rate_hz)
        return _apply_fade_in(heights[::-1], rate_hz, self.length_s)[::-1].copy()

    def __str__(self) -> str:
        return f"fade out {format_number(self.length_s)}"


@dataclass(frozen=True)
class Shift(CurveEdit):
    """Move everything in time; what leaves the clip is gone. by_s: later where above 0.

    What comes in is silence; of a texture, what stands at the clip's end.
    """

    by_s: float

    def __post_init__(self) -> None:
        check_number("The shift", self.by_s, -MAX_TIME_S, MAX_TIME_S, "s")

    def _transform(self, heights: Nats, rate_hz: float, pad_with_silence: bool) -> Nats:
        return _resample_at(heights, _positions(heights) - self.by_s * rate_hz, pad_with_silence)

    def __str__(self) -> str:
        return f"shift {format_number(self.by_s)}"


@dataclass(frozen=True)
class Stretch(CurveEdit):
    """Stretch time from the clip's start on; what leaves the clip is gone.

    factor: 2 makes everything twice as slow, 1 changes nothing; from 0.01 to 100.
    What is missing is silence; of a texture, what stood last.
    """

    factor: float

    def __post_init__(self) -> None:
        check_number("The factor of stretch", self.factor, 1 / MAX_FACTOR, MAX_FACTOR)

    def _transform(self, heights: Nats, rate_hz: float, pad_with_silence: bool) -> Nats:
        # Value i stands at i + 0.5: the clip's start keeps its place, not the first value.
        return _resample_at(heights, (_positions(heights) + 0.5) / self.factor - 0.5, pad_with_silence)

    def __str__(self) -> str:
        return f"stretch {format_number(self.factor)}"


def check_number(what: str, value: float, lowest: float, highest: float, unit: str = "") -> None:
    """Raises SettingsError for a number of an edit that is out of bounds."""
    if not lowest <= value <= highest:
        within = f"from {format_number(lowest)} to {format_number(highest)}"
        raise SettingsError(f"{what} is {value} {unit}".rstrip() + ".", f"Give a number {within} {unit}".rstrip() + ".")


def check_fits(edit: CurveEdit, length_s: float, heights: Nats, rate_hz: float) -> None:
    """Raises SettingsError for an edit that lasts longer than the heights [T] or [T, 4], which end up to one after."""
    if length_s * rate_hz > len(heights) + 1:
        raise SettingsError(f"The edit “{edit}” lasts longer than the clip.", "Choose a shorter time.")


def format_number(value: float) -> str:
    """The shortest words for a number that are read as the same number."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def _apply_fade_in(heights: Nats, rate_hz: float, length_s: float) -> Nats:
    """Heights [T] or [T, 4] that grow from 0 at the start to what they are after a length."""
    distances_s = (_positions(heights) + 0.5) / rate_hz
    share = np.minimum(distances_s, length_s) / length_s if length_s > 0 else np.ones(len(heights))
    return heights * share.reshape(-1, *[1] * (heights.ndim - 1))


def _positions(heights: Nats) -> Nats:
    """0, 1, … for each moment [T] of a curve."""
    return np.arange(len(heights), dtype=np.float64)


def _resample_at(heights: Nats, places: Nats, pad_with_silence: bool) -> Nats:
    """Heights read at places [T] between them, held for half a value around the ends, and beyond if not silent."""
    found = interpolate(heights, _positions(heights), places)
    if pad_with_silence:
        found[(places < -0.5) | (places > len(heights) - 0.5)] = 0.0
    return found


MAX_CHANGE_NATS = 20.0
"""From silence to the loudest sound it is less."""
MAX_RATIO = 1000.0


@dataclass(frozen=True)
class Offset(EnergyEdit):
    """Raise what sounds, or lower it. nats: within ±20; 1 nat is 8.7 dB."""

    nats: float

    def __post_init__(self) -> None:
        check_number("The offset", self.nats, -MAX_CHANGE_NATS, MAX_CHANGE_NATS, "nats")

    def _edit_energy(self, curve: EnergyCurve) -> Nats:
        values = clamp_to_silence(curve)
        return np.where(values > SILENCE_THRESHOLD_NATS, values + self.nats, values)

    def __str__(self) -> str:
        return f"offset {format_number(self.nats)}"


@dataclass(frozen=True)
class Gate(EnergyEdit):
    """Silence what is below a threshold. nats: the threshold."""

    nats: float

    def __post_init__(self) -> None:
        check_number("The threshold of gate", self.nats, -MAX_CHANGE_NATS, MAX_ENERGY_NATS, "nats")

    def _edit_energy(self, curve: EnergyCurve) -> Nats:
        values = clamp_to_silence(curve)
        return np.where(values < self.nats, SILENCE_NATS, values)

    def __str__(self) -> str:
        return f"gate {format_number(self.nats)}"


@dataclass(frozen=True)
class Compress(EnergyEdit):
    """Make what is above a threshold rise less. nats: the threshold. ratio: 1 changes nothing, 2 halves the rise."""

    nats: float
    ratio: float

    def __post_init__(self) -> None:
        check_number("The threshold of compress", self.nats, -MAX_CHANGE_NATS, MAX_ENERGY_NATS, "nats")
        check_number("The ratio of compress", self.ratio, 1, MAX_RATIO)

    def _edit_energy(self, curve: EnergyCurve) -> Nats:
        values = clamp_to_silence(curve)
        above = np.maximum(values - self.nats, 0)
        return values - above * (1 - 1 / self.ratio)

    def __str__(self) -> str:
        return f"compress {format_number(self.nats)} {format_number(self.ratio)}"


@dataclass(frozen=True)
class IsolateEvents(EnergyEdit):
    """Keep some events and silence everything else. numbers: of `find_events`, from 1."""

    numbers: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_numbers("isolate", self.numbers)

    def _edit_energy(self, curve: EnergyCurve) -> Nats:
        values, kept = clamp_to_silence(curve), np.full(curve.values.size, SILENCE_NATS)
        for event in select_events(curve, self.numbers):
            kept = insert_event(kept, event_shape(values, event), event.start_index, event.peak_nats)
        return kept

    def __str__(self) -> str:
        return f"isolate {_events(self.numbers)}"


@dataclass(frozen=True)
class MuteEvents(EnergyEdit):
    """Take some events away; what lies beneath them goes on. numbers: of `find_events`, from 1."""

    numbers: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_numbers("mute", self.numbers)

    def _edit_energy(self, curve: EnergyCurve) -> Nats:
        values = clamp_to_silence(curve)
        for event in select_events(curve, self.numbers):
            values = remove_event(values, event)
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
        check_number("The change of boost", self.nats, -MAX_CHANGE_NATS, MAX_CHANGE_NATS, "nats")

    def _edit_energy(self, curve: EnergyCurve) -> Nats:
        values = clamp_to_silence(curve)
        for event in select_events(curve, self.numbers):
            shape, beneath = event_shape(values, event), remove_event(values, event)
            values = insert_event(beneath, shape, event.start_index, event.peak_nats + self.nats)
        return values

    def __str__(self) -> str:
        return f"boost {_events(self.numbers)} by {format_number(self.nats)}"


@dataclass(frozen=True)
class MoveEvent(EnergyEdit):
    """Move one event. number: of `find_events`, from 1. to_s: where its onset shall be, within the curve."""

    number: int
    to_s: float

    def __post_init__(self) -> None:
        _check_numbers("move", (self.number,))
        check_number("The time to move to", self.to_s, 0, MAX_TIME_S, "s")

    def _edit_energy(self, curve: EnergyCurve) -> Nats:
        (event,) = select_events(curve, (self.number,))
        _check_within(self, self.to_s, curve)
        values = clamp_to_silence(curve)
        return insert_event(
            remove_event(values, event),
            event_shape(values, event),
            _start_index_at(self.to_s, event, curve),
            event.peak_nats,
        )

    def __str__(self) -> str:
        return f"move event {self.number} to {format_number(self.to_s)}"


@dataclass(frozen=True)
class DuplicateEvent(EnergyEdit):
    """Lay a copy of one event somewhere else. number: of `find_events`, from 1. to_s: the copy's onset."""

    number: int
    to_s: float

    def __post_init__(self) -> None:
        _check_numbers("duplicate", (self.number,))
        check_number("The time of the copy", self.to_s, 0, MAX_TIME_S, "s")

    def _edit_energy(self, curve: EnergyCurve) -> Nats:
        (event,) = select_events(curve, (self.number,))
        _check_within(self, self.to_s, curve)
        values = clamp_to_silence(curve)
        return insert_event(
            values, event_shape(values, event), _start_index_at(self.to_s, event, curve), event.peak_nats
        )

    def __str__(self) -> str:
        return f"duplicate event {self.number} to {format_number(self.to_s)}"


def _start_index_at(onset_s: float, event: EnergyEvent, curve: EnergyCurve) -> float:
    """Where on a curve an event begins once its onset lies at another time."""
    return event.start_index + (onset_s - event.time_s) * float(curve.rate_hz)


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


MAX_TILT_NATS = 2 * MAX_BAND_NATS


@dataclass(frozen=True)
class Tilt(TextureEdit):
    """Make it brighter, or darker below 0. nats: how far the high band rises against the low one; within ±24."""

    nats: float

    def __post_init__(self) -> None:
        check_number("The tilt", self.nats, -MAX_TILT_NATS, MAX_TILT_NATS, "nats")

    def _edit_texture(self, texture: TextureCurve) -> Nats:
        return texture.values + tilt_bands(self.nats)

    def __str__(self) -> str:
        return f"tilt {format_number(self.nats)}"


@dataclass(frozen=True)
class RaiseBand(TextureEdit):
    """Raise one band against the others, or lower it. band: of BAND_NAMES. nats: within ±24."""

    band: str
    nats: float

    def __post_init__(self) -> None:
        if self.band not in BAND_NAMES:
            raise SettingsError(f"There is no band {self.band!r} to raise.", f"Choose one of {', '.join(BAND_NAMES)}.")
        check_number(f"The rise of the {self.band} band", self.nats, -MAX_TILT_NATS, MAX_TILT_NATS, "nats")

    def _edit_texture(self, texture: TextureCurve) -> Nats:
        values = texture.values.astype(np.float64)
        values[:, BAND_NAMES.index(self.band)] += self.nats
        return values

    def __str__(self) -> str:
        return f"raise {self.band} {format_number(self.nats)}"
