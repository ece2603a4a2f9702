"""The SQLite store on full disks, with locks, damaged files, rows that cannot be read, and open permissions."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from stored_jobs import add, add_timeline, all_ids, end, ids, job, request

from rewas_api import CONTRACT_VERSION
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.files.uploads import Shortage
from rewas_server.jobs import lifecycle, sqlite_store
from rewas_server.jobs.backup import copy_database
from rewas_server.jobs.retention import Retention, RetentionLimits
from rewas_server.jobs.sqlite_pages import LEAF_PAGE, scan_rows
from rewas_server.jobs.sqlite_recovery import damaged_files
from rewas_server.jobs.sqlite_store import SqliteJobStore
from rewas_server.jobs.store import StoreUnavailable, WorkDuration

PAGE_BYTES = 4096
HOLD_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    connection.execute(statement)
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def try_to_open_at_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_store, "REOPEN_INTERVAL_S", 0.0)
    monkeypatch.setattr(sqlite_store, "REOPEN_PAUSE", 0.0)
    monkeypatch.setattr(sqlite_store, "EXCLUSIVE_S", 0.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "jobs.sqlite3"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1.2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1200k", "tmpfs", folder], capture_output=True, check=False
    )
    if not mounted or mounted.returncode != 0:
        pytest.skip("this user may not mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path, spare_bytes: int = 0) -> None:
    """Fill the disk but for a number of bytes."""
    blob = bytes(PAGE_BYTES)
    with contextlib.suppress(OSError), (folder / "filler").open("ab", buffering=0) as file:
        while os.statvfs(folder).f_bavail * PAGE_BYTES > spare_bytes:
            file.write(blob)


def make_room(folder: Path) -> None:
    (folder / "filler").unlink()


@contextlib.contextmanager
def locked(path: Path, *statements: str) -> Iterator[None]:
    """Another process holds a lock."""
    command = [sys.executable, "-c", HOLD_LOCK, path, *statements]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        yield
        assert holder.stdin is not None
        holder.stdin.close()


def kill_after(path: Path, *job_ids: str) -> None:
    """Add jobs in another process, which is killed with the store open."""
    pid = os.fork()
    if pid == 0:
        try:
            add(SqliteJobStore(path), *job_ids)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


def execute(path: Path, statement: str, *values: object) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert connection.execute(statement, values).rowcount == 1


def check_usable(store: SqliteJobStore, key: str = "afterwards") -> None:
    """Every call answers, and jobs can be added, run and deleted."""
    for listed in store.list_page(1000).jobs:
        assert store.get(listed.id).id == listed.id
        store.children(listed.id, 100)
    assert len(store.unfinished()) == store.count_unfinished() + store.count_unfinished(clips=True)
    store.media_in_use()
    store.set_aside_jobs()
    assert {queued.id for queued in store.queue()} <= set(store.unfinished())
    store.add(job(key, rewas_pb2.PRIORITY_INTERACTIVE), request(key))
    found = store.next_queued()
    assert found is not None
    assert found[0].id == key
    store.update(key, lifecycle.request_cancel)
    store.delete(key)


# What can never be opened


def test_an_unusable_store_is_reported(tmp_path: Path) -> None:
    below_a_file = tmp_path / "file"
    below_a_file.write_text("")
    others = []
    for contract_version in (CONTRACT_VERSION - 1, CONTRACT_VERSION + 1):
        others.append(tmp_path / f"contract-{contract_version}.sqlite3")
        with sqlite3.connect(others[-1]) as connection:
            connection.execute(f"PRAGMA user_version = {contract_version}")
        connection.close()
    foreign = tmp_path / "photos.sqlite3"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE photo (name TEXT)")
    connection.close()
    for path in (below_a_file / "jobs.sqlite3", *others, foreign):
        content = path.read_bytes() if path.exists() else b""
        with pytest.raises(ProblemError) as raised:
            SqliteJobStore(path)
        assert not isinstance(raised.value, StoreUnavailable)
        assert str(path) in raised.value.what
        assert raised.value.remedy
        assert not path.exists() or path.read_bytes() == content


def test_a_commit_waits_for_the_disk(path: Path) -> None:
    database = SqliteJobStore(path)._database
    assert database is not None
    assert database.writer.execute("PRAGMA synchronous").fetchone() == (2,)
    assert database.writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_store_that_cannot_be_opened_is_not_tried_all_the_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_store, "REOPEN_INTERVAL_S", 1000.0)
    SqliteJobStore(path).close()
    with locked(path, "PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE"):
        store = SqliteJobStore(path, busy_timeout_s=0.1)
    with pytest.raises(StoreUnavailable, match="locked"):
        store.unfinished()
    store._next_attempt_s = 0.0
    assert store.unfinished() == []


# Full disks


def test_a_full_disk_loses_nothing_and_the_store_works_when_there_is_room(small_disk: Path) -> None:
    path = small_disk / "state" / "jobs.sqlite3"
    store = SqliteJobStore(path)
    add(store, "0")
    fill(small_disk, spare_bytes=60_000)
    stored = ["0"]

    def add_until_full() -> None:
        for number in range(1, 10_000):
            add(store, str(number))
            stored.append(str(number))

    with pytest.raises(StoreUnavailable) as raised:
        add_until_full()
    assert "full" in raised.value.what
    assert str(path) in raised.value.what
    assert raised.value.kind is ProblemKind.RESOURCES
    refused = str(len(stored))

    def grow(before: rewas_pb2.Job) -> rewas_pb2.Job:
        after = lifecycle.start_job(before)
        after.name = "x" * 100_000
        return after

    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            store.update("0", grow)
        with pytest.raises(StoreUnavailable):
            add_timeline(store, "timeline", clips=200)
        # Reading still works, and nothing is half-written.
        assert store.get("0").state == rewas_pb2.JOB_STATE_QUEUED
        assert store.unfinished() == stored
        assert store.find_by_key(request(refused)) is None
    make_room(small_disk)
    add(store, refused)
    assert store.update("0", grow).state == rewas_pb2.JOB_STATE_RUNNING
    assert store.unfinished() == [*stored, refused]
    store.close()
    assert all_ids(SqliteJobStore(path)) == [*stored, refused]


@pytest.mark.parametrize("end_of_last_run", ["killed", "closed"])
def test_a_store_opens_on_a_full_disk_and_works_when_there_is_room(small_disk: Path, end_of_last_run: str) -> None:
    path = small_disk / "state" / "jobs.sqlite3"
    if end_of_last_run == "killed":
        kill_after(path, "1", "2")
    else:
        store = SqliteJobStore(path)
        add(store, "1", "2")
        store.close()
    fill(small_disk)
    store = SqliteJobStore(path)
    assert store.unfinished() == ["1", "2"]
    found = store.next_queued()
    assert found is not None
    assert found[0].id == "1"
    with pytest.raises(StoreUnavailable, match="full"):
        add_timeline(store, "3", clips=200)
    assert store.unfinished() == ["1", "2"]
    make_room(small_disk)
    store.update("1", lifecycle.start_job)
    add(store, "4")
    assert store.unfinished() == ["1", "2", "4"]
    # Other processes can read it again.
    copy_database(path, small_disk / "copy.sqlite3")
    store.close()
    assert all_ids(SqliteJobStore(path)) == ["1", "2", "4"]


def test_a_first_start_on_a_full_disk_waits_for_room(small_disk: Path) -> None:
    (small_disk / "state").mkdir()
    fill(small_disk)
    store = SqliteJobStore(small_disk / "state" / "jobs.sqlite3")
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="full"):
            store.unfinished()
        with pytest.raises(StoreUnavailable, match="full"):
            add(store, "1")
    make_room(small_disk)
    add(store, "1")
    assert store.unfinished() == ["1"]


def test_a_damaged_file_on_a_full_disk_is_repaired_when_there_is_room(small_disk: Path) -> None:
    path = small_disk / "state" / "jobs.sqlite3"
    store = SqliteJobStore(path)
    add(store, *map(str, range(20)))
    store.close()
    damage_page(path, 2)
    fill(small_disk)
    store = SqliteJobStore(path)
    with pytest.raises(StoreUnavailable):
        store.unfinished()
    make_room(small_disk)
    assert len(all_ids(store)) == 20
    check_usable(store)


def test_a_limit_of_the_database_is_a_full_disk(path: Path) -> None:
    store = SqliteJobStore(path)
    add(store, "1")
    database = store._database
    assert database is not None
    (pages,) = database.writer.execute("PRAGMA page_count").fetchone()
    database.writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreUnavailable, match="full"):
        add_timeline(store, "2", clips=100)
    with pytest.raises(StoreUnavailable, match="full"):
        store.update("1", lambda before: rewas_pb2.Job(id="1", state=before.state, name="x" * 50_000))
    assert store.unfinished() == ["1"]
    assert store.get("1").revision == 1
    database.writer.execute("PRAGMA max_page_count = 1000000")
    add_timeline(store, "2", clips=1)
    assert store.unfinished() == ["1", "2", "2.1"]


# Locks


def test_a_locked_store_is_reported_and_works_again(path: Path) -> None:
    store = SqliteJobStore(path, busy_timeout_s=0.1)
    add(store, "1")
    problems: list[StoreUnavailable] = []

    def change() -> None:
        try:
            store.update("1", lifecycle.start_job)
        except StoreUnavailable as problem:
            problems.append(problem)

    with locked(path, "BEGIN IMMEDIATE"):
        threads = [threading.Thread(target=change) for _ in range(4)]
        for thread in threads:
            thread.start()
        # Reading needs no lock.
        assert store.get("1").revision == 1
        assert store.unfinished() == ["1"]
        for thread in threads:
            thread.join()
        with pytest.raises(StoreUnavailable, match="locked") as raised:
            add(store, "2")
        assert str(path) in raised.value.what
    assert len(problems) == 4
    add(store, "2")
    assert store.update("1", lifecycle.start_job).revision == 2
    assert store.unfinished() == ["1", "2"]


def test_a_call_waits_for_a_lock_that_is_released(path: Path) -> None:
    store = SqliteJobStore(path, busy_timeout_s=50.0)
    adding = threading.Thread(target=lambda: add(store, "1"))
    with locked(path, "BEGIN IMMEDIATE"):
        adding.start()
        while store._write_lock.acquire(blocking=False):
            store._write_lock.release()
        assert store.unfinished() == []
    adding.join()
    assert store.unfinished() == ["1"]


def test_a_store_that_is_locked_at_the_start_opens_later(path: Path) -> None:
    store = SqliteJobStore(path)
    add(store, "1")
    store.close()
    with locked(path, "PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE"):
        store = SqliteJobStore(path, busy_timeout_s=0.1)
        for call in (store.unfinished, lambda: add(store, "2")):
            with pytest.raises(StoreUnavailable, match="locked"):
                call()
    add(store, "2")
    assert store.unfinished() == ["1", "2"]
    assert store.recoveries == ()
    assert damaged_files(path) == []


def test_a_closed_store_says_so(path: Path) -> None:
    store = SqliteJobStore(path)
    store.close()
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.unfinished()


# Damaged files


def damage_page(path: Path, number: int, content: bytes | None = None) -> None:
    """Overwrite a page, of which the first is number 1."""
    with path.open("r+b") as file:
        file.seek((number - 1) * PAGE_BYTES)
        file.write(random.Random(number).randbytes(PAGE_BYTES) if content is None else content)


@pytest.fixture(scope="module")
def sound_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of several pages for each of its tables: 60 jobs and a timeline of 3 clips."""
    path = tmp_path_factory.mktemp("sound") / "jobs.sqlite3"
    store = SqliteJobStore(path)
    for number in range(60):
        job_id = str(number)
        new = job(job_id)
        new.waiting_reason = "w" * 300
        store.add(new, request(job_id, prompt="r" * 300))
    end(store, *map(str, range(0, 60, 3)))
    add_timeline(store, "timeline", clips=3)
    for number in range(5):
        store.record_duration(WorkDuration("sound", "starter", "cpu", number, 1.0))
    store.close()
    return path


