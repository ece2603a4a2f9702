"""The interface of job stores. An accepted job survives crashes of the server and of the machine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2

Change = Callable[[rewas_pb2.Job], rewas_pb2.Job]
MAX_DURATIONS = 50
"""Number of durations that are kept for each kind of work, pack and device."""


class StoreUnavailable(ProblemError):
    """The store cannot be read or written now, and nothing was changed. The same call may succeed later."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy, ProblemKind.RESOURCES)


@dataclass(frozen=True)
class JobPage:
    """One page of a list of jobs, without their results. next_before: start of the next page; None on the last page."""

    jobs: list[rewas_pb2.Job]
    next_before: int | None


@dataclass(frozen=True)
class QueuedJob:
    """A job in the queue.

    Attributes:
        id: Of the job.
        state: QUEUED or RUNNING.
        priority: INTERACTIVE, NORMAL or BATCH.
        kind: "energy", "conflict", "description", "sound" or "audible_video".
        pack: Name of the requested pack; "" for the server's default.
        parent_id: Timeline job of which it is a child; "" if it has none.
    """

    id: str
    state: int
    priority: int
    kind: str
    pack: str
    parent_id: str


@dataclass(frozen=True)
class ChangedChildren:
    """Some children of a job after a change.

    Attributes:
        jobs: Those that have changed, without their results.
        next_after: Where the next children begin; None after the last ones.
    """

    jobs: list[rewas_pb2.Job]
    next_after: int | None


@dataclass(frozen=True)
class StoredJob:
    """What a stored job takes up, and until when.

    Attributes:
        id: Of the job.
        parent_id: Timeline job of which it is a child; "" if it has none.
        state: State of the job.
        pinned: Whether a client has pinned it.
        files_deleted: Whether its files have been deleted.
        finished_at_s: Unix time at which it reached a final state; None before.
        size_bytes: Size of its messages in the store.
    """

    id: str
    parent_id: str
    state: int
    pinned: bool
    files_deleted: bool
    finished_at_s: float | None
    size_bytes: int


@dataclass(frozen=True)
class WorkDuration:
    """How long a job ran.

    Attributes:
        kind: "energy", "conflict", "description", "sound" or "audible_video".
        pack: Name of the pack.
        device: Device of the model.
        amount_s: Amount of work, such as seconds of sound times takes times steps. The store does not interpret it.
        duration_s: Time that the job took.
    """

    kind: str
    pack: str
    device: str
    amount_s: float
    duration_s: float


@dataclass(frozen=True)
class SetAsideJob:
    """A stored job that could not be read.

    Attributes:
        id: Of the job.
        reason: Why it could not be read, as a clause.
        set_aside_at: When this was noticed, in UTC.
    """

    id: str
    reason: str
    set_aside_at: datetime


