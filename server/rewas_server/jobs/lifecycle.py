"""The life cycle of a job as pure functions: allowed transitions and their effects on the snapshot.

    QUEUED -> RUNNING -> SUCCEEDED | FAILED        RUNNING -> QUEUED if the worker or the server ended during the job
    QUEUED -> PAUSED, RUNNING -> PAUSING -> PAUSED -> QUEUED
    QUEUED | RUNNING | PAUSING | PAUSED -> CANCELLING -> CANCELLED
    FAILED | CANCELLED -> QUEUED if a client retries the job, and SUCCEEDED -> QUEUED for a timeline with failed clips

Every function takes a snapshot and returns a new one with the next revision.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from google.protobuf.timestamp_pb2 import Timestamp

from rewas_api import enum_names
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_api.v1.rewas_pb2 import (
    INTERRUPTION_CAUSE_DEADLINE,
    INTERRUPTION_CAUSE_OUT_OF_MEMORY,
    INTERRUPTION_CAUSE_SERVER_ENDED,
    INTERRUPTION_CAUSE_WORKER_ENDED,
    JOB_STATE_CANCELLED,
    JOB_STATE_CANCELLING,
    JOB_STATE_FAILED,
    JOB_STATE_PAUSED,
    JOB_STATE_PAUSING,
    JOB_STATE_QUEUED,
    JOB_STATE_RUNNING,
    JOB_STATE_SUCCEEDED,
    PRIORITY_NORMAL,
    PRIORITY_UNSPECIFIED,
    InterruptionCause,
    Priority,
)
from rewas_engine import Progress
from rewas_server.work.context import Result

MAX_INTERRUPTIONS: Mapping[int, int] = {
    INTERRUPTION_CAUSE_WORKER_ENDED: 3,
    INTERRUPTION_CAUSE_OUT_OF_MEMORY: 2,
    INTERRUPTION_CAUSE_DEADLINE: 2,
}
"""A job fails when it has been interrupted this often for one cause. Causes that are not listed never count."""

UNFINISHED_STATES = frozenset(
    {JOB_STATE_QUEUED, JOB_STATE_RUNNING, JOB_STATE_CANCELLING, JOB_STATE_PAUSING, JOB_STATE_PAUSED}
)
FINAL_STATES = frozenset({JOB_STATE_SUCCEEDED, JOB_STATE_FAILED, JOB_STATE_CANCELLED})

ALLOWED_TRANSITIONS = {
    JOB_STATE_QUEUED: frozenset({JOB_STATE_RUNNING, JOB_STATE_CANCELLING, JOB_STATE_FAILED, JOB_STATE_PAUSED}),
    JOB_STATE_RUNNING: frozenset(
        {
            JOB_STATE_RUNNING,
            JOB_STATE_QUEUED,
            JOB_STATE_SUCCEEDED,
            JOB_STATE_FAILED,
            JOB_STATE_CANCELLING,
            JOB_STATE_PAUSING,
        }
    ),
    JOB_STATE_PAUSING: frozenset({JOB_STATE_PAUSED, JOB_STATE_SUCCEEDED, JOB_STATE_FAILED, JOB_STATE_CANCELLING}),
    JOB_STATE_PAUSED: frozenset({JOB_STATE_QUEUED, JOB_STATE_CANCELLING}),
    JOB_STATE_CANCELLING: frozenset({JOB_STATE_CANCELLED}),
    JOB_STATE_SUCCEEDED: frozenset({JOB_STATE_QUEUED}),
    JOB_STATE_FAILED: frozenset({JOB_STATE_QUEUED}),
    JOB_STATE_CANCELLED: frozenset({JOB_STATE_QUEUED}),
}

_RESULT_FIELDS: dict[type, str] = {
    rewas_pb2.EnergyResult: "energy",
    rewas_pb2.ConflictResult: "conflict",
    rewas_pb2.DescriptionResult: "description",
    rewas_pb2.SoundResult: "sound",
    rewas_pb2.TimelineResult: "timeline",
    rewas_pb2.AudibleVideoResult: "audible_video",
}
_ATTEMPT_FIELDS = ("stage", "step", "total_steps", "time_left", "started_at")


class InvalidTransition(Exception):
    """A change that the job's state does not allow, such as progress of a job that has ended."""


