# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of strips, which stay valid when strips are undone, renamed or deleted in Blender."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class StripSnapshot:
    """A snapshot of one strip.

    Attributes:
        name: Name of the strip.
        kind: Blender's strip type ("MOVIE", "META", …).
        path: Absolute path of its movie, "" for strips of other kinds.
        channel: Its channel.
        start_frame: Scene frame of its left handle.
        frames: Scene frames between its handles.
        content_start_frame: Scene frame where its untrimmed content begins.
        content_frames: Scene frames of that content.
        media_rate: Frame rate of the movie, None if it cannot be read.
        media_frames: Frames of the movie file.
        skipped_frames: Media frames that Blender's hard trim cuts off before the content.
        playable_frames: Media frames between both hard trims.
        prompt: Text that describes the sound.
        muted: Whether it is muted.
        changes: What the strip does to its picture so that no range of its file shows the same, such as "plays
            backwards". Each completes the sentence 'The strip "x" …'.
        missing_file: Path of its movie or of an image that does not exist, "" if all files exist.
        missing_files: Number of files that do not exist.
        picture_key: Hash of everything that its picture depends on, without the contents of files. "" unless Blender
            has to render its picture.
        picture_files: Absolute paths of the files that its picture depends on.
        proxy_path: Absolute path of the movie that Blender renders of its picture, "" unless that is necessary.
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
    muted: bool = False
    changes: tuple[str, ...] = ()
    missing_file: str = ""
    missing_files: int = 0
    picture_key: str = ""
    picture_files: tuple[str, ...] = ()
    proxy_path: str = ""

    @property
    def end_frame(self) -> int:
        """The scene frame after the last one."""
        return self.start_frame + self.frames


@dataclass(frozen=True)
class Proxy:
    """Why a clip shows a movie that Blender renders of its strip, instead of the strip's own file.

    Attributes:
        reason: Completes the sentence 'The strip "x" …', such as "plays backwards".
        source: Absolute path of the strip's own movie, "" if it has none.
    """

    reason: str
    source: str = ""


@dataclass(frozen=True)
class SelectedClip:
    """A clip to generate sound for: its position in the scene and its media range.

    Attributes:
        name: Name of the strip.
        path: Absolute path of the media. That of a proxy may not exist yet.
        prompt: Text that describes the sound.
        start_frame: As in StripSnapshot.
        frames: As in StripSnapshot.
        content_start_frame: As in StripSnapshot.
        rate: Frame rate of the scene.
        source_start_s: Start of the range, in seconds from the media's first frame.
        source_duration_s: Duration of the range in seconds.
        media_frames: Frames of the whole media.
        media_rate: Frame rate of the media.
        muted: Whether the strip is muted.
        proxy: Set if the media is a movie that Blender renders of what the strip shows.
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
    proxy: Proxy | None = None

    @property
    def source_path(self) -> str:
        """Absolute path of the strip's own movie, "" if it has none."""
        return self.path if self.proxy is None else self.proxy.source


@dataclass(frozen=True)
class Refusal:
    """Why a strip cannot get sound, and what to do about it."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}"
