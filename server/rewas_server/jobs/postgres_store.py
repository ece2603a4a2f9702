"""The job store in a PostgreSQL database, which may be on another machine than the server."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.string import StrDumper, TextLoader

from rewas_api import CONTRACT_VERSION
from rewas_api.errors import ProblemError, ProblemKind
from rewas_server.database_url import without_password
from rewas_server.jobs.job_rows import Connection
from rewas_server.jobs.sql_store import SqlJobStore
from rewas_server.jobs.state_identity import StateIdentity
from rewas_server.jobs.store import StoreUnavailable

BUSY_TIMEOUT_S = 5.0
"""How long a call waits for the database."""

REOPEN_INTERVAL_S = 1.0
"""Shortest time between two attempts to connect to a database that cannot be reached."""

OLDEST_VERSION = 13
OWNER_LOCK = 0x5E3A5
"""First key of the advisory lock of the server that uses a job store; the second one is made from the schema's name."""

# Like the tables of the SQLite file, where the reasons are.
SCHEMA = """
CREATE TABLE job_store (contract_version INTEGER NOT NULL, identity TEXT NOT NULL);
CREATE TABLE job (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    idempotency_key TEXT NOT NULL UNIQUE,
    parent_id TEXT NOT NULL,
    child_count INTEGER NOT NULL,
    state INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    kind TEXT NOT NULL,
    pack TEXT NOT NULL,
    client TEXT NOT NULL,
    pinned BOOLEAN NOT NULL,
    files_deleted BOOLEAN NOT NULL,
    finished_at_ms BIGINT,
    snapshot BYTEA NOT NULL,
    result BYTEA NOT NULL
);
CREATE INDEX job_by_state ON job (state, priority, number);
CREATE INDEX job_by_parent ON job (parent_id, number, state);
CREATE INDEX job_pinned ON job (number) WHERE pinned;
CREATE TABLE job_request (
    job_number BIGINT PRIMARY KEY REFERENCES job (number) ON DELETE CASCADE,
    job_id TEXT NOT NULL,
    message BYTEA NOT NULL
);
CREATE TABLE job_upload (
    job_number BIGINT NOT NULL REFERENCES job (number) ON DELETE CASCADE,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (job_number, sha256)
);
CREATE TABLE work_duration (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind TEXT NOT NULL,
    pack TEXT NOT NULL,
    device TEXT NOT NULL,
    amount_s DOUBLE PRECISION NOT NULL,
    duration_s DOUBLE PRECISION NOT NULL
);
CREATE INDEX work_duration_by_kind ON work_duration (kind, pack, device, number);
CREATE TABLE set_aside (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    set_aside_at_ms BIGINT NOT NULL,
    reason TEXT NOT NULL,
    job_id TEXT NOT NULL,
    state INTEGER NOT NULL,
    snapshot BYTEA NOT NULL,
    result BYTEA NOT NULL,
    request BYTEA NOT NULL
);
"""
TABLES = frozenset({"job_store", "job", "job_request", "job_upload", "work_duration", "set_aside"})

