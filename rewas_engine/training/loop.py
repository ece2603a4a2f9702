"""The training loop of every stage: deterministic batches, EMA of the weights, exact resumption."""

from __future__ import annotations

import contextlib
import json
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rewas_engine.errors import EngineError, SettingsError
from rewas_engine.runtime.atomic_files import atomic_path, write_text_atomic
from rewas_engine.runtime.precision import training_precision
from rewas_engine.runtime.progress import CancelSignal, Progress, ProgressCallback
from rewas_engine.training.distributed import SINGLE_PROCESS, SingleProcess
from rewas_engine.training.progress import Pace, TrainingStopped
from rewas_engine.training.settings_diff import describe_difference, flatten_settings

LossFunction = Callable[[int, torch.Generator], torch.Tensor]
"""Maps the step, and a generator seeded from it, to a scalar loss; nothing else may determine the batch."""


@dataclass(frozen=True)
class LoopConfig:
    """Optimisation settings of one stage.

    Attributes:
        steps: Optimiser steps.
        learning_rate: Peak, reached after `warmup_steps` and followed by a cosine decay to a hundredth.
        warmup_steps: Steps of linear warm-up.
        weight_decay: Of AdamW.
        ema_decay: Of the averaged weights, which are the result.
        clip_norm: Largest gradient norm.
        checkpoint_every: Steps between checkpoints.
        show_every: Steps between sample sheets.
    """

    steps: int
    learning_rate: float
    warmup_steps: int = 100
    weight_decay: float = 0.01
    ema_decay: float = 0.995
    clip_norm: float = 1.0
    checkpoint_every: int = 200
    show_every: int = 1000

    @property
    def betas(self) -> tuple[float, float]:
        """Betas of AdamW."""
        return 0.9, 0.99

    def learning_rate_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        # Not diffusers' get_scheduler: its warm-up starts at 0 and its cosine ends there, so training would change.
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        cosine = 0.5 * (1 + float(torch.cos(torch.tensor(progress * torch.pi))))
        return self.learning_rate * (0.01 + 0.99 * cosine)


@dataclass(frozen=True)
class SteadyLoopConfig(LoopConfig):
    """A stage with a constant learning rate after the warm-up."""

    @property
    def betas(self) -> tuple[float, float]:
        """AdamW's defaults."""
        return 0.9, 0.999

    def learning_rate_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        return self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup_steps))


