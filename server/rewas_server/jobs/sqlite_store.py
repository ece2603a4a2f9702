"""The job store of one machine: one SQLite file."""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rewas_api.v1 import rewas_pb2
from rewas_server.jobs import lifecycle
from rewas_server.jobs import store as jobs_store
from rewas_server.jobs.backup import list_backups
from rewas_server.jobs.sqlite_file import DamagedFile, OpenDatabase, is_damage, open_database, unavailable
from rewas_server.jobs.sqlite_recovery import Recovery, damaged_files, finish_recovery, recover, remove_leftovers
from rewas_server.jobs.sqlite_rows import (
    FULL_ROW,
    SHORT_ROW,
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
    JobPage,
    QueuedJob,
    SetAsideJob,
    StoredJob,
    StoreUnavailable,
    WorkDuration,
)

BUSY_TIMEOUT_S = 5.0
"""How long a call waits for a locked database."""

LISTED_AT_ONCE = 1000
"""Number of jobs that a call for all jobs reads at once."""

REOPEN_INTERVAL_S = 1.0
"""Shortest time between two attempts to open a database that cannot be opened."""

EXCLUSIVE_S = 60.0
"""Time for which a database stays exclusive that could not be opened otherwise. On some network drives, none can."""

REOPEN_PAUSE = 10.0
"""Pause after such an attempt, as a multiple of the time that it took."""

_log = logging.getLogger("rewas.server")


