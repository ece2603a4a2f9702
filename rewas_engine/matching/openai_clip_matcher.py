"""Comparison of prompts with video by a CLIP model."""

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
"""Longer clips are sampled at a lower rate."""
SPAN_FRAMES = 4
"""Frames per span. Spans overlap by half."""
_FRAME_BATCH_SIZE, _TEXT_BATCH_SIZE = 16, 32


class OpenAiClipMatcher:
    """Compares prompts with video by a CLIP model (Radford et al. 2021).

    CLIP gives similarities, not probabilities. A model trained with the contrastive loss satisfies, up to a factor that
    depends on the image alone, exp(scale · cosine) = how much more often this text occurs with this image than with any
    image (van den Oord et al. 2018). The factor is the mean over all texts, approximated by the mean over the labels.
    With r as the ratio of the two, r / (1 + r) is the probability that the text belongs to the image, if matching and
    random texts are equally likely.

    Args:
        encoder: The CLIP model, on its device.
        name: Name of the model, for reports.
        pack_phrases: Labels of the pack, used in addition to those of VGGSound.
    """

    uses_estimator_frames = False

    def __init__(self, encoder: ClipEncoder, name: str, pack_phrases: Sequence[str] = ()) -> None:
        self._encoder, self.name = encoder, name
        foreign = [Label(name, "vggsound", name) for name in vggsound_names() if name not in pack_phrases]
        self.labels: Sequence[Label] = (*(Label(phrase, "pack", phrase) for phrase in pack_phrases), *foreign)

    def familiarity(self, prompt: str) -> tuple[str, float]:
        """Return the prompt itself and 1: CLIP is trained on web text and counts as knowing every prompt."""
        return prompt, 1.0

    def load_frames(
        self, read: ProbedClip, load_estimator_frames: FrameLoader, tracker: ProgressTracker
    ) -> NDArray[np.uint8]:
        """Read two frames a second, at most MAX_FRAMES: RGB [T, side, side, 3]."""
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
                speed=read.speed,
                sequence=read.sequence,
                cancel=tracker.cancel,
            )

    def match(self, prompt: str, read: ProbedClip, frames: NDArray[np.uint8], on_step: OnStep) -> MatchScores:
        """Compare RGB frames [T, side, side, 3] with a prompt and all labels."""
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
        """Probabilities [P, 1 + L] for image vectors [P, D] and text vectors [1 + L, D], the prompt first."""
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
    """Turn logits of images with a prompt and L labels into probabilities.

    Each logit x becomes r / (1 + r) with r = exp(x) / mean of exp over the labels, which stand for all possible texts.

    Args:
        logits: [P, 1 + L], the prompt first.

    Returns:
        Probabilities [P, 1 + L].
    """
    labels = logits[:, 1:]
    highest = labels.max(axis=1, keepdims=True)
    mean = highest + np.log(np.exp(labels - highest).mean(axis=1, keepdims=True))
    return np.asarray(1 / (1 + np.exp(np.clip(mean - logits, -700, 700))), np.float64)


def frame_rate_for(duration_s: Fraction) -> Fraction:
    """Return the frames per second at which a clip is sampled."""
    return min(Fraction(FRAMES_PER_S), MAX_FRAMES / duration_s)


def frame_spans(frames: int) -> tuple[list[int], int]:
    """Return the first frames of spans that overlap by half, and the number of frames in each."""
    length = min(SPAN_FRAMES, frames)
    return window_starts(frames, length, length // 2), length


def span_times_s(starts: Sequence[int], length: int, duration_s: Fraction) -> list[tuple[Fraction, Fraction]]:
    """Return start and end of each span in seconds from the start of the clip, cut at the end of the clip."""
    rate = frame_rate_for(duration_s)
    return [(start / rate, min(duration_s, (start + length) / rate)) for start in starts]
