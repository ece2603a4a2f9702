"""Read parts of sound files in which a decoder cannot seek exactly."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rewas_engine.recordings.sound_blocks import open_blocks

INEXACT_SUBTYPES = frozenset({"MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III", "OPUS", "VORBIS"})
"""Formats of libsndfile in which seeking lands up to a few hundred samples from the wanted position."""
KEPT_BYTES = 16 * 1024**2
"""Size of the decoded sound that is kept, so that a slightly earlier part can be read without decoding again."""

FloatArray = NDArray[np.float32]


class ForwardReader:
    """Decodes a sound file from its beginning, and starts again for a part that is no longer kept.

    Args:
        path: The file.
        channels: Number of its channels.
    """

    def __init__(self, path: Path, channels: int) -> None:
        self.path, self.channels = path, channels
        self._opened = ExitStack()
        self._coming: Iterator[FloatArray] = iter(())
        self._kept: deque[FloatArray] = deque()
        self._first, self._end = 0, 0
        self._is_begun = False

    def close(self) -> None:
        """Close the file and drop the kept sound."""
        self._opened.close()
        self._coming = iter(())
        self._kept.clear()
        self._first, self._end, self._is_begun = 0, 0, False

    def read(self, start: int, stop: int) -> FloatArray:
        """Read the samples [start, stop), or as many of them as there are: `[samples, channels]`.

        Raises:
            MediaError: The file cannot be decoded.
        """
        if not self._is_begun or start < self._first:
            self.close()
            self._coming = self._opened.enter_context(open_blocks(self.path)).blocks
            self._is_begun = True
        while self._end < stop and (block := next(self._coming, None)) is not None:
            self._kept.append(block)
            self._end += len(block)
            self._drop(start)
        found, place = [np.zeros((0, self.channels), np.float32)], self._first
        for block in self._kept:
            found.append(block[max(0, start - place) : max(0, stop - place)])
            place += len(block)
        return np.concatenate(found)

    def _drop(self, needed_from: int) -> None:
        """Drop the earliest blocks beyond KEPT_BYTES, except those that are needed."""
        size = (self._end - self._first) * self.channels * 4
        while size > KEPT_BYTES and self._first + len(self._kept[0]) <= needed_from:
            size -= self._kept[0].nbytes
            self._first += len(self._kept.popleft())
