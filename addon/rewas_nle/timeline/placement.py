# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a sound goes: exactly under its picture, on a free channel that is named for its stem."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .strips import ChosenClip

MAX_CHANNEL = 128


@dataclass(frozen=True)
class Span:
    """Scene frames that a strip covers on a channel: start_frame up to, not including, end_frame."""

    channel: int
    start_frame: int
    end_frame: int

    def meets(self, start_frame: int, end_frame: int) -> bool:
        """Whether the span shares a frame with the given range."""
        return self.start_frame < end_frame and start_frame < self.end_frame


@dataclass(frozen=True)
class SoundPlace:
    """The scene frames of a sound.

    content_start_frame: where its first sample lies. content_frames: its whole length. start_frame, end_frame: its
    handles, which are narrower where the picture was trimmed while the sound was made.
    """

    content_start_frame: int
    content_frames: int
    start_frame: int
    end_frame: int

    @property
    def is_trimmed(self) -> bool:
        """Whether part of the sound lies outside its handles."""
        return self.end_frame - self.start_frame < self.content_frames


@dataclass(frozen=True)
class ChannelAssignment:
    """A channel and the name that it should carry."""

    channel: int
    name: str


class NoFreeChannel(Exception):
    """Every channel is taken or locked where the sound should go."""


def place_under(clip: ChosenClip, *, start_frame: int, end_frame: int, content_start_frame: int) -> SoundPlace | None:
    """Where the sound of a clip goes under its strip as it stands now.

    The strip may have been moved, slipped or trimmed since the clip was read: the sound keeps to the frames of picture
    that it was made for. None where the strip no longer shows any of them.
    """
    sound_start = content_start_frame + (clip.start_frame - clip.content_start_frame)
    sound_end = sound_start + clip.frames
    visible_start = max(sound_start, start_frame)
    visible_end = min(sound_end, end_frame)
    if visible_start >= visible_end:
        return None
    return SoundPlace(sound_start, clip.frames, visible_start, visible_end)


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

    names: the names that people gave to channels; channels with Blender's own names ("Channel 3") are left out.
    Further lanes of a role are called "primary 2", "primary 3", …: takes and older versions stack up in them.
    Raises NoFreeChannel.
    """
    taken = {span.channel for span in occupied if span.meets(start_frame, end_frame)} | set(locked)
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
    raise NoFreeChannel


def _lane(role: str, name: str) -> int | None:
    match = re.fullmatch(rf"{re.escape(role)}(?: (\d+))?", name.strip(), re.IGNORECASE)
    return None if match is None else int(match.group(1) or 1)


def _lane_name(role: str, lane: int) -> str:
    return role if lane == 1 else f"{role} {lane}"


def _first_missing(lanes: list[int]) -> int:
    return next(lane for lane in range(1, len(lanes) + 2) if lane not in lanes)
