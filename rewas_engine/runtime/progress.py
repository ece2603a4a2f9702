"""Progress, timing and cancellation of one engine call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from rewas_engine.errors import Cancelled

StageName = Literal["decode", "energy", "conflict", "sample", "vocode", "perform"]
"""Stages of a call that analyses or generates sound."""


@dataclass(frozen=True)
class Progress:
    """Progress of a call, from the engine to the command line and the panel.

    Attributes:
        stage: The running stage: a StageName; "describe" in an annotation; "deliver" while a job writes its stems; the
            name of a stage of a training; or a description of a step of a conversion or an evaluation.
        step: Finished steps of the stage. In "sample" one step is one inference step.
        total_steps: All steps of the stage; 0 if they are not known.
        fraction: Finished part, from 0 to 1: of the whole call or job, where it never decreases; in a training and an
            evaluation, of the stage.
        section: Section of the evaluation that the stage belongs to; "" elsewhere.
        loss: Running mean of the loss; None if nothing is trained.
        time_left_s: Remaining seconds at the current rate, of what `fraction` is a part of; None if unknown.
    """

    stage: str
    step: int
    total_steps: int
    fraction: float
    section: str = ""
    loss: float | None = None
    time_left_s: float | None = None


class CancelSignal(Protocol):
    """Reports whether the caller wants to stop, such as a threading.Event."""

    def is_set(self) -> bool: ...


def raise_if_cancelled(cancel: CancelSignal | None) -> None:
    """Raise Cancelled if the caller wants to stop."""
    if cancel is not None and cancel.is_set():
        raise Cancelled


ProgressCallback = Callable[[Progress], object]
"""Called with every step. An exception that it raises ends the call."""
_STAGE_FRACTIONS: dict[StageName, tuple[float, float]] = {
    "decode": (0.0, 0.05),
    "energy": (0.05, 0.12),
    "conflict": (0.12, 0.12),
    "sample": (0.12, 0.92),
    "vocode": (0.92, 1.0),
    "perform": (0.12, 1.0),
}


class ProgressTracker:
    """Reports the progress of one call, measures the time of each stage and raises Cancelled on request.

    Attributes:
        stage_times_s: Seconds that each finished stage took.
    """

    def __init__(self, on_progress: ProgressCallback | None, cancel: CancelSignal | None) -> None:
        self.on_progress, self.cancel = on_progress, cancel
        self.stage_times_s: dict[str, float] = {}
        self._max_fraction = 0.0

    @contextmanager
    def stage(self, stage: StageName, part: int = 0, parts: int = 1) -> Iterator[None]:
        """Attribute the time spent inside to a stage. For `part` and `parts` see `report`.

        Raises:
            Cancelled: The caller asked to stop, before or during the stage.
        """
        self.report(stage, 0, 0, part, parts)
        started = time.monotonic()
        yield
        self.stage_times_s[stage] = self.stage_times_s.get(stage, 0.0) + time.monotonic() - started
        self._raise_if_cancelled()

    def reassign_time(self, stage: StageName, other: StageName, seconds: float) -> None:
        """Move seconds from a finished stage to another one."""
        self.stage_times_s[stage] = self.stage_times_s.get(stage, 0.0) - seconds
        self.stage_times_s[other] = self.stage_times_s.get(other, 0.0) + seconds

    def report(self, stage: StageName, step: int, total_steps: int, part: int = 0, parts: int = 1) -> None:
        """Report finished steps of a stage.

        Args:
            stage: The running stage.
            step: Finished steps.
            total_steps: All steps of the stage; 0 if they are not known.
            part: Index of the take that the step belongs to.
            parts: Number of takes. Each one is sampled and vocoded, or performed, in turn.

        Raises:
            Cancelled: The caller asked to stop.
        """
        self._raise_if_cancelled()
        if self.on_progress is None:
            return
        begin, end = _STAGE_FRACTIONS[stage]
        done = step / total_steps if total_steps else 0.0
        first, last = _STAGE_FRACTIONS["perform"]
        fraction = begin + (end - begin) * done
        if stage in ("sample", "vocode", "perform"):
            fraction = first + (last - first) * (part + (fraction - first) / (last - first)) / parts
        # A take that is generated a second time must not move the bar backwards.
        self._max_fraction = max(self._max_fraction, fraction)
        self.on_progress(Progress(stage, step, total_steps, self._max_fraction))

    def _raise_if_cancelled(self) -> None:
        raise_if_cancelled(self.cancel)