@pytest.mark.slow
@pytest.mark.parametrize("content", [None, bytes(PAGE_BYTES)], ids=["noise", "zeros"])
def test_no_job_is_lost_with_any_one_page(path: Path, sound_file: Path, content: bytes | None) -> None:
    original = SqliteJobStore(sound_file)
    jobs = {each.id: original.get(each.id) for each in original.list_page(1000).jobs}
    children = original.children("timeline", 100).jobs
    original.close()
    pages = sound_file.stat().st_size // PAGE_BYTES
    assert pages > 20
    kept_counts = []
    for page in range(1, pages + 1):
        shutil.rmtree(path.parent, ignore_errors=True)
        path.parent.mkdir()
        shutil.copy(sound_file, path)
        damage_page(path, page, content)
        damaged = path.read_bytes()
        store = SqliteJobStore(path)
        assert sorted(all_ids(store)) == sorted(jobs)
        assert {each.id for each in store.children("timeline", 100).jobs} == {each.id for each in children}
        # What could not be read has failed; everything else is as it was.
        kept = [each for each in jobs if store.get(each) == jobs[each]]
        kept_counts.append(len(kept))
        failed = [store.get(each) for each in jobs if each not in kept]
        assert all("damaged" in each.problem.what for each in failed)
        if store.recoveries:
            (recovery,) = store.recoveries
            assert recovery.damaged_path.read_bytes() == damaged
            assert recovery.recovered_jobs + recovery.failed_jobs == len(jobs) + len(children)
            assert str(recovery.recovered_jobs) in recovery.sentences()
        check_usable(store)
        store.close()
    # Only the jobs on a damaged page are lost, not those that it leads to.
    assert min(kept_counts) > len(jobs) - 25


