"""A job store and a state folder that do not belong together are refused, because the server would delete files."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from postgres_server import postgres_server
from server_process import ServerProcess

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.jobs import lifecycle
from rewas_server.jobs.postgres_store import PostgresJobStore
from rewas_server.jobs.sqlite_store import SqliteJobStore
from rewas_server.jobs.state_identity import StateIdentity
from rewas_server.jobs.store import JobStore


class Place:
    """A state folder and a job store, which can be exchanged for others."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind = folder, kind
        self.identity = StateIdentity(folder, folder / "artifacts", folder / "uploads")
        self.url = postgres_server().new_store() if kind == "postgres" else ""

    def open(self) -> JobStore:
        if self.kind == "postgres":
            return PostgresJobStore(self.url, identity=self.identity)
        return SqliteJobStore(self.folder / "jobs.sqlite3", identity=self.identity)

    def use(self) -> None:
        """Open the store as a server does, and finish a job with a stem."""
        with contextlib.closing(self.open()) as store:
            job = lifecycle.create_job(f"job of {self.folder.name}", "shot")
            job.state = rewas_pb2.JOB_STATE_SUCCEEDED
            store.add(job, rewas_pb2.SubmitJobRequest(idempotency_key=job.id))
        (self.folder / "artifacts" / job.id).mkdir(parents=True)

    def with_store_of(self, other: Place) -> Place:
        """This folder with the store of another one."""
        if self.kind == "sqlite":
            (self.folder / "jobs.sqlite3").unlink(missing_ok=True)
            shutil.copy(other.folder / "jobs.sqlite3", self.folder / "jobs.sqlite3")
        self.url = other.url
        return self

    def refusal(self) -> ProblemError:
        with pytest.raises(ProblemError, match="do not belong together") as raised:
            self.open()
        assert raised.value.kind is ProblemKind.RESOURCES
        assert str(self.folder) in raised.value.what
        return raised.value


@pytest.fixture(params=["sqlite", "postgres"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Place]:
    def make_it(name: str) -> Place:
        (tmp_path / name).mkdir()
        return Place(tmp_path / name, request.param)

    return make_it


def test_a_pair_is_made_together_and_opens_again(make: Callable[[str], Place]) -> None:
    place = make("one")
    place.use()
    with contextlib.closing(place.open()) as store:
        assert store.get("job of one").name == "shot"
    assert (place.folder / "identity").stat().st_mode & 0o77 == 0


def test_an_empty_store_is_refused_for_a_used_folder(make: Callable[[str], Place]) -> None:
    used, empty = make("used"), make("empty")
    used.use()
    empty.open().close()
    assert "would delete the stems" in used.with_store_of(empty).refusal().what


def test_the_store_of_another_folder_is_refused(make: Callable[[str], Place]) -> None:
    one, two = make("one"), make("two")
    one.use()
    two.use()
    problem = one.with_store_of(two).refusal()
    # Following the sentence is enough to use them anyway.
    identity, path = problem.remedy.rpartition(" write ")[2].removesuffix(".").split(" into ")
    Path(path).write_text(identity)
    with contextlib.closing(one.open()) as store:
        assert store.get("job of two").name == "shot"


def test_a_folder_without_files_gets_a_new_store(make: Callable[[str], Place]) -> None:
    one, two = make("one"), make("two")
    for place in (one, two):
        place.open().close()
    one.with_store_of(two).open().close()


def test_a_database_elsewhere_is_refused_for_a_new_folder(tmp_path: Path) -> None:
    used = Place(tmp_path / "used", "postgres")
    used.folder.mkdir()
    used.use()
    new = Place(tmp_path / "new", "postgres")
    new.folder.mkdir()
    assert "would list stems" in new.with_store_of(used).refusal().what


def test_a_recovered_store_belongs_to_its_folder(tmp_path: Path) -> None:
    place = Place(tmp_path, "sqlite")
    place.use()
    path = tmp_path / "jobs.sqlite3"
    path.write_bytes(b"\0" * path.stat().st_size)
    for _ in range(2):
        with contextlib.closing(place.open()) as store:
            assert store.may_have_lost_jobs()
    for damaged in tmp_path.glob("jobs.damaged-*"):
        damaged.unlink()
    place.open().close()


def test_a_server_refuses_the_pair_and_keeps_the_stems(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    with ServerProcess(state_dir, loads_pack=False):
        pass
    stem = state_dir / "artifacts" / "job" / "stem.wav"
    stem.parent.mkdir(parents=True)
    stem.write_bytes(b"sound")
    for path in state_dir.glob("jobs.sqlite3*"):
        path.unlink()
    server = ServerProcess(state_dir, loads_pack=False)
    assert "do not belong together" in server.refusal
    assert stem.read_bytes() == b"sound"
    server.stop()
