"""ReWaS metadata on OpenTimelineIO clips: what to generate for a clip, under `metadata["rewas"]`.

Example, as it appears in an .otio file:

    "metadata": {"rewas": {"prompt": "dog growling", "seed": 7, "takes": 3}}
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

from rewas_api import enum_names
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.layer_settings import (
    MAX_PROMPT_CHARACTERS,
    LayerSettings,
    validate_gain_db,
    validate_layers,
    validate_location,
)
from rewas_api.performance_settings import PerformanceSettings, validate_performance
from rewas_api.v1 import rewas_pb2
from rewas_api.value_checks import invalid_value, known_entries, validate_choice, validate_number

METADATA_KEY = "rewas"
"""Key of ReWaS metadata on clips, stems and timelines."""

SAMPLE_RATES_HZ = (16000, 22050, 44100, 48000, 96000)
DEFAULT_SAMPLE_RATE_HZ = 48000
CONTROLS = enum_names.CONTROL.all
"""What may steer a sound: the shape of an energy curve, or the times and strengths of its events."""
RANKS = enum_names.RANK.all
"""What the takes may be ordered by: how well they follow the request, or how well they fit the frames."""
LEVELS = enum_names.LEVEL.all
"""How loud the stems may be: at a standard level, or as the energy and the model make them."""
SAMPLERS = enum_names.SAMPLER.all
"""Solvers of the denoising process."""
CONFLICT_POLICIES = enum_names.CONFLICT_POLICY.all
"""What may happen if the frames contradict the prompt."""


class OtioClip(Protocol):
    """A clip of OpenTimelineIO, or of another implementation of its format."""

    name: str

    @property
    def metadata(self) -> Any:
        """A dictionary, or OpenTimelineIO's AnyDictionary."""


