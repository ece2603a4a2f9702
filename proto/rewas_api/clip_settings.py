"""Our metadata on OpenTimelineIO clips: what should be heard for a clip, under `metadata["rewas"]`.

Example, as it stands in an .otio file:

    "metadata": {"rewas": {"prompt": "dog growling", "seed": 7, "takes": 3}}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.layer_settings import MAX_PROMPT_CHARACTERS, LayerSettings, shown, validate_gain_db, validate_layers
from rewas_api.v1 import rewas_pb2

if TYPE_CHECKING:
    import opentimelineio as otio

METADATA_KEY = "rewas"
"""Key of our metadata on clips, stems and timelines."""

SAMPLE_RATES_HZ = (16000, 22050, 44100, 48000, 96000)
CONTROLS = ("energy", "onsets")
"""What of an energy may steer a sound: its shape, or the times and strengths of its events."""
SAMPLERS = ("ddim", "dpm++", "dpm++-sde", "unipc")
"""How a sampling may go."""
CONFLICT_POLICIES = ("off", "warn", "soften", "refuse")
"""What may be done where a picture contradicts its prompt."""


@dataclass(frozen=True)
class ClipSettings:
    """What should be heard for one clip and how it is made. None means the default of the pack or the server.

    prompt: 1 to 2000 characters; "" where the clip has none. pack: a pack's name. seed: 0 to 2**63 - 1. takes: 1 to
    100. num_steps: sampling steps, 1 to 1000. guidance_scale: 0 to 20; 1 is no guidance. control_strength: how
    strongly the energy steers, 0 to 2. sample_rate_hz: of the delivered sound, one of SAMPLE_RATES_HZ.
    negative_prompt: what should not be heard. control_from, control_until: from where to where in the sampling the
    energy steers, 0 being its noise and 1 its end. control: what of the energy steers, one of CONTROLS. loop: whether
    the end goes on with the beginning. layers: more sounds beside the primary one. gain_db: of that one's stem, -60 to
    24. mix: whether the sum of all stems is delivered too. sampler: one of SAMPLERS. new_sound_at_cuts: whether the
    primary sound begins anew at every cut that is found in the picture. conflict: what is done where the picture
    contradicts the prompt, one of CONFLICT_POLICIES.

    Raises ProblemError (SETTINGS) for a value of the wrong type or out of bounds.
    """

    prompt: str = ""
    pack: str | None = None
    seed: int | None = None
    takes: int | None = None
    num_steps: int | None = None
    guidance_scale: float | None = None
    control_strength: float | None = None
    sample_rate_hz: int | None = None
    negative_prompt: str | None = None
    control_from: float | None = None
    control_until: float | None = None
    control: str | None = None
    loop: bool | None = None
    layers: tuple[LayerSettings, ...] | None = None
    gain_db: float | None = None
    mix: bool | None = None
    sampler: str | None = None
    new_sound_at_cuts: bool | None = None
    conflict: str | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                object.__setattr__(self, field.name, _checked(field.name, value, "the clip"))
        begin, end = self.control_from or 0.0, 1.0 if self.control_until is None else self.control_until
        if begin >= end:
            raise ProblemError(
                f"The energy of the clip is to steer from {begin:g} to {end:g} of the sampling.",
                "Give a control_from below control_until.",
                ProblemKind.SETTINGS,
            )
        if self.loop and self.new_sound_at_cuts:
            raise ProblemError(
                "The sound of the clip is to begin anew at cuts, and to loop.",
                "Ask for one of the two.",
                ProblemKind.SETTINGS,
            )

    def to_proto(self) -> rewas_pb2.SoundSettings:
        """The settings as they travel; what is None stays unset."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        given["layers"] = None if self.layers is None else [layer.to_proto() for layer in self.layers]
        return rewas_pb2.SoundSettings(**{name: value for name, value in given.items() if value is not None})

    @classmethod
    def from_proto(cls, settings: rewas_pb2.SoundSettings) -> ClipSettings:
        """The settings that travelled. Raises ProblemError (SETTINGS) for a value out of bounds."""
        given: dict[str, Any] = {"prompt": settings.prompt}
        for field in fields(cls):
            if field.name == "layers":
                given["layers"] = tuple(map(LayerSettings.from_proto, settings.layers)) or None
            elif field.name != "prompt" and settings.HasField(field.name):
                given[field.name] = getattr(settings, field.name)
        return cls(**given)

    def over(self, defaults: ClipSettings) -> ClipSettings:
        """These settings, with the defaults where they say nothing. The prompt is never taken from the defaults."""
        merged = {}
        for field in fields(self):
            own = getattr(self, field.name)
            merged[field.name] = getattr(defaults, field.name) if own is None else own
        return ClipSettings(**merged)


