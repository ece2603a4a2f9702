"""The key of a sound, a hash of its inputs: equal keys mean equal sounds, whatever the place and name of the clip."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from rewas_api.clip_settings import DEFAULT_SAMPLE_RATE_HZ, ClipSettings
from rewas_api.layer_settings import LayerSettings
from rewas_engine import PerformanceOptions

GENERATOR_VERSION = 1
"""Raise it when the engine generates another sound for the same request: then no earlier sound is used again."""


_JSON = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_COMMON_DEFAULTS = ClipSettings(
    takes=1,
    control_strength=1.0,
    sample_rate_hz=DEFAULT_SAMPLE_RATE_HZ,
    gain_db=0.0,
    control_start=0.0,
    control_end=1.0,
    control="energy",
    loop=False,
    mix=False,
    new_sound_at_cuts=False,
    conflict_policy="off",
    level="standard",
    rank_by="score",
).to_metadata()
_DEFAULT_PERFORMANCE = vars(PerformanceOptions())
_MODEL_SETTINGS = frozenset(
    {"num_inference_steps", "sampler", "guidance_scale", "negative_prompt"}
    | {"control_strength", "control_start", "control_end"}
)
"""Settings of a clip that a library of recordings does not use."""


@dataclass(frozen=True)
class SoundRange:
    """The range of media that a sound is for, as a clip shows it.

    Attributes:
        start_s: In shown time: the media time of the start, divided by the speed. 0 for a freeze frame.
        duration_s: As shown.
    """

    start_s: Fraction
    duration_s: Fraction

    @classmethod
    def of(cls, media_start_s: Fraction, duration_s: Fraction, speed: Fraction) -> SoundRange:
        """Return the range of a clip that shows media from `media_start_s` on at a speed."""
        return cls(media_start_s / speed if speed else Fraction(0), duration_s)

    @property
    def end_s(self) -> Fraction:
        """The end in shown time."""
        return self.start_s + self.duration_s

    def contains(self, other: SoundRange) -> bool:
        """Whether the other range lies within this one."""
        return self.start_s <= other.start_s and other.end_s <= self.end_s


@dataclass(frozen=True)
class SoundIdentity:
    """The inputs of a sound, except its range and a seed that nobody chose.

    Attributes:
        media_sha256: Of the content of the media.
        freeze_s: Media time of the frame that a freeze frame shows; None for video.
        speed: Of the picture; 1 is normal.
        settings: As requested. A chosen seed is part of them.
        pack_content_sha256: Identifies the sounds of the pack of the primary sound, see PackInfo.
        conflict_model_sha256: Of a separate CLIP model that compares the prompt with the video; "" without one.
        reference_sha256: Of the content of the reference sounds, by their location in the settings.
        layer_pack_sha256: Identifies the sounds of the packs that layers name, by the name of the pack.
        libraries: Names of the packs that are libraries of recordings; "" for the default one.
    """

    media_sha256: str
    speed: Fraction
    freeze_s: Fraction | None
    settings: ClipSettings
    pack_content_sha256: str
    conflict_model_sha256: str = ""
    reference_sha256: Mapping[str, str] = field(default_factory=dict)
    layer_pack_sha256: Mapping[str, str] = field(default_factory=dict)
    libraries: frozenset[str] = frozenset()

    @property
    def family(self) -> str:
        """A hash of all fields: the sounds of a family differ only in their range and derived seed."""
        return _hash(
            {
                "generator": GENERATOR_VERSION,
                "media": self.media_sha256,
                "speed": str(self.speed),
                "freeze": None if self.freeze_s is None else str(self.freeze_s),
                "settings": self._resolved_settings(),
                "pack": self.pack_content_sha256,
                "conflict_model": self.conflict_model_sha256 if self.settings.conflict_policy else "",
            }
        )

    def _resolved_settings(self) -> dict[str, Any]:
        """Return the settings with the defaults that are the same everywhere, without those that the pack does not use.

        Packs and reference sounds are identified by their content, not by their names.
        """
        settings = self.settings.with_references(self.reference_sha256.__getitem__)
        held = _COMMON_DEFAULTS | settings.to_metadata()
        held.pop("pack", None)
        if settings.layers:
            held["layers"] = [self._resolved_layer(layer) for layer in settings.layers]
        return _used_settings(held, is_library=(settings.pack or "") in self.libraries)

    def _resolved_layer(self, layer: LayerSettings) -> dict[str, Any]:
        held = layer.to_metadata()
        content = self.layer_pack_sha256[held.pop("pack")] if layer.pack else self.pack_content_sha256
        if content != self.pack_content_sha256:
            held["pack"] = content
        return _used_settings(held, is_library=(layer.pack or self.settings.pack or "") in self.libraries)

    def seed_base(self, shown: SoundRange) -> str:
        """Return a hash of what determines the seed of a clip without a chosen one: its picture and its prompts.

        Other settings do not change it, so that sounds can be compared. shown: the range of the clip.
        """
        layers = [[layer.name, layer.prompt] for layer in self.settings.layers or ()]
        return _hash(
            {
                "media": self.media_sha256,
                "speed": str(self.speed),
                "freeze": None if self.freeze_s is None else str(self.freeze_s),
                "range": [str(shown.start_s), str(shown.duration_s)],
                "prompt": self.settings.prompt,
                "layers": layers,
            }
        )

    def derive_seed(self, shown: SoundRange, variation: int) -> int:
        """Return the seed of a clip for which nobody chose one: the same in each run.

        Args:
            shown: The range of the clip.
            variation: How often another sound was requested.
        """
        digest = _hash({"base": self.seed_base(shown), "variation": variation})
        return int(digest, 16) & (2**31 - 1)


def content_key(family: str, shown: SoundRange, seed: int) -> str:
    """Return the key of a sound: a hash of its family, its range and its seed."""
    return _hash({"family": family, "range": [str(shown.start_s), str(shown.duration_s)], "seed": seed})


def _used_settings(settings: dict[str, Any], *, is_library: bool) -> dict[str, Any]:
    """Return the settings that decide the sound: those that its kind of pack uses, without defaults of performances."""
    performance = settings.pop("performance", {})
    if not is_library:
        return settings
    used = {name: value for name, value in settings.items() if name not in _MODEL_SETTINGS}
    given = {name: value for name, value in performance.items() if value != _DEFAULT_PERFORMANCE[name]}
    return used | ({"performance": given} if given else {})


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(_JSON.encode(content).encode("utf-8", "surrogatepass")).hexdigest()
