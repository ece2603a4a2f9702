"""Training one part of a pack, φ or the adapter, on a data set: features once, then steps, then a pack."""

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
from rewas_engine.runtime.atomic_files import write_text_atomic
from rewas_engine.runtime.devices import resolve_device
from rewas_engine.runtime.execution import Execution
from rewas_engine.runtime.progress import CancelSignal
from rewas_engine.training.adapter_part import AdapterBatches, adapter_part_loss, judged_adapter
from rewas_engine.training.clip_features import ClipFeatures
from rewas_engine.training.clip_reading import heard_log_mel, read_clip_frames
from rewas_engine.training.datasets import Dataset, DatasetClip
from rewas_engine.training.distributed import started_processes
from rewas_engine.training.folder_settings import Claim
from rewas_engine.training.loop import LossFunction, train
from rewas_engine.training.manifests import LeftOut
from rewas_engine.training.part_config import AdapterConfig, PhiConfig
from rewas_engine.training.phi_part import PhiBatches, TokenGrid, judged_phi, phi_loss, timed_tokens
from rewas_engine.training.progress import Counting, ReportTraining
from rewas_engine.training.sample_sheets import Panel, can_draw, draw_figures, draw_losses, draw_sheet

CLAIM_FILE = "training.json"
VALIDATION_FILE = "validation.json"
PROMPTS_AT_ONCE = 64
TRAINING_PRECISIONS = ("float32", "bfloat16")
"""Of the networks' inner arithmetic; float16 would need its losses scaled."""
AS_TRAINED = Execution(precision="float32", channels_last=False)
"""Weights stay float32 where they are learnt."""

Judged = tuple[dict[str, float], list[Panel]]


