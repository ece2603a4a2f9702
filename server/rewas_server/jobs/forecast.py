"""Positions in the queue, and estimates of the time until jobs end, from the history of this machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rewas_server.jobs.store import QueuedJob, WorkDuration

MIN_PROGRESS = 0.02
"""Progress from which the speed of a running job says more than the history."""
DEADLINE_FACTOR = 10.0
"""A job may take this many times as long as similar jobs on this machine."""
UNKNOWN_DURATION_PER_AMOUNT = 600.0
"""Assumed for time limits while there is no history: the slowest packs on a slow processor."""

TypicalDuration = Callable[[QueuedJob], float | None]
"""Returns the usual duration of a job in seconds; None while there is no history."""


@dataclass(frozen=True)
class QueuePlace:
    """Where a waiting job stands.

    Attributes:
        position: Number of jobs that end before it starts, or of those that share its workers.
        time_left_s: Until the end of the job, in seconds; None if a job before it has no history.
    """

    position: int
    time_left_s: float | None


def forecast(
    queue: Sequence[QueuedJob],
    running_left_s: Mapping[str, float | None],
    typical_duration_s: TypicalDuration,
    workers: int,
) -> dict[str, QueuePlace]:
    """Return the place of each waiting job, by id.

    A timeline has the position of its first waiting clip, and the time left of the last one.

    Args:
        queue: Running and waiting jobs, in the order in which they run.
        running_left_s: Time left of each running job in seconds, by id; None if unknown.
        typical_duration_s: Usual duration of a job.
        workers: Number of worker processes that share the queue.
    """
    places: dict[str, QueuePlace] = {}
    workers = max(workers, 1)
    busy_s: list[float | None] = list(running_left_s.values())
    busy_s += [0.0] * (workers - len(busy_s))
    for position, job in enumerate((job for job in queue if job.id not in running_left_s), start=len(running_left_s)):
        known = [left_s for left_s in busy_s if left_s is not None]
        # A worker whose job has no estimate may take the next job at any time.
        begin_s = min(known) if len(known) == len(busy_s) else None
        own_s = typical_duration_s(job)
        end_s = None if begin_s is None or own_s is None else begin_s + own_s
        places[job.id] = QueuePlace(position, end_s)
        busy_s[busy_s.index(begin_s)] = end_s
        if job.parent_id:
            places[job.parent_id] = _with_clip(places.get(job.parent_id), places[job.id])
    return places


def _with_clip(timeline: QueuePlace | None, clip: QueuePlace) -> QueuePlace:
    if timeline is None:
        return clip
    is_known = timeline.time_left_s is not None and clip.time_left_s is not None
    time_left_s = max(timeline.time_left_s or 0.0, clip.time_left_s or 0.0) if is_known else None
    return QueuePlace(timeline.position, time_left_s)


def duration_per_amount(history: Sequence[WorkDuration]) -> float | None:
    """Return the usual duration for an amount of 1, in seconds; None without history."""
    ratios = [past.duration_s / past.amount_s for past in history if past.amount_s > 0]
    return statistics.median(ratios) if ratios else None


def typical_duration_s(history: Sequence[WorkDuration]) -> float | None:
    """Return the usual duration of a job of unknown amount, in seconds; None without history."""
    return statistics.median(past.duration_s for past in history) if history else None


def deadline_s(amount_s: float, history: Sequence[WorkDuration], min_deadline_s: float) -> float:
    """Return the time limit of a job in seconds.

    Args:
        amount_s: Amount of work (see `rewas_server.work.amount`).
        history: Durations of similar jobs on this machine.
        min_deadline_s: Shortest time limit.
    """
    per_amount = duration_per_amount(history)
    expected_s = amount_s * (UNKNOWN_DURATION_PER_AMOUNT if per_amount is None else DEADLINE_FACTOR * per_amount)
    return max(min_deadline_s, expected_s)


class RunningClock:
    """Estimates the time left of a running job: from the history at first, then from its own progress.

    expected_s: usual duration of such a job; None without history.
    """

    def __init__(self, expected_s: float | None) -> None:
        self._expected_s = expected_s
        self._began_s = time.monotonic()
        self._first: tuple[float, float] | None = None
        self._fraction = 0.0

    def report(self, fraction: float) -> None:
        """The job has reported progress. fraction: 0 to 1."""
        # Loading a pack comes before the first report and does not count.
        if self._first is None:
            self._first = (time.monotonic(), fraction)
        self._fraction = fraction

    def time_left_s(self) -> float | None:
        """Return the time left in seconds; None while unknown."""
        now_s = time.monotonic()
        if self._first is not None:
            began_s, began_fraction = self._first
            passed = self._fraction - began_fraction
            if passed > MIN_PROGRESS:
                return (now_s - began_s) * (1.0 - self._fraction) / passed
        return None if self._expected_s is None else max(0.0, self._expected_s - (now_s - self._began_s))
