"""Clips: ranges of media files."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from rewas_engine.errors import SettingsError
from rewas_engine.exact_time import Seconds, exact_seconds


@dataclass(frozen=True, init=False)
class VideoClip:
    """A range of a media file.

    Attributes:
        path: The media file.
        start_s: Seconds from the first frame of the media, at least 0.
        duration_s: Seconds, above 0. None is up to the end of the media.
        name: Name of the clip in messages. The default is the file name.

    Raises:
        SettingsError: The start is negative, or the duration is not positive.
    """

    path: Path
    start_s: Fraction
    duration_s: Fraction | None
    name: str

    def __init__(
        self, path: str | Path, *, start: Seconds = 0, duration: Seconds | None = None, name: str | None = None
    ) -> None:
        object.__setattr__(self, "path", Path(path))
        object.__setattr__(self, "name", name or Path(path).name)
        object.__setattr__(self, "start_s", exact_seconds(start, f"The start of {self.name}"))
        object.__setattr__(
            self, "duration_s", None if duration is None else exact_seconds(duration, f"The duration of {self.name}")
        )
        if self.start_s < 0:
            raise SettingsError(
                f"The start of {self.name} is negative ({float(self.start_s):g} s).", "Give a start of 0 s or later."
            )
        if self.duration_s is not None and self.duration_s <= 0:
            raise SettingsError(
                f"The duration of {self.name} is not positive ({float(self.duration_s):g} s).",
                "Give a duration above 0 s.",
            )