def test_no_job_in_the_log_of_a_damaged_file_is_lost(path: Path, sound_file: Path) -> None:
    for page in (1, 2):
        shutil.rmtree(path.parent, ignore_errors=True)
        path.parent.mkdir()
        shutil.copy(sound_file, path)
        kill_after(path, "in the log")
        damage_page(path, page)
        assert path.with_name(f"{path.name}-wal").stat().st_size > 0
        store = SqliteJobStore(path)
        assert {"in the log", "timeline", *map(str, range(60))} == set(all_ids(store))
        if store.recoveries:
            assert store.recoveries[0].failed_jobs == 0
        assert store.get("in the log").state == rewas_pb2.JOB_STATE_QUEUED
        assert store.request("in the log") == request("in the log")
        check_usable(store)
        store.close()


def test_pages_of_noise_hold_no_rows(tmp_path: Path) -> None:
    noise = random.Random(7)
    path = tmp_path / "noise"
    for _ in range(20):
        pages = [bytes([LEAF_PAGE]) + noise.randbytes(PAGE_BYTES - 1) for _ in range(10)]
        path.write_bytes(b"".join(pages))
        assert len(list(scan_rows(path, 15, PAGE_BYTES))) == 0
    path.write_bytes(b"")
    assert list(scan_rows(path, 15, PAGE_BYTES)) == []


