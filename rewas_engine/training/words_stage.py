"""The words stage: trains the text projection, which learns the sounds that a sentence embedding describes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from rewas_engine.models.text_projection import TextProjection
from rewas_engine.training.loop import LossFunction
from rewas_engine.world import AMBIENCE_CLASSES, CLASS_NAMES, Scene, captions
from rewas_engine.world.vocabulary import MODIFIERS, find_modifiers, frame_phrase, further_captions, unnamed_captions

NOTHING_BEHIND = len(AMBIENCE_CLASSES)
BEHIND_MEANINGS = len(AMBIENCE_CLASSES) + 1
CAPTIONS_IN_A_STEP = 256
PLAIN_SHARE = 0.5
"""Share of phrases in a step that have neither modifiers nor background, balanced over the classes."""
WORDLESS_SHARE = 0.04
FARTHEST_WORDS = 1.0
"""Largest standard deviation of the noise on each component, about the distance of unseen phrases."""
SMOOTHING = 0.05
"""Label smoothing, because no phrase has a certain meaning."""
FLAG_WEIGHT = 3.0
RIDGE = 20.0
"""Ridge regularisation, which keeps meanings with few examples small."""


@dataclass(frozen=True, eq=False)
class LabelledCaptions:
    """Captions with their meanings.

    Attributes:
        embeddings: [N, D] sentence embeddings.
        front, behind: [N] indices of the foreground and background meaning.
        flags: [N, F], 1 for each modifier in the caption, else 0.
    """

    embeddings: torch.Tensor
    front: torch.Tensor
    behind: torch.Tensor
    flags: torch.Tensor


@dataclass(frozen=True, eq=False)
class WordsCorpus:
    """Training data: captions of scenes, plain phrases of each class, and phrases that name no sound.

    Foreground meanings are the numbers of the classes, then silence, and an unnamed sound.

    Attributes:
        classes: Number of classes.
    """

    classes: int
    scenes: LabelledCaptions
    plain: LabelledCaptions
    wordless: LabelledCaptions

    @property
    def choices(self) -> tuple[int, int]:
        """Number of foreground and of background meanings."""
        return self.classes + 2, BEHIND_MEANINGS


def words_corpus(
    scenes: Sequence[Scene],
    embed: Callable[[Sequence[str]], torch.Tensor],
    classes: Sequence[str] = CLASS_NAMES,
) -> WordsCorpus:
    """Embed the captions of scenes and all phrases of their classes.

    Rare phrases are used alone and in a sentence.
    """
    silence, unnamed = len(classes), len(classes) + 1
    rng = np.random.default_rng(len(scenes))
    plain = [
        (number, words)
        for number, name in enumerate(classes)
        for phrases in (
            captions(name),
            further_captions(name),
            [frame_phrase(rng, each) for each in further_captions(name)],
        )
        for words in phrases
    ]
    return WordsCorpus(
        len(classes),
        _label_captions(
            [scene.full_caption for scene in scenes],
            [silence if scene.is_silent else classes.index(scene.class_name) for scene in scenes],
            [NOTHING_BEHIND if scene.ambience is None else _behind(scene.ambience) for scene in scenes],
            embed,
        ),
        _label_captions([words for _, words in plain], [number for number, _ in plain], None, embed),
        _label_captions(list(unnamed_captions()), [unnamed] * len(unnamed_captions()), None, embed),
    )


def new_text_projection(corpus: WordsCorpus, hidden: int, length: float) -> TextProjection:
    """Build an untrained projection whose meaning vectors are fitted to the captions by least squares."""
    width = corpus.scenes.embeddings.shape[1]
    projection = TextProjection(width, hidden, corpus.choices, len(MODIFIERS), length)
    parts = (corpus.scenes, corpus.plain, corpus.wordless)
    shares = torch.cat([_shares(part, corpus.choices) for part in parts])
    embeddings = torch.cat([part.embeddings for part in parts])
    normal = shares.T @ shares + RIDGE * torch.eye(shares.shape[1])
    with torch.no_grad():
        projection.meanings.copy_(torch.linalg.solve(normal, shares.T @ embeddings))
    projection.meanings.requires_grad_(False)
    return projection


def extend_text_projection(
    projection: TextProjection, known: TextProjection, classes: Sequence[str], known_classes: Sequence[str]
) -> bool:
    """Copy what another projection knows into an untrained one with further classes.

    The meaning vectors of further classes are made orthogonal to all others. A denoiser that has learned the known
    vectors then keeps its sounds, and learns the new ones without confusing them with similar phrases.

    Args:
        projection: Untrained projection for `classes`, changed in place.
        known: Trained projection for `known_classes`.

    Returns:
        Whether the sizes fit. Otherwise nothing is copied.
    """
    ours, theirs = projection.config, known.config
    fits = all(getattr(ours, name) == getattr(theirs, name) for name in ("prompt_width", "hidden", "flags", "length"))
    if not fits or list(ours.choices[1:]) != list(theirs.choices[1:]) or theirs.choices[0] != len(known_classes) + 2:
        return False
    number_of = {name: number for number, name in enumerate(known_classes)}
    kept = {number: number_of[name] for number, name in enumerate(classes) if name in number_of}
    # Silence, an unnamed sound, backgrounds and modifiers follow the classes.
    others = len(known.meanings) - len(known_classes)
    kept |= {len(classes) + number: len(known_classes) + number for number in range(others)}
    rows, sources = list(kept), list(kept.values())
    further = [number for number in range(len(classes)) if number not in kept]
    hidden, logits = projection.reader[0], projection.reader[2]
    known_hidden, known_logits = known.reader[0], known.reader[2]
    assert isinstance(logits, nn.Linear)
    assert isinstance(known_logits, nn.Linear)
    with torch.no_grad():
        hidden.load_state_dict(known_hidden.state_dict())
        logits.weight[rows] = known_logits.weight[sources]
        logits.bias[rows] = known_logits.bias[sources]
        projection.meanings[rows] = known.meanings[sources]
        length = known.meanings[: len(known_classes)].norm(dim=1).mean()
        for number in further:
            base = torch.linalg.qr(projection.meanings[rows].T).Q
            vector = projection.meanings[number]
            projection.meanings[number] = length * nn.functional.normalize(vector - base @ (base.T @ vector), dim=0)
            rows.append(number)
    return True


def words_loss(corpus: WordsCorpus, projection: TextProjection) -> LossFunction:
    """Cross entropy of the meanings of captions, with noise as large as the distance of unseen phrases."""
    plain_of_class = [(corpus.plain.front == number).nonzero().flatten() for number in range(corpus.classes)]
    most = max(map(len, plain_of_class))
    plain_rows = torch.stack([rows[torch.arange(most) % len(rows)] for rows in plain_of_class])

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        plain, wordless = round(PLAIN_SHARE * CAPTIONS_IN_A_STEP), round(WORDLESS_SHARE * CAPTIONS_IN_A_STEP)

        def draw(below: int, size: int) -> torch.Tensor:
            return torch.randint(below, (size,), generator=generator)

        batch = _concatenate_captions(
            _rows(corpus.scenes, draw(len(corpus.scenes.front), CAPTIONS_IN_A_STEP - plain - wordless)),
            _rows(corpus.plain, plain_rows[draw(len(plain_rows), plain), draw(most, plain)]),
            _rows(corpus.wordless, draw(len(corpus.wordless.front), wordless)),
        )
        amounts = FARTHEST_WORDS * torch.rand((CAPTIONS_IN_A_STEP, 1), generator=generator)
        noisy = batch.embeddings + amounts * torch.randn(batch.embeddings.shape, generator=generator)
        logits = projection.meaning_logits(noisy.to(projection.device)).cpu()
        front, behind, flags = logits.split([*corpus.choices, len(MODIFIERS)], dim=-1)
        return (
            nn.functional.cross_entropy(front, batch.front, label_smoothing=SMOOTHING)
            + nn.functional.cross_entropy(behind, batch.behind, label_smoothing=SMOOTHING)
            + FLAG_WEIGHT * nn.functional.binary_cross_entropy_with_logits(flags, batch.flags)
        )

    return loss_of


def _behind(ambience: Scene) -> int:
    return AMBIENCE_CLASSES.index(ambience.class_name)


def _label_captions(
    texts: Sequence[str],
    front: Sequence[int],
    behind: Sequence[int] | None,
    embed: Callable[[Sequence[str]], torch.Tensor],
) -> LabelledCaptions:
    flags = [[float(name in found) for name in MODIFIERS] for found in map(find_modifiers, texts)]
    return LabelledCaptions(
        embed(texts),
        torch.tensor(front),
        torch.tensor([NOTHING_BEHIND] * len(texts) if behind is None else behind),
        torch.tensor(flags),
    )


def _shares(part: LabelledCaptions, choices: tuple[int, int]) -> torch.Tensor:
    front = nn.functional.one_hot(part.front, choices[0])
    behind = nn.functional.one_hot(part.behind, choices[1])
    return torch.cat([front.float(), behind.float(), part.flags], dim=1)


def _rows(part: LabelledCaptions, rows: torch.Tensor) -> LabelledCaptions:
    return LabelledCaptions(part.embeddings[rows], part.front[rows], part.behind[rows], part.flags[rows])


def _concatenate_captions(*parts: LabelledCaptions) -> LabelledCaptions:
    names = ("embeddings", "front", "behind", "flags")
    return LabelledCaptions(*(torch.cat([getattr(part, name) for part in parts]) for name in names))
