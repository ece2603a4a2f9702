"""Jobs survive a process that is killed before any of its steps: each system call, not a sample of them."""

import contextlib
import hashlib
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from stored_jobs import PROBLEM, add, add_timeline, all_ids, end, ids, job, request

from rewas_api.v1 import rewas_pb2
from rewas_server.delivery.metadata import BroadcastMetadata
from rewas_server.delivery.provenance import Provenance
from rewas_server.delivery.stem_folder import StemFolder
from rewas_server.jobs import lifecycle
from rewas_server.jobs.backup import NightlyBackup, list_backups
from rewas_server.jobs.sqlite_recovery import damaged_files
from rewas_server.jobs.sqlite_store import SqliteJobStore
from rewas_server.jobs.store import WorkDuration

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the steps are Linux's system calls"),
]
if sys.platform == "linux":
    from crash_points import crashes

WAVEFORM = np.linspace(-0.5, 0.5, 4800, dtype=np.float32)[np.newaxis]
PROVENANCE = Provenance("rain", 7, "starter", "1.0.0", "Apache-2.0")
STATES = [
    rewas_pb2.JOB_STATE_QUEUED,
    rewas_pb2.JOB_STATE_RUNNING,
    rewas_pb2.JOB_STATE_SUCCEEDED,
]


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """Files are private because of their modes, not because of the umask."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def runs() -> Iterator[Path]:
    """A folder in memory, where possible: a killed process loses nothing that it has written to a file."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture
def prepared(runs: Path) -> Path:
    """A folder with a store that holds the job "earlier"."""
    folder = runs / "prepared"
    store = SqliteJobStore(database_of(folder))
    add(store, "earlier")
    store.close()
    return folder


def database_of(folder: Path) -> Path:
    return folder / "state" / "jobs.sqlite3"


