"""The SQLite file of a job store: its schema, its connections, and the check of what is in it."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import sqlite3
import uuid
from dataclasses import dataclass
from pathlib import Path

from rewas_api import CONTRACT_VERSION
from rewas_api.errors import ProblemError, ProblemKind
from rewas_engine.runtime.atomic_files import flush_folder
from rewas_server.jobs.store import StoreUnavailable

SCHEMA_VERSION = CONTRACT_VERSION
"""Snapshots and requests are messages of the contract: a store can only be read with the contract that wrote it."""

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
CREATE TABLE store_identity (value TEXT NOT NULL) STRICT;
"""


TABLES = frozenset({"job", "job_request", "job_upload", "work_duration", "set_aside", "store_identity"})
SIDE_FILES = ("-wal", "-shm", "-journal")
"""Suffixes of the files that SQLite keeps beside a database."""

DATABASE_ERRORS = (sqlite3.Error, UnicodeDecodeError, MemoryError)
"""What calls of sqlite3 raise. The second one is raised for an error whose message quotes damaged text, the third one
for a damaged length."""

_DAMAGE_CODES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_READ_ERRORS = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ}
_NO_ROOM_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class DamagedFile(Exception):
    """A database is damaged. The message is the reason, as a clause."""


@dataclass(frozen=True)
class OpenDatabase:
    """The connections to an open database.

    reader: None if the database is open exclusively, which takes no room on the disk but permits one connection only.
    """

    writer: sqlite3.Connection
    reader: sqlite3.Connection | None

    def close(self) -> None:
        """Close the connections."""
        for connection in (self.reader, self.writer):
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()


def open_database(path: Path, busy_timeout_s: float) -> OpenDatabase:
    """Open the file of a job store, which is created if necessary.

    Raises:
        DamagedFile: The file has to be repaired.
        StoreUnavailable: It cannot be opened now, because the disk is full or another process holds a lock.
        ProblemError: RESOURCES. It can never be opened: it is not writable or is not a job store of this version.
    """
    try:
        create_private(path)
        try:
            return _open(path, busy_timeout_s, exclusive=False)
        except sqlite3.OperationalError as error:
            # The index of the write-ahead log takes room on the disk, unless there is only one connection.
            if code_of(error) & 0xFF not in (
                sqlite3.SQLITE_IOERR,
                sqlite3.SQLITE_FULL,
                sqlite3.SQLITE_CANTOPEN,
            ):
                raise
            return _open(path, busy_timeout_s, exclusive=True)
    except (OSError, *DATABASE_ERRORS) as error:
        # SQLITE_ERROR: the header or the schema makes no sense.
        if is_damage(error) or code_of(error) == sqlite3.SQLITE_ERROR:
            raise DamagedFile(str(error)) from error
        raise _opening_problem(path, error) from error


def connect(path: Path, busy_timeout_s: float, *, exclusive: bool = False) -> sqlite3.Connection:
    """Open a connection whose commits survive a power failure. Raises sqlite3.Error."""
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=busy_timeout_s)
    # A damaged text must not fail the query that finds it.
    connection.text_factory = lambda text: text.decode("utf-8", "replace")
    pragmas = ("synchronous = FULL", "fullfsync = ON", "foreign_keys = ON")
    # Later, it would be too late: the next one opens the log.
    try:
        for pragma in ("locking_mode = EXCLUSIVE", *pragmas) if exclusive else pragmas:
            connection.execute(f"PRAGMA {pragma}")
    except DATABASE_ERRORS:
        # It would keep its locks.
        connection.close()
        raise
    return connection


