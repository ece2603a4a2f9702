"""Decoded frames, scaled to the format that a model reads."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.media.display import quarter_turns, to_luma, to_rgb


@dataclass(frozen=True)
class FrameFormat:
    """Format of the frames that are read.

    Attributes:
        width: Pixels.
        height: Pixels.
        rgb: Whether they are in colour `[height, width, 3]` instead of luma `[height, width]`.
        short_side: Pixels to which the shorter side is scaled before the centre is cropped; None stretches the frame.
    """

    width: int
    height: int
    rgb: bool = False
    short_side: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array of a frame."""
        return (self.height, self.width, 3) if self.rgb else (self.height, self.width)


class DecodedFrame:
    """A decoded frame, which is scaled only once, when it is needed."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self.start_s: Fraction = frame.pts * frame.time_base
        self.end_s: Fraction = (frame.pts + (frame.duration or 0)) * frame.time_base
        self._pixels: NDArray[np.uint8] | None = None

    def pixels(self, wanted: FrameFormat) -> NDArray[np.uint8]:
        """The frame, upright, in a format that is the same in every call."""
        if self._pixels is None:
            width, height = wanted.width, wanted.height
            size, frame, turns = (width, height), self._frame, quarter_turns(self._frame)
            upright = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
            if wanted.short_side is not None:
                shorter = min(upright)
                size = (
                    max(width, upright[0] * wanted.short_side // shorter),
                    max(height, upright[1] * wanted.short_side // shorter),
                )
            convert = to_rgb if wanted.rgb else to_luma
            whole = np.rot90(convert(frame, *(size[::-1] if turns % 2 else size)), turns)
            left, top = (size[0] - width) // 2, (size[1] - height) // 2
            self._pixels = whole[top : top + height, left : left + width]
        return self._pixels


def blend(one: NDArray[np.uint8], other: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """Mix two frames. share: that of the second one, 0 to 1."""
    return np.asarray(np.round((1 - share) * one.astype(np.float32) + share * other), np.uint8)


class Exposure:
    """Averages the frames of the media that pass while one frame is shown."""

    def __init__(self, wanted: FrameFormat) -> None:
        self._wanted = wanted
        self._sum = np.zeros(wanted.shape, np.uint32)
        self._count = 0
        self._last: DecodedFrame | None = None

    def add(self, frame: DecodedFrame, *, counts: bool) -> None:
        """Add the next frame. counts: whether it begins within the time of the frame that is shown."""
        self._last = frame
        if counts:
            self._sum += frame.pixels(self._wanted)
            self._count += 1

    def develop(self, following: DecodedFrame | None) -> NDArray[np.uint8]:
        """Return the average of the frames that were added, and start again.

        If none of them counts, the last one is still on screen. following: the next frame, if there is one.
        """
        if not self._count:
            held = self._last or following
            assert held is not None
            return held.pixels(self._wanted)
        average = np.asarray((self._sum + self._count // 2) // self._count, np.uint8)
        self._sum[:] = 0
        self._count = 0
        return average
