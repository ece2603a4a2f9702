# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a sound goes: exactly below its clip, on a free channel named after its stem."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .strips import SelectedClip

MAX_CHANNEL = 128


@dataclass(frozen=True)
class Span:
    """Scene frames that a strip covers on a channel, from start_frame up to but not including end_frame."""

    channel: int
    start_frame: int
    end_frame: int

    def overlaps(self, start_frame: int, end_frame: int) -> bool:
        """Whether the span shares a frame with the given range."""
        return self.start_frame < end_frame and start_frame < self.end_frame


@dataclass(frozen=True)
class SoundPosition:
    """The scene frames of a sound.

    content_start_frame: frame of its first sample. content_frames: its full length. start_frame, end_frame: its
    handles, which are narrower if the strip was trimmed while the sound was being generated.
    """

    content_start_frame: int
    content_frames: int
    start_frame: int
    end_frame: int

    @property
    def is_trimmed(self) -> bool:
        """Whether part of the sound is outside its handles."""
        return self.end_frame - self.start_frame < self.content_frames


@dataclass(frozen=True)
class ChannelAssignment:
    """A channel and the name it should get."""

    channel: int
    name: str


class NoFreeChannelError(Exception):
    """All channels are occupied or locked in the range of the sound."""


def position_under_clip(
    clip: SelectedClip, *, start_frame: int, end_frame: int, content_start_frame: int
) -> SoundPosition | None:
    """Return where the sound of a clip goes below its strip as it is now.

    The strip may have been moved, slipped or trimmed since the clip was read. The sound stays with the frames that it
    was generated for. Returns None if the strip no longer shows any of them.
    """
    sound_start = content_start_frame + (clip.start_frame - clip.content_start_frame)
    sound_end = sound_start + clip.frames
    visible_start = max(sound_start, start_frame)
    visible_end = min(sound_end, end_frame)
    if visible_start >= visible_end:
        return None
    return SoundPosition(sound_start, clip.frames, visible_start, visible_end)


def find_channel(
    role: str,
    *,
    start_frame: int,
    end_frame: int,
    occupied: Sequence[Span],
    names: Mapping[int, str],
    locked: Iterable[int] = (),
) -> ChannelAssignment:
    """The channel for a stem: one that carries the role's name and is free there, else the lowest empty one.

    names: of the channels that the user has named, without those that have Blender's own names ("Channel 3").
    Further lanes of a role are called "primary 2", "primary 3", …: takes and older versions stack up in them.
    Raises NoFreeChannelError.
    """
    taken = {span.channel for span in occupied if span.overlaps(start_frame, end_frame)} | set(locked)
    lanes = sorted((lane, channel) for channel, name in names.items() if (lane := _lane(role, name)))
    for _, channel in lanes:
        if channel not in taken:
            return ChannelAssignment(channel, names[channel])
    new_name = _lane_name(role, _first_missing([lane for lane, _ in lanes]))
    in_use = {span.channel for span in occupied} | set(locked) | set(names)
    for unusable in (in_use, taken | set(names)):
        for channel in range(1, MAX_CHANNEL + 1):
            if channel not in unusable:
                return ChannelAssignment(channel, new_name)
    raise NoFreeChannelError


def _lane(role: str, name: str) -> int | None:
    match = re.fullmatch(rf"{re.escape(role)}(?: (\d+))?", name.strip(), re.IGNORECASE)
    return None if match is None else int(match.group(1) or 1)


def _lane_name(role: str, lane: int) -> str:
    return role if lane == 1 else f"{role} {lane}"


def _first_missing(lanes: list[int]) -> int:
    return next(lane for lane in range(1, len(lanes) + 2) if lane not in lanes)
