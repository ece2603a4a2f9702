"""Train one part of a pack, φ or the adapter, on a data set: features, training and pack."""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig
from rewas_engine.conditioning.windows import SoundWindow
from rewas_engine.energy_estimation.estimator import EnergyEstimator
from rewas_engine.errors import SettingsError
from rewas_engine.models.adapter import EnergyAdapter
from rewas_engine.models.phi import Phi
from rewas_engine.packs.backbones.families import find_family
from rewas_engine.packs.description import PackDescription, verify_files
from rewas_engine.packs.loading import load_components
from rewas_engine.recipes.pack_terms import PackTerms
from rewas_engine.recipes.part_pack import write_pack_with
from rewas_engine.recordings.captions import LeftOut
from rewas_engine.runtime.atomic_files import write_text_atomic
from rewas_engine.runtime.devices import resolve_device
from rewas_engine.runtime.execution import Execution
from rewas_engine.runtime.progress import CancelSignal, ProgressCallback
from rewas_engine.training.adapter_part import AdapterBatches, adapter_part_loss, evaluate_adapter
from rewas_engine.training.clip_features import ClipFeatures
from rewas_engine.training.clip_reading import read_clip_frames, read_clip_log_mel
from rewas_engine.training.dataset_clips import Dataset, DatasetClip
from rewas_engine.training.distributed import find_processes
from rewas_engine.training.folder_settings import FolderSettings
from rewas_engine.training.loop import LossFunction, train
from rewas_engine.training.part_config import AdapterConfig, PhiConfig
from rewas_engine.training.phi_part import PhiBatches, TokenGrid, append_token_times, evaluate_phi, phi_loss
from rewas_engine.training.progress import PartCounter
from rewas_engine.training.sample_sheets import Panel, can_draw, draw_figures, draw_losses, draw_sheet

SETTINGS_FILE = "training.json"
VALIDATION_FILE = "validation.json"
BATCH_PROMPTS = 64
TRAINING_PRECISIONS = ("float32", "bfloat16")
"""Types of the forward passes. float16 would need loss scaling."""
TRAINING_EXECUTION = Execution(precision="float32", channels_last=False)
"""Weights stay float32 during training."""

HeldOutResult = tuple[dict[str, float], list[Panel]]


