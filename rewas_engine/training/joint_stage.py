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

from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.curves.energy import SILENCE_NATS
from rewas_engine.errors import SettingsError
from rewas_engine.models.joint import FRAMES_PER_GROUP, MIN_FRAMES, JointSpace
from rewas_engine.training.caption_embeddings import embedded_captions
from rewas_engine.training.corpus import WorldCorpus
from rewas_engine.training.loop import LossFunction, lower_precision
from rewas_engine.world import CLASS_NAMES, captions
from rewas_engine.world.abstract_pictures import strangers

NO_CLASS = -1
DEVELOPMENT_SHARE = 1 / 12
"""Part of the clips that the calibration is fitted to and no step of training sees."""
STRANGE_COSINE = 0.1
"""Pictures of nothing are kept about so far from all words."""
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

    strangers: pictures [S, T, H, W] uint8 of nothing that there are words for, as long and large as every
    frame_stride-th frame of those seen; see `rewas_engine.world.abstract_pictures`.
    Raises SettingsError where `seen` has no pictures or either has too few clips to keep some back.
    """

    seen: JointClips
    heard: JointClips
    strangers: torch.Tensor | None = None

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
    source is off screen, whose picture does not. The words are those that the world has for its scenes now: they grow
    more often than the scenes change.
    """
    scenes = corpus.scenes()
    are_seen = corpus.pictures == corpus.clips
    usable = [not scene.is_silent and not (are_seen and scene.off_screen) for scene in scenes]
    behind = [NO_CLASS if scene.ambience is None else _number(scene.ambience.class_name) for scene in scenes]
    return JointClips(
        corpus.log_mels(front_end),
        embedded_captions([scene.full_caption for scene in scenes], embed, corpus.folder),
        torch.tensor([_number(scene.class_name) for scene in scenes]),
        torch.tensor(behind),
        torch.tensor(usable).nonzero().flatten(),
        StoredPictures(sorted(corpus.folder.glob("*.picture.npy"))) if are_seen else None,
    )


def strange_pictures(count: int, seen: JointClips, space: JointSpace, seed: int) -> torch.Tensor | None:
    """Pictures [count, T, H, W] uint8 of nothing, like those that the space is shown of some clips; None for none."""
    if seen.pictures is None or not count:
        return None
    _, frames, size, _ = seen.pictures.rows(torch.zeros(1, dtype=torch.long), space.config.frame_stride).shape
    return strangers(count, frames, size, seed)


def world_known_words() -> tuple[str, ...]:
    """One phrase for each class of the world."""
    return tuple(captions(class_name)[0] for class_name in CLASS_NAMES)


def world_known_phrases() -> tuple[tuple[str, ...], ...]:
    """All phrases that captions are made of, for each class of the world."""
    return tuple(tuple(captions(class_name)) for class_name in CLASS_NAMES)


@dataclass(frozen=True)
class JointRecipe:
    """How a step sees the corpus.

    seen, heard, strangers: clips of each part of the corpus in a step. seen_and_heard: of those seen the ones that are
    listened to as well. more_words: captions of still other clips, which cost next to nothing. picture_share,
    sound_share: the shortest and the longest part of a clip that is looked at or listened to: many clips for a moment
    teach more than few from end to end. words_noise: most noise on a sentence embedding, in its own length: so much
    that unseen words land beside those that they resemble.
    """

    seen: int = 64
    seen_and_heard: int = 16
    heard: int = 16
    strangers: int = 6
    more_words: int = 96
    picture_share: tuple[float, float] = (0.15, 0.35)
    sound_share: tuple[float, float] = (0.3, 0.6)
    words_noise: float = 2.0


