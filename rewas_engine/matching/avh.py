"""AVHScore (Mao et al. 2024, "TAVGBench"): how well a sound fits the frames of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rewas_engine.curves.energy import FloatArray
from rewas_engine.errors import PackError
from rewas_engine.matching.imagebind_encoder import ImageBindEncoder
from rewas_engine.matching.joint_space_encoder import JointSpaceEncoder
from rewas_engine.media.probe import ProbedClip
from rewas_engine.media.video_format import VideoFormat
from rewas_engine.runtime.progress import ProgressTracker


class FrameSoundSpace(Protocol):
    """A space of frames and sounds: that of ImageBind, or the joint space of a pack."""

    @property
    def name(self) -> str:
        """Name for reports."""

    @property
    def frame_format(self) -> VideoFormat:
        """The frames that it reads."""

    def embed_frames(self, frames: NDArray[np.uint8]) -> FloatArray:
        """Unit vectors [T, D] of frames [T, …]."""

    def embed_sounds(self, sounds: Sequence[FloatArray], sample_rate_hz: int) -> FloatArray:
        """Unit vectors [N, D] of mono sounds, each [samples]."""


def avh_score(frame_vectors: NDArray[np.floating], sound_vector: NDArray[np.floating]) -> float:
    """Mean of the cosines of each frame with the sound, -1 to 1. Publications print it times 100.

    Args:
        frame_vectors: [T, D] of any length above 0, T at least 1.
        sound_vector: [D], of any length above 0.
    """
    frames, sound = np.asarray(frame_vectors, np.float64), np.asarray(sound_vector, np.float64)
    lengths = np.linalg.norm(frames, axis=1) * np.linalg.norm(sound)
    return float(np.clip(frames @ sound / lengths, -1, 1).mean())


@dataclass(frozen=True, eq=False)
class AvhScorer:
    """AVHScores of sounds for one clip.

    Args:
        space: The space.
        frame_vectors: [T, D], of the clip.
    """

    space: FrameSoundSpace
    frame_vectors: FloatArray

    @classmethod
    def of_clip(cls, space: FrameSoundSpace, read: ProbedClip, tracker: ProgressTracker) -> AvhScorer:
        """Read and embed the frames of a clip. Raises MediaError and Cancelled."""
        with tracker.stage("decode"):
            frames = space.frame_format.read(read, tracker.cancel)
        with tracker.stage("conflict"):
            tracker.report("conflict", 0, 1)
            vectors = space.embed_frames(frames)
            tracker.report("conflict", 1, 1)
        return cls(space, vectors)

    def score(self, waveform: FloatArray, sample_rate_hz: int) -> float | None:
        """AVHScore of a sound [channels, samples] or [samples]; None if it is silent."""
        mono = waveform if waveform.ndim == 1 else waveform.mean(axis=0)
        if not mono.any():
            return None
        return avh_score(self.frame_vectors, self.space.embed_sounds([mono], sample_rate_hz)[0])


def select_frame_sound_space(
    avh_model: Path | None, joint: JointSpaceEncoder | None, device: str
) -> FrameSoundSpace | None:
    """Select the space: ImageBind from a folder, else the joint space, else None. Raises PackError."""
    return joint if avh_model is None else ImageBindEncoder(avh_model, device)


def no_space_error(pack_name: str) -> PackError:
    """The error for a pack that cannot compare frames with sounds."""
    return PackError(
        f"The pack {pack_name} cannot compare sounds with the video.",
        "Choose a pack with a joint space, or give a folder with ImageBind.",
    )
