"""Pictures that pass by: read when they are asked for, and forgotten once they are behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class FrameSequence(Protocol):
    """Pictures in order; an array of them is such a thing. A slice of them is [N, height, width] or with colours."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> NDArray[np.uint8]: ...


class FrameStream:
    """Pictures of a range of any length, of which no more are held than one slice of them.

    pictures: each [height, width] or [height, width, 3]. count: how many there are.
    """

    def __init__(self, pictures: Iterator[NDArray[np.uint8]], count: int) -> None:
        self._coming, self._count = pictures, count
        self._held: list[NDArray[np.uint8]] = []
        self._first = 0
        self.read_s = 0.0
        """Seconds that reading them has taken."""

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, part: slice, /) -> NDArray[np.uint8]:
        """Pictures [N, …] of a slice that begins no earlier than the one before it. What they raise comes through."""
        began_s = time.monotonic()
        start, stop, step = part.indices(self._count)
        if step != 1 or start < self._first:
            raise IndexError(f"pictures {part} have passed")
        read = self._first + len(self._held)
        del self._held[: start - self._first]
        # Where a slice begins beyond what was read, what lies between passes unseen.
        for number in range(read, stop):
            picture = next(self._coming)
            if number >= start:
                self._held.append(picture)
        self._first = start
        self.read_s += time.monotonic() - began_s
        return np.stack(self._held[: stop - start])