class PartTraining(ABC):
    """One training of one part in one folder, by one process or by several that a launcher started.

    source: the pack that the part belongs to. fine_tune: begin with the pack's own part and not with a new one.
    Raises SettingsError where the folder belongs to another training, or the processes cannot share a batch.
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
        report: ReportTraining | None = None,
        cancel: CancelSignal | None = None,
    ) -> None:
        self.folder, self.dataset, self.source, self.terms = folder, dataset, source, terms
        self.fine_tune, self.report, self.cancel = fine_tune, report, cancel
        self.loop, self.seed = config.loop, config.seed
        self.settings = asdict(config)
        self.processes = started_processes(config.device)
        self.processes.check_batch(config.batch_size)
        self.device = resolve_device(self.processes.device(config.device))
        verify_files(source)
        self.front_end = AudioFrontEnd(MelConfig(**source.audio))
        self.log_mels = ClipFeatures(
            folder / "features", dataset.clips, {"name": "log-mels", "audio": asdict(self.front_end.config)}
        )
        if not self._claim.is_made() and self.processes.is_first:
            self._claim.make()

    @property
    def pack_folder(self) -> Path:
        """Where the finished pack stands."""
        return self.folder / "pack" / self.terms.name

    def run(self) -> None:
        """Whatever is not done yet: features, training, pack. Raises TrainingStopped where asked to stop."""
        self.write_features()
        components = dict(load_components(self.source, self.device, AS_TRAINED))
        module = self.new_part(components)
        components[self.role] = module
        loss = self.prepared_loss(components, module)
        if self.processes.is_first and not self.validation():
            with torch.random.fork_rng(devices=[]):
                self._show([])  # where it begins: an adapter that is new leaves the base alone
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
        """Clips that are not trained on, with the first reason of each, once the features are written."""
        unread: dict[str, LeftOut] = {}
        for features in self.features:
            for one in features.left_out():
                unread.setdefault(one.what, one)
        return [*self.dataset.left_out, *unread.values()]

    def names(self, held_out: bool) -> list[str]:
        """Names of the clips of which all features are there: those to train on, or those to judge by.

        Raises SettingsError where there is none.
        """
        wanted = [clip.name for clip in self.dataset.clips if clip.is_held_out == held_out]
        names = [name for name in wanted if all(name in features.of_clip for features in self.features)]
        if not names:
            kind = "to judge by" if held_out else "to train on"
            lost = frozenset(wanted)
            left_out = [one for one in self.left_out() if one.what in lost]
            first = "The only one is left out" if len(left_out) == 1 else f"First of {len(left_out)} that are left out"
            raise SettingsError(
                f"No clip {kind} can be used. {first}: {left_out[0]}.",
                "Put whole videos in their place, or take them out of the data.",
            )
        return names

    def validation(self) -> dict[int, dict[str, float]]:
        """Figures on held-out clips by step."""
        path = self.folder / VALIDATION_FILE
        told = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        return {int(step): figures for step, figures in told.items()}

    @property
    @abstractmethod
    def features(self) -> Sequence[ClipFeatures]:
        """All kinds of features that a clip needs."""

    @abstractmethod
    def new_part(self, components: dict[str, Any]) -> nn.Module:
        """The part as it is before the first step, on the device."""

    @abstractmethod
    def prepared_loss(self, components: dict[str, Any], module: Any) -> LossFunction:
        """The loss of the steps; prepares what `judged` measures too."""

    @abstractmethod
    def judged(self) -> Judged:
        """Figures and pictures on clips that no step has seen."""

    def controls(self, module: Any) -> tuple[str, ...]:
        """What the finished pack's adapter reads."""
        return self.source.info.controls

    def write_features(self) -> None:
        """Log-mels of all clips."""
        self.log_mels.write(
            lambda clip: heard_log_mel(clip, self.front_end, self.cancel),
            lambda log_mel: log_mel,
            workers=self._workers,
            processes=self.processes,
            report=partial(Counting(self.report).tell, "features: sounds"),
            cancel=self.cancel,
        )

    @property
    def _workers(self) -> int:
        return max(1, (os.cpu_count() or 1) // self.processes.count)

    def _seeded(self, make: Callable[[], nn.Module]) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return make().to(self.device).requires_grad_(True)

    def _judged_names(self, most: int) -> list[str]:
        found = self.names(held_out=True)
        return [found[position * len(found) // most] for position in range(most)] if len(found) > most else found

    def _show(self, losses: list[float]) -> None:
        figures, panels = self.judged()
        # What was measured past the checkpoint that a killed run went on from is measured again.
        told = {step: kept for step, kept in self.validation().items() if step < len(losses)}
        told[len(losses)] = figures
        write_text_atomic(self.folder / VALIDATION_FILE, json.dumps(told, indent=1))
        if can_draw() and losses:
            draw_losses(self.folder / "curves" / f"{self.role}.png", self.role, losses)
            draw_figures(self.folder / "curves" / f"{self.role}-validation.png", self.role, told)
            title = f"{self.role} after {len(losses)} steps, on clips that no step has seen"
            draw_sheet(self.folder / "samples" / f"{self.role}-{len(losses):06d}.png", title, panels)

    @property
    def _claim(self) -> Claim:
        decisive = {name: value for name, value in self.settings.items() if name != "device"}
        decisive["loop"] = {name: value for name, value in decisive["loop"].items() if not name.endswith("_every")}
        clips = [[clip.name, clip.caption, clip.is_held_out] for clip in self.dataset.clips]
        told = {
            "part": self.role,
            "settings": decisive,
            "fine_tune": self.fine_tune,
            "clips": hashlib.sha256(json.dumps(clips).encode()).hexdigest(),
            "pack": hashlib.sha256(json.dumps(dict(self.source.files), sort_keys=True).encode()).hexdigest(),
        }
        return Claim(self.folder / CLAIM_FILE, told, "another training")

    def _write_pack(self, module: nn.Module) -> None:
        validation = self.validation()
        beginning = "its own" if self.fine_tune else "a new one"
        clips = len(self.names(held_out=False))
        write_pack_with(
            self.source,
            self.pack_folder,
            self.role,
            module,
            self.terms,
            summary=f"{self.source.info.name} with {self.role} trained from {beginning} on {clips} clips of video.",
            controls=self.controls(module),
            report={
                "figures": validation[self.loop.steps],
                "validation": {str(step): figures for step, figures in validation.items()},
                "settings": self.settings,
                "training_clips": clips,
                "judged_clips": len(self._judged_names(self.settings["judged_clips"])),
            },
        )


class PhiTraining(PartTraining):
    """φ of a pack, apart from the diffusion model: on tokens that its frozen video encoder makes of every clip once.

    A new φ attends over time, whatever the pack's own does. Raises SettingsError for a pack that lays its tokens over
    time as the release did.
    """

    role = "phi"

    def __init__(
        self, config: PhiConfig, folder: Path, dataset: Dataset, source: PackDescription, *rest: Any, **more: Any
    ) -> None:
        if source.picture.get("token_times") == "released":
            raise SettingsError(
                f"The pack {source.info.name} lays tokens over time as the release did, up to half a second off.",
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
        """Log-mels and tokens of all clips."""
        super().write_features()
        if not self.processes.any_of(not self.tokens.is_whole):
            return  # nothing to see: the video encoder need not be loaded
        components = dict(load_components(self.source, self.device, AS_TRAINED))
        sight = EnergyEstimator(components, self.source.picture, self.front_end.config.silence_nats, self.device)
        grid = TokenGrid(components["video_encoder"], sight.format[0])

        def tokens_of(frames: NDArray[np.uint8]) -> NDArray[np.float16]:
            return timed_tokens(sight.encode_frames(frames), grid, len(frames))

        def read(clip: DatasetClip) -> NDArray[np.uint8]:
            return read_clip_frames(clip, sight, self.cancel)

        self.tokens.write(
            read,
            tokens_of,
            workers=self._workers,
            processes=self.processes,
            report=partial(Counting(self.report).tell, "features: pictures"),
            cancel=self.cancel,
        )

    def new_part(self, components: dict[str, Any]) -> nn.Module:
        own = components[self.role]
        if self.fine_tune:
            return own.requires_grad_(True)
        if not isinstance(own, Phi):
            raise SettingsError(f"A {type(own).__name__} cannot be made anew.", "Give --fine-tune, to go on with it.")
        return self._seeded(lambda: Phi.from_config({**own.config, "attends_over": "time"}))

    def prepared_loss(self, components: dict[str, Any], module: Any) -> LossFunction:
        grid = TokenGrid(components["video_encoder"], Fraction(self.source.picture["frame_rate"]))

        def batches(names: Sequence[str]) -> PhiBatches:
            rate = self.front_end.config.frame_rate_hz
            return PhiBatches(self.tokens, self.log_mels, names, grid, rate, self.config.cut_s)

        held_out = self._judged_names(self.config.judged_clips)
        self._judge = lambda: judged_phi(batches(held_out), module, held_out)
        return phi_loss(batches(self.names(held_out=False)), module, self.config, self.processes)

    def judged(self) -> Judged:
        return self._judge()


class AdapterTraining(PartTraining):
    """The adapter of a pack on its frozen base, whatever its family: a new one is a copy of the base's encoder half.

    Raises SettingsError for a precision that does not exist.
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
            raise SettingsError(f"A {type(own).__name__} cannot be made anew.", "Give --fine-tune, to go on with it.")
        config, denoiser = own.config, components["denoiser"]
        return self._seeded(
            lambda: EnergyAdapter.from_denoiser(denoiser, config.latent_bins, None, config.frequency_first)
        )

    def prepared_loss(self, components: dict[str, Any], module: Any) -> LossFunction:
        backbone = find_family(self.source.family).backbone(components, self.front_end.config, self.device)
        self._backbone = backbone
        training, held_out = self.names(held_out=False), self._judged_names(self.config.judged_clips)
        captions = {clip.name: clip.caption for clip in self.dataset.clips}
        told = {name: captions[name] for name in (*training, *held_out)}
        words = ["", *sorted(set(told.values()))]
        parts = [
            backbone.embed_prompts(words[start : start + PROMPTS_AT_ONCE])
            for start in range(0, len(words), PROMPTS_AT_ONCE)
        ]
        # A copy: what a text encoder gives in inference cannot be remembered for gradients.
        prompts = torch.cat(parts).clone()
        batches = AdapterBatches(
            self.log_mels,
            told,
            prompts,
            SoundWindow(**self.source.window),
            float(self.front_end.config.frame_rate_hz),
            self.config.cut_s,
        )
        self._judge = lambda: judged_adapter(batches, backbone, self.front_end, held_out, self.config)
        return adapter_part_loss(batches, backbone, training, self.config, self.processes)

    def judged(self) -> Judged:
        return self._judge()

    def controls(self, module: Any) -> tuple[str, ...]:
        return self._backbone.controls
