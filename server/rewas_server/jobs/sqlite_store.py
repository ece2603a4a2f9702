"""The job store of one machine: one SQLite file."""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from google.protobuf.message import DecodeError

from rewas_api import CONTRACT_VERSION
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.jobs import lifecycle
from rewas_server.jobs import store as jobs_store
from rewas_server.jobs.store import (
    MAX_DURATIONS,
    Change,
    JobPage,
    QueuedJob,
    SetAsideJob,
    StoredJob,
    StoreUnavailable,
    WorkDuration,
)

SCHEMA_VERSION = CONTRACT_VERSION
"""Snapshots and requests are messages of the contract: a store can only be read with the contract that wrote it."""

BUSY_TIMEOUT_S = 5.0
"""How long a call waits for a locked database."""

# Requests are in another table, so that a change of a job does not write its request again. The columns of a job
# repeat what queries need of the messages, which are never searched.
SCHEMA = """
CREATE TABLE job (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    idempotency_key TEXT NOT NULL UNIQUE,
    parent_id TEXT NOT NULL,
    child_count INTEGER NOT NULL,
    state INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    kind TEXT NOT NULL,
    pack TEXT NOT NULL,
    client TEXT NOT NULL,
    pinned INTEGER NOT NULL,
    files_deleted INTEGER NOT NULL,
    finished_at_ms INTEGER,
    snapshot BLOB NOT NULL,
    result BLOB NOT NULL
) STRICT;
CREATE INDEX job_by_state ON job (state, priority, number);
CREATE INDEX job_by_parent ON job (parent_id, number, state);
CREATE INDEX job_by_end ON job (parent_id, finished_at_ms) WHERE finished_at_ms IS NOT NULL;
CREATE INDEX job_pinned ON job (number) WHERE pinned;
CREATE TABLE job_request (
    job_number INTEGER PRIMARY KEY REFERENCES job (number) ON DELETE CASCADE,
    job_id TEXT NOT NULL,
    message BLOB NOT NULL
) STRICT;
CREATE TABLE job_upload (
    job_number INTEGER NOT NULL REFERENCES job (number) ON DELETE CASCADE,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (job_number, sha256)
) STRICT, WITHOUT ROWID;
CREATE TABLE work_duration (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    pack TEXT NOT NULL,
    device TEXT NOT NULL,
    amount_s REAL NOT NULL,
    duration_s REAL NOT NULL
) STRICT;
CREATE INDEX work_duration_by_kind ON work_duration (kind, pack, device, number);
CREATE TABLE set_aside (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    set_aside_at_ms INTEGER NOT NULL,
    reason TEXT NOT NULL,
    job_id TEXT NOT NULL,
    state INTEGER NOT NULL,
    snapshot BLOB NOT NULL,
    result BLOB NOT NULL,
    request BLOB NOT NULL
) STRICT;
"""

_ROW = "number, id, idempotency_key, parent_id, child_count, state, priority, snapshot"
_FULL_ROW = f"{_ROW}, result"
_log = logging.getLogger("rewas.server")


class UnreadableJob(Exception):
    """A stored job cannot be read. The message is the reason, as a clause."""


@dataclass(frozen=True)
class _Row:
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


