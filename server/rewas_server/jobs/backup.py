"""The nightly copy of the job store's SQLite file."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from datetime import datetime, time, timedelta
from pathlib import Path

from rewas_api.errors import ProblemError
from rewas_engine.runtime.atomic_files import flush_folder
from rewas_server.jobs.sqlite_file import (
    DATABASE_ERRORS,
    SIDE_FILES,
    DamagedFile,
    check_content,
    connect_read_only,
    create_private,
    is_full,
)

KEPT_BACKUPS = 7
BACKUP_TIME = time(3)
"""Local time at which a copy is made."""

PAGES_PER_STEP = 256
PAUSE_S = 0.005
"""Pause between two steps of a copy, in which others use the disk."""

RETRY_S = 3600.0
"""Time after which a copy that failed is tried again."""

BUSY_TIMEOUT_S = 5.0
_NAME = re.compile(r"jobs-(\d{8}-\d{6})\.sqlite3")
_TIME_FORMAT = "%Y%m%d-%H%M%S"
_log = logging.getLogger("rewas.server")


def list_backups(backups_dir: Path) -> list[Path]:
    """Return the finished copies, newest first."""
    try:
        found = [path for path in backups_dir.iterdir() if _NAME.fullmatch(path.name)]
    except OSError:
        return []
    return sorted(found, reverse=True)


class CopyStopped(Exception):
    """The copy was stopped before it was complete."""


def copy_database(source: Path, target: Path, stop: threading.Event | None = None) -> None:
    """Copy an SQLite file while others use it. The copy is checked before it gets its name.

    The copy shows one moment. Writers never wait for it.

    Args:
        source: The file.
        target: The copy.
        stop: Stops the copy when it is set.

    Raises:
        CopyStopped: `stop` was set.
        sqlite3.Error: The file cannot be read, or the copy cannot be written.
        OSError: The copy cannot be written.
        DamagedFile: The file is damaged.
        ProblemError: It is not a job store of this version.
    """
    # Always the same name: a copy that was interrupted leaves no file behind for long.
    unfinished = target.with_name(f".unfinished{target.suffix}")
    _remove(unfinished)
    try:
        create_private(unfinished)
        with (
            contextlib.closing(connect_read_only(source, BUSY_TIMEOUT_S)) as reader,
            contextlib.closing(sqlite3.connect(unfinished, isolation_level=None)) as writer,
        ):
            # Within a transaction, all steps see the same moment, so that changes never make the copy start afresh.
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            reader.backup(writer, pages=PAGES_PER_STEP, progress=lambda *_: _pause(stop or threading.Event()))
            # A copy is a single file.
            writer.execute("PRAGMA journal_mode = DELETE")
            if check_content(writer, source):
                raise DamagedFile("it is empty")
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(target)
        flush_folder(target.parent)
    finally:
        _remove(unfinished)


def _pause(stop: threading.Event) -> None:
    if stop.wait(PAUSE_S):
        raise CopyStopped


def _remove(path: Path) -> None:
    for suffix in ("", *SIDE_FILES):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


class NightlyBackup:
    """Copies the file of a job store every night, and at once if the last night was missed.

    Args:
        database_path: The file.
        backups_dir: Folder of the copies, which is created if necessary. The newest KEPT_BACKUPS are kept.
        now: Returns the local time.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self,
        database_path: Path,
        backups_dir: Path,
        *,
        now: Callable[[], datetime] = datetime.now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database_path = database_path
        self._backups_dir = backups_dir
        self._now = now
        self._sleep = sleep
        self._stop = threading.Event()

    async def run(self) -> None:
        """Make copies until cancelled. A copy that fails is reported in the log and tried again."""
        try:
            while True:
                wait_s = self._time_to_next_s()
                if wait_s <= 0:
                    succeeded = await asyncio.to_thread(self.back_up)
                    wait_s = self._time_to_next_s() if succeeded else RETRY_S
                await self._sleep(max(wait_s, 1.0))
        finally:
            # A thread cannot be cancelled, and the end of the server would wait for it.
            self._stop.set()

    def back_up(self) -> bool:
        """Make a copy now, and delete the oldest ones. Returns whether it succeeded; the log has the reason if not."""
        target = self._backups_dir / f"jobs-{self._now():{_TIME_FORMAT}}.sqlite3"
        try:
            copy_database(self._database_path, target, self._stop)
            for path in list_backups(self._backups_dir)[KEPT_BACKUPS:]:
                path.unlink()
        except CopyStopped:
            return False
        except (OSError, *DATABASE_ERRORS) as error:
            if is_full(error):
                _log.warning("The nightly copy of the jobs was skipped: the disk with %s is full.", self._backups_dir)
            else:
                _log.error("The nightly copy of the jobs to %s failed (%s).", self._backups_dir, error)
            return False
        except (DamagedFile, ProblemError) as error:
            _log.error("The nightly copy of the jobs was skipped: %s cannot be used (%s).", self._database_path, error)
            return False
        _log.info("The jobs were copied to %s.", target)
        return True

    def _time_to_next_s(self) -> float:
        """Return the time to the next copy; 0 or less if it is due."""
        made_at = [_time_of(path) for path in list_backups(self._backups_dir)]
        now = self._now()
        # One from the future was made before the clock was corrected.
        last = max((at for at in made_at if at <= now), default=None)
        if last is None:
            return 0.0
        due = datetime.combine(last.date(), BACKUP_TIME)
        if due <= last:
            due += timedelta(days=1)
        return (due - now).total_seconds()


def _time_of(path: Path) -> datetime:
    found = _NAME.fullmatch(path.name)
    assert found is not None
    return datetime.strptime(found[1], _TIME_FORMAT)
