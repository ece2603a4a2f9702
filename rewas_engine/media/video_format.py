"""The frames that a network reads: their rate, size and colour."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewas_engine.media.clip import VideoClip
from rewas_engine.media.probe import ProbedClip, read_clip
from rewas_engine.media.video import read_frames
from rewas_engine.runtime.progress import CancelSignal


@dataclass(frozen=True)
class VideoFormat:
    """The frames that a network reads.

    Attributes:
        frame_rate: Frames per second.
        width, height: Size in pixels.
        is_rgb: Colour [T, H, W, 3] instead of brightness [T, H, W].
        short_side: Scale the shorter side to this many pixels and crop the centre, instead of stretching the frame.
        max_frames: Longer clips are read at a lower frame rate, with this many frames; None for networks that read
            motion.
    """

    frame_rate: Fraction
    width: int
    height: int
    is_rgb: bool = True
    short_side: int | None = None
    max_frames: int | None = None

    def read(self, clip: VideoClip | ProbedClip, cancel: CancelSignal | None = None) -> NDArray[np.uint8]:
        """Read the frames of a clip as they are shown. Raises MediaError and Cancelled."""
        read = read_clip(clip) if isinstance(clip, VideoClip) else clip
        rate = self.frame_rate
        if self.max_frames is not None:
            rate = min(rate, self.max_frames / read.duration_s)
        return read_frames(
            read.path,
            start_s=read.start_s,
            duration_s=read.duration_s,
            frame_rate=rate,
            width=self.width,
            height=self.height,
            rgb=self.is_rgb,
            short_side=self.short_side,
            speed=read.speed,
            sequence=read.sequence,
            cancel=cancel,
        )
