"""Edits of curves: for energy and texture, for energy only, for texture only, and for single events."""

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
    remove_events,
    select_events,
)
from rewas_engine.curves.texture import BAND_NAMES, MAX_BAND_NATS, TextureCurve, tilt_bands
from rewas_engine.errors import SettingsError
from rewas_engine.exact_time import MAX_TIME_S

MAX_FACTOR = 100.0
MAX_SMOOTHING_S = 60.0
Curve = TypeVar("Curve")


class Edit(Protocol[Curve]):
    """An edit of one kind of curve."""

    def apply(self, curve: Curve) -> Curve:
        """Return the edited curve."""


def apply_edits(curve: Curve, edits: Iterable[Edit[Curve]]) -> Curve:
    """Apply edits to an energy or texture curve, one after another.

    Raises:
        SettingsError: An edit cannot be applied.
    """
    for edit in edits:
        curve = edit.apply(curve)
    return curve


class EnergyEdit(ABC):
    """An edit of an energy curve. `str` returns the text that `parse_edit` parses."""

    def apply(self, curve: EnergyCurve) -> EnergyCurve:
        """Return the edited curve, of the same length and rate.

        Raises:
            SettingsError: The result would exceed MAX_ENERGY_NATS, or an event does not exist.
        """
        lifted = EnergyCurve(clamp_to_silence(curve).astype(np.float32), curve.rate_hz, curve.source)
        values = np.maximum(self._edit_energy(lifted), SILENCE_NATS)
        if values.max() > MAX_ENERGY_NATS:
            raise SettingsError(
                f"The edit “{self}” would make the energy {values.max():.1f} nats, louder than any sound.",
                f"Make a smaller change; the maximum is {MAX_ENERGY_NATS:.0f} nats.",
            )
        return EnergyCurve(values.astype(np.float32), curve.rate_hz, curve.source)

    @abstractmethod
    def _edit_energy(self, curve: EnergyCurve) -> Nats:
        """Return the edited values `[T]` of a curve that is nowhere below silence."""

    @abstractmethod
    def __str__(self) -> str: ...


class TextureEdit(ABC):
    """An edit of a texture curve. `str` returns the text that `parse_texture_edit` parses."""

    def apply(self, curve: TextureCurve) -> TextureCurve:
        """Return the edited texture, of the same length and rate.

        Raises:
            SettingsError: A band would be more than MAX_BAND_NATS from the mean of all bands.
        """
        values = self._edit_texture(TextureCurve(curve.values, curve.rate_hz, curve.source))
        values -= values.mean(axis=1, keepdims=True)
        if np.abs(values).max() > MAX_BAND_NATS:
            raise SettingsError(
                f"The edit “{self}” would move a band {np.abs(values).max():.1f} nats away from the others.",
                f"Make a smaller change; the maximum is {MAX_BAND_NATS:g} nats.",
            )
        return TextureCurve(values.astype(np.float32), curve.rate_hz, curve.source)

    @abstractmethod
    def _edit_texture(self, texture: TextureCurve) -> Nats:
        """Return the edited values `[T, 4]` as a new array."""

    @abstractmethod
    def __str__(self) -> str: ...


class CurveEdit(EnergyEdit, TextureEdit):
    """An edit that applies to both energy and texture curves.

    It changes heights: of an energy above silence, of texture bands above their mean.
    """

    @overload
    def apply(self, curve: EnergyCurve) -> EnergyCurve: ...
    @overload
    def apply(self, curve: TextureCurve) -> TextureCurve: ...
    def apply(self, curve: EnergyCurve | TextureCurve) -> EnergyCurve | TextureCurve:
        """Return the edited curve, of the same length and rate. Raises SettingsError if a value is out of bounds."""
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
        """Return the edited heights as a new array.

        Args:
            heights: `[T]` or `[T, 4]` in nats.
            rate_hz: Values per second.
            pad_with_silence: Fill in heights of 0 from outside the clip, instead of the first or last height.
        """


