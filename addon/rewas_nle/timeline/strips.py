# SPDX-License-Identifier: GPL-3.0-or-later
"""A strip as the timeline logic sees it: a snapshot that outlives undo, renaming and deletion in Blender."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class PictureStrip:
    """One strip of the video editor.

    kind: Blender's strip type ("MOVIE", "META", …). path: absolute path of its media, "" where it has none.
    start_frame: scene frame of its left handle. frames: scene frames between its handles.
    content_start_frame: scene frame where its untrimmed content begins. content_frames: scene frames of that content.
    media_rate: the media's own rate; None where it cannot be read. media_frames: frames of the media file;
    skipped_frames: media frames that Blender's hard trim cuts off before the content; playable_frames: media frames
    between both hard trims.
    prompt: what should be heard. retimed, reversed: it does not play its media forward at one speed.
    speed_effect: name of the Speed Control strip on it, "" without one. media_found: the file is there.
    muted: it is switched off on the timeline.
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
        """Scene frame after its last one."""
        return self.start_frame + self.frames


@dataclass(frozen=True)
class ChosenClip:
    """Picture that sound is wanted for: where it stands in the scene, and which range of its media that is.

    start_frame, frames, content_start_frame: as in PictureStrip. rate: the scene's.
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
    """Why a strip cannot have sound: what is the matter, naming the strip, and what to do about it."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}"
