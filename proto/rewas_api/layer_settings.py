"""Layers of a clip's settings: more sounds beside the primary one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2

MAX_LAYERS = 8
LAYER_ENERGIES = ("steady", "following")
GAIN_RANGE_DB = (-60.0, 24.0)
MAX_PROMPT_CHARACTERS = 2000
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_RESERVED_NAMES = ("primary", "mix")


@dataclass(frozen=True)
class LayerSettings:
    """One sound beside the primary one. None means the default.

    name: of its stem, small letters, digits, hyphens and underscores; not "primary" or "mix". prompt: 1 to 2000
    characters. gain_db: of its stem, one within GAIN_RANGE_DB. energy: one of LAYER_ENERGIES.
    Raises ProblemError (SETTINGS) for a value of the wrong type or out of bounds.
    """

    name: str
    prompt: str
    gain_db: float | None = None
    energy: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name) or self.name in _RESERVED_NAMES:
            raise _refused(
                f"A layer of the clip is called {shown(self.name)}.",
                f"Use small letters, digits, hyphens and underscores; {' and '.join(_RESERVED_NAMES)} are taken.",
            )
        is_said = isinstance(self.prompt, str) and self.prompt.strip()
        if not is_said or len(self.prompt) > MAX_PROMPT_CHARACTERS:
            raise _refused(
                f"The prompt of the layer {self.name} of the clip is {shown(self.prompt)}.",
                f"Say what should be heard in at most {MAX_PROMPT_CHARACTERS} characters.",
            )
        if self.gain_db is not None:
            object.__setattr__(self, "gain_db", validate_gain_db(self.gain_db, f"the layer {self.name} of the clip"))
        if self.energy is not None and self.energy not in LAYER_ENERGIES:
            raise _refused(
                f"The energy of the layer {self.name} of the clip is {shown(self.energy)}.",
                f"Give {' or '.join(LAYER_ENERGIES)}.",
            )

    def to_proto(self) -> rewas_pb2.Layer:
        """The layer as it travels."""
        return rewas_pb2.Layer(name=self.name, prompt=self.prompt, gain_db=self.gain_db, energy=self.energy)

    @classmethod
    def from_proto(cls, layer: rewas_pb2.Layer) -> LayerSettings:
        """The layer that travelled."""
        return cls(
            layer.name,
            layer.prompt,
            layer.gain_db if layer.HasField("gain_db") else None,
            layer.energy if layer.HasField("energy") else None,
        )

    def to_metadata(self) -> dict[str, Any]:
        """The layer as it stands in an OTIO file; what is None is left out."""
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in held.items() if value is not None}


def validate_layers(value: object) -> tuple[LayerSettings, ...]:
    """Layers from what stands for them: themselves, or dictionaries with their fields, as in an OTIO file.

    Names that are not known are left alone. Raises ProblemError (SETTINGS) for anything else.
    """
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__") or hasattr(value, "items"):
        raise _refused(f"The layers of the clip are {shown(value)}.", "Give a list of layers.")
    layers = tuple(_validate_layer(each) for each in value)
    if len(layers) > MAX_LAYERS:
        raise _refused(f"The layers of the clip are {len(layers)}.", f"Ask for at most {MAX_LAYERS}.")
    names = [layer.name for layer in layers]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _refused(f"Two layers of the clip are called {twice[0]}.", "Give each a name of its own.")
    return layers


def validate_gain_db(value: object, owner: str) -> float:
    """A gain in decibels. Raises ProblemError (SETTINGS) for one that is out of bounds."""
    low, high = GAIN_RANGE_DB
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and low <= value <= high:
        return float(value)
    raise _refused(f"gain_db of {owner} is {shown(value)}.", f"Give a number from {low:g} to {high:g}.")


def _validate_layer(value: Any) -> LayerSettings:
    if isinstance(value, LayerSettings):
        return value
    # OTIO hands dictionaries out as AnyDictionary, which quacks like a mapping without being one to isinstance.
    if not isinstance(value, Mapping) and not hasattr(value, "items"):
        raise _refused(f"A layer of the clip is {shown(value)}.", "Write it as a dictionary with name and prompt.")
    held = dict(value.items())
    return LayerSettings(held.get("name", ""), held.get("prompt", ""), held.get("gain_db"), held.get("energy"))


def _refused(what: str, remedy: str) -> ProblemError:
    return ProblemError(what, remedy, ProblemKind.SETTINGS)


def shown(value: object) -> str:
    """A value as it stands in a message, not too long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


__all__ = ["GAIN_RANGE_DB", "LAYER_ENERGIES", "MAX_LAYERS", "LayerSettings", "validate_gain_db", "validate_layers"]
