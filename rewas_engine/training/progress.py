"""The rate and remaining time of a training, and the exception for a cancelled one."""

from __future__ import annotations

import time
from collections.abc import Callable

from rewas_engine.errors import EngineError
from rewas_engine.runtime.progress import Progress, ProgressCallback


class Pace:
    """Rate of the work.

    Args:
        done: Parts that were finished at the start, which do not count: they may be from an earlier run.
        clock: Returns seconds.
    """

    def __init__(self, done: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._done, self._clock = done, clock
        self._start_s = clock()

    def time_left_s(self, done: int, total: int) -> float | None:
        """Seconds until all parts are finished; None before the first one is."""
        if done <= self._done:
            return None
        return (self._clock() - self._start_s) / (done - self._done) * (total - done)


class PartCounter:
    """Reports finished parts of a stage in which nothing is trained.

    The rate is known from the second part on, because it is unknown how many parts were finished at the start.
    """

    def __init__(self, report: ProgressCallback | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._report, self._clock = report, clock
        self._counted: tuple[str, int] | None = None

    def report(self, stage: str, done: int, total: int) -> None:
        """Report finished and total parts of a stage; each stage has its rate."""
        if self._counted != (stage, total):
            self._counted, self._pace = (stage, total), Pace(done, self._clock)
        if self._report is not None:
            fraction = done / total if total else 1.0
            self._report(Progress(stage, done, total, fraction, time_left_s=self._pace.time_left_s(done, total)))


class TrainingStopped(EngineError):
    """The training was cancelled; finished work is kept."""

    def __init__(self, stage: str, step: int) -> None:
        super().__init__(
            f"The training was stopped in the stage {stage} after {step} steps.",
            "Run the same command again to continue.",
        )
