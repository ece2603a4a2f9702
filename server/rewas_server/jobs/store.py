"""The durable job store. An accepted job survives crashes."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rewas_api import CONTRACT_VERSION
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.jobs import lifecycle

Change = Callable[[rewas_pb2.Job], rewas_pb2.Job]


@dataclass(frozen=True)
class JobPage:
    """One page of the list of jobs. next_before: start of the next page; None on the last page."""

    jobs: list[rewas_pb2.Job]
    next_before: int | None


class JobStore(Protocol):
    """Stores jobs. A change is durable when its call returns. Calls block and are thread-safe."""

    def add(self, job: rewas_pb2.Job, request: rewas_pb2.SubmitJobRequest) -> rewas_pb2.Job:
        """Store a job. If the idempotency key is known, return the existing job.

        Raises ProblemError (SETTINGS) if the key was used for different work.
        """
        ...

    def find_by_key(self, request: rewas_pb2.SubmitJobRequest) -> rewas_pb2.Job | None:
        """Return the job with the request's idempotency key, or None. Raises like `add`."""
        ...

    def get(self, job_id: str) -> rewas_pb2.Job:
        """Return the latest snapshot. Raises ProblemError (NOT_FOUND)."""
        ...

    def list_page(self, size: int, before: int | None = None) -> JobPage:
        """List up to `size` jobs, newest first. before: `next_before` of the previous page; None for the first one."""
        ...

    def update(self, job_id: str, change: Change) -> rewas_pb2.Job:
        """Apply a change to the latest snapshot and store the result. Raises what the change raises."""
        ...

    def claim_next(self) -> tuple[rewas_pb2.Job, rewas_pb2.SubmitJobRequest] | None:
        """Start the oldest waiting job and return it with its request, or None."""
        ...

    def unfinished(self) -> list[str]:
        """Return the ids of unfinished jobs, oldest first."""
        ...

    def close(self) -> None:
        """Close the store."""
        ...


_SCHEMA_VERSION = CONTRACT_VERSION
"""Snapshots and requests are messages of the contract: a store can only be read with the contract that wrote it."""

_SCHEMA = """
CREATE TABLE job (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    idempotency_key TEXT NOT NULL UNIQUE,
    state INTEGER NOT NULL,
    snapshot BLOB NOT NULL,
    request BLOB NOT NULL
) STRICT;
CREATE INDEX job_by_state ON job (state, number);
"""


class SqliteJobStore:
    """The job store of one machine, in one SQLite file.

    Raises ProblemError (RESOURCES) if the file is not writable, is not a job store, or was written by a version with
    another contract.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._prepare(path)
        except (OSError, sqlite3.Error) as error:
            raise ProblemError(
                f"The job store {path} cannot be used ({error}).",
                "Choose a state folder that you may write to, or move the damaged file away.",
                ProblemKind.RESOURCES,
            ) from error

    def add(self, job: rewas_pb2.Job, request: rewas_pb2.SubmitJobRequest) -> rewas_pb2.Job:
        with self._transaction():
            known = self._find_by_key(request)
            if known is not None:
                return known
            self._connection.execute(
                "INSERT INTO job (id, idempotency_key, state, snapshot, request) VALUES (?, ?, ?, ?, ?)",
                (job.id, request.idempotency_key, job.state, job.SerializeToString(), _serialize_request(request)),
            )
        return job

    def find_by_key(self, request: rewas_pb2.SubmitJobRequest) -> rewas_pb2.Job | None:
        with self._lock:
            return self._find_by_key(request)

    def get(self, job_id: str) -> rewas_pb2.Job:
        with self._lock:
            return self._get(job_id)

    def list_page(self, size: int, before: int | None = None) -> JobPage:
        with self._lock:
            # One extra row shows whether there is a further page.
            rows = self._connection.execute(
                "SELECT number, snapshot FROM job WHERE ? IS NULL OR number < ? ORDER BY number DESC LIMIT ?",
                (before, before, size + 1),
            ).fetchall()
        jobs = [rewas_pb2.Job.FromString(snapshot) for _, snapshot in rows[:size]]
        return JobPage(jobs, rows[size - 1][0] if len(rows) > size else None)

    def update(self, job_id: str, change: Change) -> rewas_pb2.Job:
        with self._transaction():
            return self._apply(job_id, change)

    def claim_next(self) -> tuple[rewas_pb2.Job, rewas_pb2.SubmitJobRequest] | None:
        with self._transaction():
            row = self._connection.execute(
                "SELECT id, request FROM job WHERE state = ? ORDER BY number LIMIT 1", (rewas_pb2.JOB_STATE_QUEUED,)
            ).fetchone()
            if row is None:
                return None
            return self._apply(row[0], lifecycle.start_job), rewas_pb2.SubmitJobRequest.FromString(row[1])

    def unfinished(self) -> list[str]:
        states = sorted(lifecycle.UNFINISHED_STATES)
        marks = ", ".join("?" * len(states))
        with self._lock:
            rows = self._connection.execute(f"SELECT id FROM job WHERE state IN ({marks}) ORDER BY number", states)
            return [job_id for (job_id,) in rows.fetchall()]

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _prepare(self, path: Path) -> None:
        (found,) = self._connection.execute("PRAGMA user_version").fetchone()
        if found not in (0, _SCHEMA_VERSION):
            is_newer = found > _SCHEMA_VERSION
            raise ProblemError(
                f"The job store {path} was written by {'a newer' if is_newer else 'an older'} version of ReWaS.",
                ("Update ReWaS" if is_newer else "Delete the file, whose jobs this version cannot read")
                + ", or choose another state folder.",
                ProblemKind.RESOURCES,
            )
        if found == 0:
            self._connection.executescript(
                f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;"
            )

    def _find_by_key(self, request: rewas_pb2.SubmitJobRequest) -> rewas_pb2.Job | None:
        row = self._connection.execute(
            "SELECT snapshot, request FROM job WHERE idempotency_key = ?", (request.idempotency_key,)
        ).fetchone()
        if row is None:
            return None
        if row[1] != _serialize_request(request):
            raise ProblemError(
                f'The idempotency key "{request.idempotency_key}" was used before for other work.',
                "Use a new key for new work.",
                ProblemKind.SETTINGS,
            )
        return rewas_pb2.Job.FromString(row[0])

    def _get(self, job_id: str) -> rewas_pb2.Job:
        row = self._connection.execute("SELECT snapshot FROM job WHERE id = ?", (job_id,)).fetchone()
        if row is None:
            raise ProblemError(
                f'There is no job "{job_id[:100]}".', "List the jobs to see those that exist.", ProblemKind.NOT_FOUND
            )
        return rewas_pb2.Job.FromString(row[0])

    def _apply(self, job_id: str, change: Change) -> rewas_pb2.Job:
        before = self._get(job_id)
        after = change(before)
        if after is not before:
            self._connection.execute(
                "UPDATE job SET state = ?, snapshot = ? WHERE id = ?", (after.state, after.SerializeToString(), job_id)
            )
        return after

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")


def _serialize_request(request: rewas_pb2.SubmitJobRequest) -> bytes:
    # Protobuf maps have no order, so only the deterministic form can be compared.
    return request.SerializeToString(deterministic=True)
