"""Granular re-synthesis: a continuous sound of many short parts of events, for the time between strikes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from rewas_engine.curves.curve import Nats
from rewas_engine.recordings.index import LibraryIndex
from rewas_engine.recordings.profiles import FRAME_RATE_HZ
from rewas_engine.recordings.reading import RecordingReader

FloatArray = NDArray[np.float32]
MAX_EVENTS, PLACES = 12, 4
"""Number of events that grains are taken from, and of places in each."""
GRAIN_S, SHORTEST_GRAIN_S = 0.12, 0.02
OVERLAP = 4.0
"""Grains that sound at the same time where the curve is highest."""
SOFTEST_DENSITY, DENSITY_PER_NAT = 0.5, 0.2
"""Smallest density of grains, as a share of the largest, and how it falls with each nat below the highest value."""
USABLE_DB = 25.0
"""Grains are taken from the parts of an event that are less than this below its peak."""
ATTACK_S = 0.015
"""The attack of an event, up to this time after its peak, is left out where the rest is long enough."""
LEVEL_SPREAD_NATS = 0.5
"""How closely the level of a grain in its recording follows the curve."""
MAX_SLOPE_NATS_PER_S = 60.0
LONGEST_READ_S = 4.0
GRAIN_RMS = 0.1
_ENVELOPE_S = 0.005
_DRAWN_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Grain:
    """A short part of an event that fades in and out, with a level of GRAIN_RMS.

    Attributes:
        event: Index of the event.
        sound: `[channels, samples]`.
        level_nats: Level in the recording.
    """

    event: int
    sound: FloatArray
    level_nats: float


class GrainLayer:
    """Plans and reads a continuous sound of grains.

    The curve decides the density of the grains, and which are used: louder parts of the recordings where it is higher.

    Args:
        index: Index of the library.
        events: Indices of the events that may be used.
        reader: Reads them at the rate and with the channels of the performance.
        energy_nats: The curve at FRAME_RATE_HZ, `[T]`.
        is_needed: Frames in which the layer sounds, `[T]`.
        rng: Source of all random decisions.

    Raises:
        MediaError: A recording cannot be read.
    """

    def __init__(
        self,
        index: LibraryIndex,
        events: Sequence[int],
        reader: RecordingReader,
        energy_nats: Nats,
        is_needed: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> None:
        self._channels = reader.channels
        self._bank = make_grains(index, events, reader) if is_needed.any() else []
        self._starts = np.empty(0, np.int64)
        self._choices = np.empty(0, np.int16)
        if self._bank:
            self._plan(energy_nats, is_needed, reader.rate_hz, rng)

    @property
    def events(self) -> list[int]:
        """Indices of the events in use, in the order of their first use."""
        _, first = np.unique(self._choices, return_index=True)
        return list(dict.fromkeys(self._bank[self._choices[place]].event for place in np.sort(first)))

    @property
    def count(self) -> int:
        """Number of grains."""
        return int(self._starts.size)

    def sounds_in(self, begin: int, end: int) -> bool:
        """Whether a grain sounds in the samples [begin, end)."""
        first, last = self._range(begin, end)
        return last > first

    def read(self, begin: int, end: int) -> FloatArray:
        """Samples [begin, end) of the layer, `[channels, end - begin]`."""
        sound = np.zeros((self._channels, end - begin), np.float32)
        for place in range(*self._range(begin, end)):
            grain = self._bank[self._choices[place]].sound
            start = int(self._starts[place])
            first, last = max(begin, start), min(end, start + grain.shape[1])
            if first < last:
                sound[:, first - begin : last - begin] += grain[:, first - start : last - start]
        return sound

    def _range(self, begin: int, end: int) -> tuple[int, int]:
        longest = max((grain.sound.shape[1] for grain in self._bank), default=0)
        first, last = np.searchsorted(self._starts, [begin - longest, end])
        return int(first), int(last)

    def _plan(self, energy_nats: Nats, is_needed: NDArray[np.bool_], rate_hz: int, rng: np.random.Generator) -> None:
        lengths = np.array([grain.sound.shape[1] for grain in self._bank])
        top_nats = float(energy_nats.max())
        reach = int(np.ceil(lengths.max() / rate_hz * FRAME_RATE_HZ))
        around = uniform_filter1d(is_needed.astype(np.float64), 2 * reach + 1, mode="constant") > 1e-9
        share = np.clip(1 - DENSITY_PER_NAT * (top_nats - energy_nats), SOFTEST_DENSITY, 1.0)
        density_hz = np.where(around, OVERLAP * rate_hz / lengths.mean() * share, 0.0)
        passed = np.concatenate([[0.0], np.cumsum(density_hz / FRAME_RATE_HZ)])
        count = int(passed[-1])
        at = np.sort(np.arange(count) + rng.uniform(0.0, 1.0, count))
        times_s = np.interp(at, passed, np.arange(passed.size) / FRAME_RATE_HZ)
        frames = np.minimum((times_s * FRAME_RATE_HZ).astype(np.int64), energy_nats.size - 1)
        wanted = energy_nats[frames] - top_nats
        self._choices = self._drawn(wanted, rng)
        starts = np.round(times_s * rate_hz).astype(np.int64) - lengths[self._choices] // 2
        order = np.argsort(starts, kind="stable")
        self._starts, self._choices = starts[order], self._choices[order]

    def _drawn(self, wanted_nats: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int16]:
        """Draw a grain for each level relative to the highest one, and never the same one twice in a row."""
        levels = np.array([grain.level_nats for grain in self._bank])
        levels -= levels.max()
        drawn = np.empty(wanted_nats.size, np.int16)
        before = -1
        for first in range(0, wanted_nats.size, _DRAWN_AT_ONCE):
            wanted = wanted_nats[first : first + _DRAWN_AT_ONCE, None]
            scores = -np.abs(levels - wanted) / LEVEL_SPREAD_NATS + rng.gumbel(size=(wanted.size, levels.size))
            best = np.argsort(-scores, axis=1)[:, : min(2, levels.size)].tolist()
            for number, pair in enumerate(best, start=first):
                before = pair[-1] if pair[0] == before else pair[0]
                drawn[number] = before
        return drawn


def make_grains(index: LibraryIndex, events: Sequence[int], reader: RecordingReader) -> list[Grain]:
    """Cut grains from events of all levels. Silent events give none. Raises MediaError."""
    by_level = sorted(events, key=lambda event: index.events[event].level_nats)
    places = np.linspace(0, len(by_level) - 1, min(MAX_EVENTS, len(by_level))).round().astype(int)
    return [grain for place in places for grain in _grains_of(index, by_level[place], reader)]


def _grains_of(index: LibraryIndex, number: int, reader: RecordingReader) -> list[Grain]:
    event, rate_hz = index.events[number], reader.rate_hz
    length = reader.samples_at_rate(event.recording, event.end_sample - event.onset_sample)
    sound = reader.read(event.recording, event.onset_sample, 0, min(length, round(LONGEST_READ_S * rate_hz)))
    power = np.square(sound, dtype=np.float64).mean(axis=0)
    envelope = np.sqrt(np.maximum(uniform_filter1d(power, max(1, round(_ENVELOPE_S * rate_hz)), mode="constant"), 0))
    if not envelope.size or envelope.max() <= 1e-7:
        return []
    peak = int(envelope.argmax())
    usable = np.flatnonzero(envelope > envelope[peak] * 10 ** (-USABLE_DB / 20))
    first, last = int(usable[0]), int(usable[-1]) + 1
    after = min(last, peak + round(ATTACK_S * rate_hz))
    if last - after >= SHORTEST_GRAIN_S * rate_hz:
        first = max(first, after) if peak - first < 3 * ATTACK_S * rate_hz else first
    size = min(round(GRAIN_S * rate_hz), last - first)
    if size < 2:
        return []
    starts = np.unique(np.linspace(first, last - size, PLACES).astype(int))
    return [_grain(number, sound[:, start : start + size], rate_hz) for start in starts.tolist()]


def _grain(event: int, part: FloatArray, rate_hz: int) -> Grain:
    """A part of an event as a grain, without the decay within it."""
    power = np.square(part, dtype=np.float64).mean(axis=0)
    smooth = np.maximum(uniform_filter1d(power, max(1, part.shape[1] // 3), mode="nearest"), 0.0) + 1e-20
    times_s = np.arange(part.shape[1]) / rate_hz
    slope = 0.5 * (np.log(smooth[-1]) - np.log(smooth[0])) / max(times_s[-1] * 2 / 3, 1e-9)
    slope = float(np.clip(slope, -MAX_SLOPE_NATS_PER_S, MAX_SLOPE_NATS_PER_S))
    window = np.sin((np.arange(part.shape[1]) + 0.5) / part.shape[1] * np.pi) ** 2
    shaped = part * (window * np.exp(-slope * times_s))
    rms = float(np.sqrt(np.square(shaped).mean()) + 1e-12)
    return Grain(event, (shaped * (GRAIN_RMS / rms)).astype(np.float32), 0.5 * float(np.log(power.mean() + 1e-20)))