def train(
    stage: str,
    module: nn.Module,
    loss_of: LossFunction,
    config: LoopConfig,
    *,
    folder: Path,
    seed: int,
    settings: Mapping[str, Any] | None = None,
    report: ProgressCallback | None = None,
    cancel: CancelSignal | None = None,
    show: Callable[[list[float]], object] | None = None,
    processes: SingleProcess = SINGLE_PROCESS,
) -> None:
    """Train a module in place and leave it with the averaged weights.

    A run that was killed continues from its last checkpoint and ends with the same weights as an uninterrupted one.

    Args:
        stage: Name of the stage.
        module: The module; parameters without requires_grad stay fixed.
        loss_of: The loss of a step.
        config: Optimisation settings.
        folder: Folder of the stage's checkpoint and losses.
        seed: Seed of the batches.
        settings: Everything else that determines the weights, as JSON values by name.
        report: Called with the progress of every step.
        cancel: Stops the training when it is set; a checkpoint is written first.
        show: Called with all losses so far every `show_every` steps and at the end, while the module has the averaged
            weights and is in evaluation mode; it must change neither.
        processes: Processes that train together; only the first writes, reports and shows.

    Raises:
        TrainingStopped: The training was cancelled.
        SettingsError: There is a checkpoint with other settings.
        EngineError: The loss is not finite, or the checkpoint cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parameters: list[torch.Tensor] = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(
        parameters, lr=config.learning_rate, weight_decay=config.weight_decay, betas=config.betas, fused=True
    )
    average = [parameter.detach().clone() for parameter in parameters]
    checkpoint = _Checkpoint(folder / f"{stage}.checkpoint", config, seed, settings)
    step, losses, earlier_s = checkpoint.restore(parameters, optimiser, average)
    started, pace = time.monotonic(), Pace(step)

    def spent_s() -> float:
        return earlier_s + time.monotonic() - started

    module.train()
    while step < config.steps:
        if processes.any_of(cancel is not None and cancel.is_set()):
            if processes.is_first:
                checkpoint.store(step, losses, spent_s(), parameters, optimiser, average)
            raise TrainingStopped(stage, step)
        loss = loss_of(step, torch.Generator().manual_seed(seed * 1_000_003 + step))
        torch.autograd.backward(loss)
        loss = processes.mean_of(parameters, loss)
        if not torch.isfinite(loss):
            raise EngineError(
                f"The loss of the stage {stage} is {float(loss)} at step {step}.",
                "Lower its learning rate, delete its checkpoint and start it again.",
            )
        _update(parameters, optimiser, config, step)
        step += 1
        # The decay starts low; otherwise the average would contain the random initial weights. Not diffusers'
        # EMAModel: its warm-up counts steps differently, so weights would not be bit-identical.
        decay = min(config.ema_decay, step / (step + 10))
        torch._foreach_lerp_(average, parameters, 1 - decay)
        losses.append(float(loss.detach()))
        if processes.is_first and (step % config.checkpoint_every == 0 or step == config.steps):
            checkpoint.store(step, losses, spent_s(), parameters, optimiser, average)
        if show is not None and step % config.show_every == 0 and step < config.steps:
            if processes.is_first:
                with _averaged_weights(module, parameters, average):
                    show(losses)
            processes.wait()
        if report is not None and processes.is_first:
            loss_mean, left_s = _recent_mean(losses), pace.time_left_s(step, config.steps)
            report(Progress(stage, step, config.steps, step / config.steps, loss=loss_mean, time_left_s=left_s))
    with torch.no_grad():
        torch._foreach_copy_(parameters, average)
    module.eval()
    if processes.is_first:
        record = {"seconds": round(spent_s()), "losses": [round(loss, 5) for loss in losses]}
        write_text_atomic(folder / f"{stage}.record.json", json.dumps(record))
        if show is not None:
            show(losses)
    processes.wait()


def _update(parameters: list[torch.Tensor], optimiser: torch.optim.Optimizer, config: LoopConfig, step: int) -> None:
    """Take an optimiser step with the gradients and clear them."""
    nn.utils.clip_grad_norm_(parameters, config.clip_norm)
    for group in optimiser.param_groups:
        group["lr"] = config.learning_rate_at(step)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def _recent_mean(losses: list[float]) -> float:
    recent = losses[-50:]
    return sum(recent) / len(recent)


@contextlib.contextmanager
def _averaged_weights(module: nn.Module, parameters: list[torch.Tensor], average: list[torch.Tensor]) -> Iterator[None]:
    """Put the module into evaluation mode with the averaged weights for the duration of the block."""
    kept = [parameter.detach().clone() for parameter in parameters]
    with torch.no_grad():
        torch._foreach_copy_(parameters, average)
    module.eval()
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(parameters, kept)
        module.train()


class _Checkpoint:
    """The state of a stage in one file, written atomically and loaded without executing code."""

    def __init__(self, path: Path, config: LoopConfig, seed: int, settings: Mapping[str, Any] | None) -> None:
        self.path = path
        self.settings = None if settings is None else flatten_settings(settings)
        self.key = json.dumps([flatten_settings(asdict(config)), seed])

    def restore(
        self, parameters: list[torch.Tensor], optimiser: torch.optim.Optimizer, average: list[torch.Tensor]
    ) -> tuple[int, list[float], float]:
        if not self.path.is_file():
            return 0, [], 0.0
        try:
            stored = torch.load(self.path, weights_only=True, map_location=parameters[0].device)
        except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
            raise EngineError(
                f"The checkpoint {self.path.name} cannot be read ({error}).", "Delete it to start the stage again."
            ) from error
        shapes = [parameter.shape for parameter in parameters]
        differing = self._describe_difference(stored)
        if differing or [kept.shape for kept in stored["parameters"]] != shapes:
            raise SettingsError(
                f"The checkpoint {self.path.name} has other settings{differing and f': {differing}'}.",
                "Use those settings, train into another folder, or delete the checkpoint to start the stage again.",
            )
        with torch.no_grad():
            torch._foreach_copy_(parameters, stored["parameters"])
            torch._foreach_copy_(average, stored["average"])
        optimiser.load_state_dict(stored["optimiser"])
        return int(stored["step"]), list(stored["losses"]), float(stored["spent_s"])

    def _describe_difference(self, stored: Mapping[str, Any]) -> str:
        """The settings that differ; "" if none does."""
        # Checkpoints of earlier versions store the loop's settings only.
        stored_settings = stored.get("settings")
        if (
            stored_settings is not None
            and self.settings is not None
            and (differing := describe_difference(json.loads(stored_settings), self.settings))
        ):
            return differing
        loops = [{**loop, "seed": seed} for loop, seed in map(json.loads, (stored["key"], self.key))]
        return describe_difference(*loops)

    def store(
        self,
        step: int,
        losses: list[float],
        spent_s: float,
        parameters: list[torch.Tensor],
        optimiser: torch.optim.Optimizer,
        average: list[torch.Tensor],
    ) -> None:
        with atomic_path(self.path) as unfinished:
            torch.save(
                {
                    "key": self.key,
                    "settings": None if self.settings is None else json.dumps(self.settings),
                    "step": step,
                    "losses": losses,
                    "spent_s": spent_s,
                    "parameters": [parameter.detach() for parameter in parameters],
                    "average": average,
                    "optimiser": optimiser.state_dict(),
                },
                unfinished,
            )


@contextlib.contextmanager
def lower_precision(device: torch.device, requested: str = "auto") -> Iterator[None]:
    """Run a forward pass with float32 weights in bfloat16 or float32.

    "auto" is bfloat16 where that is safe and fast.
    """
    with torch.autocast(device.type, torch.bfloat16, enabled=training_precision(str(device), requested) == "bfloat16"):
        yield
