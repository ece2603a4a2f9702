"""Comparison of prompts with video by the pack's own joint space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.matching.embedding import JointScorer
from rewas_engine.matching.evidence import FrameLoader, MatchScores, OnStep
from rewas_engine.matching.label_bank import Label, vggsound_names
from rewas_engine.media.probe import ProbedClip
from rewas_engine.runtime.progress import ProgressTracker

LABEL_FAMILIARITY_THRESHOLD = 0.8
"""Lowest familiarity at which a VGGSound name is used as a label.

A joint space knows few classes and maps every other phrase to one of them, so unfamiliar names would mislead.
"""


@dataclass(frozen=True, eq=False)
class VideoEmbedding:
    """A video in the joint space.

    Args:
        clip_vector: Unit vector [width] of the whole clip.
        spans_s: Start and end of the S spans, see `MatchScores`.
        span_vectors: Unit vectors [S, width].
    """

    clip_vector: torch.Tensor
    spans_s: Sequence[tuple[Fraction, Fraction]]
    span_vectors: torch.Tensor


class EmbeddingMatcher:
    """Compares prompts with video by a joint space.

    Args:
        scorer: The scorer of the loaded pack.
        pack_name: Name of the pack, for reports.
        frame_rate: Frames per second of the input.
    """

    uses_estimator_frames = True

    def __init__(self, scorer: JointScorer, pack_name: str, frame_rate: Fraction) -> None:
        self._scorer, self._frame_rate = scorer, frame_rate
        self.name = f"the joint space of the pack {pack_name}"

    @cached_property
    def labels(self) -> Sequence[Label]:
        """The phrases that the space was trained on, and the VGGSound names that are familiar to it."""
        own = [Label(phrase, "pack", phrase) for phrase in self._scorer.known_words]
        taken = {label.text for label in own}
        foreign = zip(vggsound_names(), self._scorer.familiarities(vggsound_names()), strict=True)
        return (
            *own,
            *(
                Label(name, "vggsound", meaning)
                for name, (meaning, known) in foreign
                if known >= LABEL_FAMILIARITY_THRESHOLD and name not in taken
            ),
        )

    def familiarity(self, prompt: str) -> tuple[str, float]:
        """Return the known phrase nearest to a prompt, and how near it is."""
        return self._scorer.familiarity(prompt)

    def load_frames(
        self, read: ProbedClip, load_estimator_frames: FrameLoader, tracker: ProgressTracker
    ) -> NDArray[np.uint8]:
        """Load all frames of a clip in the format of the pack's video encoder."""
        return load_estimator_frames()

    def match(self, prompt: str, read: ProbedClip, frames: NDArray[np.uint8], on_step: OnStep) -> MatchScores:
        """Compare brightness frames [T, H, W] with a prompt and all labels."""
        scores = self.score_embedding(prompt, self.embed(frames))
        # The last frame may extend beyond the end of the clip.
        spans_s = [(begin, min(end, read.duration_s)) for begin, end in scores.spans_s]
        return replace(scores, spans_s=spans_s)

    def embed(self, frames: NDArray[np.uint8]) -> VideoEmbedding:
        """Embed brightness frames [T, H, W] in the pack's video format, T at least 1. Independent of any prompt."""
        spans_s, parts = self._scorer.embed_spans(frames, self._frame_rate)
        return VideoEmbedding(self._scorer.embed_video(frames), spans_s, parts)

    def score_embedding(self, prompt: str, embedding: VideoEmbedding) -> MatchScores:
        """Compare an embedded video with a prompt and all labels."""
        vectors = torch.cat([self._scorer.embed_text([prompt]), self._label_embeddings])
        whole = self._probabilities(embedding.clip_vector[None], vectors)[0]
        by_part = self._probabilities(embedding.span_vectors, vectors)
        return MatchScores(float(whole[0]), whole[1:], embedding.spans_s, by_part[:, 0], by_part[:, 1:])

    def score_sound(self, log_mel: torch.Tensor) -> NDArray[np.floating]:
        """Probabilities [L] that a sound matches each label. `log_mel`: [T, bins] in nats, of a normalised sound."""
        cosines = (self._label_embeddings @ self._scorer.embed_sound(log_mel)).clamp(-1, 1).cpu().numpy()
        return self._scorer.probabilities("text_sound", cosines)

    def _probabilities(self, videos: torch.Tensor, vectors: torch.Tensor) -> NDArray[np.floating]:
        return self._scorer.probabilities("text_picture", (videos @ vectors.T).clamp(-1, 1).cpu().numpy())

    @cached_property
    def _label_embeddings(self) -> torch.Tensor:
        return self._scorer.embed_text([label.text for label in self.labels])