_CONNECTION_DEFAULTS: dict[str, Any] = {
    "connect_timeout": 5,
    # A machine that has lost its power sends nothing. It must not be waited for for hours.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
_ESCAPES = {"\x00": "\x01\x02", "\x01": "\x01\x01"}
_UNESCAPES = {escaped: text for text, escaped in _ESCAPES.items()}
_log = logging.getLogger("rewas.server")
_Raw = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class _OpenDatabase:
    writer: _Raw
    reader: _Raw

    def close(self) -> None:
        for connection in (self.reader, self.writer):
            with contextlib.suppress(psycopg.Error):
                connection.close()


class PostgresJobStore(SqlJobStore[_OpenDatabase]):
    """The job store in a PostgreSQL database. See JobStore.

    A database that cannot be reached raises StoreUnavailable in each call, until it can be reached again. If the
    connection is lost while a change is confirmed, the store asks after the reconnection whether it was made. If
    it cannot reconnect in time, a change that raised StoreUnavailable may still have been made.

    One server uses a store at a time: it holds an advisory lock for as long as its connection lasts.

    Args:
        url: `postgresql://USER@HOST/DATABASE`. Keep a password in a password file or PGPASSWORD.
        busy_timeout_s: How long a call waits for the database.
        identity: That of the state folder, to which the database must belong.

    Raises ProblemError (RESOURCES) if another server uses the store, if it was written by a version with another
    contract, if it belongs to another state folder, or if the database is not suitable; SETTINGS if the URL is not
    valid.
    """

    duplicate_error = psycopg.errors.UniqueViolation
    json_texts = "SELECT jsonb_array_elements_text(CAST(? AS jsonb))"

    def __init__(
        self, url: str, *, busy_timeout_s: float = BUSY_TIMEOUT_S, identity: StateIdentity | None = None
    ) -> None:
        self._identity = identity
        super().__init__(_name_of(url), busy_timeout_s)
        self._parameters = _parameters_of(url)
        try:
            self._open()
        except _UsedByAnother as problem:
            raise ProblemError(problem.what, problem.remedy, ProblemKind.RESOURCES) from None
        except StoreUnavailable as problem:
            _log.error("The job store is not available yet. %s", problem)

    def may_have_lost_jobs(self) -> bool:
        # PostgreSQL never replaces a damaged database by what could be read of it.
        return False

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._holding(self._read_lock, lambda database: database.reader) as connection:
            yield _Statements(connection)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            with self._holding(self._write_lock, lambda database: database.writer) as connection:
                connection.execute("BEGIN", prepare=False)
                try:
                    yield _Statements(connection)
                    transaction = _value(connection, "SELECT CAST(pg_current_xact_id_if_assigned() AS TEXT)")
                except BaseException:
                    with contextlib.suppress(psycopg.Error):
                        connection.execute("ROLLBACK", prepare=False)
                    raise
                try:
                    connection.execute("COMMIT", prepare=False)
                except psycopg.Error as error:
                    if transaction is None or not connection.broken:
                        raise
                    raise _UnconfirmedChange(transaction) from error
        except _UnconfirmedChange as lost:
            self._confirm(lost.transaction)

    def _confirm(self, transaction: str) -> None:
        """Find out whether a transaction was committed. Raises StoreUnavailable if not, or if this cannot be known."""
        deadline_s = time.monotonic() + self._busy_timeout_s
        while True:
            try:
                with self._holding(self._write_lock, lambda database: database.writer) as connection:
                    # The new connection holds the lock, so the lost one has ended, and with it its transaction.
                    status = _value(connection, "SELECT pg_xact_status(CAST(%s AS xid8))", transaction)
                break
            except StoreUnavailable:
                if time.monotonic() > deadline_s or self._closed:
                    raise
                time.sleep(0.05)
                self._next_attempt_s = 0.0
        if status != "committed":
            raise StoreUnavailable(
                f"The connection to the database {self._name} was lost, and a change with it.", "Try again."
            )

    @contextlib.contextmanager
    def _holding(self, lock: threading.Lock, choose: _Choose) -> Iterator[_Raw]:
        """Use a connection alone. The errors of the database become StoreUnavailable."""
        deadline_s = time.monotonic() + self._busy_timeout_s
        database: _OpenDatabase | None = None
        try:
            database = self._acquire(lock, choose, deadline_s)
            try:
                yield choose(database)
            finally:
                lock.release()
        except psycopg.Error as error:
            if isinstance(error, self.duplicate_error):
                raise
            if database is not None and choose(database).broken:
                self._abandon(database)
            raise _unavailable(self._name, error) from error
        except _UnconfirmedChange:
            self._abandon(database)
            raise

    def _acquire(self, lock: threading.Lock, choose: _Choose, deadline_s: float) -> _OpenDatabase:
        """Lock a connection that was not lost while it was idle, connecting again if necessary."""
        while True:
            database = self._open()
            if not lock.acquire(timeout=max(0.0, deadline_s - time.monotonic())):
                raise self._busy()
            if self._database is database and _is_connected(choose(database)):
                return database
            lock.release()
            self._abandon(database)

    def _try_to_open(self) -> _OpenDatabase:
        if self._problem is not None and time.monotonic() < self._next_attempt_s:
            raise _again(self._problem)
        try:
            database = self._connect_both()
        except (StoreUnavailable, psycopg.Error) as error:
            self._problem = error if isinstance(error, StoreUnavailable) else _unavailable(self._name, error)
            self._next_attempt_s = time.monotonic() + REOPEN_INTERVAL_S
            raise _again(self._problem) from error
        if self._problem is not None:
            _log.info("The database %s can be used again.", self._name)
        self._problem = None
        return database

    def _connect_both(self) -> _OpenDatabase:
        writer = _connect(self._parameters, self._busy_timeout_s)
        try:
            _check_server(writer, self._name)
            self._lock_store(writer)
            self._check_content(writer)
            self._pair(writer)
            return _OpenDatabase(writer, _connect(self._parameters, self._busy_timeout_s))
        except BaseException:
            writer.close()
            raise

    def _lock_store(self, connection: _Raw) -> None:
        keys = "%s, hashtext(current_schema())"
        try:
            connection.execute(f"SELECT pg_advisory_lock({keys})", (OWNER_LOCK,))
        except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled):
            owner = _value(
                connection,
                "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory'"
                " AND granted AND classid = %s"
                " AND objid = CAST(hashtext(current_schema()) & x'ffffffff'::bigint AS oid)"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
                OWNER_LOCK,
            )
            raise _UsedByAnother(
                f"Another ReWaS server uses the database {self._name}" + (f' ("{owner}").' if owner else "."),
                "Stop that server, or choose another database with `rewas serve --database`.",
            ) from None

    def _check_content(self, connection: _Raw) -> None:
        """Create the tables in an empty schema. Raises ProblemError (RESOURCES) if it holds another job store."""
        with _explaining_privileges(self._name):
            if not _has_tables(connection, self._name):
                with connection.transaction():
                    connection.execute(SCHEMA.encode())
                    connection.execute(
                        "INSERT INTO job_store (contract_version, identity) VALUES (%s, %s)",
                        (CONTRACT_VERSION, uuid.uuid4().hex),
                    )

    def _pair(self, connection: _Raw) -> None:
        """Check that the database belongs to the state folder. Raises StoreUnavailable, ProblemError (RESOURCES)."""
        if self._identity is None:
            return
        stored, has_jobs = _row(connection, "SELECT identity, EXISTS (SELECT 1 FROM job) FROM job_store")
        try:
            self._identity.pair(self._name, stored, has_jobs=has_jobs, is_in_folder=False)
        except OSError as error:
            raise StoreUnavailable(
                f"The identity of the state folder cannot be read or written ({error.strerror or error}).",
                "Make sure that the folder is writable and its disk has free space.",
            ) from error

    def _busy(self) -> StoreUnavailable:
        return _busy(self._name)


