"""Frames that are decoded on access and dropped afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class FrameSequence(Protocol):
    """Frames in order, such as an array. A slice is `[N, height, width]` or `[N, height, width, 3]`."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> NDArray[np.uint8]: ...


class FrameStream:
    """Frames of a range of any length, of which only the last slice is kept in memory."""

    def __init__(self, frames: Iterator[NDArray[np.uint8]], count: int) -> None:
        self._coming, self._count = frames, count
        self._held: list[NDArray[np.uint8]] = []
        self._first = 0
        self.read_s = 0.0
        """Seconds spent on decoding."""

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, part: slice, /) -> NDArray[np.uint8]:
        """Frames `[N, …]` of a slice, which must not start before the previous slice."""
        began_s = time.monotonic()
        start, stop, step = part.indices(self._count)
        if step != 1 or start < self._first:
            raise IndexError(f"frames {part} have been dropped")
        read = self._first + len(self._held)
        del self._held[: start - self._first]
        # Frames between the previous slice and this one are skipped.
        for number in range(read, stop):
            frame = next(self._coming)
            if number >= start:
                self._held.append(frame)
        self._first = start
        self.read_s += time.monotonic() - began_s
        return np.stack(self._held[: stop - start])
