"""Train the starter pack: corpus, words, codec, base, adapter, vocoder, picture, joint, pack."""

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
from rewas_engine.matching.sound_kinds import kind_of_phrase, table_embeddings, table_phrases
from rewas_engine.models.adapter import EnergyAdapter
from rewas_engine.models.codec import PatchAutoencoder
from rewas_engine.models.phi import CHARACTERS
from rewas_engine.models.sentence_encoder import SENTENCE_ENCODER
from rewas_engine.models.text import SentenceEncoder
from rewas_engine.models.text_projection import TextProjection
from rewas_engine.packs.components import load_component, save_component
from rewas_engine.recipes.model_card import measure_pack, read_trainings, write_model_card
from rewas_engine.runtime.atomic_files import write_text_atomic
from rewas_engine.runtime.devices import resolve_device
from rewas_engine.runtime.progress import CancelSignal, ProgressCallback
from rewas_engine.training.caption_embeddings import embed_captions
from rewas_engine.training.clip_pictures import ClipPictures, JoinedPictures
from rewas_engine.training.clip_sources import PictureSource, SoundSource
from rewas_engine.training.config import MOST_CLIPS, SEEDS_APART, StarterConfig
from rewas_engine.training.corpus import WorldCorpus, world_front_end
from rewas_engine.training.grain_recordings import GrainRecording
from rewas_engine.training.joint_stage import (
    JointCorpus,
    calibrate,
    joint_loss,
    out_of_domain_videos,
    world_clips,
    world_known_phrases,
    world_known_words,
)
from rewas_engine.training.loop import LoopConfig, LossFunction, train
from rewas_engine.training.pack_writer import make_version_unique, write_pack
from rewas_engine.training.picture_labels import LabelReader
from rewas_engine.training.picture_stage import PictureCorpus, PictureWords, encode_views, picture_loss
from rewas_engine.training.progress import PartCounter
from rewas_engine.training.sample_panels import joint_panels, picture_panels, sound_panels, vocoder_panels
from rewas_engine.training.sample_sheets import Panel, can_draw, draw_losses, draw_sheet
from rewas_engine.training.stage_order import STAGES, StageLedger
from rewas_engine.training.stages import (
    DenoiserBatches,
    SoundCorpus,
    adapter_loss,
    base_loss,
)
from rewas_engine.training.starting_point import NOTHING, StartingPoint
from rewas_engine.training.vocoder_stage import vocoder_loss
from rewas_engine.training.words_stage import (
    extend_text_projection,
    new_text_projection,
    words_corpus,
    words_loss,
)
from rewas_engine.world import has_picture

VERSION = "0.8.0"
STARTING_POINTS_FILE = "began.json"
"""File in the folder of a run with the starting point of each component."""
COMPONENT_CLASSES = {
    "codec": "PatchAutoencoder",
    "denoiser": "UNet2DConditionModel",
    "adapter": "EnergyAdapter",
    "vocoder": "SpectralVocoder",
    "video_encoder": "MotionEncoder",
    "phi": "Phi",
}
"""Components of every pack that is trained here."""
OPTIONAL_CLASSES = {"text_projection": "TextProjection", "joint": "JointSpace"}
"""Further components of a pack that was trained on the world, or that continues such a pack."""


