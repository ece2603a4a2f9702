"""Configuration of the training of a starter pack, and reading it from TOML."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from diffusers import UNet2DConditionModel

from rewas_engine.errors import SettingsError
from rewas_engine.models.joint import JointSpace
from rewas_engine.models.motion import MotionEncoder
from rewas_engine.models.phi import Phi
from rewas_engine.models.vocoder import SpectralVocoder
from rewas_engine.training.joint_stage import JointRecipe
from rewas_engine.training.loop import LoopConfig
from rewas_engine.training.picture_stage import PictureBatches, PictureRecipe
from rewas_engine.training.stages import DenoiserRecipe
from rewas_engine.world import ALL_CLASSES, CLASS_NAMES, has_picture

PROMPT_WIDTH = 384
Settings = TypeVar("Settings")
MAY_BE_ZERO = (
    "seed",
    "steps",
    "warmup_steps",
    "weight_decay",
    "ema_decay",
    "whole_from",
    "picture_whole_from",
    "text_dropout",
    "hint_dropout",
    "quietest_nats",
    "onsets_share",
    "texture_share",
    "energy_weight",
    "onsets_weight",
    "texture_weight",
    "silence_weight",
    "vocoder_corrections",
    "vocoder_scatter_offset",
    "prompt_noise",
    "new_kinds_share",
    "text_guidance",
    "strangers",
    "joint_strangers",
    "more_words",
    "words_noise",
    "words",
    "events",
    "residual_motion",
    "text_noise",
    "mismatch",
    "camera",
    "fixed_views",
    "interacts",
    "alignment_weight",
)
"""Fields of the configurations that can be 0; all others must be above 0."""


SEEDS_APART = 1_000_000
MOST_CLIPS = SEEDS_APART // 2
SEED_LIMIT = 600
"""Upper limit of training seeds. Scenes from SEEDS_APART times this seed on are for judges and measurements."""


@dataclass(frozen=True)
class StarterConfig:
    """Everything that determines the weights of a starter pack.

    Attributes:
        seed: Seed of corpus, weights and batches.
        classes: Classes of the world that the pack learns. At least two have a picture.
        grains_folder: Folder of recordings, with a table, that the sounds without video use in part instead of
            synthesis; "" for synthesis only.
        sounds, pictures: Number of world clips for the sound stages, and of clips with video. Their scene seeds start
            at SEEDS_APART · seed, and MOST_CLIPS later for clips with video.
        widths, heads: Channels and attention heads of the denoiser's levels; only the deepest level has attention.
        picture_folder: Folder of clips of `rewas train world`, drawn or rendered, that the picture stage learns from
            besides the clips of the corpus; "" for none.
        picture_crop_frames: Length of the crops in the picture stage; after the share picture_whole_from of the steps
            it uses whole clips.
        vocoder_corrections, vocoder_scatter_offset, picture_looks: Settings of vocoder and video encoder that take
            effect only after training.
        joint_strangers: Number of out-of-domain videos for training the joint space.
        start_from: Name or folder of a pack whose matching components initialise the stages; "" starts from scratch.
        device: "cpu", "cuda:0" or "auto". It affects only the speed and the rounding.

    Raises:
        SettingsError: The seed is reserved for held-out clips, a number of clips is out of range, or a class is
            unknown.
    """

    seed: int = 1
    start_from: str = ""
    device: str = "auto"
    classes: tuple[str, ...] = CLASS_NAMES
    grains_folder: str = ""
    sounds: int = 20_000
    pictures: int = 6_000
    codec_clips: int = 1_000
    widths: tuple[int, ...] = (64, 128, 256)
    heads: tuple[int, ...] = (2, 4, 8)
    denoiser: DenoiserRecipe = field(default_factory=DenoiserRecipe)
    words: LoopConfig = field(default_factory=lambda: LoopConfig(steps=3000, learning_rate=1e-3, weight_decay=0.05))
    words_hidden: int = 512
    base: LoopConfig = field(default_factory=lambda: LoopConfig(steps=4000, learning_rate=6e-4))
    adapter: LoopConfig = field(default_factory=lambda: LoopConfig(steps=1200, learning_rate=6e-4))
    vocoder: LoopConfig = field(default_factory=lambda: LoopConfig(steps=2400, learning_rate=1e-3))
    vocoder_batch: int = 12
    vocoder_crop_frames: int = 96
    vocoder_width: int = 256
    vocoder_blocks: int = 6
    vocoder_corrections: int = 8
    vocoder_scatter_offset: float = 0.75
    picture: LoopConfig = field(default_factory=lambda: LoopConfig(steps=2500, learning_rate=1e-3))
    picture_folder: str = ""
    picture_batch: int = 16
    picture_crop_frames: int = 64
    picture_whole_from: float = 0.7
    picture_widths: tuple[int, ...] = (32, 64, 96)
    picture_features: int = 128
    picture_place_dilations: tuple[int, ...] = (1, 3)
    picture_fine_place_dilations: tuple[int, ...] = (1,)
    picture_looks: int = 4
    picture_recipe: PictureRecipe = field(default_factory=PictureRecipe)
    phi_blocks: int = 2
    joint: LoopConfig = field(default_factory=lambda: LoopConfig(steps=2500, learning_rate=2e-3))
    joint_recipe: JointRecipe = field(default_factory=JointRecipe)
    joint_strangers: int = 400
    joint_width: int = 128
    joint_features: int = 128
    joint_picture_widths: tuple[int, ...] = (16, 32, 64, 128)
    joint_sound_widths: tuple[int, ...] = (16, 32, 64, 96)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < SEED_LIMIT:
            raise SettingsError(
                f"The seed {self.seed} is reserved for clips that measure packs and judges.",
                f"Use a seed from 0 to {SEED_LIMIT - 1}.",
            )
        unknown = [name for name in self.classes if name not in ALL_CLASSES]
        if unknown or len(set(self.classes)) < len(self.classes):
            wrong = unknown[0] if unknown else "the same class twice"
            raise SettingsError(f"classes contains {wrong}.", f"Choose from {', '.join(ALL_CLASSES)}.")
        if sum(has_picture(name) for name in self.classes) < 2:
            raise SettingsError(
                "classes contains fewer than two classes with a picture.", f"Add some of {', '.join(CLASS_NAMES)}."
            )
        for name in ("sounds", "pictures"):
            if not 1 <= getattr(self, name) <= MOST_CLIPS:
                raise SettingsError(f"{name} is {getattr(self, name)}.", f"Give 1 to {MOST_CLIPS}.")

    @classmethod
    def read(cls, path: Path) -> StarterConfig:
        """Read a configuration from a TOML file; missing settings keep their defaults.

        Raises:
            SettingsError: The file cannot be read, a setting does not exist, or a value has the wrong type.
        """
        return read_settings(cls(), path)

    def new_denoiser(self) -> UNet2DConditionModel:
        """Build an untrained denoiser with AudioLDM's architecture in a smaller size."""
        levels = len(self.widths) - 1
        return UNet2DConditionModel(
            in_channels=8,
            out_channels=8,
            sample_size=(128, 16),
            block_out_channels=self.widths,
            down_block_types=(*["DownBlock2D"] * levels, "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", *["UpBlock2D"] * levels),
            cross_attention_dim=self.widths,
            attention_head_dim=self.heads,
            layers_per_block=1,
            norm_num_groups=min(32, *self.widths),
            class_embed_type="simple_projection",
            projection_class_embeddings_input_dim=PROMPT_WIDTH,
            class_embeddings_concat=True,
        )

    def new_vocoder(self) -> SpectralVocoder:
        """Build an untrained vocoder."""
        return SpectralVocoder(
            width=self.vocoder_width,
            blocks=self.vocoder_blocks,
            corrections=self.vocoder_corrections,
            random_phases=True,
            scatter_offset=self.vocoder_scatter_offset,
        )

    def new_video_encoder(self) -> MotionEncoder:
        """Build an untrained video encoder."""
        return MotionEncoder(
            widths=self.picture_widths,
            features=self.picture_features,
            place_dilations=self.picture_place_dilations,
            fine_place_dilations=self.picture_fine_place_dilations,
            looks=self.picture_looks,
            residual_motion=bool(self.picture_recipe.residual_motion),
        )

    @property
    def picture_batches(self) -> PictureBatches:
        """Batches of the picture stage."""
        whole_from_step = round(self.picture.steps * self.picture_whole_from)
        return PictureBatches(self.picture_batch, self.picture_crop_frames, whole_from_step)

    def new_phi(self) -> Phi:
        """Build an untrained φ that fits the video encoder."""
        width = self.picture_features
        recipe = self.picture_recipe
        return Phi(
            features=width,
            width=width,
            blocks=self.phi_blocks,
            heads=4,
            head=(64, 16),
            text_width=PROMPT_WIDTH if recipe.words else 0,
            has_events=bool(recipe.words and recipe.events),
        )

    def new_joint_space(self) -> JointSpace:
        """Build an untrained joint space of texts, videos and sounds."""
        return JointSpace(
            prompt_width=PROMPT_WIDTH,
            width=self.joint_width,
            picture_widths=self.joint_picture_widths,
            sound_widths=self.joint_sound_widths,
            features=self.joint_features,
        )


