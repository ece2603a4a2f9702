# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of the server and of all jobs, as the panel shows it. Messages update it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from .messages import (
    JobAccepted,
    JobCancelled,
    JobFailed,
    JobMessage,
    JobProgress,
    Message,
    Problem,
    ServerFound,
    ServerLost,
    ServerState,
    StemsReceived,
)

FINAL_STATES = frozenset({"done", "failed", "cancelled", "stored"})
_ACTIVE_STATE_LABELS = {
    "preparing": "Preparing",
    "sending": "Sending",
    "queued": "Waiting",
    "running": "Running",
    "paused": "Paused",
    "cancelling": "Cancelling",
    "arriving": "Placing",
}
STAGE_LABELS = {
    "picture": "Rendering the picture",
    "upload": "Uploading",
    "measure": "Measuring sound",
    "load": "Loading the pack",
    "decode": "Reading video",
    "energy": "Estimating energy",
    "conflict": "Checking prompt against video",
    "describe": "Describing picture and sound",
    "sample": "Generating",
    "vocode": "Rendering waveform",
    "perform": "Performing recordings",
    "deliver": "Writing stems",
}


@dataclass(frozen=True)
class JobStatus:
    """One job as the panel shows it.

    state: "preparing", "sending", "queued", "running", "paused", "cancelling", "arriving" (the stems are on disk and
    will be placed), "stored" (the stems wait for their .blend file to be opened), "done", "failed", "cancelled".
    note: the result in a few words, for the user. sound_notes: texts of the notes about the sound. problem: what went
    wrong, if anything. server_problem: why the server does not answer, or None. can_retry: whether a failed job can
    run again. strip_uid: identifier of a strip that was refused; a job has it in its record.
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
    server_problem: Problem | None = None
    can_retry: bool = False
    strip_uid: str = ""

    @property
    def is_finished(self) -> bool:
        """Whether the job has ended."""
        return self.state in FINAL_STATES

    @property
    def status_text(self) -> str:
        """Its state in a few words, such as "Generating 12/25"."""
        if self.server_problem is not None and not self.is_finished:
            return "Waiting for the server"
        if self.state in ("preparing", "sending", "running") and self.stage:
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

    def with_jobs(self, jobs: Iterable[JobStatus]) -> Board:
        """Return the board with jobs added or replaced."""
        return replace(self, jobs=MappingProxyType({**self.jobs, **{job.key: job for job in jobs}}))

    def without_jobs(self, keys: Iterable[str]) -> Board:
        """Return the board without these jobs."""
        removed = set(keys)
        return replace(self, jobs=MappingProxyType({key: job for key, job in self.jobs.items() if key not in removed}))

    def finished_keys(self) -> list[str]:
        """Return the keys of the jobs that have ended."""
        return [key for key, job in self.jobs.items() if job.is_finished]


def apply_message(board: Board, message: Message) -> Board:
    """Return the board after a message. Outdated snapshots, and messages after a job's end, change nothing."""
    match message:
        case ServerState():
            return replace(board, server=message)
        case ServerLost():
            return _with_server_problem(board, message.keys, message.problem)
        case ServerFound():
            return _with_server_problem(board, message.keys, None)
    job = board.jobs.get(message.key)
    if job is None or job.is_finished:
        return board
    return board.with_job(replace(_update_progress(job, message), server_problem=None))


def _with_server_problem(board: Board, keys: Iterable[str], problem: Problem | None) -> Board:
    jobs = [board.jobs[key] for key in keys if key in board.jobs]
    return board.with_jobs(replace(job, server_problem=problem) for job in jobs if not job.is_finished)


def _update_progress(job: JobStatus, message: JobMessage) -> JobStatus:
    match message:
        case JobAccepted() if job.state == "sending":
            return replace(job, job_id=message.job_id, state="queued", stage="", fraction=0.0)
        case JobAccepted():
            return replace(job, job_id=message.job_id)
        case JobProgress() if message.state == "sending":
            return replace(job, stage=message.stage, fraction=message.fraction)
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
            return replace(job, state="arriving", fraction=1.0, time_left_s=None, sound_notes=message.notes)
        case JobFailed():
            problem = message.problem
            return replace(job, state="failed", time_left_s=None, note="Failed", problem=problem, can_retry=True)
        case JobCancelled():
            return replace(job, state="cancelled", time_left_s=None, note="Cancelled")
    return job