def test_a_file_that_is_not_a_database_is_kept_and_the_store_starts_empty(path: Path) -> None:
    path.parent.mkdir()
    for number, noise in enumerate((b"this is no database, however long one looks at it" * 100, b"short"), 1):
        path.write_bytes(noise)
        store = SqliteJobStore(path)
        assert all_ids(store) == []
        check_usable(store)
        (recovery,) = store.recoveries
        assert recovery.recovered_jobs == 0
        assert recovery.damaged_path.name == f"jobs.damaged-{number}.sqlite3"
        assert recovery.damaged_path.read_bytes() == noise
        store.close()
    assert len(damaged_files(path)) == 2


@pytest.mark.slow
@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_a_store_starts_whatever_happened_to_its_file(tmp_path: Path, sound_file: Path, data: st.DataObject) -> None:
    content = bytearray(sound_file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content) - 1))
        noise = data.draw(st.binary(min_size=1, max_size=60) | st.builds(bytes, st.integers(1, 9000)))
        content[start : start + len(noise)] = noise
    del content[data.draw(st.integers(1, len(content))) if data.draw(st.booleans()) else len(content) :]
    folder = tmp_path / "state"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / "jobs.sqlite3"
    # Where the file states its contract, another number is no damage.
    content[60:64] = sound_file.read_bytes()[60:64]
    path.write_bytes(content)
    store = SqliteJobStore(path)
    check_usable(store)
    assert store.get(store.list_page(1).jobs[0].id) if all_ids(store) else True
    store.close()
    assert all(file.stat().st_mode & 0o077 == 0 for file in folder.iterdir())


