# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs as rows of a list: prepared when the board changes, so that drawing computes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .board import Board, JobStatus
from .messages import Problem

_STATE_ORDER = {"running": 0, "arriving": 0, "cancelling": 1, "sending": 2, "preparing": 2, "queued": 3, "paused": 4}
_ICONS = {"done": "CHECKMARK", "stored": "FILE_TICK", "cancelled": "X", "running": "PLAY", "arriving": "PLAY"}


@dataclass(frozen=True)
class JobRow:
    """One row of the list of jobs.

    icon: Blender's name of its icon. progress: finished part, None for a job that has ended. text: its state in a few
    words. notes: sentences about the sound.
    """

    key: str
    name: str
    icon: str
    text: str
    progress: float | None
    can_cancel: bool
    can_retry: bool
    problem: Problem | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobRows:
    """All rows, and one row for each strip by its identifier: the running job, or the last one that failed."""

    rows: tuple[JobRow, ...] = ()
    of_strips: dict[str, JobRow] = field(default_factory=dict)
    finished: int = 0
    unfinished: int = 0
    built: dict[str, tuple[JobStatus, JobRow]] = field(default_factory=dict)
    """The jobs that the rows show, by key."""

    def of_strip(self, uid: str) -> JobRow | None:
        """Return the row that the panel of a strip shows."""
        return self.of_strips.get(uid) if uid else None


def build_rows(board: Board, strip_uid: Callable[[str], str], before: JobRows | None = None) -> JobRows:
    """Return the rows: running jobs first, then waiting ones, then those that have ended. The newest are on top.

    strip_uid: returns the identifier of the strip of a job, by the job's key; "" if it has none. before: earlier rows;
    those of jobs that have not changed are used again.
    """
    jobs = list(board.jobs.values())
    earlier = before.built if before is not None else {}
    built: dict[str, tuple[JobStatus, JobRow]] = {}
    for job in jobs:
        known = earlier.get(job.key)
        built[job.key] = known if known is not None and known[0] is job else (job, _build_row(job))
    numbered = sorted(enumerate(jobs), key=lambda item: (_order(item[1]), -item[0]))
    rows = tuple(built[job.key][1] for _, job in numbered)
    of_strips: dict[str, JobRow] = {}
    for row, (_, job) in zip(rows, numbered, strict=True):
        # A strip's own panel does not show a job that has succeeded: its take is in the list.
        if row.progress is not None or row.problem is not None:
            of_strips.setdefault(job.strip_uid or strip_uid(row.key), row)
    finished = sum(job.is_finished for job in jobs)
    return JobRows(rows, of_strips, finished, len(jobs) - finished, built)


def _order(job: JobStatus) -> int:
    if job.is_finished:
        return 6
    return 5 if job.server_problem is not None else _STATE_ORDER.get(job.state, 3)


def _build_row(job: JobStatus) -> JobRow:
    is_waiting_for_server = job.server_problem is not None and not job.is_finished
    text = job.status_text
    if job.time_left_s is not None and job.state == "running" and not is_waiting_for_server:
        text = f"{text}, {duration_label(job.time_left_s)} left"
    return JobRow(
        key=job.key,
        name=job.clip_name,
        icon="ERROR" if job.problem is not None else _ICONS.get(job.state, "SORTTIME"),
        text=text,
        progress=None if job.is_finished else job.fraction,
        can_cancel=not job.is_finished and job.state not in ("cancelling", "arriving"),
        can_retry=job.can_retry or is_waiting_for_server,
        problem=job.problem or (job.server_problem if is_waiting_for_server else None),
        notes=job.sound_notes,
    )


def duration_label(seconds: float) -> str:
    """Return a duration in a few characters: "8 s", "3 min", "2 h"."""
    if seconds < 90:
        return f"{round(seconds)} s"
    return f"{round(seconds / 60)} min" if seconds < 90 * 60 else f"{round(seconds / 3600)} h"