class StarterTraining:
    """One training run in one folder. Vocoder and picture stage need only the corpus, others also earlier stages."""

    def __init__(
        self,
        config: StarterConfig,
        folder: Path,
        *,
        sounds: SoundSource | None = None,
        pictures: PictureSource | None = None,
        name: str = "starter",
        report: ProgressCallback | None = None,
        cancel: CancelSignal | None = None,
    ) -> None:
        self.config, self.folder, self.report, self.cancel = config, folder, report, cancel
        self.name = name
        self.front_end = world_front_end()
        self.device = resolve_device(config.device)
        first_seed = config.seed * SEEDS_APART
        uses_world = sounds is None
        grains_folder = Path(config.grains_folder) if config.grains_folder else None
        # The sounds of videos stay synthetic, so that the estimator learns from the motion that made them.
        self.sounds: SoundSource = sounds or WorldCorpus(
            folder / "sound", config.sounds, 0, first_seed, config.classes, grains_folder
        )
        if uses_world and pictures is None:
            shown = tuple(name for name in config.classes if has_picture(name))
            pictures = WorldCorpus(folder / "picture", config.pictures, config.pictures, first_seed + MOST_CLIPS, shown)
        self.pictures = pictures
        """Videos of the corpus, for the picture and the joint stage."""
        self.further_pictures = (
            # Only words tell what a source that does not move sounds like.
            ClipPictures(Path(config.picture_folder), motionless=bool(config.picture_recipe.words))
            if config.picture_folder
            else None
        )
        """Further videos for the picture stage."""
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
        """Run stages in order; finished stages are skipped.

        Raises:
            SettingsError: A stage is unknown, needs an earlier stage, has results with other settings, or has 0 steps
                although no pack is continued. This is checked before any work starts.
        """
        sources = [source for source in (self.sounds, self.pictures, self.further_pictures) if source is not None]
        written = [source.is_written() for source in sources]  # checks every source, to refuse a wrong folder
        self.ledger.check(stages, all(written))
        kept = [stage for stage in stages if getattr(getattr(self.config, stage, None), "steps", None) == 0]
        if kept and not self.config.start_from:
            raise SettingsError(
                f"The stage {kept[0]} has 0 steps, but without a pack it has no weights to keep.",
                "Give it at least one step, or set start_from.",
            )
        for stage in stages:
            if not self.ledger.is_finished(stage):
                self.folder.mkdir(parents=True, exist_ok=True)
                torch.manual_seed(self.config.seed)
                self.stages[stage]()
                self.ledger.finish(stage)

    @cached_property
    def ledger(self) -> StageLedger:
        """The finished stages with their settings."""
        start_fingerprint = StartingPoint(self.config.start_from).fingerprint
        return StageLedger(self.folder, self.config, start_fingerprint, isinstance(self.sounds, WorldCorpus))

    def write_corpus(self) -> None:
        """Render the clips of the sound stages and those with video, from separate seeds."""
        counter = PartCounter(self.report)
        corpora = (("sounds", self.sounds), ("pictures", self.pictures), ("clips", self.further_pictures))
        for name, corpus in corpora:
            if corpus is not None:
                corpus.write(os.cpu_count() or 1, partial(counter.report, f"corpus: {name}"), self.cancel)

    def train_words(self) -> None:
        """Train the text projection. Skipped for recordings, because the meaning of their captions is unknown."""
        if not isinstance(self.sounds, WorldCorpus):
            return
        encoder = SentenceEncoder(**SENTENCE_ENCODER)
        cache_folder, classes = self.sounds.folder, self.config.classes
        corpus = words_corpus(self.sounds.scenes(), lambda texts: embed_captions(texts, encoder, cache_folder), classes)
        projection = new_text_projection(corpus, self.config.words_hidden, encoder.scale)
        if not self._extend_known_words(projection):
            self._initialise("text_projection", projection, self.config.words)
        loss = words_loss(corpus, projection)
        self._train("words", projection, loss, self.config.words, None)
        self._save(projection, "text_projection")

    def _extend_known_words(self, projection: TextProjection) -> bool:
        """Copy the meanings of the continued pack, if it knows other classes. Returns whether it could."""
        start = StartingPoint(self.config.start_from)
        known = start.component("text_projection")
        if not isinstance(known, TextProjection) or start.classes == self.config.classes:
            return False
        if not extend_text_projection(projection, known, self.config.classes, start.classes):
            return False
        self._record_origin("text_projection", start.name)
        return True

    def fit_codec(self) -> None:
        """Fit the principal components of log-mel patches in closed form, or copy the codec of the continued pack."""
        codec = PatchAutoencoder()
        if self._initialise("codec", codec) == NOTHING:
            codec.fit(self._sound_corpus().log_mels[: self.config.codec_clips].float())
        self._save(codec, "codec")

    def train_base(self) -> None:
        """Train the text-to-audio base, without controls.

        For recordings, the text projection is trained together with it.
        """
        denoiser = self.config.new_denoiser()
        self._initialise("denoiser", denoiser, self.config.base)
        batches = self._batches()
        trained_modules = torch.nn.ModuleDict({"denoiser": denoiser})
        if batches.projection is not None and not isinstance(self.sounds, WorldCorpus):
            self._initialise("text_projection", batches.projection, self.config.base)
            trained_modules["text_projection"] = batches.projection.requires_grad_(True)
        loss = base_loss(batches, denoiser, self.schedule(), self.config.base.steps)
        self._train(
            "base", trained_modules, loss, self.config.base, lambda: self._sound_panels(batches, denoiser=denoiser)
        )
        for role, module in trained_modules.items():
            self._save(module, role)

    def train_adapter(self) -> None:
        """Train the adapter on the frozen base, starting from a copy of the base's encoder."""
        denoiser, batches = self._load("denoiser", "UNet2DConditionModel").to(self.device), self._batches()
        bins, patch = self.front_end.config.bins, batches.codec.config.patch_size
        adapter = EnergyAdapter.from_denoiser(
            denoiser, bins // patch, hint_channels(int(denoiser.config.in_channels), patch)
        )
        self._initialise("adapter", adapter, self.config.adapter)
        loss = adapter_loss(batches, denoiser, adapter, self.schedule(), bins, self.config.adapter.steps)
        self._train(
            "adapter",
            adapter,
            loss,
            self.config.adapter,
            lambda: self._sound_panels(batches, denoiser=denoiser, adapter=adapter),
        )
        self._save(adapter, "adapter")

    def train_vocoder(self) -> None:
        """Train the vocoder."""
        vocoder, config = self.config.new_vocoder(), self.config
        self._initialise("vocoder", vocoder, config.vocoder)
        corpus = self.sounds.waveforms()
        loss = vocoder_loss(corpus, vocoder, self.front_end, config.vocoder_batch, config.vocoder_crop_frames)
        self._train("vocoder", vocoder, loss, config.vocoder, lambda: vocoder_panels(vocoder, corpus, self.front_end))
        self._save(vocoder, "vocoder")

    def train_picture(self) -> None:
        """Train video encoder and φ together. Without videos, copy those of the continued pack.

        Raises:
            SettingsError: There are neither videos nor a continued pack with these components, or an untrained video
                encoder would stay as it is.
        """
        encoder, phi = self.config.new_video_encoder(), self.config.new_phi()
        began = {
            role: self._initialise(role, part, self.config.picture)
            for role, part in (("video_encoder", encoder), ("phi", phi))
        }
        sources = tuple(source for source in (self.pictures, self.further_pictures) if source is not None)
        if sources and self.config.picture_recipe.fixed_views and began["video_encoder"] == NOTHING:
            raise SettingsError(
                "picture_recipe.fixed_views keeps the video encoder as it is, but it is not trained yet.",
                "Set fixed_views to 0, or start from a pack with a video encoder of the same size.",
            )
        if sources and self.config.picture.steps:
            corpus = JoinedPictures(sources).videos(self.front_end)
            reader = LabelReader(int(encoder.config.features))
            recipe, batches = self.config.picture_recipe, self.config.picture_batches
            words = None if phi.words is None else self._picture_words(corpus)
            tokens = None
            if recipe.fixed_views:
                encoder.to(self.device).requires_grad_(False)
                tokens = encode_views(corpus, encoder, recipe, self.config.seed, self.cancel)
            loss = picture_loss(corpus, encoder, phi, reader, batches, recipe, words, tokens)
            trained_modules = torch.nn.ModuleList([encoder, phi, reader])
            self._train(
                "picture", trained_modules, loss, self.config.picture, lambda: picture_panels(encoder, phi, corpus)
            )
        elif NOTHING in began.values():
            raise SettingsError("There are no videos to train the estimator on.", "Add videos, or start from a pack.")
        self._save(encoder, "video_encoder")
        self._save(phi, "phi")

    def _picture_words(self, corpus: PictureCorpus) -> PictureWords:
        """Embed the captions of the videos. Clips without a caption count as clips without a prompt."""
        captions = corpus.captions or ("",) * len(corpus.frames)
        embedded = embed_captions(captions, SentenceEncoder(**SENTENCE_ENCODER), self.folder)
        embedded[torch.tensor([not caption for caption in captions])] = 0
        kinds = [kind_of_phrase(phrase) for phrase in table_phrases()]
        characters = [CHARACTERS.index(kind.character) for kind in kinds if kind is not None]
        return PictureWords(embedded, torch.from_numpy(table_embeddings()), torch.tensor(characters))

    def train_joint(self) -> None:
        """Train the joint space of texts, videos and sounds.

        Skipped for recordings: they may contain sounds besides those in the caption, so negative pairs would be
        unreliable.
        """
        if not isinstance(self.sounds, WorldCorpus) or not isinstance(self.pictures, WorldCorpus):
            return
        config, space = self.config, self.config.new_joint_space()
        self._initialise("joint", space, config.joint)
        embed = SentenceEncoder(**SENTENCE_ENCODER)
        seen, heard = (world_clips(corpus, self.front_end, embed) for corpus in (self.pictures, self.sounds))
        corpus = JointCorpus(seen, heard, out_of_domain_videos(config.joint_strangers, seen, space, config.seed))
        loss = joint_loss(corpus, space, config.joint_recipe)
        known = world_known_words(config.classes)
        prompts = embed(known)
        self._train("joint", space, loss, config.joint, lambda: joint_panels(space, seen, prompts, known))
        calibrate(space, corpus, known, world_known_phrases(config.classes))
        self._save(space, "joint")

    def write_pack(self) -> None:
        """Write the pack to `<folder>/pack/<name>` with figures on held-out scenes and its model card."""
        self._clear_unmeasured_pack()
        path = write_pack(
            self._components(),
            self.pack_folder,
            schedule=self.schedule(),
            sentence_encoder=SENTENCE_ENCODER,
            audio=self.front_end.config,
            version=VERSION,
            summary="A small model of impacts, textures, machines and animals, trained on synthetic clips"
            f"{' and real recordings' if self._recordings else ' only'}.",
            kinds=self.config.classes,
        )
        version = make_version_unique(path)
        records = {
            stage: json.loads((self.folder / f"{stage}.record.json").read_text("utf-8"))
            for stage in STAGES
            if (self.folder / f"{stage}.record.json").is_file()
        }
        began = json.loads((self.folder / STARTING_POINTS_FILE).read_text("utf-8"))
        continued = StartingPoint(self.config.start_from).path
        write_model_card(
            path,
            self.config,
            records,
            began,
            measure_pack(path, self.report, self.cancel),
            version=version,
            earlier=[] if continued is None else read_trainings(continued),
            recordings=self._recordings,
        )

    @property
    def _recordings(self) -> tuple[GrainRecording, ...]:
        """Recordings that the sounds of the world use."""
        return self.sounds.grain_recordings.training if isinstance(self.sounds, WorldCorpus) else ()

    @property
    def pack_folder(self) -> Path:
        """Folder of the finished pack."""
        return self.folder / "pack" / self.name

    def _clear_unmeasured_pack(self) -> None:
        """Delete a pack whose measurement was interrupted, which has no card because the card is written last."""
        if self.pack_folder.is_dir() and not (self.pack_folder / "README.md").is_file():
            shutil.rmtree(self.pack_folder)

    @staticmethod
    def schedule() -> DDIMScheduler:
        """Build a velocity-prediction schedule that ends in pure noise (Lin et al. 2023), so that it allows silence."""
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
        """Train a module in place. In 0 steps it keeps the weights of the continued pack."""
        if config.steps == 0:
            return

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

    def _sound_panels(self, batches: DenoiserBatches, **networks: torch.nn.Module) -> list[Panel]:
        components = {
            **networks,
            "codec": batches.codec,
            "schedule": self.schedule(),
            "text_encoder": SentenceEncoder(**SENTENCE_ENCODER),
            **({} if batches.projection is None else {"text_projection": batches.projection}),
        }
        return sound_panels(components, batches.corpus, self.sounds.captions(), self.front_end)

    def _initialise(self, role: str, module: torch.nn.Module, loop: LoopConfig | None = None) -> str:
        """Copy the weights of the continued pack, if they fit. Raises SettingsError if they must fit but do not."""
        origin = StartingPoint(self.config.start_from).fill(module, role)
        if origin == NOTHING and loop is not None and loop.steps == 0:
            raise SettingsError(
                f"The stage of the component {role} has 0 steps, but the pack {self.config.start_from} has no such "
                "component of the same size.",
                "Give the stage at least one step, or start from another pack.",
            )
        self._record_origin(role, origin)
        return origin

    def _record_origin(self, role: str, origin: str) -> None:
        record = self.folder / STARTING_POINTS_FILE
        origins = json.loads(record.read_text("utf-8")) if record.is_file() else {}
        write_text_atomic(record, json.dumps({**origins, role: origin}, indent=1))

    def _sound_corpus(self) -> SoundCorpus:
        return self.sounds.sounds(self.front_end, SentenceEncoder(**SENTENCE_ENCODER))

    def _batches(self) -> DenoiserBatches:
        codec = self._load("codec", "PatchAutoencoder").to(self.device)
        return DenoiserBatches(
            self._sound_corpus(), codec, self.config.denoiser, self._text_projection(), self._clips_of_new_kinds()
        )

    def _clips_of_new_kinds(self) -> torch.Tensor | None:
        """Which clips of the world [N] have a kind of sound that the continued pack does not know; None if unused."""
        if not isinstance(self.sounds, WorldCorpus) or self.config.denoiser.new_kinds_share == 0:
            return None
        known = StartingPoint(self.config.start_from).classes
        return torch.tensor([scene.class_name not in known for scene in self.sounds.scenes()]) if known else None

    def _text_projection(self) -> TextProjection | None:
        """Load the text projection of this run, or that of the continued pack."""
        if (self.folder / "components" / "text_projection").is_dir():
            found: TextProjection = self._load("text_projection", "TextProjection")
        else:
            continued = StartingPoint(self.config.start_from).component("text_projection")
            if continued is None:
                return None
            assert isinstance(continued, TextProjection)
            found = continued
        return found.to(self.device)

    def _components(self) -> dict[str, torch.nn.Module]:
        """Load all components that this run has trained or copied."""
        optional = {
            role: name for role, name in OPTIONAL_CLASSES.items() if (self.folder / "components" / role).is_dir()
        }
        return {role: self._load(role, name) for role, name in {**COMPONENT_CLASSES, **optional}.items()}

    def _save(self, module: torch.nn.Module, role: str) -> None:
        # Full precision between stages, because the pack is rounded once at the end.
        save_component(module, self.folder / "components", role, torch.float32)

    def _load(self, role: str, class_name: str) -> Any:
        return load_component(self.folder / "components", role, class_name)
