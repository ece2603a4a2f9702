"""The job store of one machine: one SQLite file."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from rewas_api.errors import ProblemError
from rewas_server.jobs.backup import list_backups
from rewas_server.jobs.sql_store import SqlJobStore
from rewas_server.jobs.sqlite_file import (
    DATABASE_ERRORS,
    DamagedFile,
    OpenDatabase,
    is_damage,
    open_database,
    unavailable,
)
from rewas_server.jobs.sqlite_recovery import Recovery, damaged_files, finish_recovery, recover, remove_leftovers
from rewas_server.jobs.state_identity import StateIdentity
from rewas_server.jobs.store import StoreUnavailable

BUSY_TIMEOUT_S = 5.0
"""How long a call waits for a locked database."""

REOPEN_INTERVAL_S = 1.0
"""Shortest time between two attempts to open a database that cannot be opened."""

EXCLUSIVE_S = 60.0
"""Time for which a database stays exclusive that could not be opened otherwise. On some network drives, none can."""

REOPEN_PAUSE = 10.0
"""Pause after such an attempt, as a multiple of the time that it took."""

_log = logging.getLogger("rewas.server")


class SqliteJobStore(SqlJobStore[OpenDatabase]):
    """The job store of one machine, in one SQLite file. See JobStore.

    A store that cannot be opened now, because the disk is full or another process holds a lock, raises StoreUnavailable
    in each call until it can be opened. A damaged file is kept under another name, and its jobs are recovered.

    Args:
        path: The file, which is created if necessary. Only the user may read it and its folder.
        backups_dir: Folder of the nightly copies, from which a damaged file is restored.
        busy_timeout_s: How long a call waits while another process holds a lock.
        identity: That of the state folder, to which the file must belong.

    Raises ProblemError (RESOURCES) if the file is not writable, is not a job store, was written by a version with
    another contract, or belongs to another state folder.
    """

    duplicate_error = sqlite3.IntegrityError
    json_texts = "SELECT value FROM json_each(?)"

    def __init__(
        self,
        path: Path,
        backups_dir: Path | None = None,
        *,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        identity: StateIdentity | None = None,
    ) -> None:
        super().__init__(str(path), busy_timeout_s)
        self._identity = identity
        self._path = path
        self._backups_dir = backups_dir
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

    def may_have_lost_jobs(self) -> bool:
        # Until the user has deleted the damaged file: it may still be repaired by other means.
        return bool(damaged_files(self._path))

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
        except DATABASE_ERRORS as error:
            if isinstance(error, self.duplicate_error):
                raise
            if is_damage(error):
                self._abandon(database)
            raise unavailable(self._path, error) from error

    def _try_to_open(self) -> OpenDatabase:
        began_s = time.monotonic()
        if self._problem is not None and began_s < self._next_attempt_s:
            raise StoreUnavailable(self._problem.what, self._problem.remedy)
        try:
            database = self._open_or_repair()
            self._pair(database)
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

    def _pair(self, database: OpenDatabase) -> None:
        """Check that the database belongs to the state folder. Closes it if it raises."""
        if self._identity is None:
            return
        connection = database.writer
        try:
            own = self._identity.read()
            if own and self.may_have_lost_jobs():
                # It replaces a damaged one, whose files are kept.
                connection.execute("UPDATE store_identity SET value = ?", (own,))
            (stored,) = connection.execute("SELECT value FROM store_identity").fetchone()
            has_jobs = connection.execute("SELECT 1 FROM job LIMIT 1").fetchone() is not None
            self._identity.pair(str(self._path), stored, has_jobs=has_jobs, is_in_folder=True)
        except (OSError, *DATABASE_ERRORS) as error:
            database.close()
            raise unavailable(self._path, error) from error
        except ProblemError:
            database.close()
            raise

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

    def _busy(self) -> StoreUnavailable:
        return StoreUnavailable(f"The job store {self._path} is busy.", "Try again in a few seconds.")
