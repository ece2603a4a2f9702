"""Continue a pack: keep its sizes and fine-tune its weights."""

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
from rewas_engine.training.starting_point import StartingPoint

PACK_SIZES = (
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
"""Fields that the continued pack determines."""


def _fine_tuning(steps: int, learning_rate: float) -> LoopConfig:
    return LoopConfig(steps=steps, learning_rate=learning_rate, warmup_steps=50, ema_decay=0.99)


@dataclass(frozen=True)
class ContinuedConfig(StarterConfig):
    """Settings of a training that continues the pack `start_from`: few steps at low learning rates.

    Raises:
        SettingsError: A size is set that the pack determines.
    """

    start_from: str = "starter"
    words: LoopConfig = field(default_factory=lambda: _fine_tuning(300, 3e-4))
    base: LoopConfig = field(default_factory=lambda: _fine_tuning(600, 2e-4))
    adapter: LoopConfig = field(default_factory=lambda: _fine_tuning(300, 2e-4))
    vocoder: LoopConfig = field(default_factory=lambda: _fine_tuning(500, 3e-4))
    picture: LoopConfig = field(default_factory=lambda: _fine_tuning(400, 3e-4))
    joint: LoopConfig = field(default_factory=lambda: _fine_tuning(300, 5e-4))

    def __post_init__(self) -> None:
        super().__post_init__()
        for entry in fields(self):
            if entry.name in PACK_SIZES and getattr(self, entry.name) != entry.default:
                raise SettingsError(
                    f"{entry.name} is set, but the continued pack {self.start_from} determines it.",
                    f"Remove {entry.name}, or start from scratch.",
                )

    def new_denoiser(self) -> UNet2DConditionModel:
        """Load the denoiser of the pack."""
        return self._component("denoiser")

    def new_vocoder(self) -> SpectralVocoder:
        """Load the vocoder of the pack."""
        vocoder: SpectralVocoder = self._component("vocoder")
        return vocoder

    def new_video_encoder(self) -> MotionEncoder:
        """Load the video encoder of the pack."""
        encoder: MotionEncoder = self._component("video_encoder")
        return encoder

    def new_phi(self) -> Phi:
        """Load φ of the pack."""
        phi: Phi = self._component("phi")
        return phi

    def _component(self, role: str) -> Any:
        found = StartingPoint(self.start_from).component(role)
        assert found is not None, "every pack has all roles"
        return found.requires_grad_(True)


def check_continuable(
    pack: PackDescription,
    classes: Mapping[str, str],
    audio: MelConfig,
    picture: tuple[Fraction, int, int],
    sentence_encoder: Mapping[str, Any],
) -> None:
    """Check that a pack has the components and formats that are trained here.

    Args:
        pack: The pack to continue.
        classes: Role -> class name.
        audio: Audio format.
        picture: Frame rate, width and height.
        sentence_encoder: Configuration of the text encoder.

    Raises:
        SettingsError: The pack differs.
    """
    pack_picture = pack.picture
    differences = [
        f"its {role} is of the class {pack.components[role]}"
        for role in classes
        if pack.components[role] != classes[role]
    ]
    if dict(pack.audio) != asdict(audio):
        differences.append("its audio format differs")
    if (Fraction(pack_picture["frame_rate"]), pack_picture["width"], pack_picture["height"]) != picture:
        differences.append("its frame rate or frame size differs")
    encoder = pack.path / "text_encoder" / "config.json"
    if not encoder.is_file() or json.loads(encoder.read_text("utf-8")) != dict(sentence_encoder):
        differences.append("its text encoder differs")
    if differences:
        raise SettingsError(
            f"The pack {pack.info.name} cannot be continued: {'; '.join(differences)}.",
            "Start from a pack trained by this version, or from scratch.",
        )
