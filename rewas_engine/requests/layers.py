"""Layers: several sounds of one request, each with words, energy and loudness of its own, and their mix."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from rewas_engine.checks import MAX_SEED, check_range, validate_prompt
from rewas_engine.curves.edits import Smooth, apply_edits
from rewas_engine.curves.energy import EnergyCurve
from rewas_engine.curves.sources import DEFAULT_FLAT_NATS, flat_curve
from rewas_engine.errors import SettingsError
from rewas_engine.media.stem import MIX, PRIMARY, Stem

MAX_LAYERS = 8
MIN_GAIN_DB, MAX_GAIN_DB = -60.0, 24.0
PCM24_STEPS = 2**23
"""Steps of a 24-bit sample from 0 to full scale."""
_CHUNK_SAMPLES = 2**20
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
STEADY_OFFSET_NATS = 2.0
"""A steady layer lies so far below the loudest of the primary sound, and never above DEFAULT_FLAT_NATS."""
FOLLOWING_OFFSET_NATS, FOLLOWING_DEPTH = 1.5, 0.5
"""A following one lies so far below where the primary sound is loudest, and falls by this share of its falls."""
FOLLOWING_HOLD_S = 1.0
"""It holds the primary's loudest for so long and is smoothed over as much, so that strikes become a swell."""
MIN_LAYER_NATS = -9.0
"""No steady layer is asked to be quieter: it could not be heard."""


@dataclass(frozen=True, eq=False)
class Layer:
    """Another sound beside the primary one: an ambience behind it, or what else is to have its own track.

    name: of its stem. prompt: what should be heard in it. energy: a curve as long as the clip; "steady", some way below
    the loudest of the primary sound; or "following": it swells with that at a distance. gain_db: of its stem, -60 to
    24.
    Raises SettingsError for a name that is none, an empty prompt, or a gain out of bounds.
    """

    name: str
    prompt: str
    energy: EnergyCurve | Literal["steady", "following"] = "steady"
    gain_db: float = 0.0

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name in (PRIMARY, MIX):
            raise SettingsError(
                f"{self.name!r} is no name for a layer.",
                f"Use small letters, digits, hyphens and underscores; {PRIMARY} and {MIX} are taken.",
            )
        object.__setattr__(self, "prompt", validate_prompt(self.prompt, f"prompt of the layer {self.name}"))
        check_gain(self.gain_db, f"gain_db of the layer {self.name}")
        if not isinstance(self.energy, EnergyCurve) and self.energy not in ("steady", "following"):
            raise SettingsError(
                f"The energy of the layer {self.name} is {self.energy!r}.", "Give a curve, steady or following."
            )

    def resolve_energy(self, primary: EnergyCurve) -> EnergyCurve:
        """Its energy, where the primary sound is asked to have this one."""
        if isinstance(self.energy, EnergyCurve):
            return self.energy
        return _steady_energy(primary) if self.energy == "steady" else _following_energy(primary)

    def derive_seed(self, seed: int) -> int:
        """Its seed in the take with this one: another for each name, so that no layer's sound hangs on the others."""
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
    """Raises SettingsError for too many layers, or two of one name."""
    names = [layer.name for layer in layers]
    if len(names) > MAX_LAYERS:
        raise SettingsError(f"There are {len(names)} layers.", f"Ask for at most {MAX_LAYERS}.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"There are two layers called {twice[0]}.", "Give each a name of its own.")


def check_gain(gain_db: float, name: str = "gain_db") -> None:
    """Raises SettingsError for a gain out of bounds."""
    check_range(name, gain_db, MIN_GAIN_DB, MAX_GAIN_DB)


def apply_gains(stems: Mapping[str, Stem], gains_db: Mapping[str, float]) -> dict[str, Stem]:
    """Stems of one length, each with its gain, lowered together where one or their sum would clip.

    Every sample is a whole number of 24-bit steps, so that the delivered mix is the sum of the delivered stems to the
    last bit.
    """
    parts = [slice(first, first + _CHUNK_SAMPLES) for first in range(0, _length(stems), _CHUNK_SAMPLES)]
    peak = 0.0
    for part in parts:
        louder = list(_scale_stems(stems, gains_db, part).values())
        total = sum(louder, np.zeros(1))
        peak = max([peak, *(float(np.abs(waveform).max(initial=0.0)) for waveform in (*louder, total))])
    # Rounding may raise each stem by half a step.
    ceiling = 1 - (len(stems) + 1) / PCM24_STEPS
    lowered = min(1.0, ceiling / peak) if peak else 1.0
    made = {role: np.empty_like(stem.waveform) for role, stem in stems.items()}
    for part in parts:
        for role, waveform in _scale_stems(stems, gains_db, part).items():
            made[role][:, part] = np.round(lowered * waveform * PCM24_STEPS) / PCM24_STEPS
    return {role: Stem(role, made[role], stem.sample_rate_hz) for role, stem in stems.items()}


def _length(stems: Mapping[str, Stem]) -> int:
    return max(stem.waveform.shape[1] for stem in stems.values())


def _scale_stems(
    stems: Mapping[str, Stem], gains_db: Mapping[str, float], part: slice
) -> dict[str, NDArray[np.float64]]:
    """Parts of the stems, each with its gain."""
    return {
        role: 10 ** (gains_db[role] / 20) * stem.waveform[:, part].astype(np.float64) for role, stem in stems.items()
    }
