# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the timeline that a sequencer shows, and where each frame and channel lies in it."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class SequencerView:
    """A rectangle of the timeline, drawn in a region of width_px by height_px pixels.

    Frames and channels may be fractions: 2.5 is the middle of channel 2.
    """

    left_frame: float
    right_frame: float
    bottom_channel: float
    top_channel: float
    width_px: float
    height_px: float

    @property
    def px_per_frame(self) -> float:
        """Width of a frame."""
        return self.width_px / (self.right_frame - self.left_frame)

    @property
    def px_per_channel(self) -> float:
        """Height of a channel."""
        return self.height_px / (self.top_channel - self.bottom_channel)

    def to_pixel(self, frame: float, channel: float) -> tuple[float, float]:
        """Return where a frame and a channel lie, in pixels from the lower left corner of the region."""
        return (frame - self.left_frame) * self.px_per_frame, (channel - self.bottom_channel) * self.px_per_channel

    def from_pixel(self, x_px: float, y_px: float) -> tuple[float, float]:
        """Return the frame and channel at a pixel."""
        return self.left_frame + x_px / self.px_per_frame, self.bottom_channel + y_px / self.px_per_channel

    def widened(self, screens: float) -> SequencerView:
        """Return the same view with some screens more on the left and on the right."""
        frames = (self.right_frame - self.left_frame) * screens
        return replace(
            self,
            left_frame=self.left_frame - frames,
            right_frame=self.right_frame + frames,
            width_px=self.width_px * (1 + 2 * screens),
        )

    def contains(self, other: SequencerView) -> bool:
        """Return whether this view shows everything that another one shows."""
        is_longer = self.left_frame <= other.left_frame and other.right_frame <= self.right_frame
        return is_longer and self.bottom_channel <= other.bottom_channel and other.top_channel <= self.top_channel

    def shows(self, start_frame: float, end_frame: float, channel: float) -> bool:
        """Return whether any part of a strip is visible."""
        is_beside = end_frame <= self.left_frame or start_frame >= self.right_frame
        return not is_beside and channel + 1 > self.bottom_channel and channel < self.top_channel
