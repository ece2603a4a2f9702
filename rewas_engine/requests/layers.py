"""Layers: additional sounds of a request, each with its own prompt, energy and gain, and their mix."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from scipy.ndimage import maximum_filter1d

from rewas_engine.checks import MAX_SEED, check_gain, validate_prompt
from rewas_engine.curves.edits import Smooth, apply_edits
from rewas_engine.curves.energy import EnergyCurve
from rewas_engine.curves.sources import DEFAULT_FLAT_NATS, flat_curve
from rewas_engine.errors import SettingsError
from rewas_engine.media.reference import ReferenceSound
from rewas_engine.media.stem import MIX, PRIMARY
from rewas_engine.recordings.options import PerformanceOptions

MAX_LAYERS = 8
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
STEADY_OFFSET_NATS = 2.0
"""A steady layer is this far below the peak of the primary sound, and never above DEFAULT_FLAT_NATS."""
FOLLOWING_OFFSET_NATS, FOLLOWING_DEPTH = 1.5, 0.5
"""A following layer is this far below the peak of the primary sound, and follows this share of its falls."""
FOLLOWING_HOLD_S = 1.0
"""Seconds for which it holds the peaks of the primary sound and is smoothed, so that strikes become a swell."""
MIN_LAYER_NATS = -9.0
"""Lowest level of a layer; anything quieter would be inaudible."""
LayerEnergy = Literal["steady", "following", "video"]


@dataclass(frozen=True, eq=False)
class Layer:
    """Another sound of a request, with its own stem, such as an ambience.

    Args:
        name: Name of its stem: up to 32 lower-case letters, digits, hyphens and underscores, starting with a letter.
            "primary" and "mix" are reserved.
        prompt: What the sound should be, 1 to 2000 characters.
        energy: A curve in nats, as long as the clip; "steady", a constant level below the peak of the primary sound;
            "following", a swell with the primary sound; or "video", the estimate for this prompt by the pack of the
            primary sound.
        gain_db: Change in level of its stem, -60 to 24 dB.
        like: A sound that the layer should resemble.
        pack: Name of another loaded pack that makes the layer; None for the pack of the primary sound.
        performance: How a library performs its recordings for the layer. None means the defaults.

    Raises:
        SettingsError: The name is invalid, the prompt is empty or too long, or the gain is out of range.
    """

    name: str
    prompt: str
    energy: EnergyCurve | LayerEnergy = "steady"
    gain_db: float = 0.0
    like: ReferenceSound | None = None
    pack: str | None = None
    performance: PerformanceOptions | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name in (PRIMARY, MIX):
            raise SettingsError(
                f"{self.name!r} is not a valid name for a layer.",
                f"Use lower-case letters, digits, hyphens and underscores; {PRIMARY} and {MIX} are reserved.",
            )
        object.__setattr__(self, "prompt", validate_prompt(self.prompt, f"prompt of the layer {self.name}"))
        check_gain(self.gain_db, f"gain_db of the layer {self.name}")
        if not isinstance(self.energy, EnergyCurve) and self.energy not in get_args(LayerEnergy):
            raise SettingsError(
                f"The energy of the layer {self.name} is {self.energy!r}.",
                'Give a curve, "steady", "following" or "video".',
            )

    def resolve_energy(self, primary: EnergyCurve) -> EnergyCurve:
        """Return the energy of a layer that does not follow the video, given that of the primary sound."""
        if isinstance(self.energy, EnergyCurve):
            return self.energy
        return _following_energy(primary) if self.energy == "following" else _steady_energy(primary)

    def derive_seed(self, seed: int) -> int:
        """Return the seed of the layer in a take. It depends on the name, so that layers do not share noise."""
        digest = hashlib.sha256(f"{seed} {self.name}".encode()).digest()
        return int.from_bytes(digest[:8]) % (MAX_SEED + 1)


def _steady_energy(primary: EnergyCurve) -> EnergyCurve:
    loudest = float(primary.values.max())
    if loudest <= MIN_LAYER_NATS:
        return flat_curve(duration=primary.duration_s)
    level = min(DEFAULT_FLAT_NATS, max(MIN_LAYER_NATS, loudest - STEADY_OFFSET_NATS))
    return flat_curve(duration=primary.duration_s, nats=level)


def _following_energy(primary: EnergyCurve) -> EnergyCurve:
    loudest = float(primary.values.max())
    if loudest <= MIN_LAYER_NATS:
        return primary
    held = maximum_filter1d(
        primary.values, size=max(1, round(FOLLOWING_HOLD_S * float(primary.rate_hz))), mode="nearest"
    )
    swell = apply_edits(replace(primary, values=held), [Smooth(FOLLOWING_HOLD_S)])
    return replace(swell, values=loudest - FOLLOWING_OFFSET_NATS + FOLLOWING_DEPTH * (swell.values - loudest))


def check_layers(layers: Sequence[Layer]) -> None:
    """Raise SettingsError for more than MAX_LAYERS layers, or two with the same name."""
    names = [layer.name for layer in layers]
    if len(names) > MAX_LAYERS:
        raise SettingsError(f"There are {len(names)} layers.", f"Use at most {MAX_LAYERS}.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"Two layers have the name {twice[0]}.", "Give each layer a different name.")
