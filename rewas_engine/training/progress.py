"""Where a training is, how long it will still take, and that it was stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from rewas_engine.errors import EngineError


@dataclass(frozen=True)
class TrainingProgress:
    """Where a stage is: finished steps, or parts of what is prepared or measured.

    loss: a running mean; None where nothing is learnt. time_left_s: of the stage, at the present pace; None where none
    is known yet.
    """

    stage: str
    step: int
    total_steps: int
    loss: float | None
    time_left_s: float | None


ReportTraining = Callable[[TrainingProgress], object]


class Pace:
    """How fast work goes on.

    done: what was finished when it began, which tells nothing of the pace: it may be of an earlier run.
    """

    def __init__(self, done: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._done, self._clock = done, clock
        self._began_s = clock()

    def time_left_s(self, done: int, total: int) -> float | None:
        """For all of it, once done parts are finished; None before any was."""
        if done <= self._done:
            return None
        return (self._clock() - self._began_s) / (done - self._done) * (total - done)


class Counting:
    """Reports the parts of a stage in which nothing is learnt, as they are finished.

    A pace is known from the second part on: how many of the first were found finished is not told.
    """

    def __init__(self, report: ReportTraining | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._report, self._clock = report, clock
        self._counted: tuple[str, int] | None = None

    def tell(self, stage: str, done: int, total: int) -> None:
        """Report finished and total parts of a stage, each of which has a pace of its own."""
        if self._counted != (stage, total):
            self._counted, self._pace = (stage, total), Pace(done, self._clock)
        if self._report is not None:
            self._report(TrainingProgress(stage, done, total, None, self._pace.time_left_s(done, total)))


class TrainingStopped(EngineError):
    """The caller asked the training to stop; what is done is kept."""

    def __init__(self, stage: str, step: int) -> None:
        super().__init__(
            f"The training was stopped in the stage {stage} after {step} steps.",
            "Run the same command again to go on from there.",
        )
