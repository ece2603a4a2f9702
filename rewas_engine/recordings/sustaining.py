"""Lay steady sound from stretches of recordings, end to end, without audible joints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import fftconvolve

from rewas_engine.recordings.index import LibraryIndex
from rewas_engine.recordings.profiles import FRAME_RATE_HZ
from rewas_engine.recordings.reading import RecordingReader

FloatArray = NDArray[np.float32]
SHORT_FADE_S, LONG_FADE_S = 0.06, 0.3
"""Crossfades of sounds that agree in phase, and of those that do not."""
PHASE_CORRELATION = 0.6
SEARCH_S = 0.02
"""The start of the next part is moved by up to this much, so that the waveforms agree."""
CANDIDATES = 6
MAX_PART_S = 12.0
"""A longer stretch gives way to another one after this time, if there is another."""
INTENSITY_WINDOW_S = 1.0
INTENSITY_STEP_NATS = 0.7
"""Smallest difference in level by which stretches count as lighter or heavier."""
MIN_PART_S = 1.0
_MIN_CORRELATION = -0.8


@dataclass(frozen=True)
class LaidPart:
    """A part of a stretch in a performance. Parts overlap by the fade of the later one.

    Attributes:
        stretch: Index of the stretch.
        origin_sample: Where the part begins, in samples of the recording.
        start, end: Where it sounds, in samples of the performance.
        fade: Length of the crossfade with the part before; 0 for the first part.
        correlation: Correlation of the two parts in the crossfade.
        gain: Factor that brings the stretch to the common level.
    """

    stretch: int
    origin_sample: int
    start: int
    end: int
    fade: int
    correlation: float
    gain: float


class StretchLayer:
    """Plans and reads a continuous sound of stretches.

    Args:
        index: Index of the library.
        stretches: Indices of the stretches that may be used.
        reader: Reads them at the rate and with the channels of the performance.
        energy_nats: The curve at FRAME_RATE_HZ, `[T]`.
        samples: Length of the performance.
        rng: Source of all random decisions.
    """

    def __init__(
        self,
        index: LibraryIndex,
        stretches: Sequence[int],
        reader: RecordingReader,
        energy_nats: FloatArray,
        samples: int,
        rng: np.random.Generator,
    ) -> None:
        self._index, self._reader, self._rng = index, reader, rng
        self._stretches = list(stretches)
        self._levels = np.array([index.stretches[one].level_nats for one in stretches])
        self._level_nats = float(self._levels.max())
        window = max(1, round(INTENSITY_WINDOW_S * FRAME_RATE_HZ))
        self._slow_nats = uniform_filter1d(energy_nats.astype(np.float64), window, mode="nearest")
        self._top_nats = float(self._slow_nats.max())
        self.parts = self._plan(samples)

    @property
    def joints(self) -> list[int]:
        """Samples of the performance at the middle of each crossfade."""
        return [part.start + part.fade // 2 for part in self.parts[1:]]

    def sounds_in(self, begin: int, end: int) -> bool:
        """Whether the layer sounds in the samples [begin, end): it always does."""
        return end > begin

    def read(self, begin: int, end: int) -> FloatArray:
        """Samples [begin, end) of the layer, `[channels, end - begin]`."""
        sound = np.zeros((self._reader.channels, end - begin), np.float32)
        for place, part in enumerate(self.parts):
            first, last = max(begin, part.start), min(end, part.end)
            if first >= last:
                continue
            recording = self._index.stretches[part.stretch].recording
            piece = self._reader.read(recording, part.origin_sample, first - part.start, last - part.start) * part.gain
            if part.fade and first < part.start + part.fade:
                piece = piece * _fade(first - part.start, last - part.start, part.fade, part.correlation, rising=True)
            following = self.parts[place + 1] if place + 1 < len(self.parts) else None
            if following is not None and last > following.start:
                shift = following.start
                piece = piece * _fade(first - shift, last - shift, following.fade, following.correlation, rising=False)
            sound[:, first - begin : last - begin] += piece
        return sound

    def _plan(self, samples: int) -> list[LaidPart]:
        parts: list[LaidPart] = []
        while not parts or parts[-1].end < samples:
            parts.append(self._next_part(parts))
        return parts

    def _next_part(self, parts: list[LaidPart]) -> LaidPart:
        rate_hz = self._reader.rate_hz
        time_s = parts[-1].end / rate_hz if parts else 0.0
        stretch = self._choose_stretch(time_s, parts[-1].stretch if parts else None)
        row = self._index.stretches[stretch]
        source_hz = self._index.recordings[row.recording].sample_rate_hz
        gain = float(np.exp(self._level_nats - row.level_nats))
        length = row.loop_end_sample - row.loop_start_sample
        if not parts:
            origin = row.start_sample
            if len(self._stretches) > 1 or length > 4 * source_hz:
                origin += int(self._rng.integers(0, max(1, (row.end_sample - row.start_sample) // 2)))
            available = self._reader.samples_at_rate(row.recording, row.end_sample - origin)
            return LaidPart(stretch, origin, 0, self._part_length(available, time_s), 0, 0.0, gain)
        before = parts[-1]
        origin, correlation = self._matching_origin(before, stretch)
        available = self._reader.samples_at_rate(row.recording, row.end_sample - origin)
        fade_s = SHORT_FADE_S if correlation >= PHASE_CORRELATION else LONG_FADE_S
        fade = max(1, min(round(fade_s * rate_hz), available // 3, (before.end - before.start - before.fade) // 2))
        start = before.end - fade
        return LaidPart(stretch, origin, start, start + self._part_length(available, time_s), fade, correlation, gain)

    def _part_length(self, available: int, time_s: float) -> int:
        """Samples until the next joint: as long as possible, unless the intensity changes or variety is possible."""
        rate_hz = self._reader.rate_hz
        if len(self._stretches) == 1:
            return max(1, available)
        longest = min(available, round(MAX_PART_S * float(self._rng.uniform(0.5, 1.0)) * rate_hz))
        first = min(int(time_s * FRAME_RATE_HZ), self._slow_nats.size - 1)
        soon = self._slow_nats[first : first + round(MAX_PART_S * FRAME_RATE_HZ) + 1]
        moved = np.abs(soon - soon[0]) > INTENSITY_STEP_NATS
        if self._has_intensities and moved.any():
            longest = min(
                longest, max(round(int(moved.argmax()) / FRAME_RATE_HZ * rate_hz), round(MIN_PART_S * rate_hz))
            )
        return max(1, longest)

    @property
    def _has_intensities(self) -> bool:
        return float(np.ptp(self._levels)) > INTENSITY_STEP_NATS

    def _choose_stretch(self, time_s: float, before: int | None) -> int:
        """Choose a stretch about as far below the loudest stretch as the curve is below its maximum."""
        frame = min(int(time_s * FRAME_RATE_HZ), self._slow_nats.size - 1)
        wanted = self._level_nats - (self._top_nats - float(self._slow_nats[frame]))
        distances = np.abs(self._levels - wanted)
        near = [
            one
            for one, distance in zip(self._stretches, distances, strict=True)
            if distance <= distances.min() + INTENSITY_STEP_NATS / 2
        ]
        others = [one for one in near if one != before] or near
        return int(self._rng.choice(others))

    def _matching_origin(self, before: LaidPart, stretch: int) -> tuple[int, float]:
        """Where in a stretch to continue a part, and the correlation of the two at the crossfade."""
        rate_hz = self._reader.rate_hz
        row = self._index.stretches[stretch]
        source_hz = self._index.recordings[row.recording].sample_rate_hz
        fade = min(round(SHORT_FADE_S * rate_hz), max(1, (before.end - before.start) // 2))
        leaving = self._index.stretches[before.stretch].recording
        tail = self._reader.read(
            leaving, before.origin_sample, before.end - before.start - fade, before.end - before.start
        ).mean(axis=0)
        search = round(SEARCH_S * rate_hz)
        span = row.end_sample - row.start_sample
        latest = max(row.start_sample, row.end_sample - max(span // 2, round(2 * SEARCH_S * source_hz)))
        drawn = self._rng.integers(row.start_sample, latest + 1, CANDIDATES).tolist()
        best_origin, best = row.loop_start_sample, -2.0
        candidates = (row.loop_start_sample, *drawn)
        # Read in this order, a compressed file is decoded from its beginning once instead of again and again.
        heads = {
            one: self._reader.read(row.recording, one, 0, fade + search).mean(axis=0) for one in sorted(candidates)
        }
        for candidate in candidates:
            correlations = _sliding_correlation(heads[candidate], tail)
            place = int(correlations.argmax())
            if correlations[place] > best:
                best = float(correlations[place])
                best_origin = int(candidate) + round(place * source_hz / rate_hz)
        return best_origin, float(np.clip(best, _MIN_CORRELATION, 1.0))


def _sliding_correlation(longer: FloatArray, shorter: FloatArray) -> NDArray[np.float64]:
    """Normalised correlation of a waveform with each part of a longer one."""
    products = fftconvolve(longer, shorter[::-1], mode="valid")
    powers = np.cumsum(np.concatenate([[0.0], np.square(longer, dtype=np.float64)]))
    own = powers[shorter.size :] - powers[: -shorter.size]
    return np.asarray(products / np.sqrt(np.maximum(own * float(np.square(shorter).sum()), 1e-20)))


def _fade(begin: int, end: int, fade: int, correlation: float, *, rising: bool) -> FloatArray:
    """Gains of samples [begin, end) of a crossfade, which has constant power, whatever the correlation."""
    angle = np.clip((np.arange(begin, end) + 0.5) / fade, 0.0, 1.0) * np.pi / 2
    one, other = np.sin(angle), np.cos(angle)
    gains = (one if rising else other) / np.sqrt(1 + 2 * correlation * one * other)
    return np.asarray(gains, np.float32)
