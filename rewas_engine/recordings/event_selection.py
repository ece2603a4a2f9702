"""Keep the events of a recording in bounded memory, however long it is."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewas_engine.recordings.event_shapes import EventShape

LEVEL_STEP_DB = 3.0
"""Events whose peaks are in the same step have about the same level."""
MOST_OF_LEVEL = 512
"""Most events of about the same level that are kept: more variations than a listener can tell apart."""


@dataclass(frozen=True, eq=False)
class FoundEvent:
    """An event with its measures, as in `SoundEvent`.

    Attributes:
        spectrum: Log-mel spectrum `[bins]` of its attack.
    """

    shape: EventShape
    level_nats: float
    centroid_hz: float
    spectrum: NDArray[np.float32]


class EventSelection:
    """The events of a recording: all of them, or an even share of those that have about the same level."""

    def __init__(self) -> None:
        self._levels: dict[int, _Level] = defaultdict(_Level)

    def add(self, event: FoundEvent) -> None:
        """Add the next event."""
        self._levels[int(event.shape.peak_db // LEVEL_STEP_DB)].add(event)

    def events(self) -> list[FoundEvent]:
        """Return the selected events in the order of their onsets."""
        return sorted(
            (event for level in self._levels.values() for event in level.kept),
            key=lambda event: event.shape.onset_sample,
        )


class _Level:
    """Every n-th event of a level. If there are too many, n is doubled."""

    def __init__(self) -> None:
        self.kept: list[FoundEvent] = []
        self._every, self._count = 1, 0

    def add(self, event: FoundEvent) -> None:
        if self._count % self._every == 0:
            self.kept.append(event)
        self._count += 1
        if len(self.kept) > MOST_OF_LEVEL:
            self.kept = self.kept[::2]
            self._every *= 2
