"""A real server whose job store is on a full disk, locked or damaged: it starts, answers, and goes on."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import opentimelineio as otio
import pytest
from server_process import ServerProcess
from stored_jobs import add, job, request

from rewas_api.client import RewasClient
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.jobs import lifecycle
from rewas_server.jobs.sqlite_store import SqliteJobStore

PAGE_BYTES = 4096
FILLER = "filler"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB. The server starts no job on it, because there is never room for the stems."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True, check=False
    )
    if not mounted or mounted.returncode != 0:
        pytest.skip("this user may not mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / "clip.mov").write_bytes(b"picture")
    return folder


def fill(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / FILLER).open("ab", buffering=0) as file:
        while file.write(bytes(PAGE_BYTES)):
            pass


def energy(media: Path, *, edits: int = 1) -> rewas_pb2.EnergyWork:
    clip = otio.schema.Clip(
        "shot 7",
        otio.schema.ExternalReference(str(media / "clip.mov")),
        otio.opentime.TimeRange(otio.opentime.RationalTime(0, 25), otio.opentime.RationalTime(50, 25)),
    )
    user = rewas_pb2.EnergyInput(flat_nats=-3.0, edits=["smooth 0.2"] * edits)
    return rewas_pb2.EnergyWork(clip_otio_json=clip.to_json_string(), source=rewas_pb2.ENERGY_SOURCE_USER, energy=user)


def submit_until_refused(client: RewasClient, media: Path) -> tuple[list[str], ProblemError]:
    accepted: list[str] = []
    for number in range(500):
        try:
            accepted.append(client.submit(energy(media, edits=1000), idempotency_key=f"key {number}").id)
        except ProblemError as problem:
            return accepted, problem
    raise AssertionError("the disk is never full")


def ids_of(client: RewasClient) -> list[str]:
    return [listed.id for listed in client.list_jobs()]


def test_a_server_outlives_a_full_disk_and_starts_on_one(disk: Path, media: Path) -> None:
    state_dir = disk / "state"
    settings = {"queue_limit": 1000, "log_file_bytes": 65_536}
    with ServerProcess(state_dir, [media], settings=settings, loads_pack=False) as server, server.client() as client:
        first = client.submit(energy(media)).id
        fill(disk)
        accepted, problem = submit_until_refused(client, media)
        assert problem.kind is ProblemKind.RESOURCES
        assert "full" in problem.what
        # Everything that was accepted is there, and the server still answers.
        assert sorted(ids_of(client)) == sorted([first, *accepted])
        assert client.get_job(first).state == rewas_pb2.JOB_STATE_QUEUED
        with pytest.raises(ProblemError):
            client.submit(energy(media, edits=1000), idempotency_key=f"key {len(accepted)}")
        server.kill()
    with ServerProcess(state_dir, [media], settings=settings, loads_pack=False) as server, server.client() as client:
        assert sorted(ids_of(client)) == sorted([first, *accepted])
        (disk / FILLER).unlink()
        refused = client.submit(energy(media, edits=1000), idempotency_key=f"key {len(accepted)}").id
        assert client.submit(energy(media, edits=1000), idempotency_key=f"key {len(accepted)}").id == refused
        assert client.cancel(first).state == rewas_pb2.JOB_STATE_CANCELLED
        assert sorted(ids_of(client)) == sorted([first, *accepted, refused])
        status, _ = server.stop()
        assert status == 0
        assert "Traceback" not in server.log()


def test_a_server_starts_with_a_damaged_store_and_says_what_happened(tmp_path: Path, media: Path) -> None:
    state_dir = tmp_path / "state"
    path = state_dir / "jobs.sqlite3"
    store = SqliteJobStore(path)
    for number in range(12):
        add(store, str(number))
        store.update(str(number), lifecycle.request_cancel)
    store.close()
    with path.open("r+b") as file:
        # The root of the table of jobs.
        file.seek(PAGE_BYTES)
        file.write(os.urandom(PAGE_BYTES))
    with ServerProcess(state_dir, [media], loads_pack=False) as server, server.client() as client:
        assert sorted(ids_of(client), key=int) == [str(number) for number in range(12)]
        assert all("damaged" in client.get_job(each).problem.what for each in ids_of(client))
        client.submit(energy(media))
        assert "jobs.damaged-1.sqlite3" in server.log()
        assert "Traceback" not in server.log()
    assert (state_dir / "jobs.damaged-1.sqlite3").exists()


def test_a_server_sets_a_row_aside_that_it_cannot_read(tmp_path: Path, media: Path) -> None:
    state_dir = tmp_path / "state"
    path = state_dir / "jobs.sqlite3"
    store = SqliteJobStore(path)
    add(store, "ended")
    store.update("ended", lifecycle.request_cancel)
    for name in ("snapshot", "request"):
        store.add(job(f"bad {name}"), request(f"bad {name}"))
    store.close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE job SET snapshot = x'ffff' WHERE id = 'bad snapshot'")
        connection.execute("UPDATE job_request SET message = x'ffff' WHERE job_id = 'bad request'")
    with ServerProcess(state_dir, [media], loads_pack=False) as server, server.client() as client:
        assert ids_of(client) == ["bad request", "bad snapshot", "ended"]
        for name in ("bad request", "bad snapshot"):
            *_, final = client.watch(name)
            assert final.state == rewas_pb2.JOB_STATE_FAILED
            assert "damaged" in final.problem.what
        log = server.log()
        assert log.count("It is set aside") == 2
        assert "Traceback" not in log
        status, _ = server.stop()
        assert status == 0


def test_a_server_answers_while_its_store_is_locked(tmp_path: Path, media: Path) -> None:
    state_dir = tmp_path / "state"
    with ServerProcess(state_dir, [media], loads_pack=False) as server, server.client() as client:
        first = client.submit(energy(media)).id
        with contextlib.closing(sqlite3.connect(state_dir / "jobs.sqlite3", isolation_level=None, timeout=30)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(ProblemError, match="locked") as raised:
                client.submit(energy(media), idempotency_key="second")
            assert raised.value.kind is ProblemKind.RESOURCES
            assert client.get_job(first).id == first
            other.execute("ROLLBACK")
        second = client.submit(energy(media), idempotency_key="second").id
        assert ids_of(client) == [second, first]
        status, _ = server.stop()
        assert status == 0
        assert "Traceback" not in server.log()
