"""The life cycle of a job as pure functions: allowed transitions and their effects on the snapshot.

    QUEUED -> RUNNING -> SUCCEEDED | FAILED        QUEUED | RUNNING -> CANCELLING -> CANCELLED
    RUNNING -> QUEUED if the worker or the server ended during the job

Every function takes a snapshot and returns a new one with the next revision.
"""

from __future__ import annotations

import time

from google.protobuf.timestamp_pb2 import Timestamp

from rewas_api import enum_names
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_api.v1.rewas_pb2 import (
    JOB_STATE_CANCELLED,
    JOB_STATE_CANCELLING,
    JOB_STATE_FAILED,
    JOB_STATE_QUEUED,
    JOB_STATE_RUNNING,
    JOB_STATE_SUCCEEDED,
)
from rewas_engine import Progress
from rewas_server.work.context import Result

MAX_ATTEMPTS = 2
"""A job fails if its worker ends this often during the job."""

UNFINISHED_STATES = frozenset({JOB_STATE_QUEUED, JOB_STATE_RUNNING, JOB_STATE_CANCELLING})
FINAL_STATES = frozenset({JOB_STATE_SUCCEEDED, JOB_STATE_FAILED, JOB_STATE_CANCELLED})

ALLOWED_TRANSITIONS = {
    JOB_STATE_QUEUED: frozenset({JOB_STATE_RUNNING, JOB_STATE_CANCELLING, JOB_STATE_FAILED}),
    JOB_STATE_RUNNING: frozenset(
        {JOB_STATE_RUNNING, JOB_STATE_QUEUED, JOB_STATE_SUCCEEDED, JOB_STATE_FAILED, JOB_STATE_CANCELLING}
    ),
    JOB_STATE_CANCELLING: frozenset({JOB_STATE_CANCELLED}),
    JOB_STATE_SUCCEEDED: frozenset(),
    JOB_STATE_FAILED: frozenset(),
    JOB_STATE_CANCELLED: frozenset(),
}

_RESULT_FIELDS: dict[type, str] = {
    rewas_pb2.EnergyResult: "energy",
    rewas_pb2.ConflictResult: "conflict",
    rewas_pb2.SoundResult: "sound",
    rewas_pb2.TimelineResult: "timeline",
}


class InvalidTransition(Exception):
    """A change that the job's state does not allow, such as progress of a job that has ended."""


def create_job(job_id: str, name: str) -> rewas_pb2.Job:
    """Return a newly submitted job."""
    return rewas_pb2.Job(id=job_id, name=name, revision=1, state=JOB_STATE_QUEUED, created_at=_now())


def start_job(job: rewas_pb2.Job) -> rewas_pb2.Job:
    """The worker starts the job."""
    if job.state != JOB_STATE_QUEUED:
        raise InvalidTransition(f"start of a job in state {rewas_pb2.JobState.Name(job.state)}")
    after = _with_state(job, JOB_STATE_RUNNING)
    after.attempt += 1
    return after


def update_progress(job: rewas_pb2.Job, progress: Progress) -> rewas_pb2.Job:
    """The worker reports progress. The fraction never falls, not even in a second attempt."""
    if job.state != JOB_STATE_RUNNING:
        raise InvalidTransition(f"progress of a job in state {rewas_pb2.JobState.Name(job.state)}")
    after = _with_state(job, JOB_STATE_RUNNING)
    after.stage = enum_names.STAGE.to_number(progress.stage)
    after.step = progress.step
    after.total_steps = progress.total_steps
    after.fraction = max(job.fraction, min(1.0, progress.fraction))
    after.ClearField("time_left")
    if progress.time_left_s is not None:
        after.time_left.FromNanoseconds(round(progress.time_left_s * 1_000_000_000))
    return after


def complete_job(job: rewas_pb2.Job, result: Result) -> rewas_pb2.Job:
    """The job has a result."""
    after = _end_job(job, JOB_STATE_SUCCEEDED)
    after.fraction = 1.0
    getattr(after, _RESULT_FIELDS[type(result)]).CopyFrom(result)
    return after


def fail_job(job: rewas_pb2.Job, problem: ProblemError) -> rewas_pb2.Job:
    """The job failed."""
    after = _end_job(job, JOB_STATE_FAILED)
    after.problem.CopyFrom(problem.to_proto())
    return after


def request_cancel(job: rewas_pb2.Job) -> rewas_pb2.Job:
    """Request cancellation. A job that has ended or is already being cancelled does not change."""
    if job.state in FINAL_STATES or job.state == JOB_STATE_CANCELLING:
        return job
    after = _with_state(job, JOB_STATE_CANCELLING)
    after.ClearField("time_left")
    # No worker runs it, so it is cancelled at once.
    return cancel_job(after) if job.state == JOB_STATE_QUEUED else after


def cancel_job(job: rewas_pb2.Job) -> rewas_pb2.Job:
    """The worker has stopped the job."""
    return _end_job(job, JOB_STATE_CANCELLED)


def interrupt_job(job: rewas_pb2.Job, *, by_crash: bool) -> rewas_pb2.Job:
    """The worker or the server ended during the job.

    A job that was being cancelled is cancelled. A running job is queued again, or fails after MAX_ATTEMPTS.
    A regular stop of the server (by_crash False) does not count as an attempt.
    """
    if job.state == JOB_STATE_CANCELLING:
        return cancel_job(job)
    if by_crash and job.attempt >= MAX_ATTEMPTS:
        return fail_job(job, crash_problem(job))
    after = _with_state(job, JOB_STATE_QUEUED)
    # The next attempt repeats all stages.
    for field in ("stage", "step", "total_steps", "time_left"):
        after.ClearField(field)
    if not by_crash:
        after.attempt -= 1
    return after


def crash_problem(job: rewas_pb2.Job) -> ProblemError:
    """Return the problem of a job whose worker ended repeatedly."""
    return ProblemError(
        f'The worker process ended {job.attempt} times during the job "{job.name}".',
        "Free some memory, or try a shorter clip or a smaller pack. The server's log has details.",
        ProblemKind.RESOURCES,
    )


def _with_state(job: rewas_pb2.Job, state: int) -> rewas_pb2.Job:
    if state not in ALLOWED_TRANSITIONS[job.state]:
        names = rewas_pb2.JobState.Name(job.state), rewas_pb2.JobState.Name(state)
        raise InvalidTransition(f"{names[0]} -> {names[1]}")
    after = rewas_pb2.Job()
    after.CopyFrom(job)
    after.revision += 1
    after.state = state  # type: ignore[assignment]
    return after


def _end_job(job: rewas_pb2.Job, state: int) -> rewas_pb2.Job:
    after = _with_state(job, state)
    after.finished_at.CopyFrom(_now())
    after.ClearField("time_left")
    return after


def _now() -> Timestamp:
    now = Timestamp()
    now.FromMilliseconds(time.time_ns() // 1_000_000)
    return now
