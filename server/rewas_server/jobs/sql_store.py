"""What the job stores in SQL databases have in common: the statements behind each call."""

from __future__ import annotations

import abc
import json
import logging
import threading
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import ClassVar, Generic, Protocol, TypeVar

from rewas_api.v1 import rewas_pb2
from rewas_server.jobs import lifecycle
from rewas_server.jobs import store as jobs_store
from rewas_server.jobs.job_rows import (
    FULL_ROW,
    SHORT_ROW,
    Connection,
    JobRow,
    UnreadableJob,
    failed_job,
    find_same_work,
    insert_job,
    marks,
    parse_job,
    parse_request,
    select_request,
    select_row,
    set_aside,
    store_job,
)
from rewas_server.jobs.store import (
    MAX_DURATIONS,
    Change,
    ChangedChildren,
    JobPage,
    QueuedJob,
    SetAsideJob,
    StoredJob,
    StoreUnavailable,
    WorkDuration,
)

LISTED_AT_ONCE = 1000
"""Number of jobs that a call for all jobs reads at once."""

CHANGED_AT_ONCE = 500
"""Number of children that are changed at once."""

_log = logging.getLogger("rewas.server")


class OpenConnections(Protocol):
    """The connections to an open database."""

    def close(self) -> None:
        """Close the connections."""


Database = TypeVar("Database", bound=OpenConnections)