class JobStore(Protocol):
    """Stores jobs. A change is durable when its call returns. Calls block and are thread-safe.

    Every call raises StoreUnavailable if the disk is full, or if the store is locked or damaged. The change has then
    not been made, and the next call tries again.

    A stored job that cannot be read is set aside with the reason (see `set_aside_jobs`). Its place is taken by a job in
    the state FAILED with the same identifier, so that its clients get an answer and no other job is affected.
    """

    def add(
        self,
        job: rewas_pb2.Job,
        request: rewas_pb2.SubmitJobRequest,
        children: Sequence[tuple[rewas_pb2.Job, rewas_pb2.SubmitJobRequest]] = (),
        *,
        client: str = "",
    ) -> rewas_pb2.Job:
        """Store a job with its children, all or nothing. If the idempotency key is known, return the existing job.

        children: in the order of the timeline.
        client: name of the client that submits the job.

        Raises ProblemError (SETTINGS) if the key was used for different work, ValueError if the identifier of one of
        the jobs or the key of a child is taken.
        """
        ...

    def find_by_key(self, request: rewas_pb2.SubmitJobRequest) -> rewas_pb2.Job | None:
        """Return the job with the request's idempotency key, or None. Raises like `add`."""
        ...

    def get(self, job_id: str) -> rewas_pb2.Job:
        """Return the latest snapshot. Raises ProblemError (NOT_FOUND)."""
        ...

    def request(self, job_id: str) -> rewas_pb2.SubmitJobRequest:
        """Return the request of a job as it was added.

        Raises ProblemError: NOT_FOUND; RESOURCES for a request that cannot be read, whose job has then FAILED.
        """
        ...

    def list_page(
        self,
        size: int,
        before: int | None = None,
        *,
        parent_id: str = "",
        states: Collection[int] = frozenset(),
    ) -> JobPage:
        """List up to `size` jobs without their results: jobs without a parent, newest first.

        Args:
            size: Maximum number of jobs.
            before: `next_before` of the previous page; None for the first one.
            parent_id: List the children of this job instead, in the order of the timeline.
            states: List only jobs in these states; empty lists all.
        """
        ...

    def children(self, parent_id: str, size: int, after: int | None = None) -> JobPage:
        """Return up to `size` children of a job with their results, in the order of the timeline.

        after: `next_before` of the previous page; None for the first one.
        """
        ...

    def child_ids(self, parent_id: str) -> list[str]:
        """Return the identifiers of the children of a job, in the order of the timeline. Cheap."""
        ...

    def count_children(self, parent_id: str) -> dict[int, int]:
        """Return the number of children of a job in each state that occurs. Cheap."""
        ...

    def update(self, job_id: str, change: Change) -> rewas_pb2.Job:
        """Apply a change to the latest snapshot and store the result.

        The change is not applied to a job that cannot be read: the FAILED job that replaces it is returned.

        Raises ProblemError (NOT_FOUND), and what the change raises.
        """
        ...

    def update_children(
        self, parent_id: str, change: Change, *, states: Collection[int] = frozenset(), after: int = 0
    ) -> ChangedChildren:
        """Apply a change to the next children of a job, all or nothing, in the order of the timeline.

        Args:
            parent_id: Identifier of the job.
            change: As in `update`.
            states: Change only children in these states; empty changes all.
            after: `next_after` of the previous call; 0 for the first one.

        Raises what the change raises.
        """
        ...

    def next_queued(self, exclude: Collection[str] = ()) -> tuple[rewas_pb2.Job, rewas_pb2.SubmitJobRequest] | None:
        """Return the QUEUED job that is to run next with its request, or None. Changes nothing.

        It is the oldest job of the highest priority. Jobs with children never run themselves.

        exclude: identifiers of jobs to pass over.
        """
        ...

    def queue(self) -> list[QueuedJob]:
        """Return the jobs that run or wait to run, in the order in which they run. Cheap: reads no snapshot."""
        ...

    def unfinished(self) -> list[str]:
        """Return the identifiers of unfinished jobs, with and without children, oldest first.

        Reads each of them and its request, and sets aside those that cannot be read: the others can continue.
        """
        ...

    def count_unfinished(self, client: str | None = None, *, clips: bool = False) -> int:
        """Return the number of unfinished jobs, where a timeline counts as one. Cheap.

        Args:
            client: Count only the jobs of this client.
            clips: Count the clips of timelines instead.
        """
        ...

    def record_duration(self, duration: WorkDuration) -> None:
        """Store how long a job ran. The newest MAX_DURATIONS of each kind, pack and device are kept."""
        ...

    def durations(self, kind: str, pack: str, device: str) -> list[WorkDuration]:
        """Return the stored durations of this kind of work, newest first."""
        ...

    def delete(self, job_id: str) -> None:
        """Delete a job and its children.

        Raises ProblemError: NOT_FOUND; SETTINGS if the job or one of its children is not in a final state.
        """
        ...

    def media_in_use(self) -> set[str]:
        """Return the SHA-256 of all uploads that unfinished or pinned jobs name."""
        ...

    def media_named(self) -> set[str]:
        """Return the SHA-256 of all uploads that any job names."""
        ...

    def list_stored(self) -> list[StoredJob]:
        """Return what is needed to decide which jobs to delete, of all jobs in no order. Reads no message."""
        ...

    def may_have_lost_jobs(self) -> bool:
        """Return whether the store was damaged, so that files of jobs that it does not have must be kept."""
        ...

    def set_aside_jobs(self) -> list[SetAsideJob]:
        """Return the jobs that could not be read, the latest first."""
        ...

    def close(self) -> None:
        """Close the store."""
        ...


