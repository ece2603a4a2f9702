"""The joint stage: words, pictures and sounds of the same thing are drawn together, those of other things apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from rewas_engine.energy import SILENCE_NATS
from rewas_engine.errors import SettingsError
from rewas_engine.mel import AudioFrontEnd
from rewas_engine.models.joint import FRAMES_TOGETHER, JointSpace
from rewas_engine.training.corpus import WorldCorpus
from rewas_engine.training.loop import LossFunction, lower_precision
from rewas_engine.training.world import CLASS_NAMES, captions, sample_scene

NO_CLASS = -1
DEVELOPMENT_SHARE = 1 / 12
"""Part of the clips that the calibration is fitted to and no step of training sees."""
_CLIPS_AT_ONCE = 32


class Pictures(Protocol):
    """Pictures of clips, as brightness."""

    def rows(self, rows: torch.Tensor, stride: int) -> torch.Tensor:
        """Every stride-th frame of some clips: [B, T, H, W] uint8."""
        ...


class StoredPictures:
    """Pictures in files of arrays [N, T, H, W] uint8, one after the other, read where they are wanted."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._parts = [np.load(path, mmap_mode="r") for path in paths]
        self._firsts = np.cumsum([0, *(len(part) for part in self._parts)])

    def rows(self, rows: torch.Tensor, stride: int) -> torch.Tensor:
        """Every stride-th frame of some clips: [B, T, H, W] uint8."""
        found = []
        for row in rows.tolist():
            part = int(np.searchsorted(self._firsts, row, side="right")) - 1
            found.append(self._parts[part][row - self._firsts[part], ::stride])
        return torch.from_numpy(np.stack(found))


@dataclass(frozen=True, eq=False)
class JointClips:
    """Clips with words and sound, with or without picture.

    log_mels: [N, T, bins] nats. prompts: [N, D] sentence embeddings. classes: [N] of what the words speak of.
    also: [N] class of what sounds behind it, NO_CLASS where nothing does. usable: [M] rows to learn from, ascending.
    """

    log_mels: torch.Tensor
    prompts: torch.Tensor
    classes: torch.Tensor
    also: torch.Tensor
    usable: torch.Tensor
    pictures: Pictures | None = None

    @property
    def training(self) -> torch.Tensor:
        """Usable rows that steps are drawn from."""
        return self.usable[: self._kept_back]

    @property
    def development(self) -> torch.Tensor:
        """Usable rows that no step sees, the last ones."""
        return self.usable[self._kept_back :]

    @property
    def _kept_back(self) -> int:
        return len(self.usable) - max(1, round(DEVELOPMENT_SHARE * len(self.usable)))


@dataclass(frozen=True, eq=False)
class JointCorpus:
    """What the joint space learns from. seen: clips with pictures. heard: more words and sounds.

    Raises SettingsError where `seen` has no pictures or either has too few clips to keep some back.
    """

    seen: JointClips
    heard: JointClips

    def __post_init__(self) -> None:
        if self.seen.pictures is None or min(len(self.seen.usable), len(self.heard.usable)) < 2:
            raise SettingsError(
                "There are too few clips for a joint space of words, pictures and sounds.",
                "Give at least two with pictures and two with sounds that can be heard.",
            )


def world_clips(
    corpus: WorldCorpus, front_end: AudioFrontEnd, embed: Callable[[Sequence[str]], torch.Tensor]
) -> JointClips:
    """Clips of the world, with pictures where the corpus has them for all.

    Left out are silent scenes, whose sound does not tell what is meant, and among those with pictures the ones whose
    source is off screen, whose picture does not.
    """
    sounds = corpus.sounds(front_end, embed)
    scenes = [sample_scene(corpus.first_seed + clip) for clip in range(corpus.clips)]
    are_seen = corpus.pictures == corpus.clips
    usable = [not scene.is_silent and not (are_seen and scene.off_screen) for scene in scenes]
    behind = [NO_CLASS if scene.ambience is None else _number(scene.ambience.class_name) for scene in scenes]
    return JointClips(
        sounds.log_mels,
        sounds.prompts,
        torch.tensor([_number(scene.class_name) for scene in scenes]),
        torch.tensor(behind),
        torch.tensor(usable).nonzero().flatten(),
        StoredPictures(sorted(corpus.folder.glob("*.picture.npy"))) if are_seen else None,
    )


