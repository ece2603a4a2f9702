"""The joint stage: trains the joint space with a contrastive loss over texts, videos and sounds."""

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
from rewas_engine.training.caption_embeddings import embed_captions
from rewas_engine.training.corpus import WorldCorpus
from rewas_engine.training.loop import LossFunction, lower_precision
from rewas_engine.world import ALL_CLASSES, CLASS_NAMES, captions
from rewas_engine.world.abstract_videos import render_abstract_videos

NO_CLASS = -1
DEVELOPMENT_SHARE = 1 / 12
"""Share of the clips that training does not use, and that calibration is fitted to."""
OUT_OF_DOMAIN_COSINE = 0.1
"""Out-of-domain videos are trained to have cosines below this value with every text."""
_BATCH_CLIPS = 32


class Videos(Protocol):
    """Videos of clips, as brightness."""

    def rows(self, rows: torch.Tensor, stride: int) -> torch.Tensor:
        """Read every stride-th frame of some clips: [B, T, H, W] uint8."""
        ...


class StoredVideos:
    """Videos in array files [N, T, H, W] uint8, concatenated and memory-mapped."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._parts = [np.load(path, mmap_mode="r") for path in paths]
        self._firsts = np.cumsum([0, *(len(part) for part in self._parts)])

    def rows(self, rows: torch.Tensor, stride: int) -> torch.Tensor:
        """Read every stride-th frame of some clips: [B, T, H, W] uint8."""
        found = []
        for row in rows.tolist():
            part = int(np.searchsorted(self._firsts, row, side="right")) - 1
            found.append(self._parts[part][row - self._firsts[part], ::stride])
        return torch.from_numpy(np.stack(found))


@dataclass(frozen=True, eq=False)
class JointClips:
    """Clips with text and sound, with or without video.

    Attributes:
        log_mels: [N, T, bins] nats.
        prompts: [N, D] sentence embeddings.
        classes: [N], class of the foreground sound.
        background_classes: [N], class of the background sound, or NO_CLASS.
        usable: [M] rows to train on, ascending.
        pictures: Videos of the clips, or None.
    """

    log_mels: torch.Tensor
    prompts: torch.Tensor
    classes: torch.Tensor
    background_classes: torch.Tensor
    usable: torch.Tensor
    pictures: Videos | None = None

    @property
    def training(self) -> torch.Tensor:
        """Usable rows that training draws from."""
        return self.usable[: self._num_training]

    @property
    def development(self) -> torch.Tensor:
        """Usable rows that training does not use, the last ones."""
        return self.usable[self._num_training :]

    @property
    def _num_training(self) -> int:
        return len(self.usable) - max(1, round(DEVELOPMENT_SHARE * len(self.usable)))


@dataclass(frozen=True, eq=False)
class JointCorpus:
    """Training data of the joint space.

    Attributes:
        seen: Clips with video.
        heard: Further clips, with text and sound only.
        out_of_domain: Out-of-domain videos [S, T, H, W] uint8, in the format of every frame_stride-th frame of the
            clips with video; see `rewas_engine.world.abstract_videos`.

    Raises:
        SettingsError: `seen` has no videos, or either has too few clips to hold some out.
    """

    seen: JointClips
    heard: JointClips
    out_of_domain: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if self.seen.pictures is None or min(len(self.seen.usable), len(self.heard.usable)) < 2:
            raise SettingsError(
                "There are too few clips for a joint space of texts, videos and sounds.",
                "Use at least two with video and two with audible sound.",
            )


def world_clips(
    corpus: WorldCorpus, front_end: AudioFrontEnd, embed: Callable[[Sequence[str]], torch.Tensor]
) -> JointClips:
    """Clips of the world, with videos if the corpus has one for every clip.

    Silent scenes are left out, because their sound does not show their class. In a corpus with videos, scenes with
    their source off screen are left out too, because their video does not. Captions come from the current version of
    the world, because captions change more often than scenes.
    """
    scenes = corpus.scenes()
    are_seen = corpus.pictures == corpus.clips
    usable = [not scene.is_silent and not (are_seen and scene.off_screen) for scene in scenes]
    behind = [NO_CLASS if scene.ambience is None else _number(scene.ambience.class_name) for scene in scenes]
    return JointClips(
        corpus.log_mels(front_end),
        embed_captions([scene.full_caption for scene in scenes], embed, corpus.folder),
        torch.tensor([_number(scene.class_name) for scene in scenes]),
        torch.tensor(behind),
        torch.tensor(usable).nonzero().flatten(),
        StoredVideos(sorted(corpus.folder.glob("*.picture.npy"))) if are_seen else None,
    )


def out_of_domain_videos(count: int, seen: JointClips, space: JointSpace, seed: int) -> torch.Tensor | None:
    """Render out-of-domain videos [count, T, H, W] uint8 in the format of the clips' videos; None if there are none."""
    if seen.pictures is None or not count:
        return None
    _, frames, size, _ = seen.pictures.rows(torch.zeros(1, dtype=torch.long), space.config.frame_stride).shape
    return render_abstract_videos(count, frames, size, seed)


