"""How the recordings of a library are performed, in the settings of a clip or of a layer."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from rewas_api import enum_names
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_api.value_checks import format_value, known_entries, validate_choice, validate_number

TAILS = enum_names.TAIL.all
"""What the tail of a strike may do: follow the energy, or decay as recorded."""
ROOMS = enum_names.ROOM.all
"""What strikes may do with the decay of the recorded room: keep it, or lower it."""
MAX_PLACE = 1_000_000
MAX_PITCH_VARIATION_CENTS = 1200.0
MAX_TIMING_VARIATION_S = 0.1


@dataclass(frozen=True)
class PerformanceSettings:
    """How the recordings of a library are performed. None means the default.

    Args:
        place: Which recordings: 0 for those nearest to the prompt, 1 for the next ones, up to MAX_PLACE.
        tail: What the tails of strikes do, one of TAILS.
        pitch_variation_cents: Largest random change of a strike's pitch, 0 to MAX_PITCH_VARIATION_CENTS.
        timing_variation_s: Largest random displacement of a strike, 0 to MAX_TIMING_VARIATION_S.
        room: Whether strikes keep the decay of the recorded room, one of ROOMS.

    Raises:
        ProblemError: SETTINGS for a value of the wrong type or out of bounds.
    """

    place: int | None = None
    tail: str | None = None
    pitch_variation_cents: float | None = None
    timing_variation_s: float | None = None
    room: str | None = None

    def __post_init__(self) -> None:
        for name, value in list(vars(self).items()):
            if value is not None:
                object.__setattr__(self, name, _validate(name, value, "the clip"))

    def to_proto(self) -> rewas_pb2.Performance:
        """Convert to the contract's message. Fields that are None stay unset."""
        return rewas_pb2.Performance(
            place=self.place,
            tail=enum_names.TAIL.to_number(self.tail),
            pitch_variation_cents=self.pitch_variation_cents,
            timing_variation_s=self.timing_variation_s,
            room=enum_names.ROOM.to_number(self.room),
        )

    @classmethod
    def from_proto(cls, performance: rewas_pb2.Performance, owner: str = "the clip") -> PerformanceSettings | None:
        """Convert from the contract's message; None if it sets nothing.

        Raises ProblemError (SETTINGS), which names the field and its owner, for a value out of bounds.
        """
        given: dict[str, Any] = {
            "tail": enum_names.TAIL.to_name(performance.tail),
            "room": enum_names.ROOM.to_name(performance.room),
        }
        for name in ("place", "pitch_variation_cents", "timing_variation_s"):
            if performance.HasField(name):
                given[name] = getattr(performance, name)
        return validate_performance(given, owner)

    def to_metadata(self) -> dict[str, Any]:
        """Convert to a dictionary for an OTIO file, without what is None."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def over(self, defaults: PerformanceSettings | None) -> PerformanceSettings:
        """Return these settings with `defaults` for what is None."""
        below = {} if defaults is None else defaults.to_metadata()
        return PerformanceSettings(**(below | self.to_metadata()))


_NAMES = tuple(field.name for field in fields(PerformanceSettings))

_CHOICES = {"tail": TAILS, "room": ROOMS}


def validate_performance(value: object, owner: str = "the clip") -> PerformanceSettings | None:
    """Parse PerformanceSettings, or a dictionary with their fields as in an OTIO file; None if they set nothing.

    Unknown names in a dictionary are ignored. owner: whom the settings belong to, in the middle of a sentence.

    Raises ProblemError (SETTINGS), which names the field and its owner, for an invalid value.
    """
    if isinstance(value, PerformanceSettings):
        return value if value.to_metadata() else None
    held = known_entries(value, _NAMES)
    if held is None:
        raise ProblemError(
            f"The performance of {owner} is {format_value(value)}.",
            f"Write it as a dictionary with any of {', '.join(_NAMES)}.",
            ProblemKind.SETTINGS,
        )
    given = {name: _validate(name, each, owner) for name, each in held.items() if each is not None}
    return PerformanceSettings(**given) if given else None


def _validate(name: str, value: object, owner: str) -> Any:
    field = f"performance.{name}"
    if name in _CHOICES:
        return validate_choice(field, value, owner, _CHOICES[name])
    if name == "place":
        return validate_number(field, value, owner, 0, MAX_PLACE, is_whole=True)
    highest = MAX_PITCH_VARIATION_CENTS if name == "pitch_variation_cents" else MAX_TIMING_VARIATION_S
    return validate_number(field, value, owner, 0, highest)


__all__ = [
    "MAX_PITCH_VARIATION_CENTS",
    "MAX_PLACE",
    "MAX_TIMING_VARIATION_S",
    "ROOMS",
    "TAILS",
    "PerformanceSettings",
    "validate_performance",
]
