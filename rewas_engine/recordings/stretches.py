"""Find the steady parts of a recording, and where each can loop."""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from rewas_engine.curves.curve import find_runs
from rewas_engine.recordings.index import Stretch

BANDS = 8
SHORTEST_S = 1.0
SMOOTHING_S = 0.5
LEVEL_RANGE_DB = 4.0
"""How far the smoothed level of a stretch may be from its mean."""
FLUCTUATION_DB = 4.0
"""Largest standard deviation of the level within a stretch."""
LOWEST_DB, BELOW_PEAK_DB = -70.0, 30.0
"""A stretch is louder than LOWEST_DB, and no more than BELOW_PEAK_DB below the loudest part of the recording."""
LOOP_SEARCH_S = 3.0
"""Loop points are at most this far from the ends of the stretch, and at most a quarter of its length."""
LOOP_CONTEXT_S = 0.4
LEVEL_STEP_DB = 3.0
"""Stretches whose levels are in the same step have about the same level."""
MOST_OF_LEVEL = 64
"""Most stretches of about the same level that are kept, however long the recording is."""
NATS_PER_DB = np.log(10) / 20
_SILENT_DB = -120.0

FloatArray = NDArray[np.float32]


class SteadyTrack:
    """Level and spectrum of a recording, ten values per second.

    Args:
        rate_hz: Values per second; it divides the rate of the mel frames.
    """

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._parts: list[tuple[FloatArray, ...]] = []

    def add(
        self,
        log_mel: FloatArray,
        magnitudes: FloatArray,
        centroids_hz: FloatArray,
        samples: FloatArray,
        samples_hz: int,
    ) -> None:
        """Add the next part, which begins at a whole second: its mel frames, their centroids and its samples."""
        frames = 100 // self.rate_hz
        count = len(log_mel) // frames
        bounds = np.arange(count) * samples_hz // self.rate_hz
        bounds = bounds[bounds < len(samples)]
        count = len(bounds)
        if not count:
            return
        ends = np.append(bounds[1:], min(len(samples), count * samples_hz // self.rate_hz))
        powers = np.add.reduceat(np.square(samples[: ends[-1]]), bounds) / np.maximum(ends - bounds, 1)

        def grouped(values: FloatArray) -> FloatArray:
            return values[: count * frames].reshape(count, frames, -1)

        bands = grouped(magnitudes).mean(axis=1).reshape(count, BANDS, -1).mean(axis=2)
        self._parts.append((
            np.maximum(10 * np.log10(powers + 1e-12), _SILENT_DB).astype(np.float32)[:, None],
            grouped(log_mel).mean(axis=(1, 2)).astype(np.float32)[:, None],
            grouped(centroids_hz).mean(axis=1).astype(np.float32),
            np.log(np.maximum(bands, 1e-6)).astype(np.float32),
        ))  # fmt: skip

    def columns(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Level `[T]` in dBFS, energy `[T]` in nats, centroid `[T]` in Hz, and log band magnitudes `[T, BANDS]`."""
        if not self._parts:
            return (
                np.empty(0, np.float32),
                np.empty(0, np.float32),
                np.empty(0, np.float32),
                np.empty((0, BANDS), np.float32),
            )
        level, energy, centroid, bands = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        return level[:, 0], energy[:, 0], centroid[:, 0], bands

    def noise_floor_db(self) -> float:
        """Level that the quietest twentieth of the recording stays below."""
        level = self.columns()[0]
        return float(np.percentile(level, 5)) if len(level) else _SILENT_DB


def find_stretches(track: SteadyTrack, rate_hz: int, samples: int) -> tuple[Stretch, ...]:
    """Find the stretches of a recording. They have the recording number 0."""
    level_db, energy, centroid_hz, bands = track.columns()
    if not len(level_db):
        return ()
    smooth_db = median_filter(level_db, round(SMOOTHING_S * track.rate_hz), mode="nearest")
    is_loud = smooth_db > max(LOWEST_DB, float(smooth_db.max()) - BELOW_PEAK_DB)
    found = []
    for first, last in find_runs(is_loud):
        for begin, end in _steady_parts(smooth_db, first, last):
            part = slice(begin, end)
            if end - begin < SHORTEST_S * track.rate_hz or float(level_db[part].std()) > FLUCTUATION_DB:
                continue
            loop = _loop(level_db[part], bands[part], track.rate_hz)
            at = [frame * rate_hz // track.rate_hz for frame in (begin, end, begin + loop[0], begin + loop[1])]
            start_sample, end_sample, loop_start, loop_end = (min(each, samples) for each in at)
            if not start_sample <= loop_start < loop_end <= end_sample:
                continue
            power = float(np.mean(10 ** (level_db[part].astype(np.float64) / 10)))
            found.append(
                Stretch(0, start_sample, end_sample, loop_start, loop_end, 10 * float(np.log10(power)),
                        float(energy[part].mean()), float(centroid_hz[part].mean()))
            )  # fmt: skip
    return tuple(_select(found))


def _select(found: Sequence[Stretch]) -> list[Stretch]:
    """The longest stretches of each level, in the order of the recording."""
    levels: dict[int, list[Stretch]] = defaultdict(list)
    for stretch in found:
        levels[int(stretch.level_db // LEVEL_STEP_DB)].append(stretch)
    longest = (
        heapq.nlargest(MOST_OF_LEVEL, stretches, key=lambda each: each.end_sample - each.start_sample)
        for stretches in levels.values()
    )
    return sorted(itertools.chain.from_iterable(longest), key=lambda each: each.start_sample)


def _steady_parts(smooth_db: FloatArray, first: int, last: int) -> list[tuple[int, int]]:
    """Split a run where its level has left the range around the mean of the part."""
    parts, begin, total = [], first, 0.0
    for frame in range(first, last):
        value = float(smooth_db[frame])
        if frame > begin and abs(value - total / (frame - begin)) > LEVEL_RANGE_DB:
            parts.append((begin, frame))
            begin, total = frame, 0.0
        total += value
    parts.append((begin, last))
    return parts


def _loop(level_db: FloatArray, bands: FloatArray, rate_hz: int) -> tuple[int, int]:
    """The two frames, one near each end, around which level and spectrum agree best."""
    count = len(level_db)
    reach = max(1, min(round(LOOP_SEARCH_S * rate_hz), count // 4))
    context = max(1, round(LOOP_CONTEXT_S * rate_hz))
    features = np.concatenate([level_db[:, None] * NATS_PER_DB, bands / np.sqrt(BANDS)], axis=1)
    kernel = np.ones(context) / context
    padding = (context // 2, context - 1 - context // 2)
    padded = [np.pad(row, padding, mode="edge") for row in features.T]
    around = np.stack([np.convolve(row, kernel, "valid") for row in padded], axis=1)
    starts, ends = np.arange(reach), np.arange(count - reach, count)
    cost = np.square(around[starts][:, None] - around[ends][None]).sum(axis=2)
    best = np.unravel_index(int(cost.argmin()), cost.shape)
    return int(starts[best[0]]), int(ends[best[1]])
