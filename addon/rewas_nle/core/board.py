# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of the server and of all jobs, as the panel shows it. Messages update it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from .messages import (
    JobAccepted,
    JobCancelled,
    JobFailed,
    JobProgress,
    Message,
    Problem,
    ServerState,
    StemsReceived,
)

FINAL_STATES = frozenset({"done", "failed", "cancelled"})
_ACTIVE_STATE_LABELS = {
    "sending": "Sending",
    "queued": "Waiting",
    "running": "Running",
    "cancelling": "Cancelling",
}
STAGE_LABELS = {
    "decode": "Reading video",
    "energy": "Estimating energy",
    "conflict": "Checking prompt against video",
    "sample": "Generating",
    "vocode": "Rendering waveform",
    "deliver": "Writing stems",
}


@dataclass(frozen=True)
class JobStatus:
    """One job as the panel shows it.

    state: "sending", "queued", "running", "cancelling", "done", "failed", "cancelled". note: the result in a few
    words, for the user. sound_notes: texts of the notes about the sound. problem: what went wrong, if anything.
    """

    key: str
    clip_name: str
    state: str = "sending"
    job_id: str = ""
    revision: int = 0
    stage: str = ""
    step: int = 0
    total_steps: int = 0
    fraction: float = 0.0
    time_left_s: float | None = None
    note: str = ""
    sound_notes: tuple[str, ...] = ()
    problem: Problem | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the job has ended."""
        return self.state in FINAL_STATES

    @property
    def status_text(self) -> str:
        """Its state in a few words, such as "Generating 12/25"."""
        if self.state == "running" and self.stage:
            steps = f" {self.step}/{self.total_steps}" if self.total_steps > 1 else ""
            return STAGE_LABELS.get(self.stage, self.stage.capitalize()) + steps
        return _ACTIVE_STATE_LABELS.get(self.state) or self.note or self.state.capitalize()


@dataclass(frozen=True)
class Board:
    """The server and the jobs, newest last."""

    server: ServerState | None = None
    jobs: Mapping[str, JobStatus] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def is_busy(self) -> bool:
        """Whether a job is still running or waiting."""
        return any(not job.is_finished for job in self.jobs.values())

    def with_job(self, job: JobStatus) -> Board:
        """Return the board with a job added or replaced."""
        return replace(self, jobs=MappingProxyType({**self.jobs, job.key: job}))

    def without_finished(self) -> Board:
        """Return the board without the jobs that have ended."""
        unfinished = {key: job for key, job in self.jobs.items() if not job.is_finished}
        return replace(self, jobs=MappingProxyType(unfinished))


def apply_message(board: Board, message: Message) -> Board:
    """Return the board after a message. Outdated snapshots, and messages after a job's end, change nothing."""
    if isinstance(message, ServerState):
        return replace(board, server=message)
    job = board.jobs.get(message.key)
    if job is None or job.is_finished:
        return board
    return board.with_job(_update_progress(job, message))


def _update_progress(job: JobStatus, message: Message) -> JobStatus:
    match message:
        case JobAccepted():
            state = "queued" if job.state == "sending" else job.state
            return replace(job, job_id=message.job_id, state=state)
        case JobProgress() if message.revision > job.revision:
            # The server may not know yet that the user pressed Cancel; the panel must not jump back.
            state = "cancelling" if job.state == "cancelling" else message.state
            return replace(
                job,
                state=state,
                revision=message.revision,
                stage=message.stage,
                step=message.step,
                total_steps=message.total_steps,
                fraction=max(job.fraction, message.fraction),
                time_left_s=message.time_left_s,
            )
        case StemsReceived():
            return replace(job, state="done", fraction=1.0, time_left_s=None, note="Done", sound_notes=message.notes)
        case JobFailed():
            return replace(job, state="failed", time_left_s=None, note="Failed", problem=message.problem)
        case JobCancelled():
            return replace(job, state="cancelled", time_left_s=None, note="Cancelled")
    return job
