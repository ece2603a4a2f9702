"""Nightly copies of the jobs: complete, private, a week of them, and never in anybody's way."""

import asyncio
import contextlib
import itertools
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from stored_jobs import add, all_ids, job, request

from rewas_server.jobs.backup import (
    KEPT_BACKUPS,
    RETRY_S,
    NightlyBackup,
    copy_database,
    list_backups,
)
from rewas_server.jobs.sqlite_file import DamagedFile
from rewas_server.jobs.sqlite_store import SqliteJobStore

EVENING = datetime(2026, 3, 1, 20)


class Clock:
    """Time that passes only while somebody sleeps. The run ends when it reaches its end."""

    def __init__(self, end: datetime, now: datetime = EVENING) -> None:
        self.now = now
        self._end = end
        self.sleeps_s: list[float] = []

    def read(self) -> datetime:
        return self.now

    async def sleep(self, duration_s: float) -> None:
        self.sleeps_s.append(duration_s)
        self.now += timedelta(seconds=duration_s)
        if self.now > self._end:
            raise asyncio.CancelledError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteJobStore]:
    store = SqliteJobStore(tmp_path / "jobs.sqlite3")
    yield store
    store.close()


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    return tmp_path / "backups"


def run_until(end: datetime, store: SqliteJobStore, backups: Path, now: datetime = EVENING) -> Clock:
    clock = Clock(end, now)
    nightly = NightlyBackup(store.path, backups, now=clock.read, sleep=clock.sleep)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(nightly.run())
    return clock


def names(backups: Path) -> list[str]:
    return [path.stem for path in reversed(list_backups(backups))]


def test_a_copy_is_made_at_once_and_then_every_night(store: SqliteJobStore, backups: Path) -> None:
    add(store, "1")
    run_until(EVENING + timedelta(days=2), store, backups)
    assert names(backups) == ["jobs-20260301-200000", "jobs-20260302-030000", "jobs-20260303-030000"]
    # After a restart in the afternoon, nothing is due until the night; after a week without the server, at once.
    run_until(datetime(2026, 3, 3, 23), store, backups, now=datetime(2026, 3, 3, 15))
    assert len(names(backups)) == 3
    run_until(datetime(2026, 3, 10, 16), store, backups, now=datetime(2026, 3, 10, 15))
    assert names(backups)[3:] == ["jobs-20260310-150000"]


def test_the_newest_copies_are_kept(store: SqliteJobStore, backups: Path) -> None:
    run_until(EVENING + timedelta(days=KEPT_BACKUPS + 4), store, backups)
    kept = names(backups)
    assert len(kept) == KEPT_BACKUPS
    assert kept[-1] == "jobs-20260312-030000"
    assert kept[0] == "jobs-20260306-030000"
    (backups / "notes.txt").write_text("mine")
    assert NightlyBackup(store.path, backups, now=lambda: EVENING + timedelta(days=30)).back_up()
    assert (backups / "notes.txt").exists()


def test_a_copy_holds_all_jobs_and_is_private(store: SqliteJobStore, backups: Path) -> None:
    add(store, *map(str, range(30)))
    before = os.umask(0)
    try:
        assert NightlyBackup(store.path, backups).back_up()
    finally:
        os.umask(before)
    (copy,) = list_backups(backups)
    assert copy.stat().st_mode & 0o777 == 0o600
    assert backups.stat().st_mode & 0o777 == 0o700
    assert list(backups.iterdir()) == [copy]
    assert all_ids(SqliteJobStore(copy)) == [str(number) for number in range(30)]


def test_a_copy_shows_one_moment_while_jobs_are_added(
    store: SqliteJobStore, backups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        new = job(str(number))
        new.waiting_reason = "x" * 20_000
        store.add(new, request(str(number)))
    # Many steps, between which jobs are added.
    monkeypatch.setattr("rewas_server.jobs.backup.PAGES_PER_STEP", 1)
    monkeypatch.setattr("rewas_server.jobs.backup.PAUSE_S", 0.001)
    backups.mkdir()
    copying = threading.Thread(target=copy_database, args=[store.path, backups / "copy.sqlite3"])
    copying.start()
    added = itertools.count(20)
    while copying.is_alive():
        # Never waits for the copy: it would raise StoreUnavailable.
        add(store, str(next(added)))
    copying.join()
    total = next(added)
    copied = all_ids(SqliteJobStore(backups / "copy.sqlite3"))
    assert copied == [str(number) for number in range(len(copied))]
    assert 20 <= len(copied) < total
    assert all_ids(store) == [str(number) for number in range(total)]


def test_the_end_of_the_server_does_not_wait_for_a_copy(
    store: SqliteJobStore, backups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        new = job(str(number))
        new.waiting_reason = "x" * 20_000
        store.add(new, request(str(number)))
    monkeypatch.setattr("rewas_server.jobs.backup.PAGES_PER_STEP", 1)
    # The whole copy would take an hour.
    monkeypatch.setattr("rewas_server.jobs.backup.PAUSE_S", 60.0)

    async def stop_during_copy() -> None:
        running = asyncio.create_task(NightlyBackup(store.path, backups).run())
        while not (backups / ".unfinished.sqlite3").exists():
            await asyncio.sleep(0)
        running.cancel()

    asyncio.run(stop_during_copy())
    assert list(backups.iterdir()) == []


def test_a_full_disk_skips_a_copy(
    store: SqliteJobStore, backups: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add(store, "1")
    assert NightlyBackup(store.path, backups, now=lambda: EVENING).back_up()
    kept = list_backups(backups)
    connect = sqlite3.connect

    def connect_to_full_disk(path: str | Path, **options: object) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(path, **options)  # type: ignore[call-overload]
        if ".unfinished" in str(path):
            connection.execute("PRAGMA max_page_count = 2")
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect_to_full_disk)
    with caplog.at_level(logging.WARNING, "rewas.server"):
        clock = run_until(EVENING + timedelta(days=1, hours=2), store, backups, now=EVENING + timedelta(days=1))
    assert "disk" in caplog.text
    assert "full" in caplog.text
    # It is tried again, and what there was is kept.
    assert clock.sleeps_s[0] == RETRY_S
    assert list_backups(backups) == kept
    assert list(backups.iterdir()) == kept


def test_a_damaged_store_replaces_no_copy(store: SqliteJobStore, backups: Path) -> None:
    add(store, *map(str, range(100)))
    assert NightlyBackup(store.path, backups, now=lambda: EVENING).back_up()
    store.close()
    with store.path.open("r+b") as file:
        file.seek(5 * 4096)
        file.write(b"noise" * 800)
    assert not NightlyBackup(store.path, backups, now=lambda: EVENING + timedelta(days=1)).back_up()
    assert names(backups) == ["jobs-20260301-200000"]
    store.path.unlink()
    for side_file in store.path.parent.glob("jobs.sqlite3-*"):
        side_file.unlink()
    with contextlib.closing(sqlite3.connect(store.path)):
        pass
    with pytest.raises(DamagedFile):
        copy_database(store.path, backups / "copy.sqlite3")
    assert not NightlyBackup(store.path, backups, now=lambda: EVENING + timedelta(days=2)).back_up()
    assert names(backups) == ["jobs-20260301-200000"]


def test_a_copy_from_the_future_delays_nothing(store: SqliteJobStore, backups: Path) -> None:
    backups.mkdir()
    add(store, "1")
    copy_database(store.path, backups / "jobs-20990101-030000.sqlite3")
    run_until(EVENING + timedelta(hours=1), store, backups)
    assert names(backups) == ["jobs-20260301-200000", "jobs-20990101-030000"]