def read_clip_settings(clip: otio.core.SerializableObjectWithMetadata) -> ClipSettings | None:
    """The settings on an OTIO clip; None where it carries none of ours.

    Unknown names are left alone: a newer version may have written them. Raises ProblemError (TIMELINE) that names the
    clip and the field where a value is not what it should be.
    """
    clip_name = f'The clip "{clip.name}"' if clip.name else "A clip without a name"
    ours = clip.metadata.get(METADATA_KEY)
    if ours is None:
        return None
    # OTIO hands dictionaries out as AnyDictionary, which quacks like a mapping without being one to isinstance.
    if not isinstance(ours, Mapping) and not hasattr(ours, "items"):
        raise ProblemError(
            f'{clip_name} carries metadata["{METADATA_KEY}"] that is not a dictionary.',
            "Remove it, or write the prompt as a dictionary with the key prompt.",
            ProblemKind.TIMELINE,
        )
    held = dict(ours.items())
    given: dict[str, Any] = {}
    for field in fields(ClipSettings):
        if held.get(field.name) is not None:
            try:
                given[field.name] = _checked(field.name, held[field.name], clip_name)
            except ProblemError as problem:
                # What is wrong within a layer does not know whose layer it is.
                owner = _lowercase_first(clip_name)
                what = problem.what if owner in problem.what else problem.what.replace("the clip", owner, 1)
                raise ProblemError(what, problem.remedy, ProblemKind.TIMELINE) from None
    return ClipSettings(**given)


def write_clip_settings(clip: otio.core.SerializableObjectWithMetadata, settings: ClipSettings) -> None:
    """Put the settings on an OTIO clip. Names of ours that are None are removed; names we do not know are kept."""
    held = clip.metadata.get(METADATA_KEY)
    ours = dict(held.items()) if hasattr(held, "items") else {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if value is None or value == "":
            ours.pop(field.name, None)
        elif field.name == "layers":
            ours[field.name] = [layer.to_metadata() for layer in value]
        else:
            ours[field.name] = value
    clip.metadata[METADATA_KEY] = ours


_CHOICES = {"control": CONTROLS, "sampler": SAMPLERS, "conflict": CONFLICT_POLICIES}
_INTEGER_RANGES = {"seed": (0, 2**63 - 1), "takes": (1, 100), "num_steps": (1, 1000)}
_FLOAT_RANGES = {
    "guidance_scale": (0.0, 20.0),
    "control_strength": (0.0, 2.0),
    "control_from": (0.0, 1.0),
    "control_until": (0.0, 1.0),
}


def _checked(name: str, value: object, owner: str) -> Any:
    if name in ("prompt", "pack", "negative_prompt"):
        return _validate_text(name, value, owner)
    if name in _CHOICES:
        if value in _CHOICES[name]:
            return str(value)
        raise _out_of_range_problem(name, value, owner, f"Give one of {', '.join(_CHOICES[name])}.")
    if name == "layers":
        return validate_layers(value) or None
    if name == "gain_db":
        return validate_gain_db(value, _lowercase_first(owner))
    if name in ("loop", "mix", "new_sound_at_cuts"):
        if isinstance(value, bool):
            return value
        raise _out_of_range_problem(name, value, owner, "Give true or false.")
    if name == "sample_rate_hz":
        if isinstance(value, int | float) and value in SAMPLE_RATES_HZ:
            return int(value)
        raise _out_of_range_problem(name, value, owner, f"Give one of {', '.join(map(str, SAMPLE_RATES_HZ))} Hz.")
    low, high = _INTEGER_RANGES.get(name) or _FLOAT_RANGES[name]
    whole = name in _INTEGER_RANGES
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
        if not whole:
            return float(value)
        if value == int(value):
            return int(value)
    sort = "a whole number" if whole else "a number"
    raise _out_of_range_problem(name, value, owner, f"Give {sort} from {low} to {high}.")


def _validate_text(name: str, value: object, owner: str) -> str:
    if not isinstance(value, str):
        raise _out_of_range_problem(name, value, owner, "Give text.")
    if name != "pack" and len(value) > MAX_PROMPT_CHARACTERS:
        raise ProblemError(
            f"The {name.replace('_', ' ')} of {_lowercase_first(owner)} has {len(value)} characters.",
            f"Shorten it to at most {MAX_PROMPT_CHARACTERS}.",
            ProblemKind.SETTINGS,
        )
    return value


def _out_of_range_problem(name: str, value: object, owner: str, remedy: str) -> ProblemError:
    return ProblemError(f"{name} of {_lowercase_first(owner)} is {shown(value)}.", remedy, ProblemKind.SETTINGS)


def _lowercase_first(owner: str) -> str:
    return owner[0].lower() + owner[1:]


__all__ = [
    "CONFLICT_POLICIES",
    "CONTROLS",
    "MAX_PROMPT_CHARACTERS",
    "METADATA_KEY",
    "SAMPLERS",
    "SAMPLE_RATES_HZ",
    "ClipSettings",
    "read_clip_settings",
    "write_clip_settings",
]
