"""Settings of the training of a model for audible video."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from rewas_engine.audible_video.loss import ALIGNMENT_WEIGHT
from rewas_engine.audible_video.two_stream import TwoStreamDenoiser
from rewas_engine.errors import SettingsError
from rewas_engine.training.config import SEEDS_APART, read_settings
from rewas_engine.training.loop import LoopConfig
from rewas_engine.world import CLASS_NAMES
from rewas_engine.world.clear_scenes import SEEDS_PER_SCENE

LATENT_CHANNELS, PATCH = 8, 4
_NORM_GROUPS = 16
_HEADS = 2


@dataclass(frozen=True)
class AudibleVideoConfig:
    """Settings of the training.

    Attributes:
        lender: Pack that lends text encoder, codec and vocoder.
        classes: Sounds that are learned.
        clips_per_class: Clips of each.
        frames: Frames of a clip.
        frames_per_s: Frame rate, such as "25/4".
        size: Pixels of a frame on each side.
        picture_widths: Channels of the picture's UNet on each level.
        sound_widths: Channels of the sound's.
        batch: Clips of a step.
        interacts: 1 if the streams attend to each other; 0 for the paper's ablation.
        alignment_weight: Weight of the alignment loss; 0 for the paper's ablation.
        apart_share: Share of the clips whose streams have different time steps.
        sound_lag: How far the sound is behind the picture in sampling, as a share of the steps; 0 unless apart_share
            is above 0.
        loop: Optimisation.
        seed: Seed of clips and weights.
    """

    lender: str = "starter"
    classes: tuple[str, ...] = ("hammer", "bell", "typing", "fire", "helicopter", "sea_waves")
    clips_per_class: int = 600
    frames: int = 10
    frames_per_s: str = "25/4"
    size: int = 32
    picture_widths: tuple[int, ...] = (32, 64)
    sound_widths: tuple[int, ...] = (32, 64, 64)
    batch: int = 8
    interacts: int = 1
    alignment_weight: float = ALIGNMENT_WEIGHT
    apart_share: float = 0.5
    sound_lag: float = 0.0
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=5500, learning_rate=1e-3))
    seed: int = 1

    def __post_init__(self) -> None:
        """Raise SettingsError for a class that does not exist, or for steps, a rate or sizes that are not possible."""
        try:
            is_possible = self.frame_rate > 0
        except (ValueError, ZeroDivisionError):
            is_possible = False
        if not is_possible:
            raise SettingsError(
                f"The frame rate is {self.frames_per_s!r}.", 'Give frames_per_s as a fraction above 0, such as "25/4".'
            )
        unknown = sorted(set(self.classes) - set(CLASS_NAMES))
        if unknown:
            raise SettingsError(f"The world has no class {unknown[0]!r}.", f"Choose from {', '.join(CLASS_NAMES)}.")
        if len(set(self.classes)) < max(2, len(self.classes)):
            raise SettingsError(
                f"A model cannot be measured with the classes {', '.join(self.classes) or 'none'}.",
                "Name two or more different classes.",
            )
        most = SEEDS_APART // SEEDS_PER_SCENE // max(1, len(self.classes))
        if self.clips_per_class > most:
            raise SettingsError(
                f"There are not enough scenes for {self.clips_per_class} clips of each of {len(self.classes)} classes.",
                f"Use at most {most} clips per class.",
            )
        uneven = [width for width in (*self.picture_widths, *self.sound_widths) if width % _NORM_GROUPS or width < 1]
        if uneven:
            raise SettingsError(
                f"A UNet cannot have {uneven[0]} channels.",
                f"Use multiples of {_NORM_GROUPS} for picture_widths and sound_widths.",
            )
        if not 0 <= self.apart_share <= 1 or not 0 <= self.sound_lag <= 1:
            raise SettingsError("A share is not between 0 and 1.", "Set apart_share and sound_lag to 0 to 1.")
        if self.sound_lag and not self.apart_share:
            raise SettingsError(
                f"The sound cannot be {self.sound_lag:g} behind the picture without training for it.",
                "Set apart_share above 0, or sound_lag to 0.",
            )
        if self.loop.steps < 1:
            raise SettingsError("The training has no steps.", "Set loop.steps to at least 1.")
        levels = max(len(self.picture_widths), len(self.sound_widths))
        if self.size % (PATCH * 2 ** (levels - 1)) or self.mel_frames % 32:
            raise SettingsError(
                f"Clips of {self.frames} frames of {self.size} pixels do not fit the UNets.",
                "Use a multiple of 32 pixels, and a duration that is a multiple of 0.32 s.",
            )

    @property
    def frame_rate(self) -> Fraction:
        """Frames per second."""
        return Fraction(self.frames_per_s)

    @property
    def mel_frames(self) -> int:
        """Mel frames of a clip, at 100 per second."""
        return int(100 * self.frames / self.frame_rate)

    @classmethod
    def read(cls, path: Path) -> AudibleVideoConfig:
        """Read settings from a TOML file; missing ones keep their defaults. Raises SettingsError."""
        return read_settings(cls(), path)

    def new_denoiser(self) -> TwoStreamDenoiser:
        """Build an untrained denoiser."""
        side = self.size // PATCH
        return TwoStreamDenoiser(
            _unet_config(LATENT_CHANNELS, self.picture_widths, (side, side), plain_levels=0),
            # Attention between all positions of the finest level would take a third of the time of a step.
            _unet_config(8, self.sound_widths, (self.mel_frames // 4, 16), plain_levels=1),
            self.frames,
            heads=_HEADS,
            interacts=bool(self.interacts),
        )


def _unet_config(
    channels: int, widths: tuple[int, ...], sample_size: tuple[int, int], plain_levels: int
) -> dict[str, Any]:
    """Configuration of a UNet. plain_levels: levels without attention, counted from the finest."""
    attends = [level >= plain_levels for level in range(len(widths))]
    return {
        "in_channels": channels,
        "out_channels": channels,
        "sample_size": list(sample_size),
        "block_out_channels": list(widths),
        "layers_per_block": 1,
        "down_block_types": ["CrossAttnDownBlock2D" if attending else "DownBlock2D" for attending in attends],
        "up_block_types": ["CrossAttnUpBlock2D" if attending else "UpBlock2D" for attending in reversed(attends)],
        "cross_attention_dim": 384,
        "attention_head_dim": _HEADS,
        "norm_num_groups": _NORM_GROUPS,
    }