def test_a_damaged_store_is_completed_from_its_last_copy(path: Path) -> None:
    backups = path.parent / "backups"
    store = SqliteJobStore(path, backups)
    add(store, *(f"old {number}" for number in range(40)))
    end(store, "old 7")
    backups.mkdir()
    copy_database(path, backups / "jobs-20260101-030000.sqlite3")
    (backups / "jobs-20260102-030000.sqlite3").write_bytes(b"a copy that is damaged, too" * 1000)
    store.update("old 3", lifecycle.start_job)
    add(store, *(f"new {number}" for number in range(40)))
    expected = {each.id: store.get(each.id) for each in store.list_page(1000).jobs}
    store.close()
    assert path.stat().st_size > 10 * PAGE_BYTES
    damage_page(path, 2)
    store = SqliteJobStore(path, backups)
    (recovery,) = store.recoveries
    assert recovery.backup_path == backups / "jobs-20260101-030000.sqlite3"
    assert recovery.recovered_jobs + recovery.restored_jobs + recovery.failed_jobs == 80
    assert "20260101" in recovery.sentences()
    found = {each.id: store.get(each.id) for each in store.list_page(1000).jobs}
    assert found.keys() == expected.keys()
    assert found["old 7"] == expected["old 7"]
    assert recovery.restored_jobs < 40
    check_usable(store)


def test_an_emptied_file_is_restored_from_its_last_copy(path: Path) -> None:
    backups = path.parent / "backups"
    store = SqliteJobStore(path, backups)
    add(store, "1", "2")
    backups.mkdir()
    copy_database(path, backups / "jobs-20260101-030000.sqlite3")
    store.close()
    os.truncate(path, 0)
    store = SqliteJobStore(path, backups)
    assert all_ids(store) == ["1", "2"]
    assert store.recoveries[0].restored_jobs == 2
    store.close()
    # Whoever deletes the file wants to start afresh.
    path.unlink()
    assert all_ids(SqliteJobStore(path, backups)) == []


def test_stems_of_lost_jobs_are_kept_as_long_as_the_damaged_file(path: Path) -> None:
    artifacts = path.parent / "artifacts"
    (artifacts / "lost").mkdir(parents=True)
    (artifacts / "lost" / "rain.wav").write_bytes(b"rain")
    path.write_bytes(b"noise" * 10_000)
    store = SqliteJobStore(path)
    limits = RetentionLimits(stems_bytes=10**9, uploads_bytes=10**9, requests_bytes=10**9, max_age_s=10**9)
    retention = Retention(store, artifacts, path.parent / "uploads", limits, active_uploads=frozenset)
    asyncio.run(retention.make_room(Shortage()))
    assert (artifacts / "lost" / "rain.wav").exists()
    damaged_files(path)[0].unlink()
    asyncio.run(retention.make_room(Shortage()))
    assert not (artifacts / "lost").exists()


def test_damage_that_shows_later_is_repaired_by_the_next_call(path: Path, sound_file: Path) -> None:
    path.parent.mkdir()
    shutil.copy(sound_file, path)
    store = SqliteJobStore(path)
    # The root of the table of jobs.
    damage_page(path, 2)
    with pytest.raises(StoreUnavailable, match="damaged"):
        store.get("1")
    assert len(all_ids(store)) == 61
    assert len(store.recoveries) == 1
    check_usable(store)


def test_an_index_that_misses_a_job_is_repaired(path: Path) -> None:
    store = SqliteJobStore(path)
    add(store, "1", "2")
    store.close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        # Without its index, the job moves to another state unnoticed.
        (entry,) = connection.execute("SELECT rowid FROM sqlite_schema WHERE name = 'job_by_state'").fetchone()
        (index,) = connection.execute("SELECT sql FROM sqlite_schema WHERE rowid = ?", (entry,)).fetchone()
        other = index.replace("(state, priority, number)", "(state, priority, number) WHERE id = '2'")
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE rowid = ?", (other, entry))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("REINDEX job_by_state")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE rowid = ?", (index, entry))
    store = SqliteJobStore(path)
    assert len(store.recoveries) == 1
    assert [queued.id for queued in store.queue()] == ["1", "2"]
    assert store.unfinished() == ["1", "2"]


