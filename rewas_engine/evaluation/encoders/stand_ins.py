"""The encoders that come with ReWaS, for measures whose published encoder is not given."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

import torch

from rewas_engine.conditioning.levels import normalise
from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig
from rewas_engine.curves.energy import FloatArray
from rewas_engine.errors import PackError
from rewas_engine.evaluation.encoders.protocols import SoundFeatures
from rewas_engine.evaluation.judge import Judge
from rewas_engine.matching.joint_space_encoder import JointSpaceEncoder
from rewas_engine.media.waveforms import at_rate
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


def joint_space_encoder(model: ReWaS) -> JointSpaceEncoder:
    """The joint space of a pack, in place of CLAP, CLIP, ImageBind and I3D. Raises PackError if there is none."""
    if model.joint_space_encoder is None:
        raise PackError(
            f"The pack {model.pack.name} has no joint space that could stand in for an encoder.",
            "Use a pack with a joint space, or give a folder of encoders.",
        )
    return model.joint_space_encoder


def _hash_tensors(module: torch.nn.Module) -> str:
    """SHA-256 of the names and values of a module's tensors."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