def create_job(
    job_id: str,
    name: str,
    *,
    priority: Priority = PRIORITY_NORMAL,
    parent_id: str = "",
    child_count: int = 0,
) -> rewas_pb2.Job:
    """Return a newly submitted job.

    Args:
        job_id: Unique identifier.
        name: Name of the clip or timeline, for lists.
        priority: Order among the waiting jobs.
        parent_id: The timeline job that this job is a child of; "" for other jobs.
        child_count: Number of children of a timeline job; 0 for other jobs.
    """
    return rewas_pb2.Job(
        id=job_id,
        name=name,
        revision=1,
        state=JOB_STATE_QUEUED,
        created_at=_now(),
        priority=PRIORITY_NORMAL if priority == PRIORITY_UNSPECIFIED else priority,
        parent_id=parent_id,
        child_count=child_count,
    )


def start_job(job: rewas_pb2.Job) -> rewas_pb2.Job:
    """The worker has begun the job."""
    _require(job, JOB_STATE_QUEUED, "start")
    after = _with_state(job, JOB_STATE_RUNNING)
    after.attempt += 1
    after.started_at.CopyFrom(_now())
    return after


def update_progress(job: rewas_pb2.Job, progress: Progress) -> rewas_pb2.Job:
    """The worker reports progress. The fraction never falls, not even in a second attempt."""
    _require(job, JOB_STATE_RUNNING, "progress")
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
    # No worker runs it, so it is cancelled at once. A timeline ends with its clips, which workers may be running.
    waits = job.state in (JOB_STATE_QUEUED, JOB_STATE_PAUSED) and not job.child_count
    return cancel_job(after) if waits else after


def cancel_job(job: rewas_pb2.Job) -> rewas_pb2.Job:
    """The worker has stopped the job."""
    return _end_job(job, JOB_STATE_CANCELLED)


def request_pause(job: rewas_pb2.Job) -> rewas_pb2.Job:
    """Request a pause. A job that has ended, is being cancelled, or is paused already does not change."""
    if job.state == JOB_STATE_QUEUED:
        return _with_state(job, JOB_STATE_PAUSED)
    if job.state != JOB_STATE_RUNNING:
        return job
    after = _with_state(job, JOB_STATE_PAUSING)
    after.ClearField("time_left")
    return after


def pause_job(job: rewas_pb2.Job) -> rewas_pb2.Job:
    """The worker has stopped the job, which is to be paused. It starts over when it is resumed."""
    _require(job, JOB_STATE_PAUSING, "pause")
    return _without_attempt(_with_state(job, JOB_STATE_PAUSED))


def stop_job(job: rewas_pb2.Job) -> rewas_pb2.Job:
    """The worker has stopped the job as requested: it is cancelled or paused."""
    return pause_job(job) if job.state == JOB_STATE_PAUSING else cancel_job(job)


def resume_job(job: rewas_pb2.Job) -> rewas_pb2.Job:
    """Put a paused job back into the queue. Other jobs do not change."""
    return _with_state(job, JOB_STATE_QUEUED) if job.state == JOB_STATE_PAUSED else job


def retry_job(job: rewas_pb2.Job) -> rewas_pb2.Job:
    """Put a failed or cancelled job back into the queue, as if it had just been submitted.

    A timeline is also retried if it has succeeded, but not all of its clips have a sound. Other jobs do not change.
    """
    if job.state not in (JOB_STATE_FAILED, JOB_STATE_CANCELLED) and not job.timeline.failed_clip_count:
        return job
    after = _without_attempt(_with_state(job, JOB_STATE_QUEUED))
    for field in (
        "attempt",
        "interruptions",
        "fraction",
        "finished_at",
        "problem",
        "timeline",
        "finished_child_count",
        "files_deleted",
    ):
        after.ClearField(field)
    return after