# Rows that cannot be read

DAMAGED_ROWS = {
    "a snapshot of noise": ("UPDATE job SET snapshot = ? WHERE id = 'bad'", b"\xff\xff\xff"),
    "no snapshot": ("UPDATE job SET snapshot = ? WHERE id = 'bad'", b""),
    "the snapshot of another job": (
        "UPDATE job SET snapshot = ? WHERE id = 'bad'",
        rewas_pb2.Job(id="first", state=rewas_pb2.JOB_STATE_QUEUED).SerializeToString(),
    ),
    "another state": ("UPDATE job SET state = ? WHERE id = 'bad'", rewas_pb2.JOB_STATE_PAUSED),
    "an unknown state": (
        "UPDATE job SET state = 1, snapshot = ? WHERE id = 'bad'",
        rewas_pb2.Job(id="bad", state=99).SerializeToString(),  # type: ignore[arg-type]
    ),
    "a result of noise": ("UPDATE job SET result = ? WHERE id = 'bad'", b"\xff\xff\xff"),
    "a request of noise": ("UPDATE job_request SET message = ? WHERE job_id = 'bad'", b"\xff\xff\xff"),
    "the request of another job": (
        "UPDATE job_request SET message = ? WHERE job_id = 'bad'",
        request("first").SerializeToString(),
    ),
    "no request": ("DELETE FROM job_request WHERE job_id = ?", "bad"),
}
CALLS = {
    "list": lambda store: store.list_page(10),
    "get": lambda store: store.get("bad"),
    "children": lambda store: store.children("parent", 100),
    "update": lambda store: store.update("bad", lifecycle.start_job),
    "unfinished": lambda store: store.unfinished(),
    "next_queued": lambda store: store.next_queued({"first"}),
    "find_by_key": lambda store: store.find_by_key(request("bad")),
}


@pytest.fixture
def store_with_bad_row(path: Path) -> SqliteJobStore:
    """Its only parent has one child, "bad"."""
    store = SqliteJobStore(path)
    add(store, "first")
    timeline = rewas_pb2.SubmitJobRequest(idempotency_key="parent", timeline=rewas_pb2.TimelineWork())
    store.add(job("parent", clips=1), timeline, [(job("bad", parent_id="parent"), request("bad"))])
    add(store, "last")
    return store


@pytest.mark.parametrize("call", sorted(CALLS))
@pytest.mark.parametrize("damage", sorted(DAMAGED_ROWS))
def test_a_row_that_cannot_be_read_harms_no_other_job(
    store_with_bad_row: SqliteJobStore, path: Path, damage: str, call: str
) -> None:
    store = store_with_bad_row
    execute(path, *DAMAGED_ROWS[damage])
    CALLS[call](store)
    # A scheduler that starts again: it asks for the unfinished jobs, and runs them.
    for job_id in store.unfinished():
        store.update(job_id, lambda before: before)
        store.request(job_id)
    order = []
    while (found := store.next_queued()) is not None:
        order.append(found[0].id)
        store.update(found[0].id, lifecycle.start_job)
    assert order[0] == "first"
    assert order[-1] == "last"
    bad = store.get("bad")
    assert bad.state == rewas_pb2.JOB_STATE_FAILED
    assert bad.parent_id == "parent"
    assert bad.HasField("finished_at")
    assert "damaged" in bad.problem.what
    assert bad.revision > 1
    assert store.children("parent", 100).jobs == [bad]
    assert ids(store.list_page(10).jobs) == ["last", "parent", "first"]
    (found_aside,) = store.set_aside_jobs()
    assert found_aside.id == "bad"
    assert found_aside.reason
    assert store.unfinished() == ["first", "parent", "last"]
    end(store, "parent")
    store.delete("parent")
    assert store.set_aside_jobs() == []


