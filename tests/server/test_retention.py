"""Retention: what is deleted, in which order, and what never is."""

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.files import uploads
from rewas_server.files.content_store import LIFETIME_S, ContentStore
from rewas_server.files.expiry import StoredItem, choose_expired
from rewas_server.files.uploads import Shortage
from rewas_server.jobs import lifecycle, retention
from rewas_server.jobs.retention import Retention, RetentionLimits
from rewas_server.jobs.sqlite_store import SqliteJobStore

DAY_S = 24 * 3600.0
NOW_S = 2_000_000_000.0
FAR = 10**15
NO_LIMITS = RetentionLimits(stems_bytes=FAR, uploads_bytes=FAR, requests_bytes=FAR, max_age_s=30 * DAY_S)


ITEMS = st.lists(
    st.builds(
        StoredItem,
        key=st.uuids().map(str),
        size_bytes=st.integers(0, 100),
        used_at_s=st.integers(0, 100).map(float),
        in_use=st.booleans(),
        pinned=st.booleans(),
    ),
    max_size=12,
)


@given(ITEMS, st.integers(0, 400), st.integers(0, 120), st.integers(0, 400))
def test_the_oldest_unprotected_items_go_until_the_rest_fits(
    items: list[StoredItem], limit_bytes: int, max_age_s: int, free_bytes: int
) -> None:
    chosen = choose_expired(items, now_s=100, max_age_s=max_age_s, limit_bytes=limit_bytes, free_bytes=free_bytes)
    assert len(set(chosen)) == len(chosen) <= len(set(items))
    assert not any(item.in_use or item.pinned for item in chosen)
    assert [item.used_at_s for item in chosen] == sorted(item.used_at_s for item in chosen)
    kept = [item for item in items if item not in chosen]
    unprotected = [item for item in kept if not item.is_protected]
    # What is too old goes, and nothing that could go is left while a limit is exceeded.
    assert all(100 - item.used_at_s <= max_age_s for item in unprotected)
    freed_bytes = sum(item.size_bytes for item in chosen)
    is_enough = sum(item.size_bytes for item in kept) <= limit_bytes and freed_bytes >= free_bytes
    assert is_enough or not any(item.size_bytes for item in unprotected)
    # Nothing goes that need not: without the newest of those that went for their size, it would not be enough.
    for_size = [item for item in chosen if 100 - item.used_at_s <= max_age_s]
    if for_size:
        last = for_size[-1]
        kept_bytes = sum(item.size_bytes for item in kept) + last.size_bytes
        assert last.size_bytes > 0
        assert kept_bytes > limit_bytes or freed_bytes - last.size_bytes < free_bytes
        # Oldest first: whatever has a size, may go and is older has gone.
        assert not any(
            item.size_bytes and (item.used_at_s, item.key) < (last.used_at_s, last.key) for item in unprotected
        )


