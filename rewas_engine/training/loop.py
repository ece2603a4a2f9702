"""One training loop for every stage: deterministic batches, an average of the weights, exact resumption."""

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
from rewas_engine.runtime.progress import CancelSignal
from rewas_engine.training.distributed import ALONE, Alone
from rewas_engine.training.progress import Pace, ReportTraining, TrainingProgress, TrainingStopped
from rewas_engine.training.settings_diff import decisive, difference

LossFunction = Callable[[int, torch.Generator], torch.Tensor]
"""From the step and a generator that is seeded by it to a scalar loss; nothing else may decide the batch."""


@dataclass(frozen=True)
class LoopConfig:
    """How one stage is trained.

    steps: optimiser steps. learning_rate: peak, reached after `warmup_steps`, then a cosine to a hundredth.
    ema_decay: of the average of weights that is kept in the end. clip_norm: of the gradient.
    checkpoint_every, show_every: steps between checkpoints, and between pictures of what is learnt.
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
        """Of AdamW."""
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
    """A stage whose learning rate stays where it is after the warm-up."""

    @property
    def betas(self) -> tuple[float, float]:
        """AdamW's own."""
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
    report: ReportTraining | None = None,
    cancel: CancelSignal | None = None,
    show: Callable[[list[float]], object] | None = None,
    processes: Alone = ALONE,
) -> None:
    """Train a module in place and leave it with the averaged weights.

    show: called with all losses so far every `show_every` steps and at the end, while the module holds the averaged
    weights and is in evaluation mode; it must change neither.
    folder: where checkpoint and losses of the stage are kept. A run that was killed goes on from its last
    checkpoint and ends with the same weights as one that was not. A cancelled one keeps a checkpoint and raises
    TrainingStopped. processes: those that train together; the first alone writes, reports and shows.
    settings: whatever else decides the weights, by name, in values that JSON knows.
    Raises SettingsError for a checkpoint of other settings, EngineError where the loss stops being finite.
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
                "Lower its learning rate, remove its checkpoint and start it again.",
            )
        nn.utils.clip_grad_norm_(parameters, config.clip_norm)
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate_at(step)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        step += 1
        # A short memory at first, so that the average forgets its random start. Not diffusers' EMAModel: its warm-up
        # counts steps differently, so weights would not be bit-identical.
        decay = min(config.ema_decay, step / (step + 10))
        torch._foreach_lerp_(average, parameters, 1 - decay)
        losses.append(float(loss.detach()))
        if processes.is_first and (step % config.checkpoint_every == 0 or step == config.steps):
            checkpoint.store(step, losses, spent_s(), parameters, optimiser, average)
        if show is not None and step % config.show_every == 0 and step < config.steps:
            if processes.is_first:
                with _holding(module, parameters, average):
                    show(losses)
            processes.wait()
        if report is not None and processes.is_first:
            recent = losses[-50:]
            left_s = pace.time_left_s(step, config.steps)
            report(TrainingProgress(stage, step, config.steps, sum(recent) / len(recent), left_s))
    with torch.no_grad():
        torch._foreach_copy_(parameters, average)
    module.eval()
    if processes.is_first:
        record = {"seconds": round(spent_s()), "losses": [round(loss, 5) for loss in losses]}
        write_text_atomic(folder / f"{stage}.record.json", json.dumps(record))
        if show is not None:
            show(losses)
    processes.wait()


@contextlib.contextmanager
def _holding(module: nn.Module, parameters: list[torch.Tensor], average: list[torch.Tensor]) -> Iterator[None]:
    """The module in evaluation mode with the averaged weights, for a look at them."""
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
    """Everything that a stage needs to go on: one file, written whole or not at all, read without running code."""

    def __init__(self, path: Path, config: LoopConfig, seed: int, settings: Mapping[str, Any] | None) -> None:
        self.path = path
        self.settings = None if settings is None else decisive(settings)
        self.key = json.dumps([decisive(asdict(config)), seed])

    def restore(
        self, parameters: list[torch.Tensor], optimiser: torch.optim.Optimizer, average: list[torch.Tensor]
    ) -> tuple[int, list[float], float]:
        if not self.path.is_file():
            return 0, [], 0.0
        try:
            stored = torch.load(self.path, weights_only=True, map_location=parameters[0].device)
        except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
            raise EngineError(
                f"The checkpoint {self.path.name} cannot be read ({error}).", "Remove it to begin the stage again."
            ) from error
        shapes = [parameter.shape for parameter in parameters]
        unlike = self._unlike(stored)
        if unlike or [kept.shape for kept in stored["parameters"]] != shapes:
            raise SettingsError(
                f"The checkpoint {self.path.name} was made with other settings{unlike and f': {unlike}'}.",
                "Give those again, train into another folder, or remove the checkpoint to begin the stage again.",
            )
        with torch.no_grad():
            torch._foreach_copy_(parameters, stored["parameters"])
            torch._foreach_copy_(average, stored["average"])
        optimiser.load_state_dict(stored["optimiser"])
        return int(stored["step"]), list(stored["losses"]), float(stored["spent_s"])

    def _unlike(self, stored: Mapping[str, Any]) -> str:
        """Which settings differ; "" where none does."""
        # Checkpoints of earlier versions do not tell more than the loop's own.
        told = stored.get("settings")
        if told is not None and self.settings is not None and (unlike := difference(json.loads(told), self.settings)):
            return unlike
        loops = [{**loop, "seed": seed} for loop, seed in map(json.loads, (stored["key"], self.key))]
        return difference(*loops)

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
def lower_precision(device: torch.device) -> Iterator[None]:
    """Run a forward pass in bfloat16 where that is safe, weights staying float32."""
    with torch.autocast(device.type, torch.bfloat16):
        yield
