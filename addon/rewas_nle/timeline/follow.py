# SPDX-License-Identifier: GPL-3.0-or-later
"""How a sound follows its picture through moves, trims, slips and splits, and where a new take goes.

Frames are scene frames. Positions are compared with those of the last update: the strip that has changed decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Position:
    """Where a strip is: the frame of its content's start, its first frame, and the frame after its last one."""

    content_start_frame: int
    start_frame: int
    end_frame: int

    @property
    def frames(self) -> int:
        """Frames between the handles."""
        return self.end_frame - self.start_frame

    @property
    def lead_in_frames(self) -> int:
        """Frames of content before the left handle."""
        return self.start_frame - self.content_start_frame

    @property
    def lead_out_frames(self) -> int:
        """Frames from the start of the content to the right handle."""
        return self.end_frame - self.content_start_frame

    def moved(self, frames: int) -> Position:
        """Return the position after a move of the whole strip."""
        return Position(self.content_start_frame + frames, self.start_frame + frames, self.end_frame + frames)

    def overlap_frames(self, other: Position) -> int:
        """Return how many frames two strips share."""
        return max(0, min(self.end_frame, other.end_frame) - max(self.start_frame, other.start_frame))


@dataclass(frozen=True)
class SoundPosition:
    """Where a sound should be. is_hidden: the picture shows none of its frames, so it is muted and one frame long."""

    position: Position
    is_hidden: bool = False


def place_sound(picture: Position, alignment_frames: int, sound_frames: int) -> SoundPosition:
    """Return where a sound goes under its picture.

    alignment_frames: from the start of the picture's content to the first sample. sound_frames: its whole length.
    """
    content_start = picture.content_start_frame + alignment_frames
    start = max(picture.start_frame, content_start)
    end = min(picture.end_frame, content_start + sound_frames)
    return _positioned(content_start, start, end, sound_frames)


def follow_picture(
    old_picture: Position, old_sound: Position, picture: Position, sound: Position, sound_frames: int
) -> SoundPosition:
    """Return where a sound belongs after its picture, or the sound itself, was changed.

    If the picture's content moved, the sound's content moves with it. If only the sound's content moved, the user has
    shifted the sound on purpose, and it stays there. A handle of the sound that was at the end of the picture or of the
    sound follows the picture's handle. A handle that the user placed elsewhere stays where it is in the sound, but not
    outside the picture.
    """
    old_alignment = old_sound.content_start_frame - old_picture.content_start_frame
    alignment = sound.content_start_frame - picture.content_start_frame
    if picture.content_start_frame != old_picture.content_start_frame:
        alignment = old_alignment
    head = _Handle(
        sound=sound.lead_in_frames,
        old_sound=old_sound.lead_in_frames,
        picture=picture.lead_in_frames - alignment,
        old_picture=old_picture.lead_in_frames - old_alignment,
    )
    tail = _Handle(
        sound=sound.lead_out_frames,
        old_sound=old_sound.lead_out_frames,
        picture=picture.lead_out_frames - alignment,
        old_picture=old_picture.lead_out_frames - old_alignment,
    )
    content_start = picture.content_start_frame + alignment
    lead_in, lead_out = sound.lead_in_frames, sound.lead_out_frames
    if picture.lead_in_frames != old_picture.lead_in_frames:
        lead_in = max(head.follow(0, max), 0)
    if picture.lead_out_frames != old_picture.lead_out_frames:
        lead_out = min(tail.follow(sound_frames, min), sound_frames)
    return _positioned(content_start, content_start + lead_in, content_start + lead_out, sound_frames)


def change_take(
    picture: Position, sound: Position, *, old_frames: int, shift_frames: int, new_frames: int
) -> SoundPosition:
    """Return where the sound of another take goes. It keeps handles that the user placed, if it reaches them.

    old_frames, new_frames: lengths of both sounds. shift_frames: how much later the new sound starts.
    """
    content_start = sound.content_start_frame + shift_frames
    start, end = sound.start_frame, sound.end_frame
    if start == max(picture.start_frame, sound.content_start_frame):
        start = picture.start_frame
    if end == min(picture.end_frame, sound.content_start_frame + old_frames):
        end = picture.end_frame
    return _positioned(content_start, max(start, content_start), min(end, content_start + new_frames), new_frames)


@dataclass(frozen=True)
class _Handle:
    """A handle of the sound and that of its picture, now and before, in frames from the start of the sound."""

    sound: int
    old_sound: int
    picture: int
    old_picture: int

    def follow(self, end_of_sound: int, inner: Callable[[int, int], int]) -> int:
        """Return where the sound's handle goes. inner: max for the left handle, min for the right one."""
        if self.old_sound == inner(self.old_picture, end_of_sound):
            return inner(self.picture, end_of_sound)
        if inner(self.old_sound, self.old_picture) == self.old_sound:
            return inner(self.sound, self.picture)
        return self.sound + self.picture - self.old_picture


def _positioned(content_start: int, start: int, end: int, sound_frames: int) -> SoundPosition:
    if start < end:
        return SoundPosition(Position(content_start, start, end))
    start = min(max(start, content_start), content_start + sound_frames - 1)
    return SoundPosition(Position(content_start, start, start + 1), is_hidden=True)
