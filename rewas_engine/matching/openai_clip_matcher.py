"""A CLIP model as what holds pictures against words."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.conditioning.windows import window_starts
from rewas_engine.matching.embedding import mean_direction
from rewas_engine.matching.evidence import FrameLoader, MatchScores, OnStep
from rewas_engine.matching.label_bank import Label, vggsound_names
from rewas_engine.media.probe import ProbedClip
from rewas_engine.media.video import read_frames
from rewas_engine.models.clip import ClipEncoder
from rewas_engine.runtime.progress import ProgressTracker

FRAMES_PER_S = 2
MAX_FRAMES = 512
"""Of a longer clip the pictures stand further apart."""
SPAN_FRAMES = 4
"""Pictures that decide about one moment; each begins half as many after the last."""
_FRAME_BATCH_SIZE, _TEXT_BATCH_SIZE = 16, 32


class OpenAiClipMatcher:
    """Holds pictures against words by a CLIP model (Radford et al. 2021).

    encoder: on its device. name: what it is called. pack_phrases: labels beside VGGSound's, the pack's.

    A CLIP model says how near words and pictures are, not how probably they belong together. Trained with its
    contrastive loss, exp(scale · cosine) is, up to a factor of the picture's own, how much more often these words come
    with this picture than with any (van den Oord et al. 2018). The factor is the mean over all words; the mean over the
    labels stands for it. With r their ratio, r / (1 + r) is the probability that the words belong to the picture, where
    right words and words drawn at random are equally many.
    """

    uses_estimator_frames = False

    def __init__(self, encoder: ClipEncoder, name: str, pack_phrases: Sequence[str] = ()) -> None:
        self._encoder, self.name = encoder, name
        foreign = [Label(name, "vggsound", name) for name in vggsound_names() if name not in pack_phrases]
        self.labels: Sequence[Label] = (*(Label(phrase, "pack", phrase) for phrase in pack_phrases), *foreign)

    def familiarity(self, prompt: str) -> tuple[str, float]:
        """A CLIP model has read the web: all words are taken for themselves, and known."""
        return prompt, 1.0

    def load_frames(
        self, read: ProbedClip, load_estimator_frames: FrameLoader, tracker: ProgressTracker
    ) -> NDArray[np.uint8]:
        """Two pictures a second, MAX_FRAMES at most: red, green and blue [T, side, side, 3]."""
        side = self._encoder.side
        with tracker.stage("decode"):
            return read_frames(
                read.path,
                start_s=read.start_s,
                duration_s=read.duration_s,
                frame_rate=frame_rate_for(read.duration_s),
                width=side,
                height=side,
                rgb=True,
                short_side=self._encoder.short_side,
                cancel=tracker.cancel,
            )

    def match(self, prompt: str, read: ProbedClip, frames: NDArray[np.uint8], on_step: OnStep) -> MatchScores:
        """Hold pictures against words."""
        embedded = []
        for first in range(0, len(frames), _FRAME_BATCH_SIZE):
            on_step(first, len(frames))
            embedded.append(self._encoder.encode_frames(frames[first : first + _FRAME_BATCH_SIZE]))
        vectors = torch.cat(embedded)
        starts, length = frame_spans(len(vectors))
        spans = torch.stack([mean_direction(vectors[start : start + length]) for start in starts])
        texts = torch.cat([self._encoder.encode_text([prompt]), self._label_embeddings])
        whole = self._probabilities(mean_direction(vectors)[None], texts)[0]
        parts = self._probabilities(spans, texts)
        spans_s = span_times_s(starts, length, read.duration_s)
        return MatchScores(float(whole[0]), whole[1:], spans_s, parts[:, 0], parts[:, 1:])

    def _probabilities(self, vectors: torch.Tensor, texts: torch.Tensor) -> NDArray[np.floating]:
        """Of pictures [P, D] and words [1 + L, D], the labels being all but the first: [P, 1 + L]."""
        return label_bank_probabilities(self._encoder.scale * (vectors @ texts.T).double().cpu().numpy())

    @cached_property
    def _label_embeddings(self) -> torch.Tensor:
        texts = [label.text for label in self.labels]
        parts = [
            self._encoder.encode_text(texts[first : first + _TEXT_BATCH_SIZE])
            for first in range(0, len(texts), _TEXT_BATCH_SIZE)
        ]
        return torch.cat(parts)


def label_bank_probabilities(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    """Probabilities [P, 1 + L] of logits of pictures with a prompt and L labels, which stand for all words there are.

    Each logit x becomes r / (1 + r), r = exp(x) / mean over the labels of exp.
    """
    labels = logits[:, 1:]
    highest = labels.max(axis=1, keepdims=True)
    mean = highest + np.log(np.exp(labels - highest).mean(axis=1, keepdims=True))
    return np.asarray(1 / (1 + np.exp(np.clip(mean - logits, -700, 700))), np.float64)


def frame_rate_for(duration_s: Fraction) -> Fraction:
    """Pictures per second that are looked at of a clip."""
    return min(Fraction(FRAMES_PER_S), MAX_FRAMES / duration_s)


def frame_spans(frames: int) -> tuple[list[int], int]:
    """The first pictures of stretches over so many, which overlap by half, and how many pictures each has."""
    length = min(SPAN_FRAMES, frames)
    return window_starts(frames, length, length // 2), length


def span_times_s(starts: Sequence[int], length: int, duration_s: Fraction) -> list[tuple[Fraction, Fraction]]:
    """Begin and end of stretches in seconds from the clip's start; the last picture may stand longer than the clip."""
    rate = frame_rate_for(duration_s)
    return [(start / rate, min(duration_s, (start + length) / rate)) for start in starts]
