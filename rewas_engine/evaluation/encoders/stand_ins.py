"""The encoders that come with ReWaS, for measures whose published encoder is not given."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.conditioning.levels import normalise
from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig
from rewas_engine.curves.energy import FloatArray
from rewas_engine.errors import PackError
from rewas_engine.evaluation.encoders.protocols import SoundFeatures, VideoFormat
from rewas_engine.evaluation.encoders.waveforms import at_rate
from rewas_engine.evaluation.judge import Judge
from rewas_engine.matching.embedding import JointScorer
from rewas_engine.pipeline import ReWaS

MIN_SOUND_S = 0.2
"""Shorter sounds are padded with silence."""


class JudgeEncoder:
    """The judge, which knows only the classes of the synthetic world, in place of PANNs, PaSST or VGGish.

    Args:
        judge: The judge; None for the shipped one.
    """

    is_stand_in = True

    def __init__(self, judge: Judge | None = None) -> None:
        self._judge = judge or Judge.load()
        self._front_end = AudioFrontEnd(MelConfig())

    @property
    def name(self) -> str:
        return "the built-in judge"

    @cached_property
    def content_sha256(self) -> str:
        return _hash_tensors(self._judge.network)

    def describe_sounds(self, sounds: Sequence[FloatArray], sample_rate_hz: int) -> list[SoundFeatures]:
        """One embedding and the class scores of each sound."""
        rate_hz = self._front_end.config.sample_rate_hz
        described = []
        for sound in sounds:
            fitted = at_rate(sound, sample_rate_hz, rate_hz, min_samples=round(MIN_SOUND_S * rate_hz))
            embeddings, logits = self._judge.describe(self._front_end.encode(normalise(fitted))[None])
            described.append(SoundFeatures(embeddings, logits[0]))
        return described


class JointSpaceEncoder:
    """The joint space of a pack, in place of CLAP, CLIP, ImageBind and I3D.

    The space reads motion. A frame is therefore embedded with its neighbours: the two seconds around it.

    Args:
        model: The pack.

    Raises:
        PackError: The pack has no joint space.
    """

    is_stand_in = True

    def __init__(self, model: ReWaS) -> None:
        if model.joint_scorer is None:
            raise PackError(
                f"The pack {model.pack.name} has no joint space that could stand in for an encoder.",
                "Use a pack with a joint space, or give a folder of encoders.",
            )
        self._scorer: JointScorer = model.joint_scorer
        self._front_end = model.front_end
        self._pack = model.pack
        rate, width, height = model.frame_format
        self.frame_format = VideoFormat(rate, width, height, is_rgb=False)
        self.video_format = self.frame_format

    @property
    def name(self) -> str:
        return f"the joint space of the pack {self._pack.name}"

    @property
    def content_sha256(self) -> str:
        return self._pack.content_sha256

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Unit vectors [N, D] of texts."""
        return _as_array(self._scorer.embed_text(list(texts)))

    def embed_sounds(self, sounds: Sequence[FloatArray], sample_rate_hz: int) -> FloatArray:
        """Unit vectors [N, D] of sounds."""
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


def _hash_tensors(module: torch.nn.Module) -> str:
    """SHA-256 of the names and values of a module's tensors."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
