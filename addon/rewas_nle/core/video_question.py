# SPDX-License-Identifier: GPL-3.0-or-later
"""The request for a short video with sound from a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from ..timeline.names import unique_name

if TYPE_CHECKING:
    from rewas_api.v1 import rewas_pb2

    from .analysis import FetchFile

MINOR_VERSION = 7
"""Minor version of the contract in which servers began to generate videos."""


@dataclass(frozen=True)
class VideoAnswer:
    """A generated video.

    path: the MP4 file. frames: of the video, at the rate that was requested. seed: that of the noise. kinds: the kinds
    of sound that the server's model has learned.
    """

    path: Path
    frames: int
    seed: int
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class VideoQuestion:
    """Which video with sound shows what a sentence says?

    frame_rate: of the scene, in frames per second. height_pixels: of the scene's picture. folder: for the file.
    """

    prompt: str
    frame_rate: Fraction
    height_pixels: int
    folder: Path

    @property
    def minor_version(self) -> int:
        """Minor version of the contract that the server needs."""
        return MINOR_VERSION

    def build_work(self) -> rewas_pb2.AudibleVideoWork:
        """Return the work of the contract."""
        from rewas_api.v1 import rewas_pb2

        rate = rewas_pb2.Rational(numerator=self.frame_rate.numerator, denominator=self.frame_rate.denominator)
        return rewas_pb2.AudibleVideoWork(prompt=self.prompt, frame_rate=rate, height_pixels=self.height_pixels)

    def fetch_answer(self, job: rewas_pb2.Job, fetch: FetchFile) -> VideoAnswer:
        """Fetch the video into the folder, under a name that is free, and return the answer."""
        video = job.audible_video
        self.folder.mkdir(parents=True, exist_ok=True)
        name = unique_name(video.file.name, lambda name: (self.folder / name).exists())
        path = fetch(video.file, self.folder / name)
        return VideoAnswer(path, video.frames, video.seed, tuple(video.kinds))
