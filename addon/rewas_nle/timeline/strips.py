# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of strips, which stay valid after undo, renaming and deletion in Blender."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class StripSnapshot:
    """A snapshot of one strip.

    kind: Blender's strip type ("MOVIE", "META", …). path: absolute path of its media, or "".
    start_frame: scene frame of its left handle. frames: scene frames between its handles.
    content_start_frame: scene frame where its untrimmed content begins. content_frames: scene frames of that content.
    media_rate: frame rate of the media, or None if it cannot be read. media_frames: frames of the media file;
    skipped_frames: media frames that Blender's hard trim cuts off before the content; playable_frames: media frames
    between both hard trims.
    prompt: text that describes the sound. retimed, reversed: it does not play its media forward at normal speed.
    speed_effect: name of the Speed Control strip that uses it, or "". media_found: whether the file exists.
    muted: whether it is muted.
    """

    name: str
    kind: str
    path: str
    channel: int
    start_frame: int
    frames: int
    content_start_frame: int
    content_frames: int
    media_rate: Fraction | None
    media_frames: int
    skipped_frames: int
    playable_frames: int
    prompt: str = ""
    retimed: bool = False
    reversed: bool = False
    speed_effect: str = ""
    media_found: bool = True
    muted: bool = False

    @property
    def end_frame(self) -> int:
        """The scene frame after the last one."""
        return self.start_frame + self.frames


@dataclass(frozen=True)
class SelectedClip:
    """A clip to generate sound for: its position in the scene and its media range.

    start_frame, frames, content_start_frame: as in StripSnapshot. rate: the scene's.
    source_start_s, source_duration_s: the range, in seconds from the media's first frame. media_frames, media_rate: the
    whole media.
    """

    name: str
    path: str
    prompt: str
    start_frame: int
    frames: int
    content_start_frame: int
    rate: Fraction
    source_start_s: Fraction
    source_duration_s: Fraction
    media_frames: int
    media_rate: Fraction
    muted: bool = False


@dataclass(frozen=True)
class Refusal:
    """Why a strip cannot get sound, and what to do about it."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}"