def world_known_words() -> tuple[str, ...]:
    """One phrase for each class of the world."""
    return tuple(captions(class_name)[0] for class_name in CLASS_NAMES)


@dataclass(frozen=True)
class JointRecipe:
    """How a step sees the corpus.

    seen, heard: clips of each part of the corpus in a step. shortest_picture: part of a picture's frames that is
    always kept, shortest_sound: of a sound's. words_noise: deviation of the noise on each component of the sentence
    embeddings, which have a deviation of about 1: what lies that near means the same.
    """

    seen: int = 32
    heard: int = 32
    shortest_picture: float = 0.4
    shortest_sound: float = 0.3
    words_noise: float = 0.3


def joint_loss(corpus: JointCorpus, space: JointSpace, recipe: JointRecipe) -> LossFunction:
    """Contrastive loss between words and sounds, words and pictures, pictures and sounds.

    Softmax over the batch in both directions as in CLIP, but what is of one class is never told apart: all clips of the
    class share the target, and where one class sounds behind the other the pair does not count.
    """
    seen, heard = corpus.seen, corpus.heard

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        rows, more = _drawn(seen.training, recipe.seen, generator), _drawn(heard.training, recipe.heard, generator)
        assert seen.pictures is not None
        device = space.log_scale.device
        frames = seen.pictures.rows(rows, space.config.frame_stride).to(device)
        log_mels = torch.cat([seen.log_mels[rows], heard.log_mels[more]]).to(device)
        prompts = torch.cat([seen.prompts[rows], heard.prompts[more]]).to(device).float()
        classes = torch.cat([seen.classes[rows], heard.classes[more]])
        also = torch.cat([seen.also[rows], heard.also[more]])
        noise = torch.randn(prompts.shape, generator=generator).to(device)
        varied_frames = varied_pictures(frames, recipe.shortest_picture, generator)
        varied_log_mels = varied_sounds(log_mels, recipe.shortest_sound, generator)
        with lower_precision(device):
            pictures, sounds = space.picture_encoder(varied_frames), space.sound(varied_log_mels)
        words = space.words(prompts + recipe.words_noise * prompts.std(dim=-1, keepdim=True) * noise)
        relation = relations(classes, also).to(device)
        of_pictures = relation[: len(rows)]
        scale = space.scale
        return (
            matched_softmax(scale * sounds @ words.T, relation)
            + matched_softmax(scale * pictures @ words.T, of_pictures)
            + matched_softmax(scale * pictures @ sounds.T, of_pictures)
        )

    return loss_of


def relations(classes: torch.Tensor, also: torch.Tensor) -> torch.Tensor:
    """How clips belong together, [N, N]: 1 of one class, 0 where one sounds behind the other or in both, else -1.

    classes, also: [N], as in JointClips.
    """
    same = classes[:, None] == classes[None]
    behind = also[:, None] == classes[None]
    behind_both = (also[:, None] == also[None]) & (also[:, None] != NO_CLASS)
    neutral = behind | behind.T | behind_both
    return torch.where(same, 1, torch.where(neutral, 0, -1))