@dataclass(frozen=True)
class Scale(CurveEdit):
    """Multiply the height above silence, or the differences between texture bands.

    Attributes:
        factor: From 0 (silence, or equal bands) to 100. 1 changes nothing.
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
    """Smooth with a Savitzky-Golay filter of order 2, as in the paper. A window of 0 s changes nothing."""

    window_s: float

    def __post_init__(self) -> None:
        check_number("The window of smooth", self.window_s, 0, MAX_SMOOTHING_S, "s")

    def _transform(self, heights: Nats, rate_hz: float, pad_with_silence: bool) -> Nats:
        window = 2 * int(self.window_s * rate_hz / 2) + 1
        # The filter overshoots next to steep rises.
        return np.clip(smooth_values(heights, window), heights.min(axis=0), heights.max(axis=0))

    def __str__(self) -> str:
        return f"smooth {format_number(self.window_s)}"


@dataclass(frozen=True)
class FadeIn(CurveEdit):
    """Fade in linearly from silence, or from equal bands, at the clip's start, over `length_s` seconds."""

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
    """Fade out linearly to silence, or to equal bands, at the clip's end, over `length_s` seconds."""

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
    """Move the curve in time, later if `by_s` is above 0.

    The gap is filled with silence, or with the nearest value of a texture.
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
    """Stretch time from the clip's start.

    A gap at the end is filled with silence, or with the last value of a texture.

    Attributes:
        factor: From 0.01 to 100. 2 is half as fast, 1 changes nothing.
    """

    factor: float

    def __post_init__(self) -> None:
        check_number("The factor of stretch", self.factor, 1 / MAX_FACTOR, MAX_FACTOR)

    def _transform(self, heights: Nats, rate_hz: float, pad_with_silence: bool) -> Nats:
        # Value i is at i + 0.5, so that the clip's start stays in place, not the first value.
        return _resample_at(heights, (_positions(heights) + 0.5) / self.factor - 0.5, pad_with_silence)

    def __str__(self) -> str:
        return f"stretch {format_number(self.factor)}"


def check_number(what: str, value: float, lowest: float, highest: float, unit: str = "") -> None:
    """Raise SettingsError if a number of an edit is out of bounds."""
    if not lowest <= value <= highest:
        within = f"from {format_number(lowest)} to {format_number(highest)}"
        raise SettingsError(f"{what} is {value} {unit}".rstrip() + ".", f"Give a number {within} {unit}".rstrip() + ".")


def check_fits(edit: CurveEdit, length_s: float, heights: Nats, rate_hz: float) -> None:
    """Raise SettingsError if an edit lasts longer than its curve, with a tolerance of one value."""
    if length_s * rate_hz > len(heights) + 1:
        raise SettingsError(f"The edit “{edit}” lasts longer than the clip.", "Choose a shorter time.")


def format_number(value: float) -> str:
    """Format a number in the shortest way that parses to the same number."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def _apply_fade_in(heights: Nats, rate_hz: float, length_s: float) -> Nats:
    """Fade heights `[T]` or `[T, 4]` in linearly over a length."""
    distances_s = (_positions(heights) + 0.5) / rate_hz
    share = np.minimum(distances_s, length_s) / length_s if length_s > 0 else np.ones(len(heights))
    return heights * share.reshape(-1, *[1] * (heights.ndim - 1))


def _positions(heights: Nats) -> Nats:
    """Positions 0, 1, … of the values of a curve."""
    return np.arange(len(heights), dtype=np.float64)


def _resample_at(heights: Nats, places: Nats, pad_with_silence: bool) -> Nats:
    """Interpolate heights at positions `[T]`. Outside the curve, hold the first or last height or pad with silence."""
    found = interpolate(heights, _positions(heights), places)
    if pad_with_silence:
        found[(places < -0.5) | (places > len(heights) - 0.5)] = 0.0
    return found


MAX_CHANGE_NATS = 20.0
"""Larger than the distance from silence to the loudest sound."""
MAX_RATIO = 1000.0


