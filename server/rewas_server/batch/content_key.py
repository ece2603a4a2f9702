"""The key of a sound, a hash of its inputs: equal keys mean equal sounds, whatever the place and name of the clip."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from rewas_api.clip_settings import DEFAULT_SAMPLE_RATE_HZ, ClipSettings

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
).to_metadata()


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
        pack_content_sha256: Identifies the sounds of the pack, see PackInfo.
        conflict_model_sha256: Of a separate CLIP model that compares the prompt with the video; "" without one.
    """

    media_sha256: str
    speed: Fraction
    freeze_s: Fraction | None
    settings: ClipSettings
    pack_content_sha256: str
    conflict_model_sha256: str = ""

    @property
    def family(self) -> str:
        """A hash of all fields: the sounds of a family differ only in their range and derived seed."""
        return _hash(
            {
                "generator": GENERATOR_VERSION,
                "media": self.media_sha256,
                "speed": str(self.speed),
                "freeze": None if self.freeze_s is None else str(self.freeze_s),
                "settings": _resolved(self.settings),
                "pack": self.pack_content_sha256,
                "conflict_model": self.conflict_model_sha256 if self.settings.conflict_policy else "",
            }
        )

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


def _resolved(settings: ClipSettings) -> dict[str, Any]:
    """Return the settings with the defaults that are the same everywhere, without the pack's name.

    The pack is known by its files. Its own defaults follow from them.
    """
    held = _COMMON_DEFAULTS | settings.to_metadata()
    held.pop("pack", None)
    return held


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(_JSON.encode(content).encode("utf-8", "surrogatepass")).hexdigest()
