"""Continuing a pack: its sizes are taken from it, and it is trained gently."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from fractions import Fraction
from typing import Any

from diffusers import UNet2DConditionModel

from rewas_engine.conditioning.mel import MelConfig
from rewas_engine.errors import SettingsError
from rewas_engine.models.motion import MotionEncoder
from rewas_engine.models.phi import Phi
from rewas_engine.models.vocoder import SpectralVocoder
from rewas_engine.packs.description import PackDescription
from rewas_engine.training.config import StarterConfig
from rewas_engine.training.loop import LoopConfig
from rewas_engine.training.starting_point import Beginning

SIZES_OF_THE_PACK = (
    "widths",
    "heads",
    "vocoder_width",
    "vocoder_blocks",
    "vocoder_corrections",
    "vocoder_scatter_offset",
    "picture_widths",
    "picture_features",
    "picture_place_dilations",
    "picture_fine_place_dilations",
    "picture_looks",
    "phi_blocks",
)
"""Fields that a training which continues a pack does not choose."""


def _gentle(steps: int, learning_rate: float) -> LoopConfig:
    return LoopConfig(steps=steps, learning_rate=learning_rate, warmup_steps=50, ema_decay=0.99)


@dataclass(frozen=True)
class ContinuedConfig(StarterConfig):
    """The settings of a training that continues the pack `start_from`: few steps at low rates.

    Raises SettingsError where a size is given that the pack decides.
    """

    start_from: str = "starter"
    words: LoopConfig = field(default_factory=lambda: _gentle(300, 3e-4))
    base: LoopConfig = field(default_factory=lambda: _gentle(600, 2e-4))
    adapter: LoopConfig = field(default_factory=lambda: _gentle(300, 2e-4))
    vocoder: LoopConfig = field(default_factory=lambda: _gentle(500, 3e-4))
    picture: LoopConfig = field(default_factory=lambda: _gentle(400, 3e-4))
    joint: LoopConfig = field(default_factory=lambda: _gentle(300, 5e-4))

    def __post_init__(self) -> None:
        super().__post_init__()
        for entry in fields(self):
            if entry.name in SIZES_OF_THE_PACK and getattr(self, entry.name) != entry.default:
                raise SettingsError(
                    f"{entry.name} is set, but the pack {self.start_from} that is continued has sizes of its own.",
                    f"Leave out {entry.name}, or start from nothing.",
                )

    def new_denoiser(self) -> UNet2DConditionModel:
        """The pack's denoiser."""
        return self._component("denoiser")

    def new_vocoder(self) -> SpectralVocoder:
        """The pack's vocoder."""
        vocoder: SpectralVocoder = self._component("vocoder")
        return vocoder

    def new_video_encoder(self) -> MotionEncoder:
        """The pack's video encoder."""
        encoder: MotionEncoder = self._component("video_encoder")
        return encoder

    def new_phi(self) -> Phi:
        """The pack's φ."""
        phi: Phi = self._component("phi")
        return phi

    def _component(self, role: str) -> Any:
        found = Beginning(self.start_from).component(role)
        assert found is not None, "every pack has all roles"
        return found.requires_grad_(True)


def check_continuable(
    pack: PackDescription,
    classes: Mapping[str, str],
    audio: MelConfig,
    picture: tuple[Fraction, int, int],
    sentence_encoder: Mapping[str, Any],
) -> None:
    """Raise SettingsError where a pack is of another kind than those that this package trains.

    classes: role -> class name. picture: frame rate, width, height. sentence_encoder: its configuration.
    """
    theirs = pack.picture
    unlike = [f"its {role} is a {pack.components[role]}" for role in classes if pack.components[role] != classes[role]]
    if dict(pack.audio) != asdict(audio):
        unlike.append("it hears in another way")
    if (Fraction(theirs["frame_rate"]), theirs["width"], theirs["height"]) != picture:
        unlike.append("it sees pictures of another rate or size")
    encoder = pack.path / "text_encoder" / "config.json"
    if not encoder.is_file() or json.loads(encoder.read_text("utf-8")) != dict(sentence_encoder):
        unlike.append("it reads words in another way")
    if unlike:
        raise SettingsError(
            f"The pack {pack.info.name} cannot be continued: {'; '.join(unlike)}.",
            "Start from a pack that was trained by this version, or from nothing.",
        )
