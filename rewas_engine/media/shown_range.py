"""Converts times of a clip to times of its media, at any speed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

MIN_AVERAGED_SPEED = 4
"""From this speed on, frames that are skipped are averaged into those that are shown."""
_MAX_ROUNDING_S = Fraction(1, 200)


def rounding_s(media_rate: Fraction) -> Fraction:
    """Return how many seconds a container may shift the start of a frame. media_rate: of the media, in hertz."""
    return min(1 / (2 * media_rate), _MAX_ROUNDING_S)


def media_range_s(start_s: Fraction, duration_s: Fraction, speed: Fraction) -> tuple[Fraction, Fraction]:
    """Return the range of the media that a clip shows. At a negative speed, the clip begins at the end of the range.

    Args:
        start_s: Time of the media at the start of the clip, in seconds.
        duration_s: Duration of the clip as shown, in seconds.
        speed: Seconds of the media in one second of the clip.
    """
    other_s = start_s + duration_s * speed
    return min(start_s, other_s), max(start_s, other_s)


@dataclass(frozen=True)
class ShownRange:
    """The frames of a clip as it is shown.

    Attributes:
        start_s: Time of the media at the start of the clip, in seconds.
        duration_s: Duration of the clip as shown, in seconds.
        frame_rate: Frames per second of the clip as shown.
        speed: Seconds of the media in one second of the clip: 0 is a freeze frame, below 0 is backwards.
    """

    start_s: Fraction
    duration_s: Fraction
    frame_rate: Fraction
    speed: Fraction = Fraction(1)

    @property
    def count(self) -> int:
        """Number of frames, rounded up, at least 1."""
        return max(1, math.ceil(self.duration_s * self.frame_rate))

    @property
    def media_range_s(self) -> tuple[Fraction, Fraction]:
        """Start and end of the range of the media that is shown, in seconds."""
        return media_range_s(self.start_s, self.duration_s, self.speed)

    @property
    def media_step_s(self) -> Fraction:
        """Seconds of the media from one frame to the next, at least 0."""
        return abs(self.speed) / self.frame_rate

    def media_time_s(self, number: int, media_rate: Fraction) -> Fraction:
        """Time of the media in the middle of a frame.

        A freeze frame starts exactly at a frame of the media. Its time is moved into that frame, because containers
        round times.

        Args:
            number: From 0.
            media_rate: Frames per second of the media.
        """
        if not self.speed:
            return self.start_s + rounding_s(media_rate)
        return self.start_s + self.speed * (number + Fraction(1, 2)) / self.frame_rate

    @property
    def is_averaged(self) -> bool:
        """Whether each frame is the average of the frames of the media that pass while it is shown."""
        return abs(self.speed) >= MIN_AVERAGED_SPEED
