"""What the measures need of an encoder. An encoder has one or several of these abilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rewas_engine.curves.energy import FloatArray
from rewas_engine.media.video_format import VideoFormat


@dataclass(frozen=True, eq=False)
class SoundFeatures:
    """What an encoder says about one sound.

    Attributes:
        embeddings: [P, D], one per part of the sound; encoders that read the whole sound have one part.
        logits: Unnormalised log-probabilities of classes [C]; None if the encoder has no classes.
    """

    embeddings: FloatArray
    logits: FloatArray | None = None


class Encoder(Protocol):
    """Any encoder. The same input gives the same output, whatever else is in the call, except for rounding."""

    @property
    def name(self) -> str:
        """Name for reports, such as "VGGish (folder vggish)"."""

    @property
    def is_stand_in(self) -> bool:
        """Whether it comes with ReWaS and replaces the encoder that published figures use."""

    @property
    def content_sha256(self) -> str:
        """SHA-256, in hex, of everything that determines its output. A cache can use it as a key."""


@runtime_checkable
class SoundEncoder(Encoder, Protocol):
    """Describes sounds by themselves: for FD, FAD, MKL and the inception score."""

    def describe_sounds(self, sounds: Sequence[FloatArray], sample_rate_hz: int) -> list[SoundFeatures]:
        """Describe mono sounds, each [samples] within ±1 and of any length above 0."""


@runtime_checkable
class SoundVectorEncoder(Encoder, Protocol):
    """Has one vector for each sound, in a space that it shares with texts or frames."""

    def embed_sounds(self, sounds: Sequence[FloatArray], sample_rate_hz: int) -> FloatArray:
        """Unit vectors [N, D] of N mono sounds, each [samples] within ±1 and of any length above 0."""


@runtime_checkable
class TextVectorEncoder(Encoder, Protocol):
    """Has one vector for each text, in a space that it shares with sounds or frames."""

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Unit vectors [N, D] of N texts."""


@runtime_checkable
class FrameVectorEncoder(Encoder, Protocol):
    """Has one vector for each frame, in a space that it shares with texts or sounds."""

    @property
    def frame_format(self) -> VideoFormat:
        """The frames that it reads. The frame rate is a choice: one frame has the same vector at any rate."""

    def embed_frames(self, frames: NDArray[np.uint8]) -> FloatArray:
        """Unit vectors [T, D] of frames [T, …] in `frame_format`, T at least 1."""


@runtime_checkable
class VideoEncoder(Encoder, Protocol):
    """Describes whole videos with their motion: for FVD and KVD."""

    @property
    def video_format(self) -> VideoFormat:
        """The frames that it reads."""

    def describe_video(self, frames: NDArray[np.uint8]) -> FloatArray:
        """Embedding [D] of the frames [T, …] of one video in `video_format`, T at least 1."""


class TextSoundEncoder(TextVectorEncoder, SoundVectorEncoder, Protocol):
    """For the CLAP score."""


class TextFrameEncoder(TextVectorEncoder, FrameVectorEncoder, Protocol):
    """For CLIPSIM."""


class FrameSoundEncoder(FrameVectorEncoder, SoundVectorEncoder, Protocol):
    """For AVHScore."""


@runtime_checkable
class Synchroniser(Encoder, Protocol):
    """Finds how far sound and picture are apart: for DeSync."""

    @property
    def video_format(self) -> VideoFormat:
        """The frames that it reads."""

    def offset_s(self, frames: NDArray[np.uint8], sound: FloatArray, sample_rate_hz: int) -> float:
        """Seconds by which the sound [samples] is late for the frames [T, …]; below 0 if it is early."""
