"""Recovery of the jobs in a damaged SQLite file."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from rewas_api.errors import ProblemError
from rewas_api.v1 import rewas_pb2
from rewas_engine.runtime.atomic_files import flush_folder
from rewas_server.jobs.backup import list_backups
from rewas_server.jobs.job_rows import JOB_COLUMNS, JobRow, failed_job, insert_request, store_job
from rewas_server.jobs.sqlite_file import (
    DATABASE_ERRORS,
    SIDE_FILES,
    TABLES,
    DamagedFile,
    check_content,
    code_of,
    connect_read_only,
    create_private,
    create_schema,
    is_damage,
    schema_of,
    sound_schema,
    unavailable,
)
from rewas_server.jobs.sqlite_pages import scan_rows
from rewas_server.jobs.store import join_result, work_kind, work_pack

MAX_NUMBER = 10_000_000
"""Highest number of a job that is looked for, should the damage have made up a higher one."""

MAX_GAP = 20_000
"""Numbers without a row after which no further one is tried."""

_PAGE_BYTES = 4096
_REQUEST_COLUMNS = ("job_number", "job_id", "message")
_SCRATCH_PREFIX = ".jobs-recovery-"


@dataclass(frozen=True)
class Recovery:
    """What was done about a damaged file.

    Attributes:
        reason: What was damaged, as a clause.
        damaged_path: Where the damaged file is now.
        recovered_jobs: Number of jobs that were read from the damaged file.
        restored_jobs: Number of jobs that were taken from a nightly copy, because the damaged file no longer had them.
        failed_jobs: Number of jobs of which only the request was left.
        backup_path: The nightly copy; None if there was none.
    """

    reason: str
    damaged_path: Path
    recovered_jobs: int
    restored_jobs: int
    failed_jobs: int
    backup_path: Path | None

    def sentences(self) -> str:
        """Return what happened, for the user."""
        counts = [f"{self.recovered_jobs} jobs were recovered"]
        if self.backup_path is not None:
            counts.append(f"{self.restored_jobs} were restored from {self.backup_path.name}")
        if self.failed_jobs:
            counts.append(f"{self.failed_jobs} failed because only their request was left")
        return (
            f"The job store was damaged ({self.reason}): {', '.join(counts)}."
            f" The damaged file is kept as {self.damaged_path}."
        )


def recover(path: Path, backups_dir: Path | None, reason: str, busy_timeout_s: float) -> Recovery:
    """Replace a damaged file with one that holds every job that can be read, from the file or else the last copy of it.

    The damaged file gets another name. It must not be open. If the process ends during the recovery, the next one
    starts it again.

    Raises StoreUnavailable if there is no room for the new file, or if another process holds a lock.
    """
    partial = _partial_path(path)
    try:
        remove_leftovers(path)
        create_private(partial)
        with contextlib.closing(sqlite3.connect(partial, isolation_level=None)) as target:
            target.execute("PRAGMA foreign_keys = ON")
            create_schema(target)
            with _salvageable(path, busy_timeout_s) as source, _newest_backup(backups_dir) as (backup, backup_path):
                target.execute("BEGIN")
                last = _last_number(source, backup)
                recovered = _copy_jobs(source, target, last)
                with _scannable(path, source) as pages:
                    if pages is not None:
                        recovered += _add_scanned_jobs(pages, target)
                    restored = 0 if backup is None else _copy_jobs(backup, target, last)
                    failed = _add_requests(_readable_rows(source, "job_request", _REQUEST_COLUMNS, last), target)
                    if pages is not None:
                        failed += _add_requests(scan_rows(pages, len(_REQUEST_COLUMNS), _PAGE_BYTES), target)
                for table in ("work_duration", "set_aside"):
                    _copy_table(source, target, table)
                target.execute("COMMIT")
        _flush(partial)
        partial.replace(_recovered_path(path))
        flush_folder(path.parent)
        damaged_path = _free_name(path)
        path.replace(damaged_path)
        finish_recovery(path)
    except (OSError, *DATABASE_ERRORS) as error:
        raise unavailable(path, error) from error
    return Recovery(reason, damaged_path, recovered, restored, failed, backup_path)


def finish_recovery(path: Path) -> None:
    """Finish a recovery that was interrupted after the damaged file got its new name. Raises OSError."""
    recovered = _recovered_path(path)
    if not recovered.exists() or path.exists():
        return
    # Left here, the log of the damaged file would be applied to the new one.
    damaged_path = _last_damaged(path)
    for suffix in SIDE_FILES:
        side_file = path.with_name(path.name + suffix)
        if not side_file.exists():
            continue
        if suffix != "-shm" and side_file.stat().st_size and damaged_path is not None:
            side_file.replace(damaged_path.with_name(damaged_path.name + suffix))
        else:
            # It holds nothing of the jobs.
            side_file.unlink()
    flush_folder(path.parent)
    recovered.replace(path)
    flush_folder(path.parent)


def remove_leftovers(path: Path) -> None:
    """Remove what an interrupted recovery has left beside a sound file. Raises OSError."""
    for leftover in (_partial_path(path), _recovered_path(path)):
        for suffix in ("", *SIDE_FILES):
            leftover.with_name(leftover.name + suffix).unlink(missing_ok=True)
    for folder in path.parent.glob(f"{_SCRATCH_PREFIX}*"):
        shutil.rmtree(folder)


def damaged_files(path: Path) -> list[Path]:
    """Return the damaged files that were kept, oldest first."""
    found = [each for each in path.parent.glob(f"{path.stem}.damaged-*{path.suffix}") if _damage_number(path, each)]
    return sorted(found, key=lambda each: _damage_number(path, each))


@contextlib.contextmanager
def _salvageable(path: Path, busy_timeout_s: float) -> Iterator[sqlite3.Connection]:
    """Open a damaged file for reading; if its first page is damaged, a copy with another first page.

    Raises sqlite3.Error if it cannot be opened for another reason than damage.
    """
    with contextlib.closing(connect_read_only(path, busy_timeout_s)) as connection:
        if _has_tables(connection):
            yield connection
            return
    with _scratch_copy(path) as copy:
        _replace_first_page(copy)
        with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            connection.text_factory = lambda text: text.decode("utf-8", "replace")
            yield connection


@contextlib.contextmanager
def _scratch_copy(path: Path) -> Iterator[Path]:
    """Copy a damaged file and its log, for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix=_SCRATCH_PREFIX, dir=path.parent) as folder:
        copy = Path(folder) / path.name
        for suffix in ("", "-wal"):
            original = path.with_name(path.name + suffix)
            if original.exists():
                part = copy.with_name(copy.name + suffix)
                create_private(part)
                shutil.copyfile(original, part)
        yield copy


