"""The words stage: sentence embeddings are read as what the captions of the world say of its sounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from rewas_engine.models.text_projection import TextProjection
from rewas_engine.training.loop import LossFunction
from rewas_engine.world import AMBIENCE_CLASSES, CLASS_NAMES, Scene, captions
from rewas_engine.world.vocabulary import MODIFIERS, framed, further_captions, said_modifiers, wordless_captions

SILENCE, UNSAID = len(CLASS_NAMES), len(CLASS_NAMES) + 1
"""What is heard in front, beside the classes: nothing; and something that the words do not name."""
FRONT_MEANINGS = len(CLASS_NAMES) + 2
NOTHING_BEHIND = len(AMBIENCE_CLASSES)
BEHIND_MEANINGS = len(AMBIENCE_CLASSES) + 1
CHOICES = (FRONT_MEANINGS, BEHIND_MEANINGS)
CAPTIONS_IN_A_STEP = 256
PLAIN_SHARE = 0.5
"""Share of a step that is phrases without modifiers or a sound behind them, each class as often as any other."""
WORDLESS_SHARE = 0.04
FARTHEST_WORDS = 1.0
"""Standard deviation, at most, of what is added to each component: words that were never read lie as far away."""
SMOOTHING = 0.05
"""Of the labels: no words are sure to mean what they mean here."""
FLAG_WEIGHT = 3.0
RIDGE = 20.0
"""Meanings of which there are few examples are kept small."""


@dataclass(frozen=True, eq=False)
class SaidCaptions:
    """Captions with what they say.

    embeddings: [N, D] of sentences. front, behind: [N] positions within CHOICES. flags: [N, F] of 0 and 1.
    """

    embeddings: torch.Tensor
    front: torch.Tensor
    behind: torch.Tensor
    flags: torch.Tensor


@dataclass(frozen=True, eq=False)
class WordsCorpus:
    """What the words stage learns from: captions of scenes, plain phrases of each class, words that name nothing."""

    scenes: SaidCaptions
    plain: SaidCaptions
    wordless: SaidCaptions


def words_corpus(scenes: Sequence[Scene], embed: Callable[[Sequence[str]], torch.Tensor]) -> WordsCorpus:
    """Captions of scenes of the world and its phrases, all read; rarer words bare and with words around them."""
    rng = np.random.default_rng(len(scenes))
    plain = [
        (number, words)
        for number, name in enumerate(CLASS_NAMES)
        for phrases in (captions(name), further_captions(name), [framed(rng, each) for each in further_captions(name)])
        for words in phrases
    ]
    return WordsCorpus(
        _said(
            [scene.full_caption for scene in scenes],
            [SILENCE if scene.is_silent else CLASS_NAMES.index(scene.class_name) for scene in scenes],
            [NOTHING_BEHIND if scene.ambience is None else _behind(scene.ambience) for scene in scenes],
            embed,
        ),
        _said([words for _, words in plain], [number for number, _ in plain], None, embed),
        _said(list(wordless_captions()), [UNSAID] * len(wordless_captions()), None, embed),
    )


def new_text_projection(corpus: WordsCorpus, hidden: int, length: float) -> TextProjection:
    """An unread projection whose meanings are those of the captions: how each moves a sentence, by least squares."""
    width = corpus.scenes.embeddings.shape[1]
    projection = TextProjection(width, hidden, CHOICES, len(MODIFIERS), length)
    parts = (corpus.scenes, corpus.plain, corpus.wordless)
    shares = torch.cat([_shares(part) for part in parts])
    embeddings = torch.cat([part.embeddings for part in parts])
    normal = shares.T @ shares + RIDGE * torch.eye(shares.shape[1])
    with torch.no_grad():
        projection.meanings.copy_(torch.linalg.solve(normal, shares.T @ embeddings))
    projection.meanings.requires_grad_(False)
    return projection


def words_loss(corpus: WordsCorpus, projection: TextProjection) -> LossFunction:
    """Cross entropy of what each caption says, the captions moved as far as unread words would lie from them."""
    plain_of_class = [(corpus.plain.front == number).nonzero().flatten() for number in range(len(CLASS_NAMES))]
    most = max(map(len, plain_of_class))
    plain_rows = torch.stack([rows[torch.arange(most) % len(rows)] for rows in plain_of_class])

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        plain, wordless = round(PLAIN_SHARE * CAPTIONS_IN_A_STEP), round(WORDLESS_SHARE * CAPTIONS_IN_A_STEP)

        def drawn(below: int, size: int) -> torch.Tensor:
            return torch.randint(below, (size,), generator=generator)

        batch = _joined(
            _rows(corpus.scenes, drawn(len(corpus.scenes.front), CAPTIONS_IN_A_STEP - plain - wordless)),
            _rows(corpus.plain, plain_rows[drawn(len(plain_rows), plain), drawn(most, plain)]),
            _rows(corpus.wordless, drawn(len(corpus.wordless.front), wordless)),
        )
        far = FARTHEST_WORDS * torch.rand((CAPTIONS_IN_A_STEP, 1), generator=generator)
        moved = batch.embeddings + far * torch.randn(batch.embeddings.shape, generator=generator)
        logits = projection.meaning_logits(moved.to(projection.device)).cpu()
        front, behind, flags = logits.split([*CHOICES, len(MODIFIERS)], dim=-1)
        return (
            nn.functional.cross_entropy(front, batch.front, label_smoothing=SMOOTHING)
            + nn.functional.cross_entropy(behind, batch.behind, label_smoothing=SMOOTHING)
            + FLAG_WEIGHT * nn.functional.binary_cross_entropy_with_logits(flags, batch.flags)
        )

    return loss_of


def _behind(ambience: Scene) -> int:
    return AMBIENCE_CLASSES.index(ambience.class_name)


def _said(
    texts: Sequence[str],
    front: Sequence[int],
    behind: Sequence[int] | None,
    embed: Callable[[Sequence[str]], torch.Tensor],
) -> SaidCaptions:
    flags = [[float(name in said) for name in MODIFIERS] for said in map(said_modifiers, texts)]
    return SaidCaptions(
        embed(texts),
        torch.tensor(front),
        torch.tensor([NOTHING_BEHIND] * len(texts) if behind is None else behind),
        torch.tensor(flags),
    )


def _shares(part: SaidCaptions) -> torch.Tensor:
    front = nn.functional.one_hot(part.front, FRONT_MEANINGS)
    behind = nn.functional.one_hot(part.behind, BEHIND_MEANINGS)
    return torch.cat([front.float(), behind.float(), part.flags], dim=1)


def _rows(part: SaidCaptions, rows: torch.Tensor) -> SaidCaptions:
    return SaidCaptions(part.embeddings[rows], part.front[rows], part.behind[rows], part.flags[rows])


def _joined(*parts: SaidCaptions) -> SaidCaptions:
    names = ("embeddings", "front", "behind", "flags")
    return SaidCaptions(*(torch.cat([getattr(part, name) for part in parts]) for name in names))