class SqliteJobStore:
    """The job store of one machine, in one SQLite file. See JobStore.

    Raises ProblemError (RESOURCES) if the file is not writable, is not a job store, or was written by a version with
    another contract.
    """

    def __init__(self, path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = connect(path, busy_timeout_s)
            self._prepare()
            self._reader = connect(path, busy_timeout_s)
        except (OSError, sqlite3.Error) as error:
            raise ProblemError(
                f"The job store {path} cannot be used ({error}).",
                "Choose a state folder that you may write to, or move the damaged file away.",
                ProblemKind.RESOURCES,
            ) from error

    def add(
        self,
        job: rewas_pb2.Job,
        request: rewas_pb2.SubmitJobRequest,
        children: Sequence[tuple[rewas_pb2.Job, rewas_pb2.SubmitJobRequest]] = (),
        *,
        client: str = "",
    ) -> rewas_pb2.Job:
        with self._writing() as connection:
            known = _find_same_work(connection, request)
            if known is None:
                try:
                    for new_job, new_request in ((job, request), *children):
                        _insert(connection, new_job, new_request, client)
                except sqlite3.IntegrityError as error:
                    raise ValueError(f"a job is stored twice ({error})") from error
        return job if known is None else self._read(known)

    def find_by_key(self, request: rewas_pb2.SubmitJobRequest) -> rewas_pb2.Job | None:
        with self._reading() as connection:
            row = _find_same_work(connection, request)
        return None if row is None else self._read(row)

    def get(self, job_id: str) -> rewas_pb2.Job:
        with self._reading() as connection:
            row = _select(connection, job_id)
        return self._read(row)

    def request(self, job_id: str) -> rewas_pb2.SubmitJobRequest:
        with self._reading() as connection:
            row = _select(connection, job_id)
            message = _select_request(connection, row.number)
        try:
            return _parse_request(row, message)
        except UnreadableJob as reason:
            # An empty one has been set aside before.
            if message:
                self._replace(row.number, str(reason))
            raise jobs_store.record_damaged(job_id) from reason

    def list_page(
        self,
        size: int,
        before: int | None = None,
        *,
        parent_id: str = "",
        states: Collection[int] = frozenset(),
    ) -> JobPage:
        order, sign = ("ASC", ">") if parent_id else ("DESC", "<")
        state_filter = f"AND state IN ({_marks(states)})" if states else ""
        with self._reading() as connection:
            # One extra row shows whether there is a further page.
            rows = connection.execute(
                f"SELECT {_ROW} FROM job WHERE parent_id = ? AND (? IS NULL OR number {sign} ?) {state_filter}"
                f" ORDER BY number {order} LIMIT ?",
                (parent_id, before, before, *states, size + 1),
            ).fetchall()
        jobs = [self._read(_Row(*row)) for row in rows[:size]]
        if states:
            # One that could not be read has FAILED now.
            jobs = [job for job in jobs if job.state in states]
        return JobPage(jobs, rows[size - 1][0] if len(rows) > size else None)

    def children(self, parent_id: str) -> list[rewas_pb2.Job]:
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT {_FULL_ROW} FROM job WHERE parent_id = ? AND parent_id != '' ORDER BY number", (parent_id,)
            ).fetchall()
        return [self._read(_Row(*row)) for row in rows]

    def update(self, job_id: str, change: Change) -> rewas_pb2.Job:
        with self._writing() as connection:
            return self._apply(connection, job_id, change)

    def next_queued(self, exclude: Collection[str] = ()) -> tuple[rewas_pb2.Job, rewas_pb2.SubmitJobRequest] | None:
        passed_over = set(exclude)
        while True:
            with self._reading() as connection:
                found = connection.execute(
                    f"SELECT {_FULL_ROW} FROM job WHERE state = ? AND child_count = 0"
                    " AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY priority, number LIMIT 1",
                    (rewas_pb2.JOB_STATE_QUEUED, json.dumps(sorted(passed_over))),
                ).fetchone()
                if found is None:
                    return None
                row = _Row(*found)
                message = _select_request(connection, row.number)
            try:
                return _parse_job(row), _parse_request(row, message)
            except UnreadableJob as reason:
                self._replace(row.number, str(reason))
                # It is still there if the disk is full.
                passed_over.add(row.id)

    def queue(self) -> list[QueuedJob]:
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT id, state, priority, kind, pack, parent_id FROM job WHERE state IN (?1, ?2) AND child_count = 0"
                " ORDER BY state != ?1, priority, number",
                (rewas_pb2.JOB_STATE_RUNNING, rewas_pb2.JOB_STATE_QUEUED),
            ).fetchall()
        return [QueuedJob(*row) for row in rows]

    def unfinished(self) -> list[str]:
        states = sorted(lifecycle.UNFINISHED_STATES)
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT {_FULL_ROW} FROM job WHERE state IN ({_marks(states)}) ORDER BY number", states
            ).fetchall()
        jobs = [self._read(_Row(*row)) for row in rows]
        return [job.id for job in jobs if job.state in lifecycle.UNFINISHED_STATES]

    def count_unfinished(self, client: str | None = None) -> int:
        states = sorted(lifecycle.UNFINISHED_STATES)
        with self._reading() as connection:
            row = connection.execute(
                f"SELECT count(*) FROM job WHERE state IN ({_marks(states)})"
                " AND (? IS NULL OR (client = ? AND parent_id = ''))",
                (*states, client, client),
            ).fetchone()
        return int(row[0])

    def record_duration(self, duration: WorkDuration) -> None:
        key = (duration.kind, duration.pack, duration.device)
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO work_duration (kind, pack, device, amount_s, duration_s) VALUES (?, ?, ?, ?, ?)",
                (*key, duration.amount_s, duration.duration_s),
            )
            connection.execute(
                "DELETE FROM work_duration WHERE number IN (SELECT number FROM work_duration"
                " WHERE kind = ? AND pack = ? AND device = ? ORDER BY number DESC LIMIT -1 OFFSET ?)",
                (*key, MAX_DURATIONS),
            )

    def durations(self, kind: str, pack: str, device: str) -> list[WorkDuration]:
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT kind, pack, device, amount_s, duration_s FROM work_duration"
                " WHERE kind = ? AND pack = ? AND device = ? ORDER BY number DESC",
                (kind, pack, device),
            ).fetchall()
        return [WorkDuration(*row) for row in rows]

    def delete(self, job_id: str) -> None:
        final_states = sorted(lifecycle.FINAL_STATES)
        family = "id = ?1 OR (parent_id = ?1 AND parent_id != '')"
        with self._writing() as connection:
            _select(connection, job_id)
            unfinished = connection.execute(
                f"SELECT 1 FROM job WHERE ({family}) AND state NOT IN ({_marks(final_states, first=2)})",
                (job_id, *final_states),
            ).fetchone()
            if unfinished is not None:
                raise jobs_store.not_finished(job_id)
            connection.execute(f"DELETE FROM set_aside WHERE job_id IN (SELECT id FROM job WHERE {family})", (job_id,))
            connection.execute(f"DELETE FROM job WHERE {family}", (job_id,))

    def oldest_finished(self, limit: int, *, with_files: bool = False) -> list[rewas_pb2.Job]:
        final_states = sorted(lifecycle.FINAL_STATES)
        marks = _marks(final_states)
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT {_FULL_ROW} FROM job WHERE parent_id = '' AND finished_at_ms IS NOT NULL AND NOT pinned"
                f" AND NOT (? AND files_deleted) AND state IN ({marks}) AND NOT EXISTS (SELECT 1 FROM job AS child"
                f" WHERE child.parent_id = job.id AND (child.pinned OR child.state NOT IN ({marks})))"
                " ORDER BY finished_at_ms, number LIMIT ?",
                (with_files, *final_states, *final_states, limit),
            ).fetchall()
        return [self._read(_Row(*row)) for row in rows]

    def media_in_use(self) -> set[str]:
        states = sorted(lifecycle.UNFINISHED_STATES)
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT DISTINCT sha256 FROM job JOIN job_upload ON job_number = number"
                f" WHERE state IN ({_marks(states)}) OR pinned",
                states,
            ).fetchall()
        return {sha256 for (sha256,) in rows}

    def media_named(self) -> set[str]:
        with self._reading() as connection:
            rows = connection.execute("SELECT DISTINCT sha256 FROM job_upload").fetchall()
        return {sha256 for (sha256,) in rows}

    def list_stored(self) -> list[StoredJob]:
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT id, parent_id, state, pinned, files_deleted, finished_at_ms,"
                " length(snapshot) + length(result) + coalesce(length(message), 0)"
                " FROM job LEFT JOIN job_request ON job_number = number"
            ).fetchall()
        return [
            StoredJob(job_id, parent_id, state, bool(pinned), bool(deleted), ms and ms / 1000, size_bytes)
            for job_id, parent_id, state, pinned, deleted, ms, size_bytes in rows
        ]

    def set_aside_jobs(self) -> list[SetAsideJob]:
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT job_id, reason, set_aside_at_ms FROM set_aside ORDER BY number DESC"
            ).fetchall()
        return [
            SetAsideJob(job_id, reason, datetime.fromtimestamp(at_ms / 1000, UTC)) for job_id, reason, at_ms in rows
        ]

    def claim_next(self) -> tuple[rewas_pb2.Job, rewas_pb2.SubmitJobRequest] | None:
        found = self.next_queued()
        return None if found is None else (self.update(found[0].id, lifecycle.start_job), found[1])

    def close(self) -> None:
        with self._read_lock:
            self._reader.close()
        with self._write_lock:
            self._writer.close()

    def _prepare(self) -> None:
        (found,) = self._writer.execute("PRAGMA user_version").fetchone()
        if found not in (0, SCHEMA_VERSION):
            is_newer = found > SCHEMA_VERSION
            raise ProblemError(
                f"The job store {self._path} was written by {'a newer' if is_newer else 'an older'} version of ReWaS.",
                ("Update ReWaS" if is_newer else "Delete the file, whose jobs this version cannot read")
                + ", or choose another state folder.",
                ProblemKind.RESOURCES,
            )
        self._writer.execute("PRAGMA journal_mode = WAL")
        if found == 0:
            self._writer.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")

    def _read(self, row: _Row) -> rewas_pb2.Job:
        """Return the job of a row, or the FAILED job that replaces it."""
        try:
            return _parse_job(row)
        except UnreadableJob as reason:
            return self._replace(row.number, str(reason)) or _failed_job(row)

    def _replace(self, number: int, reason: str) -> rewas_pb2.Job | None:
        """Set a job that cannot be read aside. Returns what replaced it; None if it cannot be written now."""
        try:
            with self._writing() as connection:
                return _set_aside(connection, number, reason)
        except StoreUnavailable as error:
            _log.error("A job that cannot be read (%s) was not set aside: %s", reason, error)
            return None

    def _apply(self, connection: sqlite3.Connection, job_id: str, change: Change) -> rewas_pb2.Job:
        row = _select(connection, job_id)
        try:
            before = _parse_job(row)
        except UnreadableJob as reason:
            return _set_aside(connection, row.number, str(reason)) or _failed_job(row)
        after = change(before)
        if after is not before:
            _store(connection, row.number, after)
        return after

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._hold(self._read_lock):
            try:
                yield self._reader
            except sqlite3.Error as error:
                raise _unavailable(self._path, error) from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Run the block in a transaction."""
        with self._hold(self._write_lock):
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._writer.execute("COMMIT")
            except sqlite3.Error as error:
                raise _unavailable(self._path, error) from error
            finally:
                # SQLite ends the transaction itself after some errors, but not after all.
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")

    @contextlib.contextmanager
    def _hold(self, lock: threading.Lock) -> Iterator[None]:
        # Another thread may be waiting for a locked database: together they must not wait longer than one.
        if not lock.acquire(timeout=2 * self._busy_timeout_s):
            raise StoreUnavailable(
                f"The job store {self._path} is busy.", "Try again when the disk has caught up with its work."
            )
        try:
            yield
        finally:
            lock.release()


def connect(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    """Open a connection whose commits survive a power failure. Raises sqlite3.Error."""
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=busy_timeout_s)
    # A damaged text must not fail the query that finds it.
    connection.text_factory = lambda text: text.decode("utf-8", "replace")
    for pragma in ("synchronous = FULL", "fullfsync = ON", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _unavailable(path: Path, error: sqlite3.Error) -> StoreUnavailable:
    return StoreUnavailable(
        f"The job store {path} failed ({error}).",
        "Make sure that the server's state folder is writable and its disk has free space.",
    )


def _insert(
    connection: sqlite3.Connection, job: rewas_pb2.Job, request: rewas_pb2.SubmitJobRequest, client: str
) -> None:
    row = connection.execute(
        "INSERT INTO job (id, idempotency_key, parent_id, child_count, state, priority, kind, pack, client,"
        " pinned, files_deleted, snapshot, result) VALUES (?, ?, ?, 0, 0, 0, ?, ?, ?, 0, 0, x'', x'') RETURNING number",
        (
            job.id,
            request.idempotency_key,
            job.parent_id,
            jobs_store.work_kind(request),
            jobs_store.work_pack(request),
            client,
        ),
    ).fetchone()
    number = row[0]
    _store(connection, number, job)
    connection.execute(
        "INSERT INTO job_request (job_number, job_id, message) VALUES (?, ?, ?)",
        (number, job.id, jobs_store.serialize_request(request)),
    )
    connection.executemany(
        "INSERT INTO job_upload (job_number, sha256) VALUES (?, ?)",
        [(number, sha256) for sha256 in sorted(jobs_store.uploads_of(request))],
    )


def _store(connection: sqlite3.Connection, number: int, job: rewas_pb2.Job) -> None:
    snapshot, result = jobs_store.split_result(job)
    finished_at_ms = job.finished_at.ToMilliseconds() if job.HasField("finished_at") else None
    connection.execute(
        "UPDATE job SET child_count = ?, state = ?, priority = ?, pinned = ?, files_deleted = ?, finished_at_ms = ?,"
        " snapshot = ?, result = ? WHERE number = ?",
        (
            job.child_count,
            job.state,
            jobs_store.order_of(job.priority),
            job.pinned,
            job.files_deleted,
            finished_at_ms,
            snapshot,
            result,
            number,
        ),
    )


def _select(connection: sqlite3.Connection, job_id: str) -> _Row:
    found = connection.execute(f"SELECT {_FULL_ROW} FROM job WHERE id = ?", (job_id,)).fetchone()
    if found is None:
        raise jobs_store.not_found(job_id)
    return _Row(*found)


def _select_request(connection: sqlite3.Connection, number: int) -> bytes:
    found = connection.execute("SELECT message FROM job_request WHERE job_number = ?", (number,)).fetchone()
    return b"" if found is None else found[0]


def _find_same_work(connection: sqlite3.Connection, request: rewas_pb2.SubmitJobRequest) -> _Row | None:
    found = connection.execute(
        f"SELECT {_FULL_ROW} FROM job WHERE idempotency_key = ?", (request.idempotency_key,)
    ).fetchone()
    if found is None:
        return None
    row = _Row(*found)
    message = _select_request(connection, row.number)
    if message != jobs_store.serialize_request(request) and _is_readable(row, message):
        raise jobs_store.key_reused(request.idempotency_key)
    return row


def _is_readable(row: _Row, message: bytes) -> bool:
    try:
        _parse_request(row, message)
    except UnreadableJob:
        return False
    return True


def _parse_job(row: _Row) -> rewas_pb2.Job:
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


def _parse_request(row: _Row, message: bytes) -> rewas_pb2.SubmitJobRequest:
    try:
        request = rewas_pb2.SubmitJobRequest.FromString(message)
    except DecodeError as error:
        raise UnreadableJob("its request is not a message of the contract") from error
    if request.idempotency_key != row.idempotency_key:
        raise UnreadableJob("its request is that of another job")
    return request


def _failed_job(row: _Row, readable: rewas_pb2.Job | None = None) -> rewas_pb2.Job:
    """Return the job that replaces one that cannot be read. readable: its snapshot, if only its request is damaged."""
    job = rewas_pb2.Job(
        name=row.id,
        # Watchers wait for a revision that is higher than those they have seen.
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
    job.problem.CopyFrom(jobs_store.record_damaged(row.id).to_proto())
    return job


def _set_aside(connection: sqlite3.Connection, number: int, reason: str) -> rewas_pb2.Job | None:
    """Copy a row to the table of jobs that cannot be read, and store a FAILED job in its place.

    A job that had ended keeps its result if only its request is damaged. Returns what the row holds now; None if there
    is no such row.
    """
    found = connection.execute(f"SELECT {_FULL_ROW} FROM job WHERE number = ?", (number,)).fetchone()
    if found is None:
        return None
    row = _Row(*found)
    message = _select_request(connection, number)
    has_request = _is_readable(row, message)
    job: rewas_pb2.Job | None
    try:
        job = _parse_job(row)
    except UnreadableJob:
        job = None
    if job is not None and has_request:
        # Another thread was faster.
        return job
    _log.error("The job %s cannot be read: %s. It is set aside.", row.id, reason, extra={"job_id": row.id})
    connection.execute(
        "INSERT INTO set_aside (set_aside_at_ms, reason, job_id, state, snapshot, result, request)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (time.time_ns() // 1_000_000, reason, row.id, row.state, row.snapshot, row.result, message),
    )
    if not has_request:
        connection.execute("UPDATE job_request SET message = x'' WHERE job_number = ?", (number,))
    if job is None or job.state not in lifecycle.FINAL_STATES:
        job = _failed_job(row, job)
        _store(connection, number, job)
    return job


def _marks(values: Collection[int], *, first: int | None = None) -> str:
    """Return the parameter marks of a list of values. first: number of the first one, where marks are numbered."""
    if first is None:
        return ", ".join("?" * len(values))
    return ", ".join(f"?{first + place}" for place in range(len(values)))