def read_settings(defaults: Settings, path: Path) -> Settings:
    """Update a dataclass of settings from a TOML file.

    Raises:
        SettingsError: The file cannot be read, a setting does not exist, or a value has the wrong type.
    """
    try:
        updated: Settings = _update(defaults, tomllib.loads(path.read_text("utf-8")), path.name)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(
            f"The training configuration {path} cannot be read ({error}).", "Give a TOML file."
        ) from error
    return updated


def _update(config: Any, document: dict[str, Any], source: str) -> Any:
    known = {entry.name for entry in fields(config)}
    changes: dict[str, Any] = {}
    for name, value in document.items():
        if name not in known:
            raise SettingsError(
                f"{source} sets {name}, which does not exist.", f"Choose from {', '.join(sorted(known))}."
            )
        old = getattr(config, name)
        if is_dataclass(old) and isinstance(value, dict):
            changes[name] = _update(old, value, f"{name} in {source}")
        elif _is_like(value, old) and (name in MAY_BE_ZERO or _all_above_zero(value)):
            changes[name] = tuple(value) if isinstance(old, tuple) else type(old)(value)
        else:
            raise SettingsError(f"{source} sets {name} to {value!r}.", f"Give a value like {old!r}.")
    return replace(config, **changes)


def _is_like(value: Any, old: Any) -> bool:
    if isinstance(old, tuple):
        return isinstance(value, list) and len(value) > 0 and all(_is_like(part, old[0]) for part in value)
    kinds = (int, float) if isinstance(old, float) else (int,)
    if isinstance(old, str):
        return isinstance(value, str)
    return isinstance(old, int | float) and type(value) in kinds and 0 <= value < float("inf")


def _all_above_zero(value: Any) -> bool:
    parts = value if isinstance(value, list) else [value]
    return all(isinstance(part, str) or part > 0 for part in parts)