def pin_job(job: rewas_pb2.Job, pinned: bool) -> rewas_pb2.Job:
    """Keep the files of a job until it is unpinned, or no longer."""
    if job.pinned == pinned:
        return job
    after = _copy(job)
    after.pinned = pinned
    return after


def interrupt_job(job: rewas_pb2.Job, cause: InterruptionCause, *, counts: bool = True) -> rewas_pb2.Job:
    """The worker or the server ended during the job. counts: whether the job may be at fault.

    A job that was being cancelled or paused is cancelled or paused. A running job is queued again, or fails if it was
    interrupted too often for this cause.
    """
    if job.state in (JOB_STATE_CANCELLING, JOB_STATE_PAUSING):
        return stop_job(job)
    _require(job, JOB_STATE_RUNNING, "interruption")
    if not counts:
        return _without_attempt(_with_state(job, JOB_STATE_QUEUED))
    counted = _copy(job)
    entry = next((entry for entry in counted.interruptions if entry.cause == cause), None)
    if entry is None:
        entry = counted.interruptions.add(cause=cause)
    entry.count += 1
    if entry.count >= MAX_INTERRUPTIONS.get(cause, entry.count + 1):
        counted.revision = job.revision
        return fail_job(counted, interruption_problem(job.name, cause, entry.count))
    counted.revision = job.revision
    return _without_attempt(_with_state(counted, JOB_STATE_QUEUED))


def recover_job(job: rewas_pb2.Job) -> rewas_pb2.Job:
    """An earlier run of the server ended during the job.

    Its watchers may have seen progress that was not stored, and ignore snapshots with a lower revision than that.
    """
    after = interrupt_job(job, INTERRUPTION_CAUSE_SERVER_ENDED)
    after.revision = max(after.revision, time.time_ns() // 1_000_000)
    return after


def interruption_problem(name: str, cause: InterruptionCause, count: int) -> ProblemError:
    """Return the problem of a job that was interrupted too often. name: of the job."""
    what, remedy = {
        INTERRUPTION_CAUSE_OUT_OF_MEMORY: (
            f'The job "{name}" ran out of memory {count} times: the system ended the worker process.',
            "Close other programs, or try a shorter clip, a smaller pack or `rewas serve --low-memory`.",
        ),
        INTERRUPTION_CAUSE_DEADLINE: (
            f'The job "{name}" exceeded its time limit {count} times, or the worker process stopped responding.',
            "Try a shorter clip or fewer steps, and check that the media file plays to its end.",
        ),
    }.get(
        cause,
        (
            f'The worker process ended {count} times during the job "{name}".',
            "Try a shorter clip or a smaller pack. The server's log has details.",
        ),
    )
    return ProblemError(what, remedy, ProblemKind.RESOURCES)


def _require(job: rewas_pb2.Job, state: int, change: str) -> None:
    if job.state != state:
        raise InvalidTransition(f"{change} of a job in state {rewas_pb2.JobState.Name(job.state)}")


def _copy(job: rewas_pb2.Job) -> rewas_pb2.Job:
    after = rewas_pb2.Job()
    after.CopyFrom(job)
    after.revision += 1
    return after


def _with_state(job: rewas_pb2.Job, state: int) -> rewas_pb2.Job:
    if state not in ALLOWED_TRANSITIONS[job.state]:
        names = rewas_pb2.JobState.Name(job.state), rewas_pb2.JobState.Name(state)
        raise InvalidTransition(f"{names[0]} -> {names[1]}")
    after = _copy(job)
    after.state = state  # type: ignore[assignment]
    return after


def _without_attempt(job: rewas_pb2.Job) -> rewas_pb2.Job:
    """Remove what describes the interrupted attempt, because the next one repeats all stages."""
    for field in _ATTEMPT_FIELDS:
        job.ClearField(field)
    return job


def _end_job(job: rewas_pb2.Job, state: int) -> rewas_pb2.Job:
    after = _with_state(job, state)
    after.finished_at.CopyFrom(_now())
    after.ClearField("time_left")
    return after


def _now() -> Timestamp:
    now = Timestamp()
    now.FromMilliseconds(time.time_ns() // 1_000_000)
    return now
