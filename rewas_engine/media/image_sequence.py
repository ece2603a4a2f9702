"""Image sequences: numbered pictures in a folder, shown one after another."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from rewas_engine.errors import MediaError, SettingsError
from rewas_engine.media.isolation.seam import record

MissingPictures = Literal["error", "hold", "black"]
"""What is shown in place of a missing picture: nothing, which is an error, the picture before it, or black."""
MAX_PICTURES = 2**24


@record
@dataclass(frozen=True)
class ImageSequence:
    """The names and times of the pictures of a sequence. The clip has their folder.

    Picture `index` (from 0) is shown from `index / picture_rate` on.

    Attributes:
        prefix: Part of each file name before the number.
        suffix: Part after the number, with the extension.
        start_number: Number of the first picture.
        step: Difference between the numbers of two consecutive pictures, at least 1.
        digits: Minimum number of digits; shorter numbers are padded with zeros.
        picture_rate: Pictures per second, exact.
        count: Number of pictures, including missing ones.
        missing: What is shown in place of a missing picture.

    Raises:
        SettingsError: A value is out of range, or a name contains a folder.
    """

    prefix: str
    suffix: str
    start_number: int
    step: int
    digits: int
    picture_rate: Fraction
    count: int
    missing: MissingPictures = "error"

    def __post_init__(self) -> None:
        if any(character in self.prefix + self.suffix for character in "/\\\0"):
            raise SettingsError(
                f"The names of the pictures of the image sequence {self.pattern!r} contain a folder.",
                "Give the folder separately.",
            )
        is_counted = 0 < self.count <= MAX_PICTURES and self.step > 0 and 0 <= self.digits <= 32
        if not is_counted or self.picture_rate <= 0:
            raise SettingsError(
                f"The image sequence {self.pattern} has {self.count} pictures, {float(self.picture_rate):g} per second,"
                f" with numbers of {self.digits} digits in steps of {self.step}.",
                f"Use 1 to {MAX_PICTURES} pictures, a rate above 0, up to 32 digits, and a step of at least 1.",
            )

    @property
    def pattern(self) -> str:
        """File name with a # for each digit, such as "shot.####.exr"."""
        return f"{self.prefix}{'#' * max(1, self.digits)}{self.suffix}"

    @property
    def duration_s(self) -> Fraction:
        """Time from the first picture to the end of the last, in seconds."""
        return self.count / self.picture_rate

    def file_name(self, index: int) -> str:
        """File name of a picture. index: from 0."""
        number = self.start_number + index * self.step
        sign = "-" if number < 0 else ""
        return f"{self.prefix}{sign}{abs(number):0{self.digits}d}{self.suffix}"

    def index_at(self, time_s: Fraction) -> int:
        """Index of the picture that is shown at a time, in seconds from the first. It stays within the sequence."""
        return min(max(math.floor(time_s * self.picture_rate), 0), self.count - 1)

    def paths(self, folder: Path, start_s: Fraction, end_s: Fraction) -> list[Path]:
        """Files of the pictures that are shown in a range, whether they exist or not."""
        first, last = self.index_at(start_s), self.index_at(end_s - Fraction(1, 10**9))
        return [folder / self.file_name(index) for index in range(first, max(first, last) + 1)]

    def check_complete(self, folder: Path, indexes: Iterable[int]) -> None:
        """Raise MediaError for the first missing picture, unless the sequence says what is shown instead."""
        if self.missing != "error":
            return
        for index in indexes:
            if not (folder / self.file_name(index)).is_file():
                raise self.missing_error(folder, self.file_name(index))

    def missing_error(self, folder: Path, file_name: str) -> MediaError:
        """Return the error for a missing picture."""
        return MediaError(
            f"The picture {file_name} of the image sequence {folder / self.pattern} does not exist.",
            "Render it, or set the sequence to hold the picture before it.",
        )