def joint_loss(corpus: JointCorpus, space: JointSpace, recipe: JointRecipe) -> LossFunction:
    """Contrastive loss between words and sounds, words and pictures, pictures and sounds.

    Softmax over the batch in both directions as in CLIP, but what is of one class is never told apart: all clips of the
    class share the target, and where one class sounds behind the other the pair does not count. Strangers are to be
    near no words.
    """
    seen, heard = corpus.seen, corpus.heard
    strangers = recipe.strangers if corpus.strangers is not None else 0

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        rows = _drawn(seen.training, recipe.seen, generator)
        told = _drawn(heard.training, recipe.heard + recipe.more_words, generator)
        assert seen.pictures is not None
        device = space.log_scale.device
        frames = seen.pictures.rows(rows, space.config.frame_stride)
        if corpus.strangers is not None:
            strange = torch.randint(len(corpus.strangers), (strangers,), generator=generator)
            frames = torch.cat([frames, corpus.strangers[strange]])
        prompts = torch.cat([seen.prompts[rows], heard.prompts[told]]).to(device).float()
        classes = torch.cat([seen.classes[rows], heard.classes[told]])
        also = torch.cat([seen.also[rows], heard.also[told]])
        # Of all that has words these are looked at, and these listened to.
        looked_at = torch.arange(len(rows))
        listened_to = torch.cat([looked_at[: recipe.seen_and_heard], len(rows) + torch.arange(recipe.heard)])
        log_mels = torch.cat([seen.log_mels[rows[: recipe.seen_and_heard]], heard.log_mels[told[: recipe.heard]]])
        noise = torch.randn(prompts.shape, generator=generator).to(device)
        varied_frames = varied_pictures(frames.to(device), recipe.picture_share, generator)
        varied_log_mels = varied_sounds(log_mels.to(device), recipe.sound_share, generator)
        with lower_precision(device):
            shown, sounds = space.picture_encoder(varied_frames), space.encode_sound(varied_log_mels)
        pictures, strange_pictures = shown[: len(rows)], shown[len(rows) :]
        amounts = recipe.words_noise * torch.rand((len(prompts), 1), generator=generator).to(device)
        words = space.encode_text(prompts + amounts * prompts.std(dim=-1, keepdim=True) * noise)
        relation = relations(classes, also).to(device)
        scale = space.scale
        nearness = functional.softplus(scale * (strange_pictures @ words.T - STRANGE_COSINE))
        return (
            matched_softmax(scale * sounds @ words.T, relation[listened_to])
            + matched_softmax(scale * pictures @ words.T, relation[looked_at])
            + matched_softmax(scale * pictures @ sounds.T, relation[looked_at][:, listened_to])
            + nearness.sum() / max(1, nearness.numel())
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


def varied_pictures(frames: torch.Tensor, share: tuple[float, float], generator: torch.Generator) -> torch.Tensor:
    """Frames [B, T, H, W] uint8 as floats about 0..1: a part of the time, each clip with its own mirroring, zoom, grain
    and, in a third of them, a rectangle that hides something. Brightness and contrast the space takes out itself.
    """
    size, total, height, width = frames.shape
    start, length = _span(total, FRAMES_PER_GROUP, share, generator)
    draws = torch.rand((10, size), generator=generator)
    zoom = 1.0 - 0.3 * draws[0]
    affine = torch.zeros(size, 2, 3)
    affine[:, 0, 0], affine[:, 1, 1] = zoom * torch.where(draws[1] < 0.5, 1.0, -1.0), zoom
    affine[:, :, 2] = (draws[2:4].T * 2 - 1) * (1 - zoom)[:, None]
    grid = functional.affine_grid(affine, [size, 1, height, width], align_corners=False).to(frames.device)
    shown = frames[:, start : start + length].float()
    zoomed = functional.grid_sample(shown, grid, padding_mode="border", align_corners=False)
    extent = (0.35 * draws[4] * (draws[5] < 0.33))[:, None]
    rows, columns = (torch.arange(count)[None] / count for count in (height, width))
    down, across = (draws[index, :, None] for index in (6, 7))
    hides = ((rows - down).abs() < extent)[:, :, None] & ((columns - across).abs() < extent)[:, None]
    noise = torch.randn((1, length, height, width), generator=generator)
    grain, shade = (values.reshape(size, 1, 1, 1) for values in (0.03 * draws[8].square(), draws[9]))
    # In place: half of a step's time would otherwise go into memory.
    hidden = zoomed.div_(255).mul_((~hides)[:, None].to(frames.device)).add_((hides[:, None] * shade).to(frames.device))
    return hidden.addcmul_(grain.to(frames.device), noise.to(frames.device))


def varied_sounds(log_mels: torch.Tensor, share: tuple[float, float], generator: torch.Generator) -> torch.Tensor:
    """Log-mels [B, T, bins] float32: a part of the time, each clip quieter, with its own colour, grain, hidden band."""
    size, total, bins = log_mels.shape
    start, length = _span(total, MIN_FRAMES, share, generator)
    draws = torch.rand((5, size, 1, 1), generator=generator)
    colour = 0.3 * draws[1] * torch.randn((size, 1, bins), generator=generator)
    grain = 0.3 * draws[2] * torch.randn((size, length, bins), generator=generator)
    varied = log_mels[:, start : start + length].float() - (3.0 * draws[0]).to(log_mels.device)
    varied = varied + (colour + grain).to(log_mels.device)
    band = torch.arange(bins)[None, None]
    lowest, wide = draws[3] * bins, 0.15 * draws[4] * bins
    hides = ((band >= lowest) & (band < lowest + wide)).to(log_mels.device)
    return torch.where(hides, varied.mean(dim=(1, 2), keepdim=True), varied.clamp(min=SILENCE_NATS))


def calibrate(
    space: JointSpace,
    corpus: JointCorpus,
    known_words: Sequence[str],
    known_phrases: Sequence[Sequence[str]] = (),
) -> None:
    """Write into the space's configuration what makes probabilities of its cosines, and the words that it knows.

    The numbers are fitted to clips that training left aside. A pair of which these show only right or only wrong
    examples, because they are too few, is left without.
    """
    seen, rows = corpus.seen, corpus.seen.development
    words, sounds, pictures = embedded(space, seen, rows)
    heard_rows = corpus.heard.development
    heard_words, heard_sounds, _ = embedded(space, corpus.heard, heard_rows)
    relation = relations(seen.classes[rows], seen.also[rows]).numpy()
    heard_relation = relations(corpus.heard.classes[heard_rows], corpus.heard.also[heard_rows]).numpy()
    calibration = {}
    for pair, one, other, belongs in (
        ("text_sound", heard_words, heard_sounds, heard_relation),
        ("text_picture", words, pictures, relation),
        ("picture_sound", pictures, sounds, relation),
    ):
        cosines, counts = (one @ other.T).numpy(), belongs != 0
        if len(np.unique(belongs[counts])) == 2:
            calibration[pair] = logistic_fit(cosines[counts], belongs[counts] > 0)
    space.register_to_config(
        calibration=calibration, known_words=tuple(known_words), known_phrases=tuple(map(tuple, known_phrases))
    )


@torch.inference_mode()
def embedded(
    space: JointSpace, clips: JointClips, rows: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Unit vectors [M, width] of words, sounds and pictures of some clips, on the CPU; no pictures: [0, width]."""
    space.eval()
    device = space.log_scale.device
    words, sounds, pictures = [], [], [torch.zeros(0, space.config.width)]
    for part in rows.split(_CLIPS_AT_ONCE):
        words.append(space.encode_text(clips.prompts[part].to(device)).cpu())
        sounds.append(space.encode_sound(clips.log_mels[part].to(device).float()).cpu())
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


def _span(total: int, unit: int, share: tuple[float, float], generator: torch.Generator) -> tuple[int, int]:
    """Start and length of a part of `total`, whole units long where it is not all."""
    fewest, most = (max(1, round(part * total / unit)) for part in share)
    length = min(total, unit * int(torch.randint(fewest, most + 1, (1,), generator=generator)))
    return int(torch.randint(total - length + 1, (1,), generator=generator)), length