def test_a_finished_job_keeps_its_result_without_its_request(path: Path) -> None:
    store = SqliteJobStore(path)
    add(store, "bad")
    store.update("bad", lifecycle.start_job)
    completed = store.update("bad", lambda before: lifecycle.complete_job(before, rewas_pb2.SoundResult()))
    execute(path, *DAMAGED_ROWS["a request of noise"])
    for _ in range(3):
        with pytest.raises(ProblemError, match="damaged"):
            store.request("bad")
    assert store.get("bad") == completed
    assert len(store.set_aside_jobs()) == 1


def test_a_row_that_cannot_be_read_harms_no_other_job_on_a_full_disk(small_disk: Path) -> None:
    path = small_disk / "state" / "jobs.sqlite3"
    store = SqliteJobStore(path)
    add(store, "bad", "good")
    execute(path, "UPDATE job SET snapshot = zeroblob(50000) WHERE id = 'bad'")
    fill(small_disk)
    found = store.next_queued()
    assert found is not None
    assert found[0].id == "good"
    assert store.unfinished() == ["good"]
    assert store.get("bad").state == rewas_pb2.JOB_STATE_FAILED
    make_room(small_disk)
    assert store.get("bad").state == rewas_pb2.JOB_STATE_FAILED
    assert ids(store.list_page(10).jobs) == ["good", "bad"]
    assert len(store.set_aside_jobs()) == 1


# Permissions


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.rglob("*"))}


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
@pytest.mark.usefixtures("open_umask")
def test_only_the_user_can_read_the_store(path: Path) -> None:
    store = SqliteJobStore(path)
    add(store, "1")
    found = modes(path.parent)
    assert found.pop("state") == 0o700
    assert found == {"jobs.sqlite3": 0o600, "jobs.sqlite3-wal": 0o600, "jobs.sqlite3-shm": 0o600}


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
@pytest.mark.usefixtures("open_umask")
def test_an_open_folder_is_closed_to_others(path: Path) -> None:
    kill_after(path, "1")
    path.parent.chmod(0o755)
    for file in path.parent.iterdir():
        file.chmod(0o644)
    assert len(list(path.parent.iterdir())) == 3
    store = SqliteJobStore(path)
    found = modes(path.parent)
    assert found.pop("state") == 0o700
    assert set(found.values()) == {0o600}
    store.close()
    path.write_bytes(b"noise")
    SqliteJobStore(path)
    found = modes(path.parent)
    assert found.pop("state") == 0o700
    assert set(found.values()) == {0o600}
    assert "jobs.damaged-1.sqlite3" in found


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
def test_a_folder_that_all_users_share_stays_open(tmp_path: Path) -> None:
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    store = SqliteJobStore(shared / "jobs.sqlite3")
    add(store, "1")
    found = modes(shared)
    assert found.pop("tmp") == 0o777
    assert set(found.values()) == {0o600}


MEMORY_RUNS_OUT = """
import contextlib, sqlite3, sys
from pathlib import Path
from rewas_server.jobs.sqlite_store import SqliteJobStore
from rewas_server.jobs.store import StoreUnavailable
store = SqliteJobStore(Path(sys.argv[1]))
with contextlib.suppress(MemoryError):
    sqlite3.connect(":memory:").execute("PRAGMA hard_heap_limit = 1")
for call in (lambda: store.get("1"), lambda: store.request("1"), lambda: store.get("1")):
    try:
        call()
        sys.exit("a call succeeded")
    except StoreUnavailable as problem:
        print(problem)
"""


def test_a_memory_error_of_sqlite_is_treated_as_damage(path: Path) -> None:
    """A damaged length can make SQLite ask for more memory than there is. Here, it gets none at all."""
    with contextlib.closing(SqliteJobStore(path)) as store:
        store.add(job("1"), request("1"))
    run = subprocess.run(
        [sys.executable, "-c", MEMORY_RUNS_OUT, str(path)], capture_output=True, text=True, timeout=50, check=False
    )
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.splitlines()) == 3
    assert "damaged" in run.stdout.splitlines()[0]
    with contextlib.closing(SqliteJobStore(path)) as store:
        assert store.get("1").name