def connect_read_only(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    """Open a connection that changes nothing. Raises sqlite3.Error."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        check_same_thread=False,
        isolation_level=None,
        timeout=busy_timeout_s,
    )
    connection.text_factory = lambda text: text.decode("utf-8", "replace")
    return connection


def create_schema(connection: sqlite3.Connection) -> None:
    """Create the tables in an empty database, which gets an identity. Raises sqlite3.Error."""
    connection.executescript(
        f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION};"
        f" INSERT INTO store_identity (value) VALUES ('{uuid.uuid4().hex}'); COMMIT;"
    )


def check_content(connection: sqlite3.Connection, path: Path) -> bool:
    """Check a database. Returns whether it is empty.

    Raises:
        DamagedFile: Its pages contradict each other, or tables are missing.
        ProblemError: RESOURCES. It is not a job store, or was written by a version with another contract.
        sqlite3.Error: It cannot be read.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    tables = {
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        if "sqlite" not in name
    }
    if version == 0 and not tables:
        return True
    if version == 0 and not tables & TABLES:
        raise ProblemError(
            f"{path} is not a job store of ReWaS.",
            "Choose another state folder, or move the file away.",
            ProblemKind.RESOURCES,
        )
    if version not in (0, SCHEMA_VERSION):
        is_newer = version > SCHEMA_VERSION
        raise ProblemError(
            f"The job store {path} was written by {'a newer' if is_newer else 'an older'} version of ReWaS.",
            ("Update ReWaS" if is_newer else "Delete the state folder, whose jobs this version cannot read")
            + ", or choose another one.",
            ProblemKind.RESOURCES,
        )
    if version == 0 or not tables >= TABLES:
        raise DamagedFile(f"tables are missing: {', '.join(sorted(TABLES - tables)) or 'its version'}")
    if schema_of(connection) != sound_schema():
        raise DamagedFile("its tables are not those of a job store")
    # The quick check does not compare the indexes with the tables, and a job that an index does not find never runs.
    (finding,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if finding != "ok":
        raise DamagedFile(" ".join(finding.split()))
    return False


def schema_of(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """Return type, name and SQL of the tables and indexes. Raises sqlite3.Error."""
    return connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_schema ORDER BY name").fetchall()


@functools.cache
def sound_schema() -> list[tuple[str, str, str]]:
    """Return what `schema_of` returns for a job store."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        create_schema(connection)
        return schema_of(connection)


def code_of(error: BaseException) -> int:
    """Return the extended result code of SQLite; 0 if the error has none."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code


def is_damage(error: BaseException) -> bool:
    """Return whether an error of SQLite shows that the file is damaged, and not that there is no room or a lock."""
    code = code_of(error)
    is_damaged_value = isinstance(error, UnicodeDecodeError | MemoryError)
    return code & 0xFF in _DAMAGE_CODES or code in _READ_ERRORS or is_damaged_value


def is_full(error: BaseException) -> bool:
    """Return whether an error shows that the disk is full."""
    codes = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
    return code_of(error) in codes or getattr(error, "errno", 0) in (errno.ENOSPC, errno.EDQUOT)


def unavailable(path: Path, error: BaseException) -> StoreUnavailable:
    """Return the problem of a store that cannot be read or written now."""
    code = code_of(error) & 0xFF
    if is_full(error):
        return StoreUnavailable(
            f"The disk with the job store {path} is full.", "Free some space; waiting jobs then continue."
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreUnavailable(
            f"Another program has locked the job store {path}.", "Close the program that has opened the file."
        )
    if is_damage(error):
        return StoreUnavailable(
            f"The job store {path} is damaged ({error}).", "Try again in a moment: the server repairs it."
        )
    return StoreUnavailable(
        f"The job store {path} failed ({error}).",
        "Make sure that the server's state folder is writable and its disk has free space.",
    )


def create_private(path: Path) -> None:
    """Make sure that the file exists, and that only the user can read the folder and the files of the database.

    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _tighten(path.parent)
    try:
        # SQLite gives its other files the mode of this one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        flush_folder(path.parent)
    except FileExistsError:
        for suffix in ("", *SIDE_FILES):
            _tighten(path.with_name(path.name + suffix))


def _open(path: Path, busy_timeout_s: float, *, exclusive: bool) -> OpenDatabase:
    writer = connect(path, busy_timeout_s, exclusive=exclusive)
    try:
        if check_content(writer, path):
            writer.execute("PRAGMA journal_mode = WAL")
            create_schema(writer)
        elif writer.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            writer.execute("PRAGMA journal_mode = WAL")
        if exclusive:
            return OpenDatabase(writer, None)
        reader = connect(path, busy_timeout_s)
        try:
            reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except BaseException:
            reader.close()
            raise
        return OpenDatabase(writer, reader)
    except BaseException:
        writer.close()
        raise


def _opening_problem(path: Path, error: Exception) -> ProblemError:
    """Return StoreUnavailable if it may be possible to open the file later."""
    code = code_of(error) & 0xFF
    refused_codes = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH)
    is_refused = error.errno not in _NO_ROOM_ERRNOS if isinstance(error, OSError) else code in refused_codes
    if not is_refused and os.access(path.parent, os.W_OK):
        return unavailable(path, error)
    return ProblemError(
        f"The job store {path} cannot be used ({error}).",
        "Choose a state folder that you may write to, or change its permissions.",
        ProblemKind.RESOURCES,
    )


def _tighten(path: Path) -> None:
    """Take the access of others away. Shared folders such as /tmp, and what belongs to others, keep their mode."""
    if os.name != "posix":
        return
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    is_shared = status.st_mode & 0o1000
    if status.st_mode & 0o077 and status.st_uid == os.geteuid() and not is_shared:
        path.chmod(status.st_mode & 0o700)
