"""Progress, time and cancelling of one call of the engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from rewas_engine.errors import Cancelled

StageName = Literal["decode", "energy", "conflict", "sample", "vocode"]


@dataclass(frozen=True)
class Progress:
    """Where the work is.

    stage: the running stage. step, total_steps: finished steps of it; in "sample" one step is one sampling step.
    fraction: finished part of the whole call, 0 to 1; never falls.
    """

    stage: StageName
    step: int
    total_steps: int
    fraction: float


class CancelSignal(Protocol):
    """Anything that can say that the caller wants to stop; a threading.Event does."""

    def is_set(self) -> bool: ...


ProgressCallback = Callable[[Progress], object]
_STAGE_FRACTIONS: dict[StageName, tuple[float, float]] = {
    "decode": (0.0, 0.05),
    "energy": (0.05, 0.12),
    "conflict": (0.12, 0.12),
    "sample": (0.12, 0.92),
    "vocode": (0.92, 1.0),
}


class Clock:
    """Progress, time spent by stage, and the wish to stop, for one call."""

    def __init__(self, on_progress: ProgressCallback | None, cancel: CancelSignal | None) -> None:
        self.on_progress, self.cancel = on_progress, cancel
        self.spent_s: dict[str, float] = {}
        self._furthest = 0.0

    @contextmanager
    def stage(self, stage: StageName, part: int = 0, parts: int = 1) -> Iterator[None]:
        """What is done within belongs to a stage, its time and its wish to stop too."""
        self.tick(stage, 0, 0, part, parts)
        started = time.monotonic()
        yield
        self.spent_s[stage] = self.spent_s.get(stage, 0.0) + time.monotonic() - started
        self._raise_if_cancelled()

    def reassign_time(self, stage: StageName, other: StageName, seconds: float) -> None:
        """Seconds that passed within a finished stage were another's."""
        self.spent_s[stage] = self.spent_s.get(stage, 0.0) - seconds
        self.spent_s[other] = self.spent_s.get(other, 0.0) + seconds

    def tick(self, stage: StageName, step: int, total_steps: int, part: int = 0, parts: int = 1) -> None:
        """Report a finished step; part of parts says which take it belongs to. A take made anew never falls back."""
        self._raise_if_cancelled()
        if self.on_progress is None:
            return
        begin, end = _STAGE_FRACTIONS[stage]
        done = step / total_steps if total_steps else 0.0
        # Takes follow each other, each with its sampling and its vocoding.
        first, last = _STAGE_FRACTIONS["sample"][0], _STAGE_FRACTIONS["vocode"][1]
        within = begin + (end - begin) * done
        if stage in ("sample", "vocode"):
            within = first + (last - first) * (part + (within - first) / (last - first)) / parts
        self._furthest = max(self._furthest, within)
        self.on_progress(Progress(stage, step, total_steps, self._furthest))

    def _raise_if_cancelled(self) -> None:
        if self.cancel is not None and self.cancel.is_set():
            raise Cancelled
