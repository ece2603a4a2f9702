"""Short names of the contract's enum values, for OTIO metadata, the command line and JSON."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast

from rewas_api.v1 import rewas_pb2

E = TypeVar("E", bound=int)


class EnumNames(Generic[E]):
    """Names of one enum's values, in both directions.

    A name is the value's name in the contract without its prefix, in lower case, with hyphens: `VERDICT_AGREE` is
    "agree", `SAMPLER_DPM_PLUS_PLUS_SDE` is "dpm++-sde". The value 0 (`_UNSPECIFIED`) has no name.
    """

    def __init__(self, enum: type[E]) -> None:
        values: list[tuple[str, E]] = cast(Any, enum).items()
        prefix = next(name for name, number in values if number == 0).removesuffix("UNSPECIFIED")
        self._numbers = {_shorten(name.removeprefix(prefix)): number for name, number in values if number != 0}
        self._names = {number: name for name, number in self._numbers.items()}

    @property
    def all(self) -> tuple[str, ...]:
        """All names, in the order of the contract."""
        return tuple(self._numbers)

    def to_number(self, name: str | None) -> E:
        """The value with a name; `_UNSPECIFIED` for None. Raises KeyError for an unknown name."""
        return cast(E, 0) if name is None else self._numbers[name]

    def to_name(self, number: int) -> str | None:
        """The name of a value; None for `_UNSPECIFIED`, "unknown (N)" for a value of a newer contract."""
        return None if number == 0 else self._names.get(cast(E, number), f"unknown ({number})")


def _shorten(name: str) -> str:
    return name.lower().replace("_plus_plus", "++").replace("_", "-")


CONFLICT_POLICY = EnumNames(rewas_pb2.ConflictPolicy)
CONTROL = EnumNames(rewas_pb2.Control)
ENERGY_SOURCE = EnumNames(rewas_pb2.EnergySource)
INTERRUPTION_CAUSE = EnumNames(rewas_pb2.InterruptionCause)
JOB_STATE = EnumNames(rewas_pb2.JobState)
LAYER_ENERGY = EnumNames(rewas_pb2.LayerEnergy)
LEVEL = EnumNames(rewas_pb2.Level)
NOTE_KIND = EnumNames(rewas_pb2.NoteKind)
PRIORITY = EnumNames(rewas_pb2.Priority)
PROMPT_ORIGIN = EnumNames(rewas_pb2.PromptOrigin)
RANK = EnumNames(rewas_pb2.Rank)
ROOM = EnumNames(rewas_pb2.Room)
SAMPLER = EnumNames(rewas_pb2.Sampler)
STAGE = EnumNames(rewas_pb2.Stage)
TAIL = EnumNames(rewas_pb2.Tail)
TAKE_FAULT = EnumNames(rewas_pb2.TakeFault)
VERDICT = EnumNames(rewas_pb2.Verdict)

__all__ = [
    "CONFLICT_POLICY",
    "CONTROL",
    "ENERGY_SOURCE",
    "INTERRUPTION_CAUSE",
    "JOB_STATE",
    "LAYER_ENERGY",
    "LEVEL",
    "NOTE_KIND",
    "PRIORITY",
    "PROMPT_ORIGIN",
    "RANK",
    "ROOM",
    "SAMPLER",
    "STAGE",
    "TAIL",
    "TAKE_FAULT",
    "VERDICT",
    "EnumNames",
]