def check_columns(path: Path) -> None:
    """Columns and snapshots say the same, and each job has its request."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        rows = connection.execute(
            "SELECT id, state, priority, child_count, pinned, finished_at_ms IS NOT NULL, idempotency_key, snapshot,"
            " result, message FROM job LEFT JOIN job_request ON job_number = number"
        ).fetchall()
        for job_id, state, priority, child_count, pinned, has_ended, key, snapshot, result, message in rows:
            stored = rewas_pb2.Job.FromString(snapshot + result)
            assert (stored.id, stored.state, stored.priority) == (job_id, state, priority)
            assert (stored.child_count, stored.pinned, stored.HasField("finished_at")) == (
                child_count,
                pinned,
                has_ended,
            )
            assert (stored.WhichOneof("result") is not None) == (state == rewas_pb2.JOB_STATE_SUCCEEDED)
            assert rewas_pb2.SubmitJobRequest.FromString(message).idempotency_key == key


def check_private(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def live(folder: Path, acknowledge: Callable[[str], None]) -> None:
    """Submit, start, deliver and finish a job."""
    store = SqliteJobStore(database_of(folder))
    store.add(job("new"), request("new"))
    acknowledge("submit")
    found = store.next_queued({"earlier"})
    assert found is not None
    store.update(found[0].id, lifecycle.start_job)
    acknowledge("start")
    with StemFolder(folder / "state" / "artifacts" / "new") as stems:
        stem = stems.write(WAVEFORM, 48_000, "rain", BroadcastMetadata(PROVENANCE))
    acknowledge("deliver")
    artifact = rewas_pb2.Artifact(
        name=stem.path.name, size_bytes=stem.size_bytes, sha256=stem.sha256, path=str(stem.path)
    )
    result = rewas_pb2.SoundResult(takes=[rewas_pb2.Take(stems=[rewas_pb2.Stem(role="primary", artifact=artifact)])])
    store.update("new", lambda before: lifecycle.complete_job(before, result))
    acknowledge("finish")
    store.record_duration(WorkDuration("sound", "starter", "cpu", 1.0, 2.0))
    acknowledge("record")
    store.close()


def test_a_job_survives_at_every_step_of_its_life(runs: Path, prepared: Path) -> None:
    seen: set[tuple[str, ...]] = set()
    for _, folder, acknowledged in crashes(live, runs, prepared):
        seen.add(tuple(acknowledged))
        path = database_of(folder)
        store = SqliteJobStore(path)
        assert store.recoveries == ()
        assert store.set_aside_jobs() == []
        assert "earlier" in all_ids(store)
        stored = [each for each in store.list_page(10).jobs if each.id == "new"]
        assert len(stored) == 1 or (stored == [] and "submit" not in acknowledged)
        if stored:
            # What was acknowledged is there, and at most the next step was done, too.
            reached = STATES.index(stored[0].state)
            done = ["start" in acknowledged, "finish" in acknowledged].count(True)
            assert reached in (done, done + 1)
            assert reached < 2 or "deliver" in acknowledged
        for take in store.get("new").sound.takes if stored else ():
            for stem in take.stems:
                content = Path(stem.artifact.path).read_bytes()
                assert hashlib.sha256(content).hexdigest() == stem.artifact.sha256
                assert len(content) == stem.artifact.size_bytes
        if "record" in acknowledged:
            assert len(store.durations("sound", "starter", "cpu")) == 1
        # A client that got no answer submits again.
        assert store.add(job("again"), request("new")).id == ("new" if stored else "again")
        assert len(all_ids(store)) == 2
        store.close()
        check_columns(path)
        check_private(folder / "state" if not (folder / "state" / "artifacts").exists() else path)
    # Every piece of work was interrupted, and the last run reached the end.
    pieces = ("submit", "start", "deliver", "finish", "record")
    assert seen == {pieces[:count] for count in range(len(pieces) + 1)}


def make_timeline(folder: Path, acknowledge: Callable[[str], None]) -> None:
    store = SqliteJobStore(database_of(folder))
    add_timeline(store, "film", clips=3)
    acknowledge("submit")
    store.update("film.2", lambda before: lifecycle.fail_job(lifecycle.start_job(before), PROBLEM))
    acknowledge("fail")
    for job_id in ("film.1", "film.3", "film"):
        store.update(job_id, lifecycle.request_cancel)
    store.update("film", lifecycle.cancel_job)
    acknowledge("cancel")
    store.delete("film")
    acknowledge("delete")
    store.close()


def test_a_timeline_and_its_clips_are_stored_and_deleted_together(runs: Path, prepared: Path) -> None:
    seen: set[tuple[str, ...]] = set()
    for _, folder, acknowledged in crashes(make_timeline, runs, prepared):
        seen.add(tuple(acknowledged))
        path = database_of(folder)
        store = SqliteJobStore(path)
        present = "film" in all_ids(store)
        assert ids(store.children("film", 100).jobs) == (["film.1", "film.2", "film.3"] if present else [])
        if "submit" in acknowledged and "cancel" not in acknowledged:
            assert present
        if "delete" in acknowledged:
            assert not present
        if "fail" in acknowledged and present:
            assert store.get("film.2").state == rewas_pb2.JOB_STATE_FAILED
        if "cancel" in acknowledged:
            assert store.unfinished() == ["earlier"]
        store.close()
        check_columns(path)
        check_private(path.parent)
    pieces = ("submit", "fail", "cancel", "delete")
    assert seen == {pieces[:count] for count in range(len(pieces) + 1)}


def test_a_first_start_can_be_interrupted_at_every_step(runs: Path, prepared: Path) -> None:
    def start(folder: Path, acknowledge: Callable[[str], None]) -> None:
        store = SqliteJobStore(database_of(folder), folder / "state" / "backups")
        acknowledge("open")
        store.close()

    empty = runs / "empty"
    empty.mkdir()
    for _, folder, _ in crashes(start, runs, empty):
        if (folder / "state").exists():
            check_private(folder / "state")
        store = SqliteJobStore(database_of(folder), folder / "state" / "backups")
        assert store.recoveries == ()
        add(store, "1")
        store.close()
        check_columns(database_of(folder))


def test_a_copy_is_complete_or_absent_at_every_step(runs: Path, prepared: Path) -> None:
    backups = prepared / "state" / "backups"
    assert NightlyBackup(database_of(prepared), backups).back_up()
    (first,) = list_backups(backups)
    first.rename(first.with_name("jobs-20200101-030000.sqlite3"))
    store = SqliteJobStore(database_of(prepared))
    add(store, "later")
    store.close()

    def copy(folder: Path, acknowledge: Callable[[str], None]) -> None:
        assert NightlyBackup(database_of(folder), folder / "state" / "backups").back_up()
        acknowledge("copy")

    for _, folder, acknowledged in crashes(copy, runs, prepared):
        check_private(folder / "state")
        contents = []
        for path in list_backups(folder / "state" / "backups"):
            store = SqliteJobStore(path)
            assert store.recoveries == ()
            contents.append(all_ids(store))
            store.close()
        assert contents in ([["earlier", "later"], ["earlier"]], [["earlier"]])
        assert len(contents) == 2 or not acknowledged
        # The next one clears up.
        assert NightlyBackup(database_of(folder), folder / "state" / "backups").back_up()
        names = [path.name for path in (folder / "state" / "backups").iterdir()]
        assert not any(name.startswith(".") for name in names)


def test_a_recovery_that_is_interrupted_at_any_step_is_completed(runs: Path, prepared: Path) -> None:
    store = SqliteJobStore(database_of(prepared))
    add(store, "ended")
    end(store, "ended")
    store.close()
    expected = ["earlier", "ended"]
    with database_of(prepared).open("r+b") as file:
        # Without its first page, a copy of the file has to be made, too.
        file.write(b"noise" * 800)
    damaged = database_of(prepared).read_bytes()

    def recover(folder: Path, acknowledge: Callable[[str], None]) -> None:
        SqliteJobStore(database_of(folder)).close()
        acknowledge("recover")

    for _, folder, _ in crashes(recover, runs, prepared):
        check_private(folder / "state")
        store = SqliteJobStore(database_of(folder))
        assert sorted(all_ids(store)) == sorted(expected)
        store.close()
        names = {path.name for path in (folder / "state").iterdir()}
        assert names == {"jobs.sqlite3", "jobs.damaged-1.sqlite3"}
        (kept,) = damaged_files(database_of(folder))
        assert kept.read_bytes() == damaged
        check_columns(database_of(folder))
