"""A joint space with scripted vectors, and splits of chosen scenes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.curves.energy import FloatArray
from rewas_engine.evaluation.splits import Split
from rewas_engine.matching.embedding import JointScorer, mean_direction
from rewas_engine.world import Scene


class ScriptedJoint(JointScorer):
    """Returns the exact vector that was set for a text, video or sound, and knows no others."""

    def __init__(self, known_words: Mapping[str, FloatArray] | None = None) -> None:
        self._known_words = dict(known_words or {})
        self._texts: dict[str, FloatArray] = {}
        self._pictures: dict[bytes, FloatArray] = {}
        self._sounds: dict[bytes, FloatArray] = {}

    @property
    def known_words(self) -> tuple[str, ...]:
        return tuple(self._known_words)

    def set_text_vector(self, text: str, vector: FloatArray) -> None:
        self._texts[text] = vector

    def set_video_vector(self, frames: NDArray[np.uint8], vector: FloatArray) -> None:
        self._pictures[frames.tobytes()] = vector

    def set_sound_vector(self, log_mel: torch.Tensor, vector: FloatArray) -> None:
        self._sounds[log_mel.numpy().tobytes()] = vector

    def embed_text(self, prompts: Sequence[str]) -> torch.Tensor:
        return torch.from_numpy(np.stack([self._vector(prompt) for prompt in prompts]))

    def familiarities(self, prompts: Sequence[str]) -> list[tuple[str, float]]:
        """A text with the vector of known words is matched to them; any other text is unknown."""
        return [self._familiarity(prompt) for prompt in prompts]

    def _familiarity(self, prompt: str) -> tuple[str, float]:
        if prompt not in self._texts and prompt not in self._known_words:
            return next(iter(self._known_words)), 0.0
        nearness = {words: float(vector @ self._vector(prompt)) for words, vector in self._known_words.items()}
        return max(nearness.items(), key=lambda known: known[1])

    def _vector(self, text: str) -> FloatArray:
        return self._known_words[text] if text in self._known_words else self._texts[text]

    def embed_video(self, frames: NDArray[np.uint8]) -> torch.Tensor:
        return mean_direction(self._vectors_in_sequence(frames))

    def embed_spans(
        self, frames: NDArray[np.uint8], frame_rate: Fraction
    ) -> tuple[tuple[tuple[Fraction, Fraction], ...], torch.Tensor]:
        parts = self._vectors_in_sequence(frames)
        duration_s = len(frames) / frame_rate / len(parts)
        return tuple((index * duration_s, (index + 1) * duration_s) for index in range(len(parts))), parts

    def _vectors_in_sequence(self, frames: NDArray[np.uint8]) -> torch.Tensor:
        """Vectors [P, width] of known videos of equal length, one after the other."""
        if frames.tobytes() in self._pictures:
            return torch.from_numpy(self._pictures[frames.tobytes()])[None]
        halves = np.split(frames, 2)
        return torch.stack([torch.from_numpy(self._pictures[half.tobytes()]) for half in halves])

    def embed_sound(self, log_mel: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self._sounds[log_mel.numpy().tobytes()])

    def probabilities(self, pair: str, cosines: FloatArray) -> FloatArray:
        return np.where(np.asarray(cosines) > 0.5, 0.95, 0.35 if pair == "text_sound" else 0.05)


@dataclass(frozen=True)
class FixedScenes(Split):
    """A split of these scenes."""

    given: tuple[Scene, ...] = ()

    def any_scenes(self, clips: int) -> list[Scene]:
        return list(self.given[:clips])
