"""How well words, pictures and sounds belong together, by the joint space of a pack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.energy import FloatArray
from rewas_engine.errors import PackError
from rewas_engine.models.joint import JointSpace
from rewas_engine.windows import cut, window_starts

PICTURE_WINDOW_FRAMES = 128
SOUND_WINDOW_FRAMES = 512
"""Longer pictures and sounds are read in overlapping windows as long as those of the training, and averaged."""
MOMENT_FRAMES = 48
"""Pictures that decide about one moment, about two seconds; each moment begins half as much after the last."""
_WINDOWS_AT_ONCE = 16


@dataclass(frozen=True)
class JointScore:
    """cosine: -1 to 1. probability: 0 to 1, that both belong together if right and wrong are equally many."""

    cosine: float
    probability: float


@dataclass(frozen=True)
class Moment:
    """A stretch of a picture, in seconds from its beginning, and how well it goes with what it was held against."""

    start_s: Fraction
    end_s: Fraction
    score: JointScore


class JointScorer:
    """The joint space of a pack at work, on one device.

    space: in evaluation mode. text_encoder: from prompts to sentence embeddings [B, D].
    """

    def __init__(self, space: JointSpace, text_encoder: Any, device: str) -> None:
        self.space, self._text_encoder, self._device = space, text_encoder, device

    @classmethod
    def of_pack(cls, components: Mapping[str, Any], bins: int, pack_name: str, device: str) -> JointScorer:
        """The scorer of a loaded pack. components: role -> component. bins: of the pack's log-mels.

        Raises PackError where the pack's joint space is another component, knows no words, or does not fit the rest.
        """
        space, text_encoder = components["joint"], components["text_encoder"]
        reason = ""
        if not isinstance(space, JointSpace):
            reason = f"it is a {type(space).__name__}"
        elif not space.config.known_words:
            reason = "it knows no words"
        elif space.config.bins != bins:
            reason = f"it hears {space.config.bins} bins and the pack {bins}"
        elif space.config.prompt_width != (width := text_encoder([""]).shape[1]):
            reason = f"it reads prompts of {space.config.prompt_width} components and the pack writes {width}"
        if reason:
            raise PackError(
                f"The pack {pack_name} is damaged: its joint space does not fit, {reason}.", "Install the pack again."
            )
        return cls(space, text_encoder, device)

    @property
    def known_words(self) -> tuple[str, ...]:
        """A phrase for each class that the space was trained on."""
        return tuple(self.space.config.known_words)

    def text_sound(self, prompt: str, log_mel: torch.Tensor) -> JointScore:
        """How well a sound does what the words say. log_mel: [T, bins] nats, of a sound that is normalised."""
        return self._score("text_sound", self.words([prompt])[0], self.sound(log_mel))

    def text_picture(self, prompt: str, frames: NDArray[np.uint8]) -> JointScore:
        """How well a picture shows what the words say. frames: [T, H, W] brightness in the pack's picture format."""
        return self._score("text_picture", self.words([prompt])[0], self.picture(frames))

    def picture_sound(self, frames: NDArray[np.uint8], log_mel: torch.Tensor) -> JointScore:
        """How well a sound fits what is seen; see `text_sound` and `text_picture`."""
        return self._score("picture_sound", self.picture(frames), self.sound(log_mel))

    def rank(self, prompt: str, log_mels: Sequence[torch.Tensor]) -> list[int]:
        """Positions of sounds [T, bins], the one first that does best what the words say; equal ones in their order."""
        cosines = [self.text_sound(prompt, log_mel).cosine for log_mel in log_mels]
        return sorted(range(len(cosines)), key=lambda position: -cosines[position])

    def moments(self, prompt: str, frames: NDArray[np.uint8], frame_rate: Fraction) -> tuple[Moment, ...]:
        """How well each stretch of a picture shows what the words say, in order; stretches overlap by half."""
        length = min(MOMENT_FRAMES, len(frames))
        starts = window_starts(len(frames), length, length // 2)
        words = self.words([prompt])[0]
        return tuple(
            Moment(start / frame_rate, (start + length) / frame_rate, self._score("text_picture", words, shown))
            for start, shown in zip(starts, self._pictures(frames, starts, length), strict=True)
        )

    def seen(self, frames: NDArray[np.uint8]) -> tuple[tuple[str, JointScore], ...]:
        """What a picture shows, in known words, the most probable first."""
        picture = self.picture(frames)
        scores = [self._score("text_picture", words, picture) for words in self._known]
        return tuple(
            sorted(zip(self.known_words, scores, strict=True), key=lambda known: known[1].cosine, reverse=True)
        )

    def familiarity(self, prompt: str) -> tuple[str, float]:
        """The known words that are nearest to a prompt, and their cosine."""
        cosines = self._known @ self.words([prompt])[0]
        nearest = int(cosines.argmax())
        return self.known_words[nearest], float(cosines[nearest])

    @torch.inference_mode()
    def words(self, prompts: Sequence[str]) -> torch.Tensor:
        """Unit vectors [B, width] of prompts."""
        return self.space.words(self._text_encoder(list(prompts)).to(self._device))

    def picture(self, frames: NDArray[np.uint8]) -> torch.Tensor:
        """Unit vector [width] of brightness [T, H, W], T at least 1, in the pack's picture format."""
        length = min(PICTURE_WINDOW_FRAMES, len(frames))
        starts = window_starts(len(frames), length, length // 2)
        return _middle(self._pictures(frames, starts, length))

    @torch.inference_mode()
    def sound(self, log_mel: torch.Tensor) -> torch.Tensor:
        """Unit vector [width] of a log-mel [T, bins] in nats, T at least 1."""
        length = min(SOUND_WINDOW_FRAMES, len(log_mel))
        windows = cut(log_mel, window_starts(len(log_mel), length, length // 2), length, dim=0)
        parts = [self.space.sound(part.to(self._device).float()) for part in windows.split(_WINDOWS_AT_ONCE)]
        return _middle(torch.cat(parts))

    @torch.inference_mode()
    def _pictures(self, frames: NDArray[np.uint8], starts: Sequence[int], length: int) -> torch.Tensor:
        embedded = []
        for first in range(0, len(starts), _WINDOWS_AT_ONCE):
            some = np.stack([frames[start : start + length] for start in starts[first : first + _WINDOWS_AT_ONCE]])
            embedded.append(self.space.picture(torch.from_numpy(some).to(self._device).float() / 255))
        return torch.cat(embedded)

    @cached_property
    def _known(self) -> torch.Tensor:
        return self.words(self.known_words)

    def _score(self, pair: str, one: torch.Tensor, other: torch.Tensor) -> JointScore:
        cosine = float((one @ other).clamp(-1, 1))
        return JointScore(cosine, float(self.probabilities(pair, np.array(cosine))))

    def probabilities(self, pair: str, cosines: FloatArray) -> FloatArray:
        """What `JointScore.probability` is, of cosines of any shape. pair: one of `rewas_engine.models.joint.PAIRS`."""
        calibration = self.space.config.calibration or {}
        slope, offset = calibration.get(pair, (float(self.space.scale), 0.0))
        return np.asarray(1 / (1 + np.exp(-(slope * cosines.astype(np.float64) + offset))), np.float64)


def _middle(vectors: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(vectors.mean(dim=0), dim=0)