def work_kind(request: rewas_pb2.SubmitJobRequest) -> str:
    """Return the name of the work, such as "sound" or "timeline"; "" if the request holds no work."""
    return request.WhichOneof("work") or ""


def work_pack(request: rewas_pb2.SubmitJobRequest) -> str:
    """Return the name of the requested pack; "" for the server's default."""
    kind = work_kind(request)
    if kind == "sound":
        return request.sound.settings.pack
    if kind == "timeline":
        return request.timeline.defaults.pack
    if kind == "audible_video":
        return ""
    return getattr(request, kind).pack if kind else ""


def uploads_of(request: rewas_pb2.SubmitJobRequest) -> set[str]:
    """Return the SHA-256 of the uploads that a request names."""
    kind = work_kind(request)
    named = set(getattr(request, kind).uploaded_media.values()) if kind not in ("", "audible_video") else set()
    return named | {request.timeline.timeline_sha256} if request.timeline.timeline_sha256 else named


def serialize_request(request: rewas_pb2.SubmitJobRequest) -> bytes:
    """Serialise a request such that equal requests give equal bytes, although protobuf maps have no order."""
    return request.SerializeToString(deterministic=True)


def order_of(priority: int) -> int:
    """Return the place of a priority among the priorities, the first to run having the lowest number."""
    return priority or rewas_pb2.PRIORITY_NORMAL


def not_found(job_id: str) -> ProblemError:
    """Return the problem of a job that does not exist."""
    return ProblemError(
        f'There is no job "{job_id[:100]}".', "List the jobs to see those that exist.", ProblemKind.NOT_FOUND
    )


def key_reused(key: str) -> ProblemError:
    """Return the problem of an idempotency key that was used for different work."""
    return ProblemError(
        f'The idempotency key "{key}" was used before for other work.',
        "Use a new key for new work.",
        ProblemKind.SETTINGS,
    )


def not_finished(job_id: str) -> ProblemError:
    """Return the problem of an unfinished job that is to be deleted."""
    return ProblemError(
        f'The job "{job_id[:100]}" has not ended.', "Cancel it before you delete it.", ProblemKind.SETTINGS
    )


def record_damaged(job_id: str, *, is_timeline: bool = False, has_request: bool = False) -> ProblemError:
    """Return the problem of a job whose record cannot be read.

    Args:
        job_id: Of the job.
        is_timeline: Whether the job has children.
        has_request: Whether its request can be read.
    """
    remedy = "Submit the work again. `rewas doctor` shows the reason."
    if is_timeline:
        remedy = (
            "Its unfinished clips are cancelled. "
            + ("Retry it; this keeps" if has_request else "Submit it again; `rewas jobs list --parent` shows")
            + " the clips that have a sound."
        )
    return ProblemError(f'The stored record of the job "{job_id[:100]}" is damaged.', remedy, ProblemKind.RESOURCES)


def is_damaged(job: rewas_pb2.Job) -> bool:
    """Return whether a job has failed because its record cannot be read."""
    return job.problem.what == record_damaged(job.id).what


def split_result(job: rewas_pb2.Job) -> tuple[bytes, bytes]:
    """Serialise a job as its snapshot without result, and the result. `join_result` reverses it.

    Results are large, and lists leave them out.
    """
    field = job.WhichOneof("result")
    if field is None:
        return job.SerializeToString(), b""
    result = rewas_pb2.Job()
    getattr(result, field).CopyFrom(getattr(job, field))
    snapshot = rewas_pb2.Job()
    snapshot.CopyFrom(job)
    snapshot.ClearField(field)
    return snapshot.SerializeToString(), result.SerializeToString()


def join_result(snapshot: bytes, result: bytes) -> rewas_pb2.Job:
    """Read what `split_result` returned. Raises DecodeError."""
    # Serialised messages that follow each other are merged into one.
    return rewas_pb2.Job.FromString(snapshot + result)
