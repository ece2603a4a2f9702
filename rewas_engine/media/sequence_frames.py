"""Read the frames of an image sequence as they are shown."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.errors import Cancelled, MediaError
from rewas_engine.media.container import decode_frames, open_media
from rewas_engine.media.decoded_frame import DecodedFrame, FrameFormat, blend
from rewas_engine.media.display import ActiveArea, find_active_area, prepare_frames, quarter_turns
from rewas_engine.media.formats import is_still_format
from rewas_engine.media.image_sequence import ImageSequence
from rewas_engine.media.shown_range import ShownRange
from rewas_engine.runtime.progress import CancelSignal

_BAR_SAMPLES = 5
"""Number of pictures of a range that are searched for black bars."""
_KEPT_PICTURES = 2


def probe_picture(folder: Path, sequence: ImageSequence) -> tuple[int, int]:
    """Return the width and height of the first picture of a sequence that exists. Raises MediaError."""
    sequence.check_complete(folder, range(1))
    for index in range(sequence.count):
        if (folder / sequence.file_name(index)).is_file():
            picture = _decode(folder / sequence.file_name(index))
            is_sideways = quarter_turns(picture) % 2
            return (picture.height, picture.width) if is_sideways else (picture.width, picture.height)
    raise sequence.missing_error(folder, sequence.file_name(0))


def sequence_frames(
    folder: Path, sequence: ImageSequence, shown: ShownRange, wanted: FrameFormat, cancel: CancelSignal | None
) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a range of a sequence, as `rewas_engine.media.video.iter_frames` does for a file.

    Raises:
        MediaError: A picture is missing or cannot be read.
        Cancelled: The caller asked to stop.
    """
    begin_s, end_s = shown.media_range_s
    pictures = _Pictures(folder, sequence, wanted, begin_s, end_s)
    blends = 0 < shown.media_step_s * sequence.picture_rate * 2 < 1
    for number in range(shown.count):
        if cancel is not None and cancel.is_set():
            raise Cancelled
        time_s = shown.media_time_s(number, sequence.picture_rate)
        index = sequence.index_at(time_s)
        if shown.is_averaged:
            yield pictures.average(time_s, shown.media_step_s / 2)
        elif blends and index + 1 < sequence.count:
            share = float(min(max(time_s * sequence.picture_rate - index, Fraction(0)), Fraction(1)))
            yield blend(pictures.read(index), pictures.read(index + 1), share)
        else:
            yield pictures.read(index)


class _Pictures:
    """The pictures of a sequence, scaled. The most recent ones are kept."""

    def __init__(
        self, folder: Path, sequence: ImageSequence, wanted: FrameFormat, begin_s: Fraction, end_s: Fraction
    ) -> None:
        self._folder, self._sequence, self._wanted = folder, sequence, wanted
        self._kept: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        sampled = {sequence.index_at(begin_s + (end_s - begin_s) * part / _BAR_SAMPLES) for part in range(_BAR_SAMPLES)}
        frames = [_decode(file) for index in sorted(sampled) if (file := self._file(index)) is not None]
        self._area: ActiveArea | None = find_active_area(frames) if frames else None

    def read(self, index: int) -> NDArray[np.uint8]:
        """Return a picture, or what is shown in its place."""
        if index not in self._kept:
            file = self._file(index)
            self._kept[index] = np.zeros(self._wanted.shape, np.uint8) if file is None else self._scaled(file)
            if len(self._kept) > _KEPT_PICTURES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(index)
        return self._kept[index]

    def average(self, time_s: Fraction, half_s: Fraction) -> NDArray[np.uint8]:
        """Return the average of the pictures that begin near a time."""
        rate = self._sequence.picture_rate
        first = max(math.ceil((time_s - half_s) * rate), 0)
        last = min(math.ceil((time_s + half_s) * rate), self._sequence.count)
        if last <= first:
            return self.read(self._sequence.index_at(time_s))
        total = np.zeros(self._wanted.shape, np.uint32)
        for index in range(first, last):
            total += self.read(index)
        return np.asarray((total + (last - first) // 2) // (last - first), np.uint8)

    def _file(self, index: int) -> Path | None:
        """File that is shown for a picture; None means black."""
        file = self._folder / self._sequence.file_name(index)
        if file.is_file():
            return file
        if self._sequence.missing == "error":
            raise self._sequence.missing_error(self._folder, file.name)
        if self._sequence.missing == "black":
            return None
        others = (*range(index - 1, -1, -1), *range(index + 1, self._sequence.count))
        names = (self._folder / self._sequence.file_name(other) for other in others)
        return next((name for name in names if name.is_file()), None)

    def _scaled(self, file: Path) -> NDArray[np.uint8]:
        frame = _decode(file)
        area = self._area or ActiveArea.of(frame)
        return DecodedFrame(next(iter(prepare_frames([frame], area)))).pixels(self._wanted)


def _decode(path: Path) -> Any:
    """Decode a picture. Raises MediaError."""
    with open_media(path) as container:
        if not is_still_format(container.format.name) or not container.streams.video:
            raise MediaError(
                f"{path.name} is part of an image sequence, but it is not a picture.", "Render the sequence again."
            )
        frame = next(decode_frames(container, container.streams.video[0], path), None)
        if frame is None:
            raise MediaError(f"The picture {path.name} cannot be decoded.", "Render it again.")
        return frame