@dataclass(frozen=True)
class ClipSettings:
    """What to generate for a clip, and how. None means the default of the pack or the server.

    Args:
        prompt: Description of the sound, 1 to 2000 characters; "" if the clip has none.
        pack: Name of the pack.
        seed: Seed of the first take, 0 to 2**63 - 1.
        takes: Number of takes, 1 to 100.
        num_inference_steps: Number of denoising steps, 1 to 1000.
        guidance_scale: Scale of the classifier-free guidance, 0 to 20; 1 means no guidance.
        control_strength: Strength of the control, 0 to 2.
        sample_rate_hz: Sample rate of the stems, one of SAMPLE_RATES_HZ.
        negative_prompt: Description of sounds to avoid.
        control_start: Fraction of the denoising steps at which the control starts, 0 to 1.
        control_end: Fraction of the denoising steps at which the control ends, above control_start, up to 1.
        control: What steers the generation, one of CONTROLS.
        loop: Whether the end of the sound continues into its beginning.
        layers: Further sounds, each with its own stem.
        gain_db: Gain of the primary stem, -60 to 24 dB.
        mix: Whether to deliver the sum of all stems, too.
        sampler: Solver of the denoising process, one of SAMPLERS.
        new_sound_at_cuts: Whether the primary sound starts afresh at every cut found in the frames.
        conflict_policy: What happens if the frames contradict the prompt, one of CONFLICT_POLICIES.
        level: How loud the stems are, one of LEVELS.
        like: Location of a sound that the primary sound should resemble: a file URL or a path.
        performance: How the recordings of a library are performed.
        rank_by: What orders the takes, one of RANKS.

    Raises:
        ProblemError: SETTINGS for a value of the wrong type or out of bounds.
    """

    prompt: str = ""
    pack: str | None = None
    seed: int | None = None
    takes: int | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    control_strength: float | None = None
    sample_rate_hz: int | None = None
    negative_prompt: str | None = None
    control_start: float | None = None
    control_end: float | None = None
    control: str | None = None
    loop: bool | None = None
    layers: tuple[LayerSettings, ...] | None = None
    gain_db: float | None = None
    mix: bool | None = None
    sampler: str | None = None
    new_sound_at_cuts: bool | None = None
    conflict_policy: str | None = None
    level: str | None = None
    like: str | None = None
    performance: PerformanceSettings | None = None
    rank_by: str | None = None

    def __post_init__(self) -> None:
        for name, value in list(vars(self).items()):
            if value is not None:
                object.__setattr__(self, name, _validate(name, value, "the clip"))
        self._check_combination()

    def _check_combination(self) -> None:
        start, end = self.control_start or 0.0, 1.0 if self.control_end is None else self.control_end
        if start >= end:
            raise ProblemError(
                f"The control of the clip starts at {start:g} and ends at {end:g}.",
                "Set control_start below control_end.",
                ProblemKind.SETTINGS,
            )
        if self.loop and self.new_sound_at_cuts:
            raise ProblemError(
                "The sound of the clip cannot both loop and start afresh at cuts.",
                "Turn off loop or new_sound_at_cuts.",
                ProblemKind.SETTINGS,
            )

    def to_proto(self) -> rewas_pb2.SoundSettings:
        """Convert to the contract's message. Fields that are None stay unset."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        for name, names in _ENUMS.items():
            if name in given:
                given[name] = names.to_number(given[name])
        if self.layers is not None:
            given["layers"] = [layer.to_proto() for layer in self.layers]
        if self.performance is not None:
            given["performance"] = self.performance.to_proto()
        return rewas_pb2.SoundSettings(**given)

    @classmethod
    def from_proto(cls, settings: rewas_pb2.SoundSettings) -> ClipSettings:
        """Convert from the contract's message. Raises ProblemError (SETTINGS) for a value out of bounds."""
        given: dict[str, Any] = {"prompt": settings.prompt}
        for field in fields(cls):
            if field.name == "layers":
                given["layers"] = tuple(map(LayerSettings.from_proto, settings.layers)) or None
            elif field.name == "performance":
                given["performance"] = PerformanceSettings.from_proto(settings.performance)
            elif field.name in _ENUMS:
                given[field.name] = _ENUMS[field.name].to_name(getattr(settings, field.name))
            elif field.name != "prompt" and settings.HasField(field.name):
                given[field.name] = getattr(settings, field.name)
        return cls(**given)

    @property
    def packs(self) -> frozenset[str]:
        """Names of the packs of the primary sound and of the layers; "" for the default one."""
        return frozenset({self.pack or "", *self.layer_packs.values()})

    @property
    def layer_packs(self) -> dict[str, str]:
        """The packs of the layers that name one, by the layer's name."""
        return {layer.name: layer.pack for layer in self.layers or () if layer.pack}

    @property
    def references(self) -> tuple[str, ...]:
        """Locations of the sounds that the primary sound and the layers should resemble, each once."""
        likes = (self.like, *(layer.like for layer in self.layers or ()))
        return tuple(dict.fromkeys(like for like in likes if like))

    def with_references(self, locate: Callable[[str], str]) -> ClipSettings:
        """Return these settings with other locations of the reference sounds. locate: returns the new location."""
        if not self.references:
            return self
        layers = self.layers and tuple(
            replace(layer, like=locate(layer.like)) if layer.like else layer for layer in self.layers
        )
        return replace(self, like=locate(self.like) if self.like else None, layers=layers)

    def to_metadata(self) -> dict[str, Any]:
        """Convert to a dictionary for an OTIO file, without what is None or empty."""
        held = {name: value for name, value in vars(self).items() if value not in (None, "")}
        if self.layers is not None:
            held["layers"] = [layer.to_metadata() for layer in self.layers]
        if self.performance is not None:
            held["performance"] = self.performance.to_metadata()
        return held

    def over(self, defaults: ClipSettings) -> ClipSettings:
        """Return these settings with `defaults` for what is None, also within `performance`.

        The prompt is never taken from the defaults.
        """
        # All values are valid already, so only their combination is checked.
        merged = object.__new__(ClipSettings)
        below = vars(defaults)
        vars(merged).update({name: below[name] if own is None else own for name, own in vars(self).items()})
        if self.performance is not None:
            object.__setattr__(merged, "performance", self.performance.over(defaults.performance))
        merged._check_combination()
        return merged


def read_clip_settings(clip: OtioClip, owner: str = "") -> ClipSettings | None:
    """Read the settings of an OTIO clip, or the settings that a track, stack or timeline has for its clips.

    Unknown names are ignored: a newer version may have written them.

    Args:
        clip: The clip or other object.
        owner: Its name in messages, such as 'The track "V1"'. The default is the clip with its name.

    Returns:
        The settings; None if there is no ReWaS metadata.

    Raises:
        ProblemError: TIMELINE for an invalid value. The message names the owner and the field.
    """
    clip_name = owner or (f'The clip "{clip.name}"' if clip.name else "A clip without a name")
    ours = clip.metadata.get(METADATA_KEY)
    if ours is None:
        return None
    held = known_entries(ours, _NAMES)
    if held is None:
        raise ProblemError(
            f'The metadata["{METADATA_KEY}"] of {_lowercase_first(clip_name)} is not a dictionary.',
            'Remove it, or write it as a dictionary with the key "prompt".',
            ProblemKind.TIMELINE,
        )
    given = {name: value for name, value in held.items() if value is not None}
    try:
        return ClipSettings(**given)
    except ProblemError:
        # Read the values one by one to find the wrong one.
        given = {}
    for field in fields(ClipSettings):
        if held.get(field.name) is not None:
            try:
                given[field.name] = _validate(field.name, held[field.name], clip_name)
            except ProblemError as problem:
                # A problem within a layer does not know the name of the clip.
                owner = _lowercase_first(clip_name)
                what = problem.what if owner in problem.what else problem.what.replace("the clip", owner, 1)
                raise ProblemError(what, problem.remedy, ProblemKind.TIMELINE) from None
    return ClipSettings(**given)