@dataclass(frozen=True)
class DatabaseState:
    """What a database holds.

    Attributes:
        name: Its URL without the password and the parameters.
        identity: Its identity as a job store; "" if the tables do not exist yet.
        jobs: Number of jobs.
        set_aside: Number of jobs that could not be read.
        is_durable: Whether confirmed changes survive a failure of its machine.
    """

    name: str
    identity: str
    jobs: int
    set_aside: int
    is_durable: bool


def inspect_database(url: str, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> DatabaseState:
    """Return what a database holds. This changes nothing, and does not disturb a running server.

    Raises ProblemError like the constructor of PostgresJobStore, and StoreUnavailable if it cannot be reached.
    """
    name, parameters = _name_of(url), _parameters_of(url)
    try:
        with contextlib.closing(_connect(parameters, busy_timeout_s)) as connection, _explaining_privileges(name):
            _check_server(connection, name)
            is_durable = _value(connection, "SELECT current_setting('fsync')") != "off"
            if not _has_tables(connection, name):
                return DatabaseState(name, "", 0, 0, is_durable)
            identity, jobs, set_aside = _row(
                connection,
                "SELECT identity, (SELECT count(*) FROM job), (SELECT count(*) FROM set_aside) FROM job_store",
            )
            return DatabaseState(name, identity, jobs, set_aside, is_durable)
    except psycopg.Error as error:
        raise _unavailable(name, error) from error


def _name_of(url: str) -> str:
    # Without the parameters, which may name files and addresses that clients must not see.
    return without_password(url).partition("?")[0]


def _parameters_of(url: str) -> dict[str, Any]:
    try:
        return _CONNECTION_DEFAULTS | conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # The error itself quotes the URL with its password.
        raise ProblemError(
            "The URL of the database, the setting `database`, is not valid.",
            "Use the form postgresql://USER@HOST/DATABASE.",
            ProblemKind.SETTINGS,
        ) from None


def _connect(given: Mapping[str, Any], busy_timeout_s: float) -> _Raw:
    name = f"rewas {socket.gethostname()} {os.getpid()}"
    parameters = {"application_name": name, **given, "client_encoding": "utf8"}
    connection = psycopg.connect(**parameters, autocommit=True)
    try:
        connection.adapters.register_dumper(str, _EscapingDumper)
        connection.adapters.register_loader("text", _UnescapingLoader)
        timeout_ms = str(round(1000 * busy_timeout_s))
        (_, _, commit) = _row(
            connection,
            "SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false),"
            " current_setting('synchronous_commit')",
            timeout_ms,
            timeout_ms,
        )
        if commit in ("off", "local"):
            # Otherwise, an acknowledged change could be lost.
            connection.execute("SET synchronous_commit = on")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_server(connection: _Raw, name: str) -> None:
    if connection.info.server_version < OLDEST_VERSION * 10_000:
        raise _unfit(name, "is too old", f"Use PostgreSQL {OLDEST_VERSION} or newer.")
    encoding, schema, fsync = _row(
        connection, "SELECT current_setting('server_encoding'), current_schema(), current_setting('fsync')"
    )
    if encoding != "UTF8":
        raise _unfit(name, "does not store text as UTF-8", "Create one with CREATE DATABASE … ENCODING 'UTF8'.")
    if schema is None:
        raise _unfit(name, "has no schema for the tables", "Set the search_path of the user to one that exists.")
    if fsync == "off":
        _log.warning("The database %s may lose jobs when its machine fails: its setting fsync is off.", name)


def _has_tables(connection: _Raw, name: str) -> bool:
    """Return whether a schema holds a job store; False if it is empty.

    Raises ProblemError (RESOURCES) for another one, the errors of the database.
    """
    rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()").fetchall()
    present = {table for (table,) in rows} & TABLES
    if not present:
        return False
    if present < TABLES:
        raise _unfit(
            name,
            "is not a job store of ReWaS, or has lost some of its tables",
            "Choose an empty database or schema, or restore it from a backup.",
        )
    version = _value(connection, "SELECT contract_version FROM job_store")
    if version != CONTRACT_VERSION:
        is_newer = isinstance(version, int) and version > CONTRACT_VERSION
        raise _unfit(
            name,
            f"was written by {'a newer' if is_newer else 'an older'} version of ReWaS",
            ("Update ReWaS" if is_newer else "Delete its tables, whose jobs this version cannot read")
            + ", or choose another database.",
        )
    return True


@contextlib.contextmanager
def _explaining_privileges(name: str) -> Iterator[None]:
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise _unfit(
            name,
            "does not let its user create or read the tables",
            "Grant the user CREATE on the schema, or make it the owner of the database.",
        ) from error


def _busy(name: str) -> StoreUnavailable:
    return StoreUnavailable(f"The database {name} is busy.", "Try again in a few seconds.")


def _unfit(name: str, fault: str, remedy: str) -> ProblemError:
    return ProblemError(f"The database {name} {fault}.", remedy, ProblemKind.RESOURCES)


def _unavailable(name: str, error: psycopg.Error) -> StoreUnavailable:
    """Return the problem of a database that cannot be read or written now, and log the database's own message."""
    _log.error("The database %s: %s", name, " ".join(str(error).split()) or type(error).__name__)
    if isinstance(error, psycopg.errors.DiskFull):
        return StoreUnavailable(
            f"The disk of the database {name} is full.", "Free some space; waiting jobs then continue."
        )
    if isinstance(error, psycopg.errors.LockNotAvailable | psycopg.errors.QueryCanceled):
        return _busy(name)
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return StoreUnavailable(
            f"The database {name} cannot be written to: it is a replica of another one.",
            "Connect to the primary database, with target_session_attrs=read-write in the URL.",
        )
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return StoreUnavailable(
            f"The database {name} cannot be reached.",
            "Start it, or check the network and the password; the server's log has the reason.",
        )
    return StoreUnavailable(
        f"The database {name} failed ({type(error).__name__}).", "See the server's log for the reason."
    )


_Choose = Callable[[_OpenDatabase], _Raw]


class _UsedByAnother(StoreUnavailable):
    """Another server uses the store."""


class _UnconfirmedChange(Exception):
    """The connection was lost while a transaction was committed."""

    def __init__(self, transaction: str) -> None:
        super().__init__(transaction)
        self.transaction = transaction


class _Statements:
    """Runs the statements of SqlJobStore, which mark parameters as SQLite does."""

    def __init__(self, connection: _Raw) -> None:
        self._connection = connection

    def execute(self, query: str, parameters: Sequence[Any] = (), /) -> psycopg.Cursor[tuple[Any, ...]]:
        return self._connection.execute(_translate(query), parameters)

    def executemany(self, query: str, parameters: Iterable[Sequence[Any]], /) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(_translate(query), parameters)


class _EscapingDumper(StrDumper):
    """Text to PostgreSQL, which refuses the character 0 that texts of the contract may have."""

    def dump(self, obj: str) -> Any:
        return super().dump(re.sub("[\x00\x01]", lambda found: _ESCAPES[found[0]], obj))


class _UnescapingLoader(TextLoader):
    """Text from PostgreSQL, as it was before _EscapingDumper."""

    def load(self, data: Any) -> Any:
        text = super().load(data)
        return re.sub("\x01[\x01\x02]", lambda found: _UNESCAPES[found[0]], text) if isinstance(text, str) else text


def _translate(query: str) -> bytes:
    # No statement has a question mark or a percent sign in a text.
    return query.replace("?", "%s").encode()


def _row(connection: _Raw, query: str, *parameters: Any) -> tuple[Any, ...]:
    """Return the first row; an empty one if there is none."""
    return connection.execute(query.encode(), parameters).fetchone() or ()


def _value(connection: _Raw, query: str, *parameters: Any) -> Any:
    """Return the first value of the first row; None if there is no row."""
    return next(iter(_row(connection, query, *parameters)), None)


def _is_connected(connection: _Raw) -> bool:
    """Return whether an idle connection still stands, as far as is known. Does not ask the database."""
    try:
        # The first call reads why the database ended the connection, the second one notices that it did.
        connection.pgconn.consume_input()
        connection.pgconn.consume_input()
    except psycopg.Error:
        return False
    return not connection.closed


def _again(problem: StoreUnavailable) -> StoreUnavailable:
    """Return a problem for another call, so that their tracebacks stay apart."""
    return type(problem)(problem.what, problem.remedy)
