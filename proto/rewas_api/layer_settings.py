"""Layers in the settings of a clip: further sounds besides the primary one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import Any

from rewas_api import enum_names
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.performance_settings import PerformanceSettings, validate_performance
from rewas_api.v1 import rewas_pb2
from rewas_api.value_checks import format_value, invalid_value, known_entries, validate_number

MAX_LAYERS = 8
LAYER_ENERGIES = enum_names.LAYER_ENERGY.all
"""What the energy of a layer may do: stay steady, follow the primary sound, or follow the video."""
GAIN_RANGE_DB = (-60.0, 24.0)
MAX_PROMPT_CHARACTERS = 2000
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_RESERVED_NAMES = ("primary", "mix")
MAX_LOCATION_CHARACTERS = 4096
_FIELDS = ("name", "prompt", "gain_db", "energy", "like", "pack", "performance")


@dataclass(frozen=True)
class LayerSettings:
    """A further sound besides the primary one. None means the default.

    Args:
        name: Role of its stem: lower-case letters, digits, hyphens and underscores; not "primary" or "mix".
        prompt: Description of the sound, 1 to 2000 characters.
        gain_db: Gain of its stem in decibels, within GAIN_RANGE_DB.
        energy: What its energy does, one of LAYER_ENERGIES.
        like: Location of a sound that it should resemble: a file URL or a path.
        pack: Name of the pack that makes it; None for the pack of the primary sound.
        performance: How the recordings of a library are performed for it.

    Raises:
        ProblemError: SETTINGS for a value of the wrong type or out of bounds.
    """

    name: str
    prompt: str
    gain_db: float | None = None
    energy: str | None = None
    like: str | None = None
    pack: str | None = None
    performance: PerformanceSettings | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name) or self.name in _RESERVED_NAMES:
            raise _invalid_settings(
                f"A layer of the clip is called {format_value(self.name)}.",
                "Use lower-case letters, digits, hyphens and underscores. "
                f"The names {' and '.join(_RESERVED_NAMES)} are reserved.",
            )
        has_prompt = isinstance(self.prompt, str) and self.prompt.strip()
        if not has_prompt or len(self.prompt) > MAX_PROMPT_CHARACTERS:
            raise _invalid_settings(
                f"The prompt of the layer {self.name} of the clip is {format_value(self.prompt)}.",
                f"Describe the sound in at most {MAX_PROMPT_CHARACTERS} characters.",
            )
        if self.gain_db is not None:
            object.__setattr__(self, "gain_db", validate_gain_db(self.gain_db, f"the layer {self.name} of the clip"))
        if self.energy is not None and self.energy not in LAYER_ENERGIES:
            raise _invalid_settings(
                f"The energy of the layer {self.name} of the clip is {format_value(self.energy)}.",
                f"Set {' or '.join(LAYER_ENERGIES)}.",
            )
        if self.like is not None:
            object.__setattr__(self, "like", validate_location(self.like, f"the layer {self.name} of the clip"))
        if self.pack is not None and not isinstance(self.pack, str):
            raise invalid_value("pack", self.pack, f"the layer {self.name} of the clip", "Set a text.")
        object.__setattr__(self, "pack", self.pack or None)
        if self.performance is not None:
            performance = validate_performance(self.performance, f"the layer {self.name} of the clip")
            object.__setattr__(self, "performance", performance)

    def to_proto(self) -> rewas_pb2.Layer:
        """Convert to the contract's message."""
        energy = enum_names.LAYER_ENERGY.to_number(self.energy)
        return rewas_pb2.Layer(
            name=self.name,
            prompt=self.prompt,
            gain_db=self.gain_db,
            energy=energy,
            like=self.like,
            pack=self.pack,
            performance=None if self.performance is None else self.performance.to_proto(),
        )

    @classmethod
    def from_proto(cls, layer: rewas_pb2.Layer) -> LayerSettings:
        """Convert from the contract's message. Raises ProblemError (SETTINGS) for a value out of bounds."""
        owner = f"the layer {layer.name} of the clip"
        return cls(
            layer.name,
            layer.prompt,
            gain_db=layer.gain_db if layer.HasField("gain_db") else None,
            energy=enum_names.LAYER_ENERGY.to_name(layer.energy),
            like=layer.like if layer.HasField("like") else None,
            pack=layer.pack if layer.HasField("pack") else None,
            performance=PerformanceSettings.from_proto(layer.performance, owner),
        )

    def to_metadata(self) -> dict[str, Any]:
        """Convert to a dictionary for an OTIO file, without what is None."""
        held = {name: value for name, value in vars(self).items() if value is not None}
        if self.performance is not None:
            held["performance"] = self.performance.to_metadata()
        return held


def validate_layers(value: object) -> tuple[LayerSettings, ...]:
    """Parse layers from a list of LayerSettings or of dictionaries with their fields, as in an OTIO file.

    Unknown names in a dictionary are ignored. Raises ProblemError (SETTINGS) for invalid layers.
    """
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__") or hasattr(value, "items"):
        raise _invalid_settings(f"The layers of the clip are {format_value(value)}.", "Set a list of layers.")
    # Reading past the end of one of OTIO's lists, as a loop does, is slow.
    items = islice(value, len(value)) if hasattr(value, "__len__") else value
    layers = tuple([each if isinstance(each, LayerSettings) else _parse_layer(each) for each in items])
    if len(layers) > MAX_LAYERS:
        raise _invalid_settings(f"There are {len(layers)} layers on the clip.", f"Use at most {MAX_LAYERS}.")
    names = [layer.name for layer in layers]
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise _invalid_settings(f"Two layers of the clip are called {duplicates[0]}.", "Give each layer a unique name.")
    return layers


def validate_location(value: object, owner: str) -> str | None:
    """Check the location of a reference sound; "" means none.

    Raises ProblemError (SETTINGS) for a value that is too long or not a text. owner: what it belongs to, in messages.
    """
    if not isinstance(value, str):
        raise _invalid_settings(
            f"like of {owner} is {format_value(value)}.", "Set the path of a sound that the result should resemble."
        )
    if len(value) > MAX_LOCATION_CHARACTERS:
        raise _invalid_settings(
            f"like of {owner} has {len(value)} characters.",
            f"Set a path of at most {MAX_LOCATION_CHARACTERS} characters.",
        )
    return value or None


def validate_gain_db(value: object, owner: str) -> float:
    """Check a gain in decibels and return it as a float.

    Raises ProblemError (SETTINGS), which names the `owner`, for a value outside GAIN_RANGE_DB.
    """
    return validate_number("gain_db", value, owner, *GAIN_RANGE_DB)


def _parse_layer(value: Any) -> LayerSettings:
    held = known_entries(value, _FIELDS)
    if held is None:
        raise _invalid_settings(
            f"A layer of the clip is {format_value(value)}.", "Write it as a dictionary with name and prompt."
        )
    return LayerSettings(**({"name": "", "prompt": ""} | held))


def _invalid_settings(what: str, remedy: str) -> ProblemError:
    return ProblemError(what, remedy, ProblemKind.SETTINGS)


__all__ = [
    "GAIN_RANGE_DB",
    "LAYER_ENERGIES",
    "MAX_LAYERS",
    "LayerSettings",
    "validate_gain_db",
    "validate_layers",
    "validate_location",
]