def write_clip_settings(clip: OtioClip, settings: ClipSettings) -> None:
    """Write the settings to an OTIO clip. Known names that are None are removed, unknown names are kept."""
    held = clip.metadata.get(METADATA_KEY)
    known = {field.name for field in fields(settings)}
    unknown = {name: value for name, value in held.items() if name not in known} if hasattr(held, "items") else {}
    clip.metadata[METADATA_KEY] = settings.to_metadata() | unknown


_NAMES = tuple(field.name for field in fields(ClipSettings))
_ENUMS: dict[str, enum_names.EnumNames[Any]] = {
    "control": enum_names.CONTROL,
    "sampler": enum_names.SAMPLER,
    "conflict_policy": enum_names.CONFLICT_POLICY,
    "level": enum_names.LEVEL,
    "rank_by": enum_names.RANK,
}
_PARSERS: dict[str, Callable[[object, str], Any]] = {
    "like": validate_location,
    "performance": validate_performance,
    "gain_db": validate_gain_db,
}
_INTEGER_RANGES = {"seed": (0, 2**63 - 1), "takes": (1, 100), "num_inference_steps": (1, 1000)}
_FLOAT_RANGES = {
    "guidance_scale": (0.0, 20.0),
    "control_strength": (0.0, 2.0),
    "control_start": (0.0, 1.0),
    "control_end": (0.0, 1.0),
}


def _validate(name: str, value: object, owner: str) -> Any:
    if name in ("prompt", "pack", "negative_prompt"):
        return _validate_text(name, value, owner)
    if name in _ENUMS:
        return validate_choice(name, value, _lowercase_first(owner), _ENUMS[name].all)
    if name == "layers":
        return validate_layers(value) or None
    if name in _PARSERS:
        return _PARSERS[name](value, _lowercase_first(owner))
    if name in ("loop", "mix", "new_sound_at_cuts"):
        if isinstance(value, bool):
            return value
        raise _invalid_value(name, value, owner, "Set true or false.")
    if name == "sample_rate_hz":
        if isinstance(value, int | float) and value in SAMPLE_RATES_HZ:
            return int(value)
        raise _invalid_value(name, value, owner, f"Set one of {', '.join(map(str, SAMPLE_RATES_HZ))} Hz.")
    return _validate_number(name, value, owner)


def _validate_number(name: str, value: object, owner: str) -> int | float:
    low, high = _INTEGER_RANGES.get(name) or _FLOAT_RANGES[name]
    return validate_number(name, value, _lowercase_first(owner), low, high, is_whole=name in _INTEGER_RANGES)


def _validate_text(name: str, value: object, owner: str) -> str:
    if not isinstance(value, str):
        raise _invalid_value(name, value, owner, "Set a text.")
    if name != "pack" and len(value) > MAX_PROMPT_CHARACTERS:
        raise ProblemError(
            f"The {name.replace('_', ' ')} of {_lowercase_first(owner)} has {len(value)} characters.",
            f"Shorten it to at most {MAX_PROMPT_CHARACTERS}.",
            ProblemKind.SETTINGS,
        )
    return value


def _invalid_value(name: str, value: object, owner: str, remedy: str) -> ProblemError:
    return invalid_value(name, value, _lowercase_first(owner), remedy)


def _lowercase_first(owner: str) -> str:
    return owner[0].lower() + owner[1:]


__all__ = [
    "CONFLICT_POLICIES",
    "CONTROLS",
    "DEFAULT_SAMPLE_RATE_HZ",
    "LEVELS",
    "MAX_PROMPT_CHARACTERS",
    "METADATA_KEY",
    "RANKS",
    "SAMPLERS",
    "SAMPLE_RATES_HZ",
    "ClipSettings",
    "OtioClip",
    "read_clip_settings",
    "write_clip_settings",
]