def _has_tables(connection: sqlite3.Connection) -> bool:
    try:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    except DATABASE_ERRORS as error:
        _check_is_damage(error)
        return False
    return names >= TABLES and schema_of(connection) == sound_schema()


def _replace_first_page(path: Path) -> None:
    """Give a file the first page of an empty job store, which says where each table begins: at the same page in all."""
    with tempfile.TemporaryDirectory(prefix=_SCRATCH_PREFIX, dir=path.parent) as folder:
        empty = Path(folder) / "empty.sqlite3"
        create_private(empty)
        with contextlib.closing(sqlite3.connect(empty, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            create_schema(connection)
        page = bytearray(empty.read_bytes()[:_PAGE_BYTES])
    size_pages = path.stat().st_size // _PAGE_BYTES
    page[28:32] = size_pages.to_bytes(4, "big")
    # No free pages are known, and the schema is that of the file.
    page[32:40] = bytes(8)
    # The size above counts only if these two agree.
    page[92:96] = page[24:28]
    with path.open("r+b") as file:
        file.write(page)


@contextlib.contextmanager
def _newest_backup(backups_dir: Path | None) -> Iterator[tuple[sqlite3.Connection | None, Path | None]]:
    """Open the newest copy that is sound, if there is one."""
    for path in [] if backups_dir is None else list_backups(backups_dir):
        try:
            connection = connect_read_only(path, 1.0)
        except sqlite3.Error:
            continue
        with contextlib.closing(connection):
            try:
                is_empty = check_content(connection, path)
            except (DamagedFile, ProblemError, *DATABASE_ERRORS):
                continue
            if not is_empty:
                yield connection, path
                return
    yield None, None


def _last_number(*connections: sqlite3.Connection | None) -> int:
    """Return a number that no job exceeds, from whatever says something about it."""
    numbers = [0]
    for connection in connections:
        for query in (
            "SELECT seq FROM sqlite_sequence WHERE name = 'job'",
            "SELECT max(number) FROM job",
            "SELECT max(job_number) FROM job_request",
            "SELECT max(number) FROM job INDEXED BY job_by_state",
        ):
            if connection is not None:
                numbers += [number for (number,) in _try(connection, query) if isinstance(number, int)]
    return min(max(numbers), MAX_NUMBER)


def _copy_jobs(source: sqlite3.Connection, target: sqlite3.Connection, last: int) -> int:
    """Copy the jobs that can be read and that the target does not have. Returns their number."""
    copied = 0
    marks = ", ".join("?" * len(JOB_COLUMNS))
    insert = f"INSERT INTO job ({', '.join(JOB_COLUMNS)}) VALUES ({marks}) RETURNING number"
    for row in _readable_rows(source, "job", JOB_COLUMNS, last):
        request = [
            message for (message,) in _try(source, "SELECT message FROM job_request WHERE job_number = ?", row[0])
        ]
        is_number_taken = target.execute("SELECT 1 FROM job WHERE number = ?", row[:1]).fetchone() is not None
        values = (None, *row[1:]) if is_number_taken else row
        try:
            (number,) = target.execute(insert, values).fetchone()
        except sqlite3.IntegrityError:
            # The target has it, or a column is damaged.
            continue
        insert_request(target, number, str(row[1]), request[0] if request and isinstance(request[0], bytes) else b"")
        copied += 1
    return copied


@contextlib.contextmanager
def _scannable(path: Path, source: sqlite3.Connection) -> Iterator[Path | None]:
    """Give a file whose pages hold what SQLite cannot find in a damaged one; None if it finds everything."""
    if all(_is_complete(source, table) for table in ("job", "job_request")):
        yield None
        return
    log = path.with_name(path.name + "-wal")
    if not log.exists() or log.stat().st_size == 0:
        yield path
        return
    with _scratch_copy(path) as copy:
        for _ in range(2):
            try:
                with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as connection:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                break
            except DATABASE_ERRORS:
                _replace_first_page(copy)
        yield copy


def _is_complete(source: sqlite3.Connection, table: str) -> bool:
    try:
        source.execute(f"SELECT count(*) FROM {table} NOT INDEXED").fetchone()
    except DATABASE_ERRORS as error:
        _check_is_damage(error)
        return False
    return True


def _add_scanned_jobs(pages: Path, target: sqlite3.Connection) -> int:
    """Add the jobs on the pages of a file that the target lacks, each in its last version. Returns their number."""
    revisions: dict[str, int] = {}
    marks = ", ".join("?" * len(JOB_COLUMNS))
    for row in scan_rows(pages, len(JOB_COLUMNS), _PAGE_BYTES):
        columns = dict(zip(JOB_COLUMNS, row, strict=True))
        job_id, snapshot, result = columns["id"], columns["snapshot"], columns["result"]
        if not (isinstance(job_id, str) and isinstance(snapshot, bytes) and isinstance(result, bytes)):
            continue
        try:
            job = join_result(snapshot, result)
        except DecodeError:
            continue
        if job.id != job_id or job.revision <= revisions.get(job_id, 0):
            continue
        if job_id in revisions:
            target.execute("DELETE FROM job WHERE id = ?", (job_id,))
        try:
            target.execute(f"INSERT INTO job ({', '.join(JOB_COLUMNS)}) VALUES ({marks})", row)
        except sqlite3.IntegrityError:
            # The target has it from the tables, or a column is damaged.
            continue
        revisions[job_id] = job.revision
    return len(revisions)


def _add_requests(requests: Iterable[tuple[Any, ...]], target: sqlite3.Connection) -> int:
    """Add requests to the jobs that have none, and a FAILED job for each request whose job is lost.

    Returns the number of those that failed.
    """
    failed = 0
    for number, job_id, message in requests:
        if not (isinstance(number, int) and isinstance(job_id, str) and isinstance(message, bytes) and message):
            continue
        found = target.execute(
            "SELECT number, coalesce(length(message), 0) FROM job LEFT JOIN job_request ON job_number = number"
            " WHERE id = ?",
            (job_id,),
        ).fetchone()
        if found is None:
            failed += _add_failed_job(number, job_id, message, target)
        elif not found[1]:
            target.execute("DELETE FROM job_request WHERE job_number = ?", found[:1])
            insert_request(target, found[0], job_id, message)
    return failed


def _add_failed_job(number: int, job_id: str, message: bytes, target: sqlite3.Connection) -> bool:
    try:
        request = rewas_pb2.SubmitJobRequest.FromString(message)
    except DecodeError:
        return False
    # The key of a child begins with the identifier of its parent.
    key = request.idempotency_key
    parents = target.execute("SELECT id FROM job WHERE id = ?", (key.rpartition("/")[0],)).fetchall()
    row = JobRow(number, job_id, key, parents[0][0] if parents else "", 0, 0, rewas_pb2.PRIORITY_NORMAL, b"")
    try:
        target.execute(
            "INSERT INTO job (number, id, idempotency_key, parent_id, child_count, state, priority, kind, pack,"
            " client, pinned, files_deleted, snapshot, result)"
            " VALUES (?, ?, ?, ?, 0, 0, 0, ?, ?, '', 0, 0, x'', x'')",
            (number, row.id, key, row.parent_id, work_kind(request), work_pack(request)),
        )
    except sqlite3.IntegrityError:
        return False
    store_job(target, number, failed_job(row))
    insert_request(target, number, job_id, message)
    return True


def _copy_table(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> None:
    columns = [name for _, name, *_ in target.execute(f"PRAGMA table_info({table})")]
    marks = ", ".join("?" * len(columns))
    for row in _readable_rows(source, table, columns, _last_of(source, table)):
        with contextlib.suppress(sqlite3.IntegrityError):
            target.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", row)


def _last_of(source: sqlite3.Connection, table: str) -> int:
    numbers = [number for (number,) in _try(source, f"SELECT max(number) FROM {table}") if isinstance(number, int)]
    return min(max(numbers, default=0), MAX_NUMBER)


def _readable_rows(
    connection: sqlite3.Connection, table: str, columns: tuple[str, ...] | list[str], last: int
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows that can be read. columns: the first one is the number of the row."""
    select = f"SELECT {', '.join(columns)} FROM {table} WHERE {columns[0]}"
    number = 0
    while number < last:
        try:
            for row in connection.execute(f"{select} > ? ORDER BY {columns[0]}", (number,)):
                if not number < row[0] <= last:
                    break
                number = row[0]
                yield row
            else:
                return
        except DATABASE_ERRORS as error:
            _check_is_damage(error)
        # The next rows are damaged: look for one behind them.
        end = min(last, number + MAX_GAP)
        while number < end:
            number += 1
            found = next(_try(connection, f"{select} = ?", number), None)
            if found is not None:
                yield found
                break
        else:
            # Whatever is further away is found on its page.
            return


def _try(connection: sqlite3.Connection, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query up to the first one that is damaged. Raises sqlite3.Error if anything else fails."""
    try:
        yield from connection.execute(query, values)
    except DATABASE_ERRORS as error:
        _check_is_damage(error)


def _check_is_damage(error: Exception) -> None:
    """Raise the error again unless the file is damaged, or lacks a table or an index."""
    if not is_damage(error) and code_of(error) != sqlite3.SQLITE_ERROR:
        raise error


def _partial_path(path: Path) -> Path:
    return path.with_name(f".{path.stem}.recovering{path.suffix}")


def _recovered_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}.recovered{path.suffix}")


def _free_name(path: Path) -> Path:
    taken = damaged_files(path)
    number = _damage_number(path, taken[-1]) + 1 if taken else 1
    return path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")


def _last_damaged(path: Path) -> Path | None:
    taken = damaged_files(path)
    return taken[-1] if taken else None


def _damage_number(path: Path, damaged_path: Path) -> int:
    text = damaged_path.name.removeprefix(f"{path.stem}.damaged-").removesuffix(path.suffix)
    return int(text) if text.isascii() and text.isdigit() else 0


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