class SqlJobStore(abc.ABC, Generic[Database]):
    """The calls of JobStore, as statements that SQLite and PostgreSQL both understand.

    Attributes:
        duplicate_error: What the database raises for a row whose unique value is taken.
        json_texts: Query for the texts of a JSON list, which is its parameter.
    """

    duplicate_error: ClassVar[type[Exception]]
    json_texts: ClassVar[str]

    def __init__(self, name: str, busy_timeout_s: float) -> None:
        self._name = name
        self._busy_timeout_s = busy_timeout_s
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._open_lock = threading.Lock()
        self._database: Database | None = None
        self._closed = False
        self._problem: StoreUnavailable | None = None
        self._next_attempt_s = 0.0

    def close(self) -> None:
        self._closed = True
        self._abandon(self._database)

    @abc.abstractmethod
    def _try_to_open(self) -> Database:
        """Open the database, unless the last attempt was a moment ago. Raises like the class."""

    @abc.abstractmethod
    def _busy(self) -> StoreUnavailable:
        """Return the problem of a database that others use for too long."""

    def _open(self) -> Database:
        """Return the open database, opening it first if necessary. Raises like the class."""
        database = self._database
        if database is not None:
            return database
        if not self._open_lock.acquire(timeout=self._busy_timeout_s):
            raise self._busy()
        try:
            if self._closed:
                raise StoreUnavailable(f"The job store {self._name} is closed.", "Start the server again.")
            if self._database is None:
                self._database = self._try_to_open()
            return self._database
        finally:
            self._open_lock.release()

    def _abandon(self, database: Database | None) -> None:
        """Close a database. The next call opens it afresh."""
        with self._open_lock, self._write_lock, self._read_lock:
            if database is not None and self._database is database:
                self._database = None
                database.close()

    @abc.abstractmethod
    def _reading(self) -> AbstractContextManager[Connection]:
        """Use a connection to read. Raises StoreUnavailable."""

    @abc.abstractmethod
    def _writing(self) -> AbstractContextManager[Connection]:
        """Run the block in a transaction, which is durable at the end of the block.

        Raises StoreUnavailable if nothing was changed. Lets `duplicate_error` pass.
        """

    def add(
        self,
        job: rewas_pb2.Job,
        request: rewas_pb2.SubmitJobRequest,
        children: Sequence[tuple[rewas_pb2.Job, rewas_pb2.SubmitJobRequest]] = (),
        *,
        client: str = "",
    ) -> rewas_pb2.Job:
        try:
            with self._writing() as connection:
                known = find_same_work(connection, request)
                if known is None:
                    for new_job, new_request in ((job, request), *children):
                        insert_job(connection, new_job, new_request, client)
        except self.duplicate_error as error:
            raise ValueError(f"a job is stored twice ({error})") from error
        return job if known is None else self._read(known)

    def find_by_key(self, request: rewas_pb2.SubmitJobRequest) -> rewas_pb2.Job | None:
        with self._reading() as connection:
            row = find_same_work(connection, request)
        return None if row is None else self._read(row)

    def get(self, job_id: str) -> rewas_pb2.Job:
        with self._reading() as connection:
            row = select_row(connection, job_id)
        return self._read(row)

    def request(self, job_id: str) -> rewas_pb2.SubmitJobRequest:
        with self._reading() as connection:
            row = select_row(connection, job_id)
            message = select_request(connection, row.number)
        try:
            return parse_request(row, message)
        except UnreadableJob as reason:
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
        state_filter = f"AND state IN ({marks(states)})" if states else ""
        before_filter, numbers = ("", ()) if before is None else (f"AND number {sign} ?", (before,))
        with self._reading() as connection:
            # One extra row shows whether there is a further page.
            rows = connection.execute(
                f"SELECT {SHORT_ROW} FROM job WHERE parent_id = ? {before_filter} {state_filter}"
                f" ORDER BY number {order} LIMIT ?",
                (parent_id, *numbers, *states, size + 1),
            ).fetchall()
        jobs = [self._read(JobRow(*row)) for row in rows[:size]]
        if states:
            # One that could not be read has FAILED now.
            jobs = [job for job in jobs if job.state in states]
        return JobPage(jobs, rows[size - 1][0] if len(rows) > size else None)

    def children(self, parent_id: str, size: int, after: int | None = None) -> JobPage:
        with self._reading() as connection:
            # One extra row shows whether there is a further page.
            rows = connection.execute(
                f"SELECT {FULL_ROW} FROM job WHERE parent_id = ? AND parent_id != '' AND number > ?"
                " ORDER BY number LIMIT ?",
                (parent_id, after or 0, size + 1),
            ).fetchall()
        jobs = [self._read(JobRow(*row)) for row in rows[:size]]
        return JobPage(jobs, rows[size - 1][0] if len(rows) > size else None)

    def child_ids(self, parent_id: str) -> list[str]:
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT id FROM job WHERE parent_id = ? AND parent_id != '' ORDER BY number", (parent_id,)
            ).fetchall()
        return [job_id for (job_id,) in rows]

    def count_children(self, parent_id: str) -> dict[int, int]:
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT state, count(*) FROM job WHERE parent_id = ? AND parent_id != '' GROUP BY state", (parent_id,)
            ).fetchall()
        return dict(rows)

    def update(self, job_id: str, change: Change) -> rewas_pb2.Job:
        with self._writing() as connection:
            return self._apply(connection, select_row(connection, job_id), change)[0]

    def update_children(
        self, parent_id: str, change: Change, *, states: Collection[int] = frozenset(), after: int = 0
    ) -> ChangedChildren:
        state_filter = f"AND state IN ({marks(states)})" if states else ""
        changed = []
        with self._writing() as connection:
            rows = connection.execute(
                f"SELECT {FULL_ROW} FROM job WHERE parent_id = ? AND parent_id != '' AND number > ? {state_filter}"
                " ORDER BY number LIMIT ?",
                (parent_id, after, *states, CHANGED_AT_ONCE),
            ).fetchall()
            for columns in rows:
                row = JobRow(*columns)
                job, has_changed = self._apply(connection, row, change)
                if has_changed:
                    result = job.WhichOneof("result")
                    if result is not None:
                        job.ClearField(result)
                    changed.append(job)
        return ChangedChildren(changed, rows[-1][0] if len(rows) == CHANGED_AT_ONCE else None)

    def next_queued(self, exclude: Collection[str] = ()) -> tuple[rewas_pb2.Job, rewas_pb2.SubmitJobRequest] | None:
        passed_over = set(exclude)
        while True:
            with self._reading() as connection:
                found = connection.execute(
                    f"SELECT {FULL_ROW} FROM job WHERE state = ? AND child_count = 0"
                    f" AND id NOT IN ({self.json_texts}) ORDER BY priority, number LIMIT 1",
                    (rewas_pb2.JOB_STATE_QUEUED, json.dumps(sorted(passed_over))),
                ).fetchone()
                if found is None:
                    return None
                row = JobRow(*found)
                message = select_request(connection, row.number)
            try:
                return parse_job(row), parse_request(row, message)
            except UnreadableJob as reason:
                self._replace(row.number, str(reason))
                # It is still there if the disk is full.
                passed_over.add(row.id)

    def queue(self) -> list[QueuedJob]:
        running = rewas_pb2.JOB_STATE_RUNNING
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT id, state, priority, kind, pack, parent_id FROM job WHERE state IN (?, ?) AND child_count = 0"
                " ORDER BY state != ?, priority, number",
                (running, rewas_pb2.JOB_STATE_QUEUED, running),
            ).fetchall()
        return [QueuedJob(*row) for row in rows]

    def unfinished(self) -> list[str]:
        states = sorted(lifecycle.UNFINISHED_STATES)
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT {FULL_ROW} FROM job WHERE state IN ({marks(states)}) ORDER BY number", states
            ).fetchall()
        return [row.id for row in (JobRow(*columns) for columns in rows) if self._can_continue(row)]

    def count_unfinished(self, client: str | None = None, *, clips: bool = False) -> int:
        states = sorted(lifecycle.UNFINISHED_STATES)
        client_filter, clients = ("", ()) if client is None else ("AND client = ?", (client,))
        with self._reading() as connection:
            row = connection.execute(
                f"SELECT count(*) FROM job WHERE state IN ({marks(states)})"
                f" AND parent_id {'!=' if clips else '='} '' {client_filter}",
                (*states, *clients),
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
                "DELETE FROM work_duration WHERE kind = ? AND pack = ? AND device = ? AND number <= (SELECT number"
                " FROM work_duration WHERE kind = ? AND pack = ? AND device = ?"
                " ORDER BY number DESC LIMIT 1 OFFSET ?)",
                (*key, *key, MAX_DURATIONS),
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
        family = "(id = ? OR (parent_id = ? AND parent_id != ''))"
        with self._writing() as connection:
            select_row(connection, job_id)
            unfinished = connection.execute(
                f"SELECT 1 FROM job WHERE {family} AND state NOT IN ({marks(final_states)})",
                (job_id, job_id, *final_states),
            ).fetchone()
            if unfinished is not None:
                raise jobs_store.not_finished(job_id)
            connection.execute(
                f"DELETE FROM set_aside WHERE job_id IN (SELECT id FROM job WHERE {family})", (job_id, job_id)
            )
            connection.execute(f"DELETE FROM job WHERE {family}", (job_id, job_id))

    def media_in_use(self) -> set[str]:
        states = sorted(lifecycle.UNFINISHED_STATES)
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT DISTINCT sha256 FROM job JOIN job_upload ON job_number = number"
                f" WHERE state IN ({marks(states)}) OR pinned",
                states,
            ).fetchall()
        return {sha256 for (sha256,) in rows}

    def media_named(self) -> set[str]:
        with self._reading() as connection:
            rows = connection.execute("SELECT DISTINCT sha256 FROM job_upload").fetchall()
        return {sha256 for (sha256,) in rows}

    def list_stored(self) -> list[StoredJob]:
        stored: list[StoredJob] = []
        number = 0
        while True:
            # In parts, so that other calls need not wait until a long list has been read.
            with self._reading() as connection:
                rows = connection.execute(
                    "SELECT number, id, parent_id, state, pinned, files_deleted, finished_at_ms,"
                    " length(snapshot) + length(result) + coalesce(length(message), 0)"
                    " FROM job LEFT JOIN job_request ON job_number = number"
                    " WHERE number > ? ORDER BY number LIMIT ?",
                    (number, LISTED_AT_ONCE),
                ).fetchall()
            stored += [
                StoredJob(job_id, parent_id, state, bool(pinned), bool(deleted), ms and ms / 1000, size_bytes)
                for _, job_id, parent_id, state, pinned, deleted, ms, size_bytes in rows
            ]
            if len(rows) < LISTED_AT_ONCE:
                return stored
            number = rows[-1][0]

    def set_aside_jobs(self) -> list[SetAsideJob]:
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT job_id, reason, set_aside_at_ms FROM set_aside ORDER BY number DESC"
            ).fetchall()
        return [
            SetAsideJob(job_id, reason, datetime.fromtimestamp(at_ms / 1000, UTC)) for job_id, reason, at_ms in rows
        ]

    def _read(self, row: JobRow) -> rewas_pb2.Job:
        """Return the job of a row, or the FAILED job that replaces it."""
        try:
            return parse_job(row)
        except UnreadableJob as reason:
            return self._replace(row.number, str(reason)) or failed_job(row)

    def _can_continue(self, row: JobRow) -> bool:
        """Return whether an unfinished job and its request can be read. If not, the job is set aside."""
        with self._reading() as connection:
            message = select_request(connection, row.number)
        try:
            parse_job(row)
            parse_request(row, message)
        except UnreadableJob as reason:
            self._replace(row.number, str(reason))
            return False
        return True

    def _replace(self, number: int, reason: str) -> rewas_pb2.Job | None:
        """Set a job that cannot be read aside. Returns what replaced it; None if it cannot be written now."""
        try:
            with self._writing() as connection:
                return set_aside(connection, number, reason)
        except StoreUnavailable as error:
            _log.error("A job that cannot be read (%s) was not set aside: %s", reason, error)
            return None

    def _apply(self, connection: Connection, row: JobRow, change: Change) -> tuple[rewas_pb2.Job, bool]:
        """Return the job of a row after a change, and whether it has changed."""
        try:
            before = parse_job(row)
        except UnreadableJob as reason:
            return set_aside(connection, row.number, str(reason)) or failed_job(row), True
        after = change(before)
        if after is not before:
            store_job(connection, row.number, after)
        return after, after is not before
