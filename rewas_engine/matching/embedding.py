"""Similarity scores between text, video and sound in the joint space of a pack."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rewas_engine.conditioning.windows import cut, window_starts
from rewas_engine.curves.energy import FloatArray
from rewas_engine.errors import PackError
from rewas_engine.models.joint import JointSpace

VIDEO_WINDOW_FRAMES = 128
SOUND_WINDOW_FRAMES = 512
"""Longer videos and sounds are embedded in overlapping windows of the training length, which are averaged."""
SPAN_FRAMES = 48
"""Video frames per span, about two seconds. Spans overlap by half."""
MAX_SPANS = 512
_BATCH_SIZE = 16


@dataclass(frozen=True)
class JointScore:
    """A similarity: `cosine` from -1 to 1, and the calibrated `probability` of a match from 0 to 1.

    The probability assumes that right and wrong pairs are equally likely.
    """

    cosine: float
    probability: float


class JointScorer:
    """The joint space of a loaded pack on one device.

    Args:
        space: The joint space, in evaluation mode.
        text_encoder: Function from prompts to sentence embeddings [B, D].
        device: Torch device name.
    """

    def __init__(self, space: JointSpace, text_encoder: Any, device: str) -> None:
        self.space, self._text_encoder, self._device = space, text_encoder, device
        # The same prompt is embedded for the clip, its spans and every take.
        self._sentence = functools.lru_cache(maxsize=512)(lambda prompt: text_encoder([prompt]))

    @classmethod
    def from_pack(cls, components: Mapping[str, Any], bins: int, pack_name: str, device: str) -> JointScorer:
        """Create the scorer of a loaded pack.

        Args:
            components: Role -> component.
            bins: Mel bins of the pack.
            pack_name: Name for errors.
            device: Torch device name.

        Raises:
            PackError: The joint space is another kind of component, has no known phrases, or does not fit the pack.
        """
        space, text_encoder = components["joint"], components["text_encoder"]
        reason = ""
        if not isinstance(space, JointSpace):
            reason = f"it is a {type(space).__name__}"
        elif not space.config.known_words:
            reason = "it has no known phrases"
        elif space.config.bins != bins:
            reason = f"it expects {space.config.bins} mel bins and the pack has {bins}"
        elif space.config.prompt_width != (width := text_encoder([""]).shape[1]):
            reason = f"it expects text embeddings of width {space.config.prompt_width} and the pack has {width}"
        if reason:
            raise PackError(
                f"The pack {pack_name} is damaged: its joint space does not fit, {reason}.", "Install the pack again."
            )
        return cls(space, text_encoder, device)

    @property
    def known_words(self) -> tuple[str, ...]:
        """One phrase for each class that the space was trained on."""
        return tuple(self.space.config.known_words)

    def score_text_sound(self, prompt: str, log_mel: torch.Tensor) -> JointScore:
        """Score a sound against a prompt. `log_mel`: [T, bins] in nats, of a normalised sound."""
        return self._score("text_sound", self.embed_text([prompt])[0], self.embed_sound(log_mel))

    def score_text_video(self, prompt: str, frames: NDArray[np.uint8]) -> JointScore:
        """Score a video against a prompt. `frames`: brightness [T, H, W] in the pack's video format."""
        return self._score("text_picture", self.embed_text([prompt])[0], self.embed_video(frames))

    def score_video_sound(self, frames: NDArray[np.uint8], log_mel: torch.Tensor) -> JointScore:
        """Score a sound against a video; see `score_text_sound` and `score_text_video` for the formats."""
        return self._score("picture_sound", self.embed_video(frames), self.embed_sound(log_mel))

    def rank(self, prompt: str, log_mels: Sequence[torch.Tensor]) -> list[int]:
        """Return the indices of sounds [T, bins], the best match to the prompt first; ties keep their order."""
        cosines = [self.score_text_sound(prompt, log_mel).cosine for log_mel in log_mels]
        return sorted(range(len(cosines)), key=lambda position: -cosines[position])

    def embed_spans(
        self, frames: NDArray[np.uint8], frame_rate: Fraction
    ) -> tuple[tuple[tuple[Fraction, Fraction], ...], torch.Tensor]:
        """Embed spans of a video that overlap by half.

        Args:
            frames: Brightness [T, H, W] in the pack's video format.
            frame_rate: Frames per second.

        Returns:
            Start and end of each span in seconds, and unit vectors [S, width].
        """
        length = min(SPAN_FRAMES, len(frames))
        starts = window_starts(len(frames), length, length // 2)
        spans_s = tuple((start / frame_rate, (start + length) / frame_rate) for start in starts)
        return spans_s, self._embed_windows(frames, starts, length)

    def embed_each_frame(self, frames: NDArray[np.uint8]) -> torch.Tensor:
        """Unit vectors [T, width] of each frame of brightness [T, H, W], T at least 1.

        The space reads motion, so each frame is embedded with its neighbours: the span around it, or at the ends of the
        video the nearest one. In a long video, neighbouring frames share a span, so that there are at most MAX_SPANS.
        """
        length = min(SPAN_FRAMES, len(frames))
        starts = np.clip(np.arange(len(frames)) - length // 2, 0, len(frames) - length)
        step = -(-len(frames) // MAX_SPANS)
        starts = starts // step * step
        distinct, places = np.unique(starts, return_inverse=True)
        return self._embed_windows(frames, distinct.tolist(), length)[torch.from_numpy(places).to(self._device)]

    def familiarity(self, prompt: str) -> tuple[str, float]:
        """Return the known phrase nearest to a prompt, and how near it is; see `familiarities`."""
        return self.familiarities([prompt])[0]

    @torch.inference_mode()
    def familiarities(self, prompts: Sequence[str]) -> list[tuple[str, float]]:
        """Return for each prompt the nearest known phrase, and how near it is, from -1 to 1.

        The joint space maps any text to a known class. So the nearest phrase is found by sentence embeddings, and the
        familiarity is the smaller of two cosines: of the sentence embeddings, and of the vectors in the space.
        """
        sentences = self._encode_sentences(prompts)
        among_sentences = nn.functional.normalize(sentences, dim=1) @ self._known_sentences[0].T
        places = among_sentences.argmax(dim=1)
        meant = self._known_sentences[1][places]
        in_space = (self.space.encode_text(sentences) * self._phrase_embeddings[meant]).sum(dim=1)
        near = torch.minimum(among_sentences.gather(1, places[:, None])[:, 0], in_space).tolist()
        return [(self.known_words[word], cosine) for word, cosine in zip(meant.tolist(), near, strict=True)]

    @torch.inference_mode()
    def similar_words(self, prompt: str) -> list[tuple[str, float]]:
        """Return all known words with the similarity of their nearest phrase to a prompt, the most similar first."""
        sentence = nn.functional.normalize(self._encode_sentences([prompt]), dim=1)[0]
        phrases, places = self._known_sentences
        nearest = torch.full((len(self.known_words),), -1.0, device=self._device)
        nearest = nearest.scatter_reduce(0, places, phrases @ sentence, "amax")
        order = torch.argsort(nearest, descending=True, stable=True).tolist()
        return [(self.known_words[place], float(nearest[place])) for place in order]

    @torch.inference_mode()
    def embed_text(self, prompts: Sequence[str]) -> torch.Tensor:
        """Unit vectors [B, width] of prompts."""
        return self.space.encode_text(self._encode_sentences(prompts))

    def embed_video(self, frames: NDArray[np.uint8]) -> torch.Tensor:
        """Unit vector [width] of brightness frames [T, H, W] in the pack's video format, T at least 1."""
        length = min(VIDEO_WINDOW_FRAMES, len(frames))
        starts = window_starts(len(frames), length, length // 2)
        return mean_direction(self._embed_windows(frames, starts, length))

    @torch.inference_mode()
    def embed_sound(self, log_mel: torch.Tensor) -> torch.Tensor:
        """Unit vector [width] of a log-mel [T, bins] in nats, T at least 1."""
        length = min(SOUND_WINDOW_FRAMES, len(log_mel))
        starts = window_starts(len(log_mel), length, length // 2)
        embedded = []
        for first in range(0, len(starts), _BATCH_SIZE):
            some = cut(log_mel, starts[first : first + _BATCH_SIZE], length, dim=0)
            embedded.append(self.space.encode_sound(some.to(self._device).float()))
        return mean_direction(torch.cat(embedded))

    @torch.inference_mode()
    def _embed_windows(self, frames: NDArray[np.uint8], starts: Sequence[int], length: int) -> torch.Tensor:
        embedded = []
        for first in range(0, len(starts), _BATCH_SIZE):
            some = np.stack([frames[start : start + length] for start in starts[first : first + _BATCH_SIZE]])
            embedded.append(self.space.encode_video(torch.from_numpy(some).to(self._device).float() / 255))
        return torch.cat(embedded)

    def _encode_sentences(self, prompts: Sequence[str]) -> torch.Tensor:
        """Sentence embeddings [B, D] of prompts."""
        found = self._sentence(prompts[0]) if len(prompts) == 1 else self._text_encoder(list(prompts))
        return found.to(self._device).float()

    @cached_property
    def _phrase_embeddings(self) -> torch.Tensor:
        return self.embed_text(self.known_words)

    @cached_property
    def _known_sentences(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit sentence embeddings [P, D] of all training phrases, and the class index of each."""
        phrases = self.space.config.known_phrases or [[words] for words in self.known_words]
        places = [place for place, group in enumerate(phrases) for _ in group]
        embedded = [self._encode_sentences(group) for group in phrases]
        return nn.functional.normalize(torch.cat(embedded), dim=1), torch.tensor(places, device=self._device)

    def _score(self, pair: str, one: torch.Tensor, other: torch.Tensor) -> JointScore:
        cosine = float((one @ other).clamp(-1, 1))
        return JointScore(cosine, float(self.probabilities(pair, np.array(cosine))))

    def probabilities(self, pair: str, cosines: FloatArray) -> FloatArray:
        """Calibrated probabilities of cosines of any shape. `pair`: one of `rewas_engine.models.joint.PAIRS`."""
        calibration = self.space.config.calibration or {}
        slope, offset = calibration.get(pair, (float(self.space.scale), 0.0))
        return np.asarray(1 / (1 + np.exp(-(slope * cosines.astype(np.float64) + offset))), np.float64)


def mean_direction(vectors: torch.Tensor) -> torch.Tensor:
    """Unit vector [D] in the mean direction of unit vectors [N, D]."""
    return nn.functional.normalize(vectors.mean(dim=0), dim=0)
