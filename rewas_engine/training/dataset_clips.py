"""Clips of data sets of video with sound: ranges of files, with captions."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from rewas_engine.errors import MediaError
from rewas_engine.media.video import probe_video
from rewas_engine.recordings.captions import LeftOut
from rewas_engine.recordings.files import VIDEO_SUFFIXES

CLIP_S = Fraction(10)
"""Maximum length of a clip, as in VGGSound and AudioSet. Longer videos are cut into several clips."""


@dataclass(frozen=True)
class DatasetClip:
    """A range of a video, and its caption.

    Attributes:
        name: Unique within the data set.
        video: Video file.
        sound: Sound file, often the video file itself.
        start_s: Start in seconds from the first frame.
        duration_s: Maximum duration; a clip that would extend beyond the end starts earlier.
        caption: Description of the sound.
        is_held_out: Whether training must not use it.
    """

    name: str
    video: Path
    sound: Path
    start_s: Fraction
    duration_s: Fraction
    caption: str
    is_held_out: bool


@dataclass(frozen=True)
class Dataset:
    """The clips of a data set, ordered by name, and the files and lines that were left out."""

    clips: tuple[DatasetClip, ...]
    left_out: tuple[LeftOut, ...]


def read_duration_s(video: Path, name: str, left_out: list[LeftOut]) -> Fraction | None:
    """Duration of a video; None, with an entry in left_out, if it cannot be read."""
    try:
        return probe_video(video).duration_s
    except MediaError as error:
        left_out.append(LeftOut(name, error.what.removesuffix(".")))
        return None


def list_videos(folder: Path) -> list[Path]:
    """Video files below a folder; links out of the folder are ignored."""
    inside = folder.resolve()
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in VIDEO_SUFFIXES
        and not path.name.startswith(".")
        and path.is_file()
        and path.resolve().is_relative_to(inside)
    ]
