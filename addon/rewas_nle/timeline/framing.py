# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the frame of a scene shows the whole picture of a strip, upright and unmirrored."""

from __future__ import annotations

import math
from dataclasses import dataclass

_TOLERANCE = 0.01
"""Part of the picture's width or height that may be outside the frame: two almost equal aspect ratios."""


@dataclass(frozen=True)
class Framing:
    """How a strip's picture is placed in the frame, in pixels of the scene's full resolution.

    Attributes:
        frame_size: Width and height of the scene's frame.
        picture_size: Width and height of the picture, (0, 0) if they are unknown.
        scale: Horizontal and vertical scale of the picture.
        offset: Distance of the picture's centre from the frame's centre.
        rotation: Of the picture around its origin, in radians.
        origin: Point around which the picture is scaled and rotated, (0.5, 0.5) for its centre.
        crop: Pixels cut off on the left, right, top and bottom.
        flipped: Whether the picture is mirrored horizontally, and vertically.
    """

    frame_size: tuple[int, int]
    picture_size: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    rotation: float = 0.0
    origin: tuple[float, float] = (0.5, 0.5)
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)
    flipped: tuple[bool, bool] = (False, False)

    @property
    def change(self) -> str:
        """The rest of the sentence 'The strip "x" …', or "" if the frame shows the whole picture unchanged."""
        if any(self.flipped):
            return "is mirrored"
        if any(self.crop):
            return "is cropped"
        if abs(math.remainder(self.rotation, math.tau)) > 1e-3:
            return "is rotated"
        if min(self.scale) < 0:
            return "is mirrored"
        if min(self.picture_size) > 0 and not self._is_whole():
            return "shows only a part of its picture"
        return ""

    def _is_whole(self) -> bool:
        for axis in (0, 1):
            size = self.picture_size[axis]
            shown = size * self.scale[axis]
            # The origin stays where it is while the picture is scaled around it.
            centre = self.offset[axis] + size * (self.origin[axis] - 0.5) * (1 - self.scale[axis])
            outside = abs(centre) + shown / 2 - self.frame_size[axis] / 2
            if outside > _TOLERANCE * max(shown, 1.0):
                return False
        return True
