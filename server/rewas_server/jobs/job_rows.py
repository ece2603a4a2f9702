"""The rows of job stores in SQL databases: jobs and requests to rows, and rows to jobs and requests."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf.message import DecodeError

from rewas_api.v1 import rewas_pb2
from rewas_server.jobs import lifecycle
from rewas_server.jobs import store as jobs_store

JOB_COLUMNS = (
    *("number", "id", "idempotency_key", "parent_id", "child_count", "state", "priority", "kind", "pack"),
    *("client", "pinned", "files_deleted", "finished_at_ms", "snapshot", "result"),
)
"""All columns of a job."""

SHORT_ROW = "number, id, idempotency_key, parent_id, child_count, state, priority, snapshot"
FULL_ROW = f"{SHORT_ROW}, result"
_log = logging.getLogger("rewas.server")


class Cursor(Protocol):
    """The result of a statement."""

    def fetchone(self) -> Any:
        """Return the next row; None after the last one."""
        ...

    def fetchall(self) -> list[Any]:
        """Return the remaining rows."""
        ...


class Connection(Protocol):
    """A connection to a database, in which `?` marks the parameters of a statement."""

    def execute(self, query: str, parameters: Sequence[Any] = (), /) -> Cursor:
        """Run a statement. Raises the errors of the database."""
        ...

    def executemany(self, query: str, parameters: Iterable[Sequence[Any]], /) -> object:
        """Run a statement for each of several lists of parameters. Raises the errors of the database."""
        ...


class UnreadableJob(Exception):
    """A stored job cannot be read. The message is the reason, as a clause."""


@dataclass(frozen=True)
class JobRow:
    """The columns of a stored job that reading it takes. result: b"" if it was not selected."""

    number: int
    id: str
    idempotency_key: str
    parent_id: str
    child_count: int
    state: int
    priority: int
    snapshot: bytes
    result: bytes = b""


def insert_job(connection: Connection, job: rewas_pb2.Job, request: rewas_pb2.SubmitJobRequest, client: str) -> None:
    """Insert a job and its request. Raises the errors of the database."""
    values = {
        "id": job.id,
        "idempotency_key": request.idempotency_key,
        "parent_id": job.parent_id,
        "kind": jobs_store.work_kind(request),
        "pack": jobs_store.work_pack(request),
        "client": client,
        **_columns_of(job),
    }
    (number,) = connection.execute(
        f"INSERT INTO job ({', '.join(values)}) VALUES ({', '.join('?' * len(values))}) RETURNING number",
        tuple(values.values()),
    ).fetchone()
    _insert_request(connection, number, job.id, jobs_store.serialize_request(request), request)


def insert_request(connection: Connection, number: int, job_id: str, message: bytes) -> None:
    """Insert the request of a job. message: may be damaged. Raises the errors of the database."""
    try:
        request = rewas_pb2.SubmitJobRequest.FromString(message)
    except DecodeError:
        request = rewas_pb2.SubmitJobRequest()
    _insert_request(connection, number, job_id, message, request)


def _insert_request(
    connection: Connection, number: int, job_id: str, message: bytes, request: rewas_pb2.SubmitJobRequest
) -> None:
    connection.execute(
        "INSERT INTO job_request (job_number, job_id, message) VALUES (?, ?, ?)", (number, job_id, message)
    )
    connection.executemany(
        "INSERT INTO job_upload (job_number, sha256) VALUES (?, ?)",
        [(number, sha256) for sha256 in sorted(jobs_store.uploads_of(request))],
    )


def store_job(connection: Connection, number: int, job: rewas_pb2.Job) -> None:
    """Store a snapshot in a row. Raises the errors of the database."""
    values = _columns_of(job)
    connection.execute(
        f"UPDATE job SET {', '.join(f'{name} = ?' for name in values)} WHERE number = ?", (*values.values(), number)
    )


def _columns_of(job: rewas_pb2.Job) -> dict[str, Any]:
    """Return the columns that depend on the snapshot of a job."""
    snapshot, result = jobs_store.split_result(job)
    return {
        "child_count": job.child_count,
        "state": job.state,
        "priority": jobs_store.order_of(job.priority),
        "pinned": job.pinned,
        "files_deleted": job.files_deleted,
        "finished_at_ms": job.finished_at.ToMilliseconds() if job.HasField("finished_at") else None,
        "snapshot": snapshot,
        "result": result,
    }


def select_row(connection: Connection, job_id: str) -> JobRow:
    """Return the row of a job. Raises ProblemError (NOT_FOUND), the errors of the database."""
    found = connection.execute(f"SELECT {FULL_ROW} FROM job WHERE id = ?", (job_id,)).fetchone()
    if found is None:
        raise jobs_store.not_found(job_id)
    return JobRow(*found)


def select_request(connection: Connection, number: int) -> bytes:
    """Return the request of a job as it is stored; b"" if it was set aside or lost.

    Raises the errors of the database.
    """
    found = connection.execute("SELECT message FROM job_request WHERE job_number = ?", (number,)).fetchone()
    return b"" if found is None else found[0]


def find_same_work(connection: Connection, request: rewas_pb2.SubmitJobRequest) -> JobRow | None:
    """Return the row with the idempotency key of a request, or None.

    Raises ProblemError (SETTINGS) if it is that of other work, the errors of the database.
    """
    found = connection.execute(
        f"SELECT {FULL_ROW} FROM job WHERE idempotency_key = ?", (request.idempotency_key,)
    ).fetchone()
    if found is None:
        return None
    row = JobRow(*found)
    message = select_request(connection, row.number)
    if message != jobs_store.serialize_request(request) and is_readable_request(row, message):
        raise jobs_store.key_reused(request.idempotency_key)
    return row


def is_readable_request(row: JobRow, message: bytes) -> bool:
    """Return whether the stored request of a job can be read."""
    try:
        parse_request(row, message)
    except UnreadableJob:
        return False
    return True


def parse_job(row: JobRow) -> rewas_pb2.Job:
    """Return the snapshot in a row. Raises UnreadableJob."""
    try:
        job = jobs_store.join_result(row.snapshot, row.result)
    except DecodeError as error:
        raise UnreadableJob("its snapshot is not a message of the contract") from error
    if job.id != row.id:
        raise UnreadableJob("its snapshot is that of another job")
    if job.state != row.state:
        raise UnreadableJob(f"its snapshot has the state {job.state}, its row the state {row.state}")
    if job.state not in rewas_pb2.JobState.values() or job.state == rewas_pb2.JOB_STATE_UNSPECIFIED:
        raise UnreadableJob(f"its state {job.state} is unknown")
    return job


def parse_request(row: JobRow, message: bytes) -> rewas_pb2.SubmitJobRequest:
    """Return the stored request of a job. Raises UnreadableJob."""
    try:
        request = rewas_pb2.SubmitJobRequest.FromString(message)
    except DecodeError as error:
        raise UnreadableJob("its request is not a message of the contract") from error
    if request.idempotency_key != row.idempotency_key:
        raise UnreadableJob("its request is that of another job")
    return request


def failed_job(row: JobRow, readable: rewas_pb2.Job | None = None, *, has_request: bool = False) -> rewas_pb2.Job:
    """Return the job that replaces one that cannot be read.

    Args:
        row: Its row.
        readable: Its snapshot, if only its request is damaged.
        has_request: Whether its request can be read.
    """
    job = rewas_pb2.Job(
        name=row.id,
        # Watchers ignore a revision that is lower than one they have seen.
        revision=time.time_ns() // 1_000_000,
        parent_id=row.parent_id,
        child_count=row.child_count,
    )
    if row.priority in rewas_pb2.Priority.values():
        job.priority = row.priority  # type: ignore[assignment]
    job.created_at.GetCurrentTime()
    if readable is not None:
        job.CopyFrom(readable)
        job.revision += 1
        job.ClearField("time_left")
    job.id = row.id
    job.state = rewas_pb2.JOB_STATE_FAILED
    job.finished_at.GetCurrentTime()
    problem = jobs_store.record_damaged(row.id, is_timeline=job.child_count > 0, has_request=has_request)
    job.problem.CopyFrom(problem.to_proto())
    return job


def set_aside(connection: Connection, number: int, reason: str) -> rewas_pb2.Job | None:
    """Copy a row to the table of jobs that cannot be read, and store a FAILED job in its place.

    A job that had ended keeps its result if only its request is damaged. Returns what the row holds now; None if there
    is no such row.
    """
    found = connection.execute(f"SELECT {FULL_ROW} FROM job WHERE number = ?", (number,)).fetchone()
    if found is None:
        return None
    row = JobRow(*found)
    message = select_request(connection, number)
    has_request = is_readable_request(row, message)
    job: rewas_pb2.Job | None
    try:
        job = parse_job(row)
    except UnreadableJob:
        job = None
    if job is not None and (has_request or (not message and job.state in lifecycle.FINAL_STATES)):
        # Another thread was faster, or the request was set aside before.
        return job
    _log.error("The job %s cannot be read: %s. It is set aside.", row.id, reason, extra={"job_id": row.id})
    connection.execute(
        "INSERT INTO set_aside (set_aside_at_ms, reason, job_id, state, snapshot, result, request)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (time.time_ns() // 1_000_000, reason, row.id, row.state, row.snapshot, row.result, message),
    )
    if not has_request:
        connection.execute("UPDATE job_request SET message = ? WHERE job_number = ?", (b"", number))
    if job is None or job.state not in lifecycle.FINAL_STATES:
        job = failed_job(row, job, has_request=has_request)
        store_job(connection, number, job)
    return job


def marks(values: Collection[int]) -> str:
    """Return the parameter marks of a list of values."""
    return ", ".join("?" * len(values))
