"""Read parts of recordings at any rate and with any number of channels."""

from __future__ import annotations

from collections import OrderedDict
from fractions import Fraction

import numpy as np
import soundfile
import soxr
from cachetools import LRUCache
from numpy.typing import NDArray

from rewas_engine.errors import MediaError
from rewas_engine.media.audio import ChannelPowers
from rewas_engine.recordings.file_state import content_of
from rewas_engine.recordings.forward_reading import INEXACT_SUBTYPES, ForwardReader
from rewas_engine.recordings.index import LibraryIndex, Recording

FloatArray = NDArray[np.float32]
CACHE_BYTES = 64 * 1024**2
"""Size of the sound that is kept between reads."""
MAX_OPEN_FILES = 8
RESAMPLER_MARGIN_SAMPLES = 256
"""Samples of the recording that are read before and after a part, so that the resampler settles."""
_LARGEST_STEP_SAMPLES = 4096
_MAKE_AGAIN = "Restore the file, or make the library again."


class RecordingReader:
    """Reads parts of the recordings of a library.

    A recording with the wanted number of channels keeps them. One channel is copied to all. Several channels become one
    by their mean, or by a mix that keeps their power if they cancel each other out. Otherwise, the first ones are used.

    Args:
        index: Index of the library.
        rate_hz: Sample rate of the results.
        channels: Channels of the results.
    """

    def __init__(self, index: LibraryIndex, *, rate_hz: int, channels: int) -> None:
        self.index, self.rate_hz, self.channels = index, rate_hz, channels
        self._checked: set[int] = set()
        self._open: OrderedDict[int, soundfile.SoundFile | ForwardReader] = OrderedDict()
        self._parts: LRUCache[tuple[object, ...], FloatArray] = LRUCache(
            CACHE_BYTES, getsizeof=lambda part: part.nbytes
        )

    def close(self) -> None:
        """Close the files that are still open."""
        while self._open:
            self._open.popitem()[1].close()

    def __enter__(self) -> RecordingReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def samples_at_rate(self, recording: int, samples: int, speed: Fraction = Fraction(1)) -> int:
        """Length of a number of samples of a recording at the rate of the results, rounded down."""
        return int(samples * self.rate_hz / (self.index.recordings[recording].sample_rate_hz * speed))

    def read(
        self, recording: int, origin_sample: int, first: int, last: int, *, speed: Fraction = Fraction(1)
    ) -> FloatArray:
        """Read a part of a recording.

        Sample k of the result's grid lies k / rate_hz seconds after the origin, so parts that are read one after the
        other continue each other. Beyond the recording there is silence.

        Args:
            recording: Index of the recording.
            origin_sample: Sample of the recording at which the grid begins.
            first, last: The part [first, last) of the grid.
            speed: Playback speed, which changes the pitch. Positions on the grid are rounded to half a sample unless it
                is 1.

        Returns:
            `[channels, last - first]`; do not change it.

        Raises:
            MediaError: The file is missing, has changed or cannot be read.
        """
        key = (recording, origin_sample, first, last, speed)
        if key not in self._parts:
            part = self._read(recording, origin_sample, first, last, speed)
            if part.nbytes > self._parts.maxsize // 4:
                return part
            self._parts[key] = part
        found: FloatArray = self._parts[key]
        return found

    def _read(self, recording: int, origin_sample: int, first: int, last: int, speed: Fraction) -> FloatArray:
        source_hz = self.index.recordings[recording].sample_rate_hz * speed
        if source_hz == self.rate_hz:
            return self._mapped(self._source(recording, origin_sample + first, origin_sample + last))
        ratio = Fraction(source_hz) / self.rate_hz
        # Whole steps of both grids coincide, so the resampled parts continue each other.
        step = ratio.numerator if ratio.numerator <= _LARGEST_STEP_SAMPLES else 1
        begin = int(first * ratio) // step * step - -(-RESAMPLER_MARGIN_SAMPLES // step) * step
        end = int(last * ratio) + RESAMPLER_MARGIN_SAMPLES
        source = self._mapped(self._source(recording, origin_sample + begin, origin_sample + end))
        resampled = soxr.resample(source.T, float(source_hz), self.rate_hz, quality="HQ").T
        skipped = first - round(begin / ratio)
        return np.ascontiguousarray(resampled[:, skipped : skipped + last - first], np.float32)

    def _source(self, recording: int, begin: int, end: int) -> FloatArray:
        """Samples `[channels of the recording, end - begin]`, silent beyond the recording."""
        row = self.index.recordings[recording]
        found = np.zeros((row.channels, end - begin), np.float32)
        start, stop = max(0, begin), min(row.samples, end)
        if start >= stop:
            return found
        try:
            file = self._opened(recording, row)
            if isinstance(file, ForwardReader):
                samples = file.read(start, stop)
            else:
                file.seek(start)
                samples = file.read(stop - start, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, OSError) as error:
            raise MediaError(f"The recording {row.path} cannot be read ({error}).", _MAKE_AGAIN) from error
        if samples.shape != (stop - start, row.channels) or not np.isfinite(samples).all():
            raise MediaError(f"The recording {row.path} is damaged.", _MAKE_AGAIN)
        found[:, start - begin : stop - begin] = samples.T
        return found

    def _mapped(self, samples: FloatArray) -> FloatArray:
        """The wanted channels of samples `[channels of the recording, N]`."""
        count = len(samples)
        if count == self.channels:
            return samples
        if count == 1:
            return np.broadcast_to(samples, (self.channels, samples.shape[1]))
        if self.channels == 1:
            return mono_mix(samples)[None]
        mapped = np.zeros((self.channels, samples.shape[1]), np.float32)
        mapped[:count] = samples[: self.channels]
        return mapped

    def _opened(self, recording: int, row: Recording) -> soundfile.SoundFile | ForwardReader:
        """The open file of a recording."""
        if recording not in self._checked:
            check_unchanged(row)
            self._checked.add(recording)
        if recording not in self._open:
            if len(self._open) >= MAX_OPEN_FILES:
                self._open.popitem(last=False)[1].close()
            self._open[recording] = _open(row)
        self._open.move_to_end(recording)
        return self._open[recording]


def mono_mix(samples: FloatArray) -> FloatArray:
    """The mean `[N]` of channels `[channels, N]`, or a mix that keeps their power if they cancel each other out."""
    powers = ChannelPowers()
    powers.add(samples)
    weights = powers.weights().get(len(samples))
    return np.asarray(samples.mean(axis=0) if weights is None else weights.astype(np.float32) @ samples, np.float32)


def _open(recording: Recording) -> soundfile.SoundFile | ForwardReader:
    """Open the file of a recording, with libsndfile if it knows the format and seeks exactly in it."""
    try:
        file = soundfile.SoundFile(recording.path)
    except (soundfile.LibsndfileError, TypeError):
        return ForwardReader(recording.path, recording.channels)
    if file.subtype not in INEXACT_SUBTYPES:
        return file
    file.close()
    return ForwardReader(recording.path, recording.channels)


def check_unchanged(recording: Recording) -> None:
    """Raise MediaError if the file of a recording is missing or has changed since it was indexed."""
    try:
        state = recording.path.stat()
    except OSError as error:
        raise MediaError(f"The recording {recording.path} is missing.", _MAKE_AGAIN) from error
    if state.st_size == recording.size_bytes and state.st_mtime_ns == recording.modified_ns:
        return
    # A copied or restored file has a different time but the same content.
    if state.st_size == recording.size_bytes and content_of(recording.path) == recording.content:
        return
    raise MediaError(f"The recording {recording.path} has changed since the library was made.", _MAKE_AGAIN)