def matched_softmax(similarities: torch.Tensor, relation: torch.Tensor) -> torch.Tensor:
    """Cross entropy of similarities [A, B] with all that belongs together as equal targets, mean of both directions.

    relation: [A, B], 1 for what belongs together, 0 for what does not count, -1 for what belongs apart.
    """

    def one_way(rows: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
        matched = kind > 0
        some = matched.any(dim=1)
        likelihoods = rows.masked_fill(kind == 0, -torch.inf).log_softmax(dim=1).masked_fill(~matched, 0.0)
        # A row without a partner in the batch says nothing.
        return -(likelihoods[some].sum(dim=1) / matched[some].sum(dim=1)).sum() / some.sum().clamp(min=1)

    return 0.5 * (one_way(similarities, relation) + one_way(similarities.T, relation.T))


def varied_pictures(frames: torch.Tensor, shortest: float, generator: torch.Generator) -> torch.Tensor:
    """Frames [B, T, H, W] uint8 as floats about 0..1: a part of the time, each clip with its own mirroring, zoom,
    brightness, contrast, negative, hidden rectangle and grain.
    """
    size, total, height, width = frames.shape
    start, length = _span(total, FRAMES_TOGETHER, shortest, generator)
    draws = torch.rand((12, size), generator=generator)
    zoom = 1.0 - 0.3 * draws[0]
    affine = torch.zeros(size, 2, 3)
    affine[:, 0, 0], affine[:, 1, 1] = zoom * torch.where(draws[1] < 0.5, 1.0, -1.0), zoom
    affine[:, :, 2] = (draws[2:4].T * 2 - 1) * (1 - zoom)[:, None]
    grid = functional.affine_grid(affine, [size, 1, height, width], align_corners=False).to(frames.device)
    zoomed = functional.grid_sample(
        frames[:, start : start + length].float(), grid, padding_mode="border", align_corners=False
    )
    contrast = (0.5 + draws[4]) * torch.where(draws[5] < 0.15, -1.0, 1.0)
    brightness = 0.5 + 0.4 * (draws[6] - 0.5) - 0.5 * contrast
    grain = 0.03 * draws[7].square()
    noise = torch.randn((1, length, height, width), generator=generator)
    # What hides a part of the picture, in a third of the clips.
    extent = (0.4 * draws[10] * (draws[11] < 0.33))[:, None]
    rows, columns = (torch.arange(count)[None] / count for count in (height, width))
    down, across = (draws[index, :, None] for index in (8, 9))
    hides = ((rows - down).abs() < extent)[:, :, None] & ((columns - across).abs() < extent)[:, None]

    def of_each(values: torch.Tensor) -> torch.Tensor:
        return values.reshape(size, 1, 1, 1).to(frames.device)

    # In place: half of a step's time would otherwise go into memory.
    toned = zoomed.mul_(of_each(contrast / 255)).add_(of_each(brightness))
    return toned.masked_fill_(hides[:, None].to(frames.device), 0.5).addcmul_(of_each(grain), noise.to(frames.device))


def varied_sounds(log_mels: torch.Tensor, shortest: float, generator: torch.Generator) -> torch.Tensor:
    """Log-mels [B, T, bins] float32: a part of the time, each clip quieter, with its own colour, grain, hidden band."""
    size, total, bins = log_mels.shape
    start, length = _span(total, 16, shortest, generator)
    draws = torch.rand((5, size, 1, 1), generator=generator)
    colour = 0.3 * draws[1] * torch.randn((size, 1, bins), generator=generator)
    grain = 0.3 * draws[2] * torch.randn((size, length, bins), generator=generator)
    varied = log_mels[:, start : start + length].float() - (3.0 * draws[0]).to(log_mels.device)
    varied = varied + (colour + grain).to(log_mels.device)
    band = torch.arange(bins)[None, None]
    lowest, wide = draws[3] * bins, 0.15 * draws[4] * bins
    hides = ((band >= lowest) & (band < lowest + wide)).to(log_mels.device)
    return torch.where(hides, varied.mean(dim=(1, 2), keepdim=True), varied.clamp(min=SILENCE_NATS))


def calibrate(space: JointSpace, corpus: JointCorpus, known_words: Sequence[str]) -> None:
    """Write into the space's configuration what makes probabilities of its cosines, and the words that it knows.

    The numbers are fitted to clips that training left aside.
    """
    seen, rows = corpus.seen, corpus.seen.development
    words, sounds, pictures = embedded(space, seen, rows)
    heard_rows = corpus.heard.development
    heard_words, heard_sounds, _ = embedded(space, corpus.heard, heard_rows)
    relation = relations(seen.classes[rows], seen.also[rows]).numpy()
    heard_relation = relations(corpus.heard.classes[heard_rows], corpus.heard.also[heard_rows]).numpy()

    def fitted(one: torch.Tensor, other: torch.Tensor, belongs: NDArray[np.int64]) -> tuple[float, float]:
        cosines, counts = (one @ other.T).numpy(), belongs != 0
        return logistic_fit(cosines[counts], belongs[counts] > 0)

    calibration = {
        "text_sound": fitted(heard_words, heard_sounds, heard_relation),
        "text_picture": fitted(words, pictures, relation),
        "picture_sound": fitted(pictures, sounds, relation),
    }
    space.register_to_config(calibration=calibration, known_words=tuple(known_words))


@torch.inference_mode()
def embedded(
    space: JointSpace, clips: JointClips, rows: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Unit vectors [M, width] of words, sounds and pictures of some clips, on the CPU; no pictures: [0, width]."""
    space.eval()
    device = space.log_scale.device
    words, sounds, pictures = [], [], [torch.zeros(0, space.config.width)]
    for part in rows.split(_CLIPS_AT_ONCE):
        words.append(space.words(clips.prompts[part].to(device)).cpu())
        sounds.append(space.sound(clips.log_mels[part].to(device).float()).cpu())
        if clips.pictures is not None:
            frames = clips.pictures.rows(part, space.config.frame_stride).to(device).float() / 255
            pictures.append(space.picture_encoder(frames).cpu())
    return torch.cat(words), torch.cat(sounds), torch.cat(pictures)


def logistic_fit(scores: NDArray[np.floating], truths: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and offset of Platt's scaling: P(true) is the logistic function of slope · score + offset.

    scores, truths: [N]. True and false weigh alike, however many there are of each; targets are kept off 0 and 1 as
    Platt does, so that scores without any overlap still give finite numbers. Raises SettingsError where one is missing.
    """
    true, false = int(truths.sum()), int((~truths).sum())
    if not true or not false:
        raise SettingsError("Only right or only wrong pairs are there to calibrate with.", "Give clips of two classes.")
    values = np.stack([scores.astype(np.float64), np.ones(scores.size)])
    targets = np.where(truths, (true + 1) / (true + 2), 1 / (false + 2))
    weights = np.where(truths, 0.5 / true, 0.5 / false)
    numbers = np.zeros(2)

    def loss(found: NDArray[np.float64]) -> float:
        logits = found @ values
        return float(weights @ (np.logaddexp(0.0, logits) - targets * logits))

    for _ in range(100):
        probabilities = 1 / (1 + np.exp(-numbers @ values))
        gradient = values @ (weights * (probabilities - targets))
        curvature = (values * (weights * probabilities * (1 - probabilities))) @ values.T + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        while loss(numbers - step) > loss(numbers) and np.abs(step).max() > 1e-9:
            step = 0.5 * step
        numbers = numbers - step
        if np.abs(step).max() < 1e-9:
            break
    return float(numbers[0]), float(numbers[1])


def _number(class_name: str) -> int:
    return CLASS_NAMES.index(class_name)


def _drawn(rows: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    return rows[torch.randint(len(rows), (count,), generator=generator)]


def _span(total: int, unit: int, shortest: float, generator: torch.Generator) -> tuple[int, int]:
    """Start and length of a part of `total`, whole units long where it is not all."""
    units = int(torch.randint(max(1, int(shortest * total) // unit), total // unit + 1, (1,), generator=generator))
    length = min(total, units * unit)
    return int(torch.randint(total - length + 1, (1,), generator=generator)), length
