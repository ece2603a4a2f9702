"""How near the recordings of a library are to another sound, from what the index knows about them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewas_engine.recordings.analysis import analyse
from rewas_engine.recordings.index import LibraryIndex, SoundEvent, Stretch

OTHER_MANNER_DISTANCE = 4.0
"""Distance of a struck sound from a steady one, besides that of their spectra."""
DECAY_WEIGHT = 0.5
"""Distance of two decays, one of which lasts twice as long; that of two centroids an octave apart is 1."""
FULLNESS_WEIGHT = 0.5
"""Distance for each nat of fullness."""
_DB_PER_NAT = 20 / math.log(10)
_MIN_CENTROID_HZ, _MIN_DECAY_S = 20.0, 0.005

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class SoundTraits:
    """The traits that decide the distance of two sounds. All values are medians over the events, or over the stretches.

    Attributes:
        is_steady: Whether the sound consists mainly of stretches.
        centroid_octaves: Logarithm to base 2 of the spectral centroid in hertz.
        decay_octaves: Logarithm to base 2 of the decay of the events in seconds; 0 for a steady sound.
        fullness_nats: Level of the log-mel above the level of the samples: high for noise, low for a pure tone.
    """

    is_steady: bool
    centroid_octaves: float
    decay_octaves: float
    fullness_nats: float

    def distance(self, other: SoundTraits) -> float:
        """Return the distance of two sounds, 0 or more."""
        distance = abs(self.centroid_octaves - other.centroid_octaves)
        distance += FULLNESS_WEIGHT * abs(self.fullness_nats - other.fullness_nats)
        if self.is_steady != other.is_steady:
            return distance + OTHER_MANNER_DISTANCE
        return distance + DECAY_WEIGHT * abs(self.decay_octaves - other.decay_octaves)


def traits_of(sound: FloatArray, rate_hz: int) -> SoundTraits | None:
    """Return the traits of a sound `[samples]`; None if neither an event nor a stretch is found in it."""
    found = analyse([np.ascontiguousarray(sound[:, None])], rate_hz)
    stretches_s = sum((one.end_sample - one.start_sample) / rate_hz for one in found.stretches)
    is_steady = bool(found.stretches) and stretches_s >= sound.size / rate_hz / 2
    return _traits(found.events, found.stretches, is_steady=is_steady)


def sound_distances(index: LibraryIndex, reference: SoundTraits) -> NDArray[np.float64]:
    """Return the distance of each recording of a library from a sound, `[recordings]`; infinite without any sounds."""
    distances = np.full(len(index.recordings), np.inf)
    for recording in range(len(index.recordings)):
        events, stretches = index.events_of(recording), index.stretches_of(recording)
        own = _traits(events, stretches, is_steady=index.is_mainly_steady(recording))
        if own is not None:
            distances[recording] = own.distance(reference)
    return distances


def rank_by_sound(index: LibraryIndex, reference: SoundTraits) -> tuple[int, ...]:
    """Return the recordings of a library that have sounds, the nearest to another sound first."""
    distances = sound_distances(index, reference)
    order = np.argsort(distances, kind="stable").tolist()
    return tuple(recording for recording in order if np.isfinite(distances[recording]))


def _traits(events: Sequence[SoundEvent], stretches: Sequence[Stretch], *, is_steady: bool) -> SoundTraits | None:
    sounds: Sequence[SoundEvent | Stretch] = stretches if stretches and (is_steady or not events) else events
    if not sounds:
        return None
    levels_db = [one.peak_db if isinstance(one, SoundEvent) else one.level_db for one in sounds]
    decays_s = [max(_MIN_DECAY_S, one.decay_s) for one in sounds if isinstance(one, SoundEvent)]
    return SoundTraits(
        not decays_s,
        float(np.median([math.log2(max(_MIN_CENTROID_HZ, one.centroid_hz)) for one in sounds])),
        math.log2(float(np.median(decays_s))) if decays_s else 0.0,
        float(np.median([one.level_nats - db / _DB_PER_NAT for one, db in zip(sounds, levels_db, strict=True)])),
    )