class PartTraining(ABC):
    """Training of one part in one folder, in one process or in several that a launcher has started.

    Args:
        config: Settings of the training.
        folder: Folder of the run.
        dataset: The clips.
        source: The pack that the part belongs to.
        terms: Name and terms of the finished pack.
        fine_tune: Continue the part of the pack instead of creating a new one.
        report: Called with the progress.
        cancel: Stops the training when it is set.

    Raises:
        SettingsError: The folder belongs to another training, or the processes cannot divide a batch.
    """

    role: ClassVar[str]

    def __init__(
        self,
        config: PhiConfig | AdapterConfig,
        folder: Path,
        dataset: Dataset,
        source: PackDescription,
        terms: PackTerms,
        *,
        fine_tune: bool = False,
        report: ProgressCallback | None = None,
        cancel: CancelSignal | None = None,
    ) -> None:
        self.folder, self.dataset, self.source, self.terms = folder, dataset, source, terms
        self.fine_tune, self.report, self.cancel = fine_tune, report, cancel
        self.loop, self.seed = config.loop, config.seed
        self.settings = asdict(config)
        self.processes = find_processes(config.device)
        self.processes.check_batch(config.batch_size)
        self.device = resolve_device(self.processes.device(config.device))
        verify_files(source)
        self.front_end = AudioFrontEnd(MelConfig(**source.audio))
        self.log_mels = ClipFeatures(
            folder / "features", dataset.clips, {"name": "log-mels", "audio": asdict(self.front_end.config)}
        )
        if not self._folder_settings.matches() and self.processes.is_first:
            self._folder_settings.ensure()

    @property
    def pack_folder(self) -> Path:
        """Folder of the finished pack."""
        return self.folder / "pack" / self.terms.name

    def run(self) -> None:
        """Run everything that is not finished: features, training and pack. Raises TrainingStopped if cancelled."""
        self.write_features()
        components = dict(load_components(self.source, self.device, TRAINING_EXECUTION))
        module = self.new_part(components)
        components[self.role] = module
        loss = self.prepare_loss(components, module)
        if self.processes.is_first and not self.validation():
            with torch.random.fork_rng(devices=[]):
                self._show([])  # before the first step, a new adapter leaves the base unchanged
        train(
            self.role,
            module,
            loss,
            self.loop,
            folder=self.folder,
            seed=self.seed,
            report=self.report,
            cancel=self.cancel,
            show=self._show,
            processes=self.processes,
        )
        if self.processes.is_first and not self.pack_folder.is_dir():
            self._write_pack(module)
        self.processes.wait()

    def left_out(self) -> list[LeftOut]:
        """Return the clips that are not used, with the first reason for each. Call `write_features` first."""
        unreadable: dict[str, LeftOut] = {}
        for features in self.features:
            for one in features.left_out():
                unreadable.setdefault(one.what, one)
        return [*self.dataset.left_out, *unreadable.values()]

    def names(self, held_out: bool) -> list[str]:
        """Return the names of the training clips or held-out clips that have all features.

        Raises:
            SettingsError: There are none.
        """
        wanted = [clip.name for clip in self.dataset.clips if clip.is_held_out == held_out]
        names = [name for name in wanted if all(name in features.of_clip for features in self.features)]
        if not names:
            kind = "to measure on" if held_out else "to train on"
            unusable = frozenset(wanted)
            left_out = [one for one in self.left_out() if one.what in unusable]
            first = (
                "The only one was left out" if len(left_out) == 1 else (f"First of {len(left_out)} that were left out")
            )
            raise SettingsError(
                f"No clip {kind} can be used. {first}: {left_out[0]}.",
                "Replace them with intact videos, or remove them from the data set.",
            )
        return names

    def validation(self) -> dict[int, dict[str, float]]:
        """Return the figures on held-out clips by step."""
        path = self.folder / VALIDATION_FILE
        stored = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        return {int(step): figures for step, figures in stored.items()}

    @property
    @abstractmethod
    def features(self) -> Sequence[ClipFeatures]:
        """All kinds of features that a clip needs."""

    @abstractmethod
    def new_part(self, components: dict[str, Any]) -> nn.Module:
        """Create or load the part before the first step, on the device."""

    @abstractmethod
    def prepare_loss(self, components: dict[str, Any], module: Any) -> LossFunction:
        """Prepare the loss of the steps, and `evaluate`."""

    @abstractmethod
    def evaluate(self) -> HeldOutResult:
        """Measure figures and panels on held-out clips."""

    def controls(self, module: Any) -> tuple[str, ...]:
        """Return the controls of the finished pack."""
        return self.source.info.controls

    def write_features(self) -> None:
        """Compute the log-mels of all clips."""
        self.log_mels.write(
            lambda clip: read_clip_log_mel(clip, self.front_end, self.cancel),
            lambda log_mel: log_mel,
            workers=self._workers,
            processes=self.processes,
            report=partial(PartCounter(self.report).report, "features: sounds"),
            cancel=self.cancel,
        )

    @property
    def _workers(self) -> int:
        return max(1, (os.cpu_count() or 1) // self.processes.count)

    def _create_seeded(self, make: Callable[[], nn.Module]) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return make().to(self.device).requires_grad_(True)

    def _held_out_names(self, most: int) -> list[str]:
        found = self.names(held_out=True)
        return [found[position * len(found) // most] for position in range(most)] if len(found) > most else found

    def _show(self, losses: list[float]) -> None:
        figures, panels = self.evaluate()
        # A killed run repeats the measurements after its checkpoint.
        by_step = {step: kept for step, kept in self.validation().items() if step < len(losses)}
        by_step[len(losses)] = figures
        write_text_atomic(self.folder / VALIDATION_FILE, json.dumps(by_step, indent=1))
        if can_draw() and losses:
            draw_losses(self.folder / "curves" / f"{self.role}.png", self.role, losses)
            draw_figures(self.folder / "curves" / f"{self.role}-validation.png", self.role, by_step)
            title = f"{self.role} after {len(losses)} steps, on held-out clips"
            draw_sheet(self.folder / "samples" / f"{self.role}-{len(losses):06d}.png", title, panels)

    @property
    def _folder_settings(self) -> FolderSettings:
        settings = {name: value for name, value in self.settings.items() if name != "device"}
        settings["loop"] = {name: value for name, value in settings["loop"].items() if not name.endswith("_every")}
        clips = [[clip.name, clip.caption, clip.is_held_out] for clip in self.dataset.clips]
        document = {
            "part": self.role,
            "settings": settings,
            "fine_tune": self.fine_tune,
            "clips": hashlib.sha256(json.dumps(clips).encode()).hexdigest(),
            "pack": hashlib.sha256(json.dumps(dict(self.source.files), sort_keys=True).encode()).hexdigest(),
        }
        return FolderSettings(self.folder / SETTINGS_FILE, document, "another training")

    def _write_pack(self, module: nn.Module) -> None:
        validation = self.validation()
        beginning = "its own weights" if self.fine_tune else "scratch"
        clips = len(self.names(held_out=False))
        write_pack_with(
            self.source,
            self.pack_folder,
            self.role,
            module,
            self.terms,
            summary=f"{self.source.info.name} with {self.role} trained from {beginning} on {clips} video clips.",
            controls=self.controls(module),
            report={
                "figures": validation[self.loop.steps],
                "validation": {str(step): figures for step, figures in validation.items()},
                "settings": self.settings,
                "training_clips": clips,
                "judged_clips": len(self._held_out_names(self.settings["judged_clips"])),
            },
        )


class PhiTraining(PartTraining):
    """Trains φ without the diffusion model, on tokens that the frozen video encoder computes once per clip.

    A new φ attends over time, even if φ of the pack does not.

    Raises:
        SettingsError: The pack uses the token times of the release.
    """

    role = "phi"

    def __init__(
        self, config: PhiConfig, folder: Path, dataset: Dataset, source: PackDescription, *rest: Any, **more: Any
    ) -> None:
        if source.picture.get("token_times") == "released":
            raise SettingsError(
                f"The pack {source.info.name} uses the token times of the release, which are off by up to half "
                "a second.",
                "Convert the checkpoints again with --token-times centres.",
            )
        super().__init__(config, folder, dataset, source, *rest, **more)
        self.config = config
        encoder = {name: digest for name, digest in source.files.items() if name.startswith("video_encoder/")}
        kind = {"name": "tokens", "encoder": encoder, "picture": dict(source.picture)}
        self.tokens = ClipFeatures(folder / "features", dataset.clips, kind)

    @property
    def features(self) -> Sequence[ClipFeatures]:
        return self.log_mels, self.tokens

    def write_features(self) -> None:
        """Compute the log-mels and tokens of all clips."""
        super().write_features()
        if not self.processes.any_of(not self.tokens.is_complete):
            return  # without loading the video encoder
        components = dict(load_components(self.source, self.device, TRAINING_EXECUTION))
        estimator = EnergyEstimator(components, self.source.picture, self.front_end.config.silence_nats, self.device)
        grid = TokenGrid(components["video_encoder"], estimator.format[0])

        def tokens_of(frames: NDArray[np.uint8]) -> NDArray[np.float16]:
            return append_token_times(estimator.encode_frames(frames), grid, len(frames))

        def read(clip: DatasetClip) -> NDArray[np.uint8]:
            return read_clip_frames(clip, estimator, self.cancel)

        self.tokens.write(
            read,
            tokens_of,
            workers=self._workers,
            processes=self.processes,
            report=partial(PartCounter(self.report).report, "features: frames"),
            cancel=self.cancel,
        )

    def new_part(self, components: dict[str, Any]) -> nn.Module:
        own = components[self.role]
        if self.fine_tune:
            return own.requires_grad_(True)
        if not isinstance(own, Phi):
            raise SettingsError(
                f"A {type(own).__name__} cannot be trained from scratch.", "Use --fine-tune to continue it."
            )
        return self._create_seeded(lambda: Phi.from_config({**own.config, "attends_over": "time"}))

    def prepare_loss(self, components: dict[str, Any], module: Any) -> LossFunction:
        grid = TokenGrid(components["video_encoder"], Fraction(self.source.picture["frame_rate"]))

        def batches(names: Sequence[str]) -> PhiBatches:
            rate = self.front_end.config.frame_rate_hz
            return PhiBatches(self.tokens, self.log_mels, names, grid, rate, self.config.cut_s)

        held_out = self._held_out_names(self.config.judged_clips)
        self._evaluate = lambda: evaluate_phi(batches(held_out), module, held_out)
        return phi_loss(batches(self.names(held_out=False)), module, self.config, self.processes)

    def evaluate(self) -> HeldOutResult:
        return self._evaluate()


class AdapterTraining(PartTraining):
    """Trains an adapter on the frozen base of a pack. A new adapter starts as a copy of the base's encoder.

    Raises:
        SettingsError: The precision is unknown.
    """

    role = "adapter"

    def __init__(
        self, config: AdapterConfig, folder: Path, dataset: Dataset, source: PackDescription, *rest: Any, **more: Any
    ) -> None:
        if config.precision not in TRAINING_PRECISIONS:
            raise SettingsError(
                f"The precision {config.precision!r} is unknown.", f"Choose one of {', '.join(TRAINING_PRECISIONS)}."
            )
        super().__init__(config, folder, dataset, source, *rest, **more)
        self.config = config

    @property
    def features(self) -> Sequence[ClipFeatures]:
        return (self.log_mels,)

    def new_part(self, components: dict[str, Any]) -> nn.Module:
        own = components[self.role]
        if self.fine_tune:
            return own.requires_grad_(True)
        if not isinstance(own, EnergyAdapter):
            raise SettingsError(
                f"A {type(own).__name__} cannot be trained from scratch.", "Use --fine-tune to continue it."
            )
        config, denoiser = own.config, components["denoiser"]
        return self._create_seeded(
            lambda: EnergyAdapter.from_denoiser(denoiser, config.latent_bins, None, config.frequency_first)
        )

    def prepare_loss(self, components: dict[str, Any], module: Any) -> LossFunction:
        backbone = find_family(self.source.family).backbone(components, self.front_end.config, self.device)
        self._backbone = backbone
        training, held_out = self.names(held_out=False), self._held_out_names(self.config.judged_clips)
        captions = {clip.name: clip.caption for clip in self.dataset.clips}
        caption_of = {name: captions[name] for name in (*training, *held_out)}
        words = ["", *sorted(set(caption_of.values()))]
        parts = [
            backbone.embed_prompts(words[start : start + BATCH_PROMPTS])
            for start in range(0, len(words), BATCH_PROMPTS)
        ]
        # Copied, because autograd cannot use tensors from inference mode.
        prompts = torch.cat(parts).clone()
        batches = AdapterBatches(
            self.log_mels,
            caption_of,
            prompts,
            SoundWindow(**self.source.window),
            float(self.front_end.config.frame_rate_hz),
            self.config.cut_s,
        )
        self._evaluate = lambda: evaluate_adapter(batches, backbone, self.front_end, held_out, self.config)
        return adapter_part_loss(batches, backbone, training, self.config, self.processes)

    def evaluate(self) -> HeldOutResult:
        return self._evaluate()

    def controls(self, module: Any) -> tuple[str, ...]:
        return self._backbone.controls