@dataclass(frozen=True)
class Offset(EnergyEdit):
    """Raise or lower everything above silence by `nats`, within ±20. 1 nat is 8.7 dB."""

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
    """Replace values below the threshold `nats` by silence."""

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
    """Compress values above the threshold `nats`. A ratio of 2 halves the excess, 1 changes nothing."""

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
    """Keep the events with these numbers of `find_events`, from 1, and silence everything else."""

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
    """Remove the events with these numbers of `find_events`, from 1. The background remains."""

    numbers: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_numbers("mute", self.numbers)

    def _edit_energy(self, curve: EnergyCurve) -> Nats:
        return remove_events(clamp_to_silence(curve), select_events(curve, self.numbers))

    def __str__(self) -> str:
        return f"mute {_events(self.numbers)}"


@dataclass(frozen=True)
class BoostEvents(EnergyEdit):
    """Make the peaks of events louder or softer, but not softer than their background.

    Attributes:
        numbers: Numbers of `find_events`, from 1.
        nats: Change of the peaks, within ±20.
    """

    numbers: tuple[int, ...]
    nats: float

    def __post_init__(self) -> None:
        _check_numbers("boost", self.numbers)
        check_number("The change of boost", self.nats, -MAX_CHANGE_NATS, MAX_CHANGE_NATS, "nats")

    def _edit_energy(self, curve: EnergyCurve) -> Nats:
        values = clamp_to_silence(curve)
        for event in select_events(curve, self.numbers):
            shape, beneath = event_shape(values, event), remove_events(values, [event])
            values = insert_event(beneath, shape, event.start_index, event.peak_nats + self.nats)
        return values

    def __str__(self) -> str:
        return f"boost {_events(self.numbers)} by {format_number(self.nats)}"


@dataclass(frozen=True)
class MoveEvent(EnergyEdit):
    """Move the onset of event `number`, counted from 1, to `to_s` seconds."""

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
            remove_events(values, [event]),
            event_shape(values, event),
            _start_index_at(self.to_s, event, curve),
            event.peak_nats,
        )

    def __str__(self) -> str:
        return f"move event {self.number} to {format_number(self.to_s)}"


@dataclass(frozen=True)
class DuplicateEvent(EnergyEdit):
    """Copy event `number`, counted from 1, so that the onset of the copy is at `to_s` seconds."""

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
    """Position of the first value of an event after moving its onset."""
    return event.start_index + (onset_s - event.time_s) * float(curve.rate_hz)


def _check_numbers(verb: str, numbers: tuple[int, ...]) -> None:
    if not numbers:
        raise SettingsError(f"No event is given to {verb}.", "Name an event by its number.")
    for number in numbers:
        if number < 1:
            raise SettingsError(f"There is no event {number} to {verb}.", "Event numbers start at 1.")


def _check_within(edit: EnergyEdit, time_s: float, curve: EnergyCurve) -> None:
    if time_s > float(curve.duration_s):
        raise SettingsError(f"The edit “{edit}” ends beyond the end of the clip.", "Choose a time within the clip.")


def _events(numbers: tuple[int, ...]) -> str:
    return f"event {numbers[0]}" if len(numbers) == 1 else f"events {' '.join(map(str, numbers))}"


MAX_TILT_NATS = 2 * MAX_BAND_NATS


@dataclass(frozen=True)
class Tilt(TextureEdit):
    """Make the sound brighter, or darker if below 0. `nats` is the change of the high band relative to the low band."""

    nats: float

    def __post_init__(self) -> None:
        check_number("The tilt", self.nats, -MAX_TILT_NATS, MAX_TILT_NATS, "nats")

    def _edit_texture(self, texture: TextureCurve) -> Nats:
        return texture.values + tilt_bands(self.nats)

    def __str__(self) -> str:
        return f"tilt {format_number(self.nats)}"


@dataclass(frozen=True)
class RaiseBand(TextureEdit):
    """Raise or lower one band of BAND_NAMES relative to the others by `nats`, within ±24."""

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