class State:
    """A state folder with jobs, stems and uploads, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.artifacts_dir = folder / "artifacts"
        self.uploads_dir = folder / "uploads"
        self.store = SqliteJobStore(folder / "jobs.sqlite3")
        self.now_s = NOW_S
        self.active: frozenset[str] = frozenset()
        self.limits = NO_LIMITS
        self.uploads_dir.mkdir(parents=True)
        self.content = ContentStore(str(folder / "content"), folder / "cache")
        self.retention = self.new_retention()

    def new_retention(self, **limits: float) -> Retention:
        values = {name: getattr(NO_LIMITS, name) for name in NO_LIMITS.__dataclass_fields__} | limits
        self.retention = Retention(
            self.store,
            self.artifacts_dir,
            self.uploads_dir,
            RetentionLimits(**values),  # type: ignore[arg-type]
            content=self.content,
            active_uploads=lambda: self.active,
            now_s=lambda: self.now_s,
        )
        return self.retention

    def add(
        self,
        job_id: str,
        *,
        days: float | None = 1.0,
        size_bytes: int = 1000,
        media: str = "",
        parent_id: str = "",
        clips: int = 0,
        pinned: bool = False,
    ) -> None:
        """Add a job that ended so many days ago, with its stems. days: None for one that has not ended."""
        job = lifecycle.create_job(job_id, job_id)
        job.parent_id, job.child_count = parent_id, clips
        work = rewas_pb2.SoundWork(uploaded_media={"/clip": media} if media else {})
        self.store.add(job, rewas_pb2.SubmitJobRequest(idempotency_key=job_id, sound=work))
        if pinned:
            self.store.update(job_id, lambda job: lifecycle.pin_job(job, True))
        if days is not None:
            self.end(job_id, days)
        if size_bytes:
            folder = self.artifacts_dir / job_id
            folder.mkdir(parents=True)
            (folder / "a.wav").write_bytes(bytes(size_bytes // 2))
            (folder / "b.wav").write_bytes(bytes(size_bytes - size_bytes // 2))

    def end(self, job_id: str, days: float) -> None:
        def change(job: rewas_pb2.Job) -> rewas_pb2.Job:
            after = lifecycle.fail_job(job, ProblemError("It failed.", "Try again.", ProblemKind.MEDIA))
            after.finished_at.FromMilliseconds(round((self.now_s - days * DAY_S) * 1000))
            return after

        self.store.update(job_id, change)

    def upload(self, name: str, *, days: float, size_bytes: int = 1000, client: str = "", suffix: str = "") -> str:
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        path = self.uploads_dir / f"{sha256}{suffix}"
        path.write_bytes(bytes(size_bytes))
        (self.uploads_dir / f"{sha256}.client").write_text(client)
        for one in (path, self.uploads_dir / f"{sha256}.client"):
            os.utime(one, (self.now_s - days * DAY_S,) * 2)
        return sha256

    def run(self, shortage: Shortage | None = None) -> None:
        asyncio.run(self.retention.make_room(shortage or Shortage()))

    def jobs(self) -> set[str]:
        return {job.id for job in self.store.list_stored()}

    def folders(self) -> set[str]:
        return {path.name for path in self.artifacts_dir.iterdir()} if self.artifacts_dir.exists() else set()

    def without_files(self) -> set[str]:
        return {job.id for job in self.store.list_stored() if job.files_deleted}

    def stored_uploads(self) -> set[str]:
        return {upload.sha256 for upload in uploads.list_uploads(self.uploads_dir)}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    state = State(tmp_path)
    yield state
    state.store.close()


def test_nothing_is_deleted_without_need(state: State) -> None:
    state.add("old", days=29)
    state.add("new", days=0)
    state.add("waiting", days=None)
    names = {state.upload("named", days=29), state.upload("new", days=0.9)}
    state.add("user", media=next(iter(sorted(names))))
    state.add("another", media=next(iter(sorted(names, reverse=True))))
    state.run()
    assert state.jobs() == state.folders() == {"old", "new", "waiting", "user", "another"}
    assert state.stored_uploads() == names
    assert state.without_files() == set()


def test_old_jobs_are_deleted_with_their_files(state: State) -> None:
    state.add("old", days=31)
    state.add("pinned", days=31, pinned=True)
    state.add("waiting", days=None)
    state.add("new", days=29)
    state.add("film", days=40, clips=2, size_bytes=0)
    state.add("film 1", days=40, parent_id="film")
    state.add("film 2", days=31, parent_id="film")
    state.add("series", days=40, clips=1, size_bytes=0)
    state.add("series 1", days=29, parent_id="series")
    state.run()
    assert state.jobs() == {"pinned", "waiting", "new", "series", "series 1"}
    assert state.folders() == {"pinned", "waiting", "new", "series 1"}


def test_the_oldest_stems_are_deleted_and_the_jobs_stay(state: State) -> None:
    state.new_retention(stems_bytes=3500)
    for days in range(1, 6):
        state.add(f"{days}", days=days)
    state.add("pinned", days=9, pinned=True)
    state.add("waiting", days=None)
    state.run()
    assert state.folders() == {"1", "pinned", "waiting"}
    assert state.without_files() == {"2", "3", "4", "5"}
    assert state.jobs() == {"1", "2", "3", "4", "5", "pinned", "waiting"}
    state.run()
    assert state.folders() == {"1", "pinned", "waiting"}


def test_the_stems_of_a_timeline_go_together(state: State) -> None:
    state.new_retention(stems_bytes=1000)
    state.add("film", days=2, clips=2, size_bytes=0)
    state.add("film 1", days=3, parent_id="film")
    state.add("film 2", days=3, parent_id="film", size_bytes=0)
    state.add("clip", days=2.5)
    state.run()
    # The clip ended before the film.
    assert state.without_files() == {"clip"}
    state.new_retention(stems_bytes=999)
    state.run()
    assert state.without_files() == {"clip", "film", "film 1"}
    assert state.folders() == set()


@pytest.mark.parametrize("minutes", [0, 59])
def test_what_ended_or_is_fetched_now_stays(state: State, minutes: float) -> None:
    state.new_retention(stems_bytes=0, max_age_s=DAY_S / 2)
    state.add("ended now", days=minutes / 1440)
    state.add("fetched now", days=3)
    state.add("of a film", days=3)
    with state.retention.fetches.fetching("fetched now"):
        state.run()
        assert state.folders() == {"ended now", "fetched now"}
    # The client may fetch the next file.
    state.now_s += minutes * 60
    state.run()
    assert "fetched now" in state.folders()
    state.now_s += 3600
    state.run()
    assert state.jobs() == {"ended now"}
    assert state.without_files() == {"ended now"}


def test_a_large_store_loses_its_oldest_jobs(state: State) -> None:
    for days in range(1, 5):
        state.add(f"{days}", days=days)
    one_bytes = state.store.list_stored()[0].size_bytes
    state.new_retention(requests_bytes=round(one_bytes * 2.5))
    state.run()
    assert state.jobs() == state.folders() == {"1", "2"}


def test_folders_without_a_job_and_empty_ones_are_deleted(state: State, tmp_path: Path) -> None:
    state.add("job")
    state.add("energy", size_bytes=0)
    state.add("waiting", days=None, size_bytes=0)
    for name in ("orphan", "energy", "waiting"):
        (state.artifacts_dir / name).mkdir()
    (state.artifacts_dir / "orphan" / "a.wav").write_bytes(b"sound")
    (state.artifacts_dir / "orphan" / "folder").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "film.mov").touch()
    (state.artifacts_dir / "link").symlink_to(tmp_path / "elsewhere")
    state.run()
    assert state.folders() == {"job", "waiting", "link"}
    assert (tmp_path / "elsewhere" / "film.mov").exists()


def test_an_interrupted_deletion_is_completed(state: State) -> None:
    state.add("job")
    state.store.update("job", retention._mark_files_deleted)
    (state.artifacts_dir / "job" / "a.wav").unlink()
    state.run()
    assert state.folders() == set()
    assert state.jobs() == {"job"}


def test_a_job_that_runs_again_keeps_its_new_files(state: State) -> None:
    state.add("job")
    state.new_retention(stems_bytes=0).fetches.forget_old()
    state.run()
    assert state.without_files() == {"job"}
    state.store.update("job", lifecycle.retry_job)
    assert state.without_files() == set()
    (state.artifacts_dir / "job").mkdir()
    (state.artifacts_dir / "job" / "a.wav").write_bytes(b"new")
    state.run()
    assert state.folders() == {"job"}


def change_during(state: State, change: Callable[[], object]) -> None:
    """Run a pass with a change by a client after the pass has chosen what to delete."""
    steps = state.retention.delete_expired(Shortage())
    real = state.store.list_stored

    def list_stored() -> list[object]:
        listed = real()
        change()
        return listed  # type: ignore[return-value]

    state.store.list_stored = list_stored  # type: ignore[method-assign, assignment]
    for _ in steps:
        pass
    state.store.list_stored = real  # type: ignore[method-assign]


@pytest.mark.parametrize("limit", ["stems_bytes", "max_age_s"])
def test_a_job_that_is_pinned_during_a_pass_stays(state: State, limit: str) -> None:
    state.new_retention(**{limit: 0})
    state.add("job", days=3)
    change_during(state, lambda: state.store.update("job", lambda job: lifecycle.pin_job(job, True)))
    assert state.jobs() == state.folders() == {"job"}
    assert state.without_files() == set()


@pytest.mark.parametrize("limit", ["stems_bytes", "max_age_s"])
@pytest.mark.parametrize("change", ["retry", "delete"])
def test_a_client_may_change_a_job_during_a_pass(state: State, limit: str, change: str) -> None:
    state.new_retention(**{limit: 0})
    state.add("job", days=3)
    state.add("other", days=2)
    if change == "retry":
        change_during(state, lambda: state.store.update("job", lifecycle.retry_job))
        assert "job" in state.jobs() & state.folders()
    else:
        change_during(state, lambda: state.store.delete("job"))
    # The pass goes on.
    assert "other" in state.without_files() or "other" not in state.jobs()


def test_uploads_that_nobody_needs_are_deleted(state: State) -> None:
    needed, pinned, old, finished, _unnamed, fresh, active = (
        state.upload(name, days=days)
        for name, days in {
            "needed": 99, "pinned": 99, "old": 31, "finished": 29, "unnamed": 1.1, "fresh": 0.9, "active": 99,
        }.items()
    )  # fmt: skip
    state.add("waiting", days=None, media=needed)
    state.add("pinned", media=pinned, pinned=True)
    state.add("one", media=old)
    state.add("two", media=finished)
    state.active = frozenset({active})
    state.run()
    assert state.stored_uploads() == {needed, pinned, finished, fresh, active}
    assert old not in "".join(path.name for path in state.uploads_dir.iterdir())


def test_a_store_that_has_lost_jobs_keeps_what_they_may_have_named(state: State, tmp_path: Path) -> None:
    named, old = state.upload("named", days=2), state.upload("old", days=31)
    damaged = tmp_path / "jobs.damaged-1.sqlite3"
    damaged.touch()
    state.run()
    # Age and size still count: the disk stays bounded.
    assert state.stored_uploads() == {named}
    assert old not in state.stored_uploads()
    damaged.unlink()
    state.run()
    assert state.stored_uploads() == set()


def test_the_uploads_that_were_used_longest_ago_make_room(state: State) -> None:
    named = [state.upload(f"{days}", days=days) for days in range(1, 6)]
    recent = state.upload("recent", days=0.5 / 24)
    for number, sha256 in enumerate([*named, recent]):
        state.add(f"{number}", media=sha256)
    state.new_retention(uploads_bytes=4000)
    state.run()
    assert state.stored_uploads() == {*named[:3], recent}
    state.run(Shortage(uploads_bytes=1001))
    assert state.stored_uploads() == {named[0], recent}
    state.run(Shortage(uploads_bytes=10**6))
    assert state.stored_uploads() == {recent}


def test_a_client_makes_room_with_its_own_uploads(state: State) -> None:
    mine = [state.upload(f"mine {days}", days=days, client="ada") for days in (1, 2, 3)]
    others = [state.upload(f"other {days}", days=days, client="bob") for days in (4, 5)]
    for number, sha256 in enumerate([*mine, *others]):
        state.add(f"{number}", media=sha256)
    state.run(Shortage(client_bytes=1500, client="ada"))
    assert state.stored_uploads() == {mine[0], *others}


def test_a_short_disk_loses_stems_first_and_then_uploads(state: State) -> None:
    sha256 = [state.upload(f"{days}", days=days) for days in (1, 2, 3)]
    for days in (1, 2, 3):
        state.add(f"{days}", days=days, media=sha256[days - 1])
    state.run(Shortage(disk_bytes=1500))
    assert state.without_files() == {"2", "3"}
    assert state.stored_uploads() == set(sha256)
    state.run(Shortage(disk_bytes=2500))
    assert state.without_files() == {"1", "2", "3"}
    assert state.stored_uploads() == {sha256[0]}


def test_an_upload_that_is_used_after_it_was_chosen_stays(state: State) -> None:
    sha256 = state.upload("film", days=2)
    (listed,) = uploads.list_uploads(state.uploads_dir)
    uploads.use_upload(state.uploads_dir, sha256)
    assert uploads.delete_upload(state.uploads_dir, listed) == 0
    assert state.stored_uploads() == {sha256}


def test_beginnings_of_uploads_stay_for_a_day(state: State) -> None:
    state.upload("old", days=1.1, suffix=".part")
    fresh = state.upload("fresh", days=0.9, suffix=".part")
    active = state.upload("active", days=1.1, suffix=".part")
    for name in ("stray", f"{'0' * 64}.client"):
        (state.uploads_dir / name).touch()
        os.utime(state.uploads_dir / name, (NOW_S - 2 * DAY_S,) * 2)
    state.active = frozenset({active})
    state.run()
    assert {path.name for path in state.uploads_dir.iterdir()} == {
        f"{sha256}{suffix}" for sha256 in (fresh, active) for suffix in (".part", ".client")
    }


def test_passes_run_at_start_every_hour_and_when_the_disk_is_nearly_full(
    state: State, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    free_bytes = 10**12
    monkeypatch.setattr(retention, "free_disk_bytes", lambda _: free_bytes)
    caplog.set_level("INFO", "rewas.server")
    asked: list[float] = []
    answered: list[set[str]] = []
    plan = iter(["start", *["later"] * 59, "hour", "full", "end"])

    async def sleep(duration_s: float) -> None:
        nonlocal free_bytes
        answered.append(state.jobs())
        match next(plan):
            case "start":
                state.add("from the first hour", days=31)
            case "hour":
                state.add("stems", days=3)
            case "full":
                free_bytes = 1000
            case "end":
                raise asyncio.CancelledError
        asked.append(duration_s)
        state.now_s += duration_s

    state.add("old", days=31)
    state.retention._sleep = sleep
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(state.retention.run())
    assert set(asked) == {60.0}
    assert answered[0] == set()
    assert answered[1:60] == [{"from the first hour"}] * 59
    assert answered[60] == set()
    assert state.without_files() == {"stems"}
    lines = [record.getMessage() for record in caplog.records if "Retention" in record.getMessage()]
    assert lines == [
        "Retention deleted 1 jobs (0.0 MB).",
        "Retention deleted 1 jobs (0.0 MB).",
        "Retention deleted 1 jobs' stems (0.0 MB).",
    ]


def test_a_job_makes_room_on_a_full_disk_once_a_minute(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    free_bytes = 10**12
    monkeypatch.setattr(retention, "free_disk_bytes", lambda _: free_bytes)
    state.add("first", days=3)
    asyncio.run(state.retention.make_room_for_job())
    assert state.without_files() == set()
    free_bytes = uploads.FREE_SPACE_MARGIN_BYTES - 100
    asyncio.run(state.retention.make_room_for_job())
    assert state.without_files() == {"first"}
    state.add("second", days=2)
    asyncio.run(state.retention.make_room_for_job())
    assert state.without_files() == {"first"}
    state.now_s += 60
    asyncio.run(state.retention.make_room_for_job())
    assert state.without_files() == {"first", "second"}


def test_a_pass_that_fails_is_logged_and_ends(state: State, caplog: pytest.LogCaptureFixture) -> None:
    state.add("job", days=40)
    state.store.close()
    state.run()
    assert any("Retention" in record.getMessage() for record in caplog.records)
    assert state.folders() == {"job"}


def test_shared_files_that_no_job_has_needed_for_a_while_are_deleted(tmp_path: Path) -> None:
    state = State(tmp_path)
    ages_s = {"old": LIFETIME_S + 1, "older than others": LIFETIME_S - 1, "kept": 2 * 3600.0, "just stored": 0.0}
    stored = {}
    for name, age_s in ages_s.items():
        (tmp_path / name).write_text(name.ljust(100))
        stored[name] = state.content.put(tmp_path / name)
        os.utime(tmp_path / "content" / stored[name], (NOW_S - age_s, NOW_S - age_s))

    def names() -> set[str]:
        present = {each.sha256 for each in state.content.list_content()}
        return {name for name, sha256 in stored.items() if sha256 in present}

    list(state.new_retention(content_bytes=FAR).delete_expired(Shortage()))
    assert names() == set(ages_s) - {"old"}
    list(state.new_retention(content_bytes=250).delete_expired(Shortage()))
    assert names() == {"kept", "just stored"}
    # A job may be about to use them.
    os.utime(tmp_path / "content" / stored["kept"], (NOW_S - 60, NOW_S - 60))
    list(state.new_retention(content_bytes=0).delete_expired(Shortage()))
    assert names() == {"kept", "just stored"}