def world_known_words(classes: Sequence[str] = CLASS_NAMES) -> tuple[str, ...]:
    """One phrase for each of the classes of the world."""
    return tuple(captions(class_name)[0] for class_name in classes)


def world_known_phrases(classes: Sequence[str] = CLASS_NAMES) -> tuple[tuple[str, ...], ...]:
    """All training phrases of each of the classes of the world."""
    return tuple(tuple(captions(class_name)) for class_name in classes)


@dataclass(frozen=True)
class JointRecipe:
    """Composition of a training step.

    Attributes:
        seen, heard, strangers: Number of clips with video, of clips with sound only, and of out-of-domain videos.
        seen_and_heard: Number of clips with video that also contribute their sound.
        more_words: Number of further captions, which cost almost nothing.
        picture_share, sound_share: Shortest and longest share of a clip that is used. Many short excerpts teach more
            than a few whole clips.
        words_noise: Largest noise on a sentence embedding, relative to its standard deviation, so that unseen phrases
            are mapped near similar ones.
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
    """Contrastive loss between texts and sounds, texts and videos, and videos and sounds.

    As in CLIP, it is a softmax over the batch in both directions, but clips of the same class are never separated: all
    of them share the target. Pairs in which one class is the background of the other are ignored. Out-of-domain videos
    are pushed away from all texts.
    """
    seen, heard = corpus.seen, corpus.heard
    strangers = recipe.strangers if corpus.out_of_domain is not None else 0

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        rows = _draw(seen.training, recipe.seen, generator)
        heard_rows = _draw(heard.training, recipe.heard + recipe.more_words, generator)
        assert seen.pictures is not None
        device = space.log_scale.device
        frames = seen.pictures.rows(rows, space.config.frame_stride)
        if corpus.out_of_domain is not None:
            foreign = torch.randint(len(corpus.out_of_domain), (strangers,), generator=generator)
            frames = torch.cat([frames, corpus.out_of_domain[foreign]])
        prompts = torch.cat([seen.prompts[rows], heard.prompts[heard_rows]]).to(device).float()
        classes = torch.cat([seen.classes[rows], heard.classes[heard_rows]])
        background_classes = torch.cat([seen.background_classes[rows], heard.background_classes[heard_rows]])
        # Rows of the texts whose clips contribute their video, and their sound.
        video_rows = torch.arange(len(rows))
        sound_rows = torch.cat([video_rows[: recipe.seen_and_heard], len(rows) + torch.arange(recipe.heard)])
        log_mels = torch.cat([seen.log_mels[rows[: recipe.seen_and_heard]], heard.log_mels[heard_rows[: recipe.heard]]])
        noise = torch.randn(prompts.shape, generator=generator).to(device)
        varied_frames = augment_videos(frames.to(device), recipe.picture_share, generator)
        varied_log_mels = augment_log_mels(log_mels.to(device), recipe.sound_share, generator)
        with lower_precision(device):
            video_vectors, sounds = space.picture_encoder(varied_frames), space.encode_sound(varied_log_mels)
        videos, out_of_domain = video_vectors[: len(rows)], video_vectors[len(rows) :]
        amounts = recipe.words_noise * torch.rand((len(prompts), 1), generator=generator).to(device)
        words = space.encode_text(prompts + amounts * prompts.std(dim=-1, keepdim=True) * noise)
        relation = relations(classes, background_classes).to(device)
        scale = space.scale
        nearness = functional.softplus(scale * (out_of_domain @ words.T - OUT_OF_DOMAIN_COSINE))
        return (
            matched_softmax(scale * sounds @ words.T, relation[sound_rows])
            + matched_softmax(scale * videos @ words.T, relation[video_rows])
            + matched_softmax(scale * videos @ sounds.T, relation[video_rows][:, sound_rows])
            + nearness.sum() / max(1, nearness.numel())
        )

    return loss_of


def relations(classes: torch.Tensor, background_classes: torch.Tensor) -> torch.Tensor:
    """Relation of clips, [N, N]: 1 for the same class, 0 if they share a background sound or one is the background of
    the other, else -1.

    Args:
        classes: [N], as in JointClips.
        background_classes: [N], as in JointClips.
    """
    same = classes[:, None] == classes[None]
    behind = background_classes[:, None] == classes[None]
    behind_both = (background_classes[:, None] == background_classes[None]) & (background_classes[:, None] != NO_CLASS)
    neutral = behind | behind.T | behind_both
    return torch.where(same, 1, torch.where(neutral, 0, -1))


def matched_softmax(similarities: torch.Tensor, relation: torch.Tensor) -> torch.Tensor:
    """Cross entropy of similarities with all matching items as equal targets, averaged over both directions.

    Args:
        similarities: [A, B].
        relation: [A, B], 1 for matching items, 0 for items to ignore, -1 for others.
    """

    def one_way(rows: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
        matched = kind > 0
        some = matched.any(dim=1)
        likelihoods = rows.masked_fill(kind == 0, -torch.inf).log_softmax(dim=1).masked_fill(~matched, 0.0)
        # A row without a partner in the batch does not count.
        return -(likelihoods[some].sum(dim=1) / matched[some].sum(dim=1)).sum() / some.sum().clamp(min=1)

    return 0.5 * (one_way(similarities, relation) + one_way(similarities.T, relation.T))


def augment_videos(frames: torch.Tensor, share: tuple[float, float], generator: torch.Generator) -> torch.Tensor:
    """Augment frames [B, T, H, W] uint8, and convert them to floats of about 0..1.

    Crops a share of the time, applies random mirroring, zoom and grain to each clip, and hides part of every third clip
    by a rectangle. The encoder itself is invariant to brightness and contrast.
    """
    size, total, height, width = frames.shape
    start, length = _span(total, FRAMES_PER_GROUP, share, generator)
    draws = torch.rand((10, size), generator=generator)
    zoom = 1.0 - 0.3 * draws[0]
    affine = torch.zeros(size, 2, 3)
    affine[:, 0, 0], affine[:, 1, 1] = zoom * torch.where(draws[1] < 0.5, 1.0, -1.0), zoom
    affine[:, :, 2] = (draws[2:4].T * 2 - 1) * (1 - zoom)[:, None]
    grid = functional.affine_grid(affine, [size, 1, height, width], align_corners=False).to(frames.device)
    excerpts = frames[:, start : start + length].float()
    zoomed = functional.grid_sample(excerpts, grid, padding_mode="border", align_corners=False)
    extent = (0.35 * draws[4] * (draws[5] < 0.33))[:, None]
    rows, columns = (torch.arange(count)[None] / count for count in (height, width))
    down, across = (draws[index, :, None] for index in (6, 7))
    hides = ((rows - down).abs() < extent)[:, :, None] & ((columns - across).abs() < extent)[:, None]
    noise = torch.randn((1, length, height, width), generator=generator)
    grain, shade = (values.reshape(size, 1, 1, 1) for values in (0.03 * draws[8].square(), draws[9]))
    # In place, because memory allocation would otherwise take half of the time of a step.
    hidden = zoomed.div_(255).mul_((~hides)[:, None].to(frames.device)).add_((hides[:, None] * shade).to(frames.device))
    return hidden.addcmul_(grain.to(frames.device), noise.to(frames.device))


def augment_log_mels(log_mels: torch.Tensor, share: tuple[float, float], generator: torch.Generator) -> torch.Tensor:
    """Augment log-mels [B, T, bins] float32: crop a share of the time, vary gain, colour and grain, and mask a band."""
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
    """Fit the calibration of cosines to probabilities, and write it with the known words into the configuration.

    It is fitted to clips that training did not use. A pair of modalities for which these give only right or only wrong
    pairs is not calibrated.
    """
    seen, rows = corpus.seen, corpus.seen.development
    words, sounds, pictures = embed_clips(space, seen, rows)
    heard_rows = corpus.heard.development
    heard_words, heard_sounds, _ = embed_clips(space, corpus.heard, heard_rows)
    relation = relations(seen.classes[rows], seen.background_classes[rows]).numpy()
    heard_relation = relations(corpus.heard.classes[heard_rows], corpus.heard.background_classes[heard_rows]).numpy()
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
def embed_clips(
    space: JointSpace, clips: JointClips, rows: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Unit vectors [M, width] of texts, sounds and videos of some clips, on the CPU. Without videos, the last is
    [0, width].
    """
    space.eval()
    device = space.log_scale.device
    words, sounds, pictures = [], [], [torch.zeros(0, space.config.width)]
    for part in rows.split(_BATCH_CLIPS):
        words.append(space.encode_text(clips.prompts[part].to(device)).cpu())
        sounds.append(space.encode_sound(clips.log_mels[part].to(device).float()).cpu())
        if clips.pictures is not None:
            frames = clips.pictures.rows(part, space.config.frame_stride).to(device).float() / 255
            pictures.append(space.picture_encoder(frames).cpu())
    return torch.cat(words), torch.cat(sounds), torch.cat(pictures)


def logistic_fit(scores: NDArray[np.floating], truths: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and offset of Platt scaling: P(true) is the logistic function of slope · score + offset.

    True and false scores are weighted equally. As in Platt's method, targets are slightly inside 0 and 1, so that
    scores without overlap still give finite numbers.

    Args:
        scores: [N].
        truths: [N].

    Raises:
        SettingsError: All are true or all are false.
    """
    true, false = int(truths.sum()), int((~truths).sum())
    if not true or not false:
        raise SettingsError("There are only right or only wrong pairs to calibrate with.", "Use clips of two classes.")
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
    return ALL_CLASSES.index(class_name)


def _draw(rows: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    return rows[torch.randint(len(rows), (count,), generator=generator)]


def _span(total: int, unit: int, share: tuple[float, float], generator: torch.Generator) -> tuple[int, int]:
    """Start and length of a part of `total`, in multiples of unit unless it is all."""
    fewest, most = (max(1, round(part * total / unit)) for part in share)
    length = min(total, unit * int(torch.randint(fewest, most + 1, (1,), generator=generator)))
    return int(torch.randint(total - length + 1, (1,), generator=generator)), length
