"""Train the judge on real clips, independently of packs, with augmentations that imitate generated sound."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from rewas_engine.conditioning.levels import normalise
from rewas_engine.curves.energy import SILENCE_NATS
from rewas_engine.errors import SettingsError
from rewas_engine.evaluation.judge import FIGURES_FILE, Judge, accuracy, class_accuracies, confusion
from rewas_engine.evaluation.judge_network import JudgeNetwork
from rewas_engine.packs.components import save_component
from rewas_engine.runtime.atomic_files import write_text_atomic
from rewas_engine.runtime.progress import CancelSignal, ProgressCallback
from rewas_engine.training.corpus import WorldCorpus, world_front_end
from rewas_engine.training.grain_recordings import GrainRecording
from rewas_engine.training.loop import LoopConfig, LossFunction, lower_precision, train
from rewas_engine.training.pack_writer import LICENCE
from rewas_engine.world import ALL_CLASSES, Scene, has_picture, render_sound, sample_scene
from rewas_engine.world.grains import Grains

STAGE = "judge"
FIRST_SEED = 600_000_000
"""First scene seed of the judge's corpus. Packs are trained on other seeds."""
HELD_OUT_SEED = 800_000_000
"""First scene seed for testing the judge. Neither judges nor packs are trained on these scenes."""
PERMITS = "Free for any use, including commercial use. Trained from scratch on clips that this project synthesises."
PERMITS_WITH_RECORDINGS = (
    "Free for any use, including commercial use. Trained from scratch on clips that this project synthesises, some of "
    "them from parts of the recordings credited here."
)


@dataclass(frozen=True)
class JudgeRecipe:
    """Training settings of the judge.

    Attributes:
        loop: Optimisation settings.
        seed: Seed of weights and batches.
        batch_size: Crops per step.
        crop_frames: Mel frames of a crop; each contains its clip's loudest frame.
        whole_from: Share of the steps after which whole clips replace crops.
        quietest_nats: Largest random attenuation of a clip.
        label_smoothing: Label smoothing of the cross entropy.
    """

    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=1800, learning_rate=2e-3))
    seed: int = 1
    batch_size: int = 32
    crop_frames: int = 256
    whole_from: float = 0.85
    quietest_nats: float = 2.5
    label_smoothing: float = 0.05


def world_clips(corpus: WorldCorpus) -> tuple[torch.Tensor, list[str | None]]:
    """Log-mels [N, T, 64] and classes of the clips of a corpus; None for silent clips, which are not used.

    Raises:
        SettingsError: The clips were rendered by another version of the world.
    """
    scenes = corpus.scenes()
    matching = [scene.full_caption == caption for scene, caption in zip(scenes, corpus.captions(), strict=True)]
    # Captions may have been reworded since, but if the classes differed, none would match.
    if sum(matching) < len(matching) / 2:
        raise SettingsError(
            f"The clips in {corpus.folder} were rendered by another version of the world.", "Render the corpus again."
        )
    cache = corpus.folder / "log_mels.npy"
    if not cache.is_file():
        corpus.log_mels(world_front_end())
    log_mels = torch.from_numpy(np.load(cache, mmap_mode="c"))
    return log_mels, [None if scene.is_silent else scene.class_name for scene in scenes]


def train_judge(
    log_mels: torch.Tensor,
    labels: Sequence[str | None],
    folder: Path,
    *,
    recipe: JudgeRecipe | None = None,
    classes: Sequence[str] = ALL_CLASSES,
    start_from: Judge | None = None,
    report: ProgressCallback | None = None,
    cancel: CancelSignal | None = None,
) -> Judge:
    """Train a judge and write it to `folder`/judge. A killed run continues from its checkpoint in `folder`.

    `Judge.load` loads the result, and `measure_judge` computes its figures.

    Args:
        log_mels: [N, T, 64] nats of normalised sounds.
        labels: [N] names out of `classes`; None for clips to skip.
        folder: Folder of the run.
        recipe: Training settings; None for the default.
        classes: Names of the classes.
        start_from: A judge of the same classes to continue; None to start from random weights.
        report: Called with the progress of every step.
        cancel: Stops the training when it is set.

    Raises:
        SettingsError: The judge to continue has other classes.
        TrainingStopped: The training was cancelled.
    """
    if start_from is not None and start_from.classes != tuple(classes):
        raise SettingsError(
            "The judge to continue does not have the classes of this training.", "Start from random weights."
        )
    recipe = recipe or JudgeRecipe()
    rows = torch.tensor([row for row, label in enumerate(labels) if label is not None])
    targets = torch.tensor([classes.index(label) for label in labels if label is not None])
    # The loop does not store the initial weights, which depend only on the seed.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = JudgeNetwork(tuple(classes)).to(memory_format=torch.channels_last)
    earlier = 0
    if start_from is not None:
        network.load_state_dict(start_from.network.state_dict())
        earlier = start_from.figures.get("steps", 0)
    loss = judge_loss(log_mels, rows, targets, network, recipe)
    train(STAGE, network, loss, recipe.loop, folder=folder, seed=recipe.seed, report=report, cancel=cancel)
    save_component(network.to(memory_format=torch.contiguous_format), folder, STAGE)
    write_figures(folder / STAGE, {"clips": len(rows), "steps": earlier + recipe.loop.steps, "seed": recipe.seed})
    return Judge.load(folder / STAGE)


