# SPDX-License-Identifier: GPL-3.0-or-later
"""Images whose names differ by a frame number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

_NUMBER = re.compile(r"(?P<prefix>.*?)(?P<number>\d+)(?P<suffix>\D*)", re.DOTALL)


@dataclass(frozen=True)
class NumberedImages:
    """Images in one folder, such as shot.0001.png to shot.0100.png. digits: width of the number with its zeros."""

    folder: str
    prefix: str
    suffix: str
    first: int
    step: int
    digits: int
    count: int

    def paths(self) -> tuple[str, ...]:
        """Return the path of each image."""
        folder = PurePath(self.folder)
        numbers = range(self.first, self.first + self.step * self.count, self.step)
        return tuple(str(folder / f"{self.prefix}{number:0{self.digits}d}{self.suffix}") for number in numbers)


def numbered_images(files: Sequence[str]) -> NumberedImages | None:
    """Return how the files are numbered, or None if they are not. A single image is not a sequence."""
    if len(files) < 2:
        return None
    folder, name = PurePath(files[0]).parent, PurePath(files[0]).name
    first, second = _NUMBER.fullmatch(name), _NUMBER.fullmatch(PurePath(files[1]).name)
    if first is None or second is None:
        return None
    step = int(second["number"]) - int(first["number"])
    if step < 1:
        return None
    digits = len(first["number"]) if first["number"].startswith("0") else 0
    found = NumberedImages(
        str(folder), first["prefix"], first["suffix"], int(first["number"]), step, digits, len(files)
    )
    return found if found.paths() == tuple(files) else None
