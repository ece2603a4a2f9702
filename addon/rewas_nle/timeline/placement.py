# SPDX-License-Identifier: GPL-3.0-or-later
"""The channel of a sound: a free one that is named after the role of the stem."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

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
class ChannelAssignment:
    """A channel and the name it should get."""

    channel: int
    name: str


class NoFreeChannelError(Exception):
    """All channels are occupied or locked in the range of the sound."""


def find_channel_pair(
    channel: int, *, start_frame: int, end_frame: int, occupied: Sequence[Span], locked: Iterable[int] = ()
) -> tuple[int, int]:
    """The channels for a picture and its own sound: the picture as near above `channel` as possible, the sound below.

    Either goes to the other side if its own has no room. Raises NoFreeChannelError.
    """
    taken = {span.channel for span in occupied if span.overlaps(start_frame, end_frame)} | set(locked) | {channel}
    above = [number for number in range(channel + 1, MAX_CHANNEL + 1) if number not in taken]
    below = [number for number in range(channel - 1, 0, -1) if number not in taken]
    if len(above) + len(below) < 2:
        raise NoFreeChannelError
    if not above:
        return below[0], below[1]
    return above[0], below[0] if below else above[1]


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
    Further lanes of a role are called "primary 2", "primary 3", …, for sounds that play at the same time.
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
