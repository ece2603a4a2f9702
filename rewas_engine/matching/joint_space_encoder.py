"""The joint space of a pack as an encoder of texts, frames, sounds and videos."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.conditioning.levels import normalise
from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.curves.energy import FloatArray
from rewas_engine.matching.embedding import JointScorer
from rewas_engine.media.video_format import VideoFormat
from rewas_engine.media.waveforms import at_rate
from rewas_engine.packs.description import PackInfo

MIN_SOUND_S = 0.2
"""Shorter sounds are padded with silence."""


class JointSpaceEncoder:
    """A joint space. It reads motion, so a frame is embedded with its neighbours: the two seconds around it.

    Args:
        scorer: The joint space.
        front_end: Log-mel front end of the pack.
        pack: The pack.
        frame_format: Frame rate, width and height of the pack's frames.
    """

    is_stand_in = True

    def __init__(
        self, scorer: JointScorer, front_end: AudioFrontEnd, pack: PackInfo, frame_format: tuple[Fraction, int, int]
    ) -> None:
        self._scorer, self._front_end, self._pack = scorer, front_end, pack
        self.frame_format = VideoFormat(*frame_format, is_rgb=False)
        self.video_format = self.frame_format

    @property
    def name(self) -> str:
        """Name for reports."""
        return f"the joint space of the pack {self._pack.name}"

    @property
    def content_sha256(self) -> str:
        """SHA-256 of the pack."""
        return self._pack.content_sha256

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Unit vectors [N, D] of texts."""
        return _as_array(self._scorer.embed_text(list(texts)))

    def embed_sounds(self, sounds: Sequence[FloatArray], sample_rate_hz: int) -> FloatArray:
        """Unit vectors [N, D] of mono sounds, each [samples]."""
        rate_hz = self._front_end.config.sample_rate_hz
        fitted = [at_rate(sound, sample_rate_hz, rate_hz, round(MIN_SOUND_S * rate_hz)) for sound in sounds]
        return np.stack(
            [_as_array(self._scorer.embed_sound(self._front_end.encode(normalise(sound)))) for sound in fitted]
        )

    def embed_frames(self, frames: NDArray[np.uint8]) -> FloatArray:
        """Unit vectors [T, D], of each frame of brightness [T, H, W] with its neighbours."""
        return _as_array(self._scorer.embed_each_frame(frames))

    def describe_video(self, frames: NDArray[np.uint8]) -> FloatArray:
        """Unit vector [D] of brightness frames [T, H, W]."""
        return _as_array(self._scorer.embed_video(frames))


def _as_array(vectors: torch.Tensor) -> FloatArray:
    return np.asarray(vectors.float().cpu().numpy(), np.float32)