class SqliteJobStore:
    """The job store of one machine, in one SQLite file. See JobStore.

    A store that cannot be opened now, because the disk is full or another process holds a lock, raises StoreUnavailable
    in each call until it can be opened. A damaged file is kept under another name, and its jobs are recovered.

    Args:
        path: The file, which is created if necessary. Only the user may read it and its folder.
        backups_dir: Folder of the nightly copies, from which a damaged file is restored.
        busy_timeout_s: How long a call waits while another process holds a lock.

    Raises ProblemError (RESOURCES) if the file is not writable, is not a job store, or was written by a version with
    another contract.
    """

    def __init__(self, path: Path, backups_dir: Path | None = None, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self._path = path
        self._backups_dir = backups_dir
        self._busy_timeout_s = busy_timeout_s
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._open_lock = threading.Lock()
        self._database: OpenDatabase | None = None
        self._closed = False
        self._problem: StoreUnavailable | None = None
        self._next_attempt_s = 0.0
        self._exclusive_until_s = 0.0
        self._recoveries: list[Recovery] = []
        try:
            self._open()
        except StoreUnavailable as problem:
            _log.error("The job store is not available yet. %s", problem)

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def recoveries(self) -> tuple[Recovery, ...]:
        """Repairs of a damaged file since the start, oldest first."""
        return tuple(self._recoveries)

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
        except sqlite3.IntegrityError as error:
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
        with self._reading() as connection:
            # One extra row shows whether there is a further page.
            rows = connection.execute(
                f"SELECT {SHORT_ROW} FROM job WHERE parent_id = ? AND (? IS NULL OR number {sign} ?) {state_filter}"
                f" ORDER BY number {order} LIMIT ?",
                (parent_id, before, before, *states, size + 1),
            ).fetchall()
        jobs = [self._read(JobRow(*row)) for row in rows[:size]]
        if states:
            # One that could not be read has FAILED now.
            jobs = [job for job in jobs if job.state in states]
        return JobPage(jobs, rows[size - 1][0] if len(rows) > size else None)

    def children(self, parent_id: str) -> list[rewas_pb2.Job]:
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT {FULL_ROW} FROM job WHERE parent_id = ? AND parent_id != '' ORDER BY number", (parent_id,)
            ).fetchall()
        return [self._read(JobRow(*row)) for row in rows]

    def update(self, job_id: str, change: Change) -> rewas_pb2.Job:
        with self._writing() as connection:
            return self._apply(connection, job_id, change)

    def next_queued(self, exclude: Collection[str] = ()) -> tuple[rewas_pb2.Job, rewas_pb2.SubmitJobRequest] | None:
        passed_over = set(exclude)
        while True:
            with self._reading() as connection:
                found = connection.execute(
                    f"SELECT {FULL_ROW} FROM job WHERE state = ? AND child_count = 0"
                    " AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY priority, number LIMIT 1",
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
                f"SELECT {FULL_ROW} FROM job WHERE state IN ({marks(states)}) ORDER BY number", states
            ).fetchall()
        return [row.id for row in (JobRow(*columns) for columns in rows) if self._can_continue(row)]

    def count_unfinished(self, client: str | None = None) -> int:
        states = sorted(lifecycle.UNFINISHED_STATES)
        with self._reading() as connection:
            row = connection.execute(
                f"SELECT count(*) FROM job WHERE state IN ({marks(states)})"
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
            select_row(connection, job_id)
            unfinished = connection.execute(
                f"SELECT 1 FROM job WHERE ({family}) AND state NOT IN ({marks(final_states, first=2)})",
                (job_id, *final_states),
            ).fetchone()
            if unfinished is not None:
                raise jobs_store.not_finished(job_id)
            connection.execute(f"DELETE FROM set_aside WHERE job_id IN (SELECT id FROM job WHERE {family})", (job_id,))
            connection.execute(f"DELETE FROM job WHERE {family}", (job_id,))

    def oldest_finished(self, limit: int, *, with_files: bool = False) -> list[rewas_pb2.Job]:
        final_states = sorted(lifecycle.FINAL_STATES)
        final_marks = marks(final_states)
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT {FULL_ROW} FROM job WHERE parent_id = '' AND finished_at_ms IS NOT NULL AND NOT pinned"
                f" AND NOT (? AND files_deleted) AND state IN ({final_marks})"
                " AND NOT EXISTS (SELECT 1 FROM job AS child"
                f" WHERE child.parent_id = job.id AND (child.pinned OR child.state NOT IN ({final_marks})))"
                " ORDER BY finished_at_ms, number LIMIT ?",
                (with_files, *final_states, *final_states, limit),
            ).fetchall()
        return [self._read(JobRow(*row)) for row in rows]

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

    def may_have_lost_jobs(self) -> bool:
        # Until the user has deleted the damaged file: it may still be repaired by other means.
        return bool(damaged_files(self._path))

    def set_aside_jobs(self) -> list[SetAsideJob]:
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT job_id, reason, set_aside_at_ms FROM set_aside ORDER BY number DESC"
            ).fetchall()
        return [
            SetAsideJob(job_id, reason, datetime.fromtimestamp(at_ms / 1000, UTC)) for job_id, reason, at_ms in rows
        ]

    def close(self) -> None:
        self._closed = True
        self._abandon(self._database)

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

    def _apply(self, connection: sqlite3.Connection, job_id: str, change: Change) -> rewas_pb2.Job:
        row = select_row(connection, job_id)
        try:
            before = parse_job(row)
        except UnreadableJob as reason:
            return set_aside(connection, row.number, str(reason)) or failed_job(row)
        after = change(before)
        if after is not before:
            store_job(connection, row.number, after)
        return after

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        if self._open().reader is None:
            with self._writing() as connection:
                yield connection
            return
        with self._holding(self._read_lock, time.monotonic() + self._busy_timeout_s) as database:
            yield database.reader or database.writer

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Run the block in a transaction."""
        deadline_s = time.monotonic() + self._busy_timeout_s
        self._open()
        with self._holding(self._write_lock, deadline_s) as database:
            connection = database.writer
            changes_before = connection.total_changes
            left_ms = max(0, round(1000 * (deadline_s - time.monotonic())))
            connection.execute(f"PRAGMA busy_timeout = {left_ms}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                # SQLite itself ends the transaction after some errors, but not after all.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            has_changed = connection.total_changes > changes_before
        if database.reader is None and has_changed and time.monotonic() > self._exclusive_until_s:
            # There is room again for a second connection.
            self._abandon(database)

    @contextlib.contextmanager
    def _holding(self, lock: threading.Lock, deadline_s: float) -> Iterator[OpenDatabase]:
        """Use the database alone. SQLite's errors become StoreUnavailable; after damage, the next call repairs it."""
        database: OpenDatabase | None = None
        try:
            # Other threads may be waiting for a locked database: together they must not wait longer than one.
            if not lock.acquire(timeout=max(0.0, deadline_s - time.monotonic())):
                raise self._busy()
            try:
                database = self._database
                if database is None:
                    raise self._busy()
                yield database
            finally:
                lock.release()
        except sqlite3.Error as error:
            if isinstance(error, sqlite3.IntegrityError):
                raise
            if is_damage(error):
                self._abandon(database)
            raise unavailable(self._path, error) from error

    def _open(self) -> OpenDatabase:
        """Return the open database, opening or repairing it first if necessary. Raises like the class."""
        database = self._database
        if database is not None:
            return database
        if not self._open_lock.acquire(timeout=self._busy_timeout_s):
            raise self._busy()
        try:
            if self._closed:
                raise StoreUnavailable(f"The job store {self._path} is closed.", "Start the server again.")
            if self._database is None:
                self._database = self._try_to_open()
            return self._database
        finally:
            self._open_lock.release()

    def _try_to_open(self) -> OpenDatabase:
        began_s = time.monotonic()
        if self._problem is not None and began_s < self._next_attempt_s:
            raise StoreUnavailable(self._problem.what, self._problem.remedy)
        try:
            database = self._open_or_repair()
        except StoreUnavailable as problem:
            now_s = time.monotonic()
            # To repair a large file takes long, and must not keep the disk busy all the time.
            self._problem, self._next_attempt_s = (
                problem,
                now_s + max(REOPEN_INTERVAL_S, REOPEN_PAUSE * (now_s - began_s)),
            )
            raise
        self._problem = None
        self._exclusive_until_s = time.monotonic() + EXCLUSIVE_S
        return database

    def _open_or_repair(self) -> OpenDatabase:
        try:
            finish_recovery(self._path)
            if self._is_emptied():
                raise DamagedFile("it is empty")
            database = open_database(self._path, self._busy_timeout_s)
            remove_leftovers(self._path)
            return database
        except OSError as error:
            raise unavailable(self._path, error) from error
        except DamagedFile as damage:
            _log.error("The job store %s is damaged (%s). Its jobs are being recovered.", self._path, damage)
            recovery = recover(self._path, self._backups_dir, str(damage), self._busy_timeout_s)
        self._recoveries.append(recovery)
        _log.error("%s", recovery.sentences())
        try:
            return open_database(self._path, self._busy_timeout_s)
        except DamagedFile as damage:
            raise StoreUnavailable(
                f"The job store {self._path} is damaged again ({damage}).", "Check the disk, and move the file away."
            ) from damage

    def _is_emptied(self) -> bool:
        """Return whether the file has lost its content. A new one is empty, too, but there are no copies of it yet."""
        has_backups = self._backups_dir is not None and bool(list_backups(self._backups_dir))
        return has_backups and self._path.exists() and self._path.stat().st_size == 0

    def _abandon(self, database: OpenDatabase | None) -> None:
        """Close a database. The next call opens it afresh."""
        with self._open_lock, self._write_lock, self._read_lock:
            if database is not None and self._database is database:
                self._database = None
                database.close()

    def _busy(self) -> StoreUnavailable:
        return StoreUnavailable(f"The job store {self._path} is busy.", "Try again in a few seconds.")
