"""Read the sound of planned strikes, in parts of any length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rewas_engine.recordings.index import LibraryIndex
from rewas_engine.recordings.reading import RecordingReader
from rewas_engine.recordings.striking import LONGEST_VARIED_S, Strike

FloatArray = NDArray[np.float32]
END_FADE_S = 0.005


class StrikeSound:
    """The sum of all strikes of a performance. Reading a part takes time only for the strikes in it.

    Args:
        index: Index of the library.
        strikes: The strikes.
        reader: Reads them at the rate and with the channels of the performance.
    """

    def __init__(self, index: LibraryIndex, strikes: Sequence[Strike], reader: RecordingReader) -> None:
        self._index, self._reader = index, reader
        spans = [self._span(strike) for strike in strikes]
        order = sorted(range(len(spans)), key=lambda number: spans[number][0])
        self._strikes = [strikes[number] for number in order]
        self._starts = np.array([spans[number][0] for number in order], np.int64)
        self._ends = np.array([spans[number][2] for number in order], np.int64)
        self._longest = int((self._ends - self._starts).max(initial=0))

    def sounds_in(self, begin: int, end: int) -> bool:
        """Whether a strike sounds in the samples [begin, end)."""
        return bool(self._sounding(begin, end).size)

    def read(self, begin: int, end: int) -> FloatArray:
        """Samples [begin, end), `[channels, end - begin]`. Raises MediaError."""
        sound = np.zeros((self._reader.channels, end - begin), np.float32)
        rate_hz = self._reader.rate_hz
        for number in self._sounding(begin, end).tolist():
            strike = self._strikes[number]
            start, onset, stop = self._span(strike)
            first, last = max(begin, start), min(end, stop)
            gains = np.exp(strike.gains_nats(np.arange(first, last) / rate_hz)).astype(np.float32)
            fade = max(1, min((stop - start) // 2, round(END_FADE_S * rate_hz)))
            tail = max(first, stop - fade)
            gains[tail - first :] *= np.sin((stop - np.arange(tail, last)) / fade * (np.pi / 2)).astype(np.float32)
            sound[:, first - begin : last - begin] += self._samples(strike, start, onset, stop, first, last) * gains
        return sound

    def _sounding(self, begin: int, end: int) -> NDArray[np.int64]:
        """Numbers of the strikes that sound in the samples [begin, end)."""
        low, high = np.searchsorted(self._starts, [begin - self._longest, end])
        return np.asarray(low + np.flatnonzero(self._ends[low:high] > begin), np.int64)

    def _span(self, strike: Strike) -> tuple[int, int, int]:
        """Start, onset and end of a strike in samples of the performance."""
        recording, length = self._index.events[strike.event].recording, self._reader.samples_at_rate
        onset = round(strike.onset_s * self._reader.rate_hz)
        before = length(recording, strike.onset_sample - strike.start_sample, strike.speed)
        after = length(recording, strike.end_sample - strike.onset_sample, strike.speed)
        return onset - before, onset, onset + after

    def _samples(self, strike: Strike, start: int, onset: int, stop: int, first: int, last: int) -> FloatArray:
        recording = self._index.events[strike.event].recording
        if stop - start > LONGEST_VARIED_S * self._reader.rate_hz:
            return self._reader.read(recording, strike.onset_sample, first - onset, last - onset, speed=strike.speed)
        # Read it as a whole, so that the next strike with this sound finds it in the cache.
        whole = self._reader.read(recording, strike.onset_sample, start - onset, stop - onset, speed=strike.speed)
        return whole[:, first - start : last - start]