def judge_loss(
    log_mels: torch.Tensor, rows: torch.Tensor, targets: torch.Tensor, network: JudgeNetwork, recipe: JudgeRecipe
) -> LossFunction:
    """Cross entropy of log_mels[rows], first of crops and then of whole clips, with random augmentation."""

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        whole = step >= recipe.whole_from * recipe.loop.steps
        frames = log_mels.shape[1] if whole else min(recipe.crop_frames, log_mels.shape[1])
        # A whole clip costs as much as several crops, so a step has fewer of them.
        size = max(2, recipe.batch_size * recipe.crop_frames // frames) if whole else recipe.batch_size
        drawn = torch.randint(len(rows), (size,), generator=generator)
        crops = torch.stack([_loud_crop(log_mels[row], frames, generator) for row in rows[drawn]])
        gains_nats = -recipe.quietest_nats * torch.rand((size, 1, 1), generator=generator)
        crops = distort((crops + gains_nats).clamp(min=SILENCE_NATS), generator)
        with lower_precision(crops.device):
            scores = network(crops)
        return functional.cross_entropy(scores.float(), targets[drawn], label_smoothing=recipe.label_smoothing)

    return loss_of


def _loud_crop(log_mel: torch.Tensor, frames: int, generator: torch.Generator) -> torch.Tensor:
    """Crop a log-mel [T, bins] at random to [frames, bins] float32, including its loudest frame."""
    log_mel = log_mel.float()
    loudest = int(log_mel.mean(dim=1).argmax())
    earliest, latest = max(0, loudest - frames + 1), min(loudest, len(log_mel) - frames)
    start = earliest + int(torch.randint(latest - earliest + 1, (1,), generator=generator))
    return log_mel[start : start + frames]


def distort(log_mels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Distort log-mels [B, T, bins] in nats at random, as models and vocoders do.

    The distortions are blur, grain, tilt, a noise floor, and a missing time span and band.
    """
    size, frames, bins = log_mels.shape
    draws = torch.rand((9, size, 1, 1), generator=generator)
    blurred = functional.avg_pool2d(log_mels[:, None], 3, stride=1, padding=1, count_include_pad=False)[:, 0]
    mixed = torch.lerp(log_mels, blurred, draws[0] * (draws[1] < 0.5))
    tilt = (draws[2] - 0.5) * torch.linspace(-1, 1, bins)
    grain = 0.4 * draws[3] ** 2 * torch.randn(log_mels.shape, generator=generator)
    peaks = mixed.amax(dim=(1, 2), keepdim=True)
    floor = torch.maximum(peaks - 6 - 6 * draws[4], torch.tensor(SILENCE_NATS))
    degraded = torch.maximum(mixed + tilt, floor) + grain
    times, bands = torch.arange(frames)[None, :, None], torch.arange(bins)[None, None, :]
    first_frame, first_band = draws[5] * frames, draws[6] * bins
    missing_frames = (times >= first_frame) & (times < first_frame + 12 * draws[7])
    missing_bands = (bands >= first_band) & (bands < first_band + 8 * draws[8])
    return torch.where(missing_frames | missing_bands, floor, degraded)


def measure_judge(
    judge: Judge,
    scenes: int,
    first_seed: int = HELD_OUT_SEED,
    *,
    classes: Sequence[str] | None = None,
    grains: Grains | None = None,
) -> dict[str, Any]:
    """Test a judge on real clips of audible scenes from first_seed on, of each class in turn.

    Args:
        judge: The judge, which may know further classes.
        scenes: Number of scenes.
        first_seed: Seed of the first scene.
        classes: Classes of the scenes; None for all that the judge knows.
        grains: Recordings that the sounds can use; None for synthesis only.

    Returns:
        Figures as in `Judge.figures`.
    """
    front_end = world_front_end()
    true: list[str] = []
    predicted: list[str] = []
    for scene in _audible_scenes(classes or judge.classes, scenes, first_seed):
        log_mel = front_end.log_mel(torch.from_numpy(normalise(render_sound(scene, grains)))[None])
        true.append(scene.class_name)
        predicted += judge.names(log_mel)
    table = confusion(true, predicted, judge.classes)
    by_class = class_accuracies(table, judge.classes)
    worst = min(by_class, key=lambda name: by_class[name])
    shown = [name == answer for name, answer in zip(true, predicted, strict=True) if has_picture(name)]
    return {
        "scenes": scenes,
        "first_seed": first_seed,
        "accuracy": accuracy(table),
        # The judges of earlier versions knew only the classes with a picture.
        "accuracy_with_picture": float(np.mean(shown)) if shown else None,
        "worst_class": worst,
        "worst_class_accuracy": by_class[worst],
        "class_accuracies": by_class,
        "confusion": table.tolist(),
    }


def _audible_scenes(classes: Sequence[str], scenes: int, first_seed: int) -> Iterator[Scene]:
    seed = first_seed
    for number in range(scenes):
        scene = sample_scene(seed, classes[number % len(classes)])
        while scene.is_silent:
            seed += 1
            scene = sample_scene(seed, scene.class_name)
        seed += 1
        yield scene


def credits_of(recordings: Sequence[GrainRecording]) -> dict[str, Any]:
    """What the judge's figures file says of the recordings in its corpus; nothing if there are none."""
    if not recordings:
        return {}
    known = sorted({(each.credit, each.licence) for each in recordings})
    return {
        "permits": PERMITS_WITH_RECORDINGS,
        "recordings": len(recordings),
        "credits": [{"author and source": credit, "licence": licence} for credit, licence in known],
    }


def write_figures(folder: Path, figures: dict[str, Any]) -> None:
    """Add figures to the judge's figures file, which also contains the licence."""
    path = folder / FIGURES_FILE
    known = json.loads(path.read_text("utf-8")) if path.is_file() else {"licence": LICENCE, "permits": PERMITS}
    write_text_atomic(path, json.dumps({**known, **figures}, indent=1) + "\n")
