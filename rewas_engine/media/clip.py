"""Clips: ranges of media files and image sequences, at any speed."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from rewas_engine.errors import SettingsError
from rewas_engine.exact_time import Seconds, exact_seconds
from rewas_engine.media.image_sequence import ImageSequence

MAX_SPEED = 10_000
"""Higher speeds are treated as mistakes."""


@dataclass(frozen=True, init=False)
class VideoClip:
    """A range of a media file or an image sequence, at any speed.

    Attributes:
        path: The media file. For an image sequence, any name in the folder of its pictures.
        start_s: Start of the clip, in seconds from the first frame of the media, at least 0.
        duration_s: Seconds as shown, above 0. None means up to the end of the media, or its start if backwards.
        speed: Seconds of the media in one second as shown: 1 is normal speed, 0 a freeze frame, below 0 backwards.
        sequence: The image sequence, if the clip shows one.
        name: Name of the clip in messages. The default is the file name.
        sha256: SHA-256 of the file, if it is known and the file never changes; "" otherwise. With it, cached results
            for the clip are found even if the file is copied or moved.

    Raises:
        SettingsError: The start is negative, the duration is not positive, the clip begins before the media, or the
            speed is not finite.
    """

    path: Path
    start_s: Fraction
    duration_s: Fraction | None
    name: str
    sha256: str
    speed: Fraction
    sequence: ImageSequence | None

    def __init__(
        self,
        path: str | Path,
        *,
        start: Seconds = 0,
        duration: Seconds | None = None,
        name: str | None = None,
        sha256: str = "",
        speed: Fraction | int | float | str = 1,
        sequence: ImageSequence | None = None,
    ) -> None:
        object.__setattr__(self, "path", Path(path))
        object.__setattr__(self, "sequence", sequence)
        object.__setattr__(self, "name", name or Path(path).name)
        object.__setattr__(self, "sha256", sha256)
        object.__setattr__(self, "start_s", exact_seconds(start, f"The start of {self.name}"))
        object.__setattr__(
            self, "duration_s", None if duration is None else exact_seconds(duration, f"The duration of {self.name}")
        )
        object.__setattr__(self, "speed", exact_speed(speed, f"The speed of {self.name}"))
        if self.start_s < 0:
            raise SettingsError(
                f"The start of {self.name} is negative ({float(self.start_s):g} s).", "Give a start of 0 s or later."
            )
        if self.duration_s is not None and self.duration_s <= 0:
            raise SettingsError(
                f"The duration of {self.name} is not positive ({float(self.duration_s):g} s).",
                "Give a duration above 0 s.",
            )
        if self.duration_s is not None and self.start_s + self.duration_s * self.speed < 0:
            raise SettingsError(
                f"{self.name} runs backwards from {float(self.start_s):g} s for {float(self.duration_s):g} s at "
                f"{_percent(self.speed)}, which goes beyond the start of its media.",
                "Start it later, or shorten it.",
            )


def exact_speed(value: Fraction | int | float | str, what: str) -> Fraction:
    """Convert a speed to an exact fraction. A float stands for the decimal number that it prints as.

    Args:
        value: Seconds of the media in one second as shown.
        what: Subject of the error message, such as "The speed of shot.mov".

    Raises:
        SettingsError: The value is not a finite number or exceeds MAX_SPEED.
    """
    try:
        speed = Fraction(str(value)) if isinstance(value, float) else Fraction(value)
    except (ValueError, ZeroDivisionError, OverflowError, TypeError) as error:
        raise SettingsError(f"{what} is not a number ({value!r}).", "Give a number. 1 is normal speed.") from error
    if abs(speed) > MAX_SPEED:
        raise SettingsError(f"{what} is {_percent(speed)}.", f"Give at most {_percent(Fraction(MAX_SPEED))}.")
    return speed


def _percent(speed: Fraction) -> str:
    return f"{float(100 * speed):g} %"
