"""A real server that keeps a bounded amount of jobs, stems and uploads. No job here reaches a model."""

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import opentimelineio as otio
import pytest
from server_process import ServerProcess

from rewas_api.client import RewasClient
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.jobs import lifecycle
from rewas_server.jobs.sqlite_store import SqliteJobStore

MIB = 1024**2
DAY_S = 24 * 3600
STEM = bytes(range(256)) * 1000
CLIENT = "127.0.0.1"
SETTINGS = {
    "stems_limit_bytes": 3 * len(STEM),
    "uploads_limit_bytes": 8 * MIB,
    "upload_limit_bytes": 6 * MIB,
    "max_age_days": 20,
    "client_queue_limit": 2,
}


def add_sound(store: SqliteJobStore, folder: Path, job_id: str, age_days: float, media: str = "") -> None:
    """Add a job that ended so many days ago, with a stem."""
    work = rewas_pb2.SoundWork(uploaded_media={"/clip.mov": media} if media else {})
    store.add(lifecycle.create_job(job_id, job_id), rewas_pb2.SubmitJobRequest(idempotency_key=job_id, sound=work))
    path = folder / "artifacts" / job_id / "a.wav"
    path.parent.mkdir(parents=True)
    path.write_bytes(STEM)
    artifact = rewas_pb2.Artifact(
        name=path.name, size_bytes=len(STEM), sha256=hashlib.sha256(STEM).hexdigest(), path=str(path)
    )
    take = rewas_pb2.Take(stems=[rewas_pb2.Stem(role="primary", artifact=artifact)])
    store.update(job_id, lifecycle.start_job)

    def end(job: rewas_pb2.Job) -> rewas_pb2.Job:
        after = lifecycle.complete_job(job, rewas_pb2.SoundResult(takes=[take]))
        after.finished_at.FromSeconds(round(time.time() - age_days * DAY_S))
        return after

    store.update(job_id, end)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bounded")
    for name in ("packs", "media", "state"):
        (folder / name).mkdir()
    (folder / "media" / "clip.mov").write_bytes(b"picture")
    store = SqliteJobStore(folder / "state" / "jobs.sqlite3")
    for age_days in (30, 5, 4, 3, 2, 1):
        add_sound(store, folder / "state", f"{age_days} days", age_days)
    for job_id in ("one", "two"):
        work = rewas_pb2.EnergyWork()
        request = rewas_pb2.SubmitJobRequest(idempotency_key=job_id, energy=work)
        store.add(lifecycle.create_job(job_id, job_id), request, client=CLIENT)
        store.update(job_id, lifecycle.request_pause)
    store.close()
    (folder / "state" / "artifacts" / "one").mkdir()
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    with ServerProcess(folder / "state", [folder / "media"], packs_dir=folder / "packs", settings=SETTINGS) as server:
        while "Retention deleted" not in server.log():
            time.sleep(0.01)
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[RewasClient]:
    with server.client() as client:
        yield client


def test_a_start_deletes_what_is_too_old_or_too_much(server: ServerProcess, client: RewasClient, folder: Path) -> None:
    jobs = {job.id: job for job in client.list_jobs()}
    assert set(jobs) == {"one", "two", "1 days", "2 days", "3 days", "4 days", "5 days"}
    assert {job.id for job in jobs.values() if job.files_deleted} == {"4 days", "5 days"}
    left = {path.name for path in (folder / "state" / "artifacts").iterdir()}
    # A paused job may have an empty folder.
    assert left == {"1 days", "2 days", "3 days", "one"}
    lines = [line for line in server.log().splitlines() if "Retention" in line]
    assert len(lines) == 1
    assert "1 jobs, 2 jobs' stems (0.8 MB)" in lines[0]


def test_deleted_stems_are_refused_and_the_result_stays(client: RewasClient, tmp_path: Path) -> None:
    kept, deleted = client.get_job("3 days"), client.get_job("4 days")
    artifact = deleted.sound.takes[0].stems[0].artifact
    with pytest.raises(ProblemError, match="deleted to make room") as raised:
        client.fetch_artifact(deleted.id, artifact, tmp_path / "a.wav")
    assert raised.value.kind is ProblemKind.NOT_FOUND
    assert "Generate the sound again" in raised.value.remedy
    assert list(tmp_path.iterdir()) == []
    fetched = client.fetch_artifact(kept.id, kept.sound.takes[0].stems[0].artifact, tmp_path / "a.wav")
    assert fetched.read_bytes() == STEM


def test_the_unfinished_jobs_of_a_client_are_limited(client: RewasClient, folder: Path) -> None:
    moment = otio.opentime.RationalTime
    clip = otio.schema.Clip(
        "shot",
        otio.schema.ExternalReference(str(folder / "media" / "clip.mov")),
        otio.opentime.TimeRange(moment(0, 25), moment(50, 25)),
    )
    work = rewas_pb2.EnergyWork(clip_otio_json=clip.to_json_string(), energy=rewas_pb2.EnergyInput(flat_nats=-5))
    with pytest.raises(ProblemError, match="2 unfinished jobs") as raised:
        client.submit(work)
    assert raised.value.kind is ProblemKind.RESOURCES
    assert "cancel" in raised.value.remedy
    client.cancel("two")
    client.cancel(client.submit(work).id)


def test_an_upload_replaces_old_ones_that_nobody_needs(client: RewasClient, folder: Path, tmp_path: Path) -> None:
    """Two uploads of 5 MiB do not fit in 8 MiB. The first one goes once it is old, not before."""
    for name in ("first", "second"):
        (tmp_path / f"{name}.mov").write_bytes(name.encode() * (5 * MIB // len(name)))
    first = client.upload_media(tmp_path / "first.mov")
    with pytest.raises(ProblemError, match="limited to") as raised:
        client.upload_media(tmp_path / "second.mov")
    assert raised.value.kind is ProblemKind.RESOURCES
    assert first not in str(raised.value)
    os.utime(folder / "state" / "uploads" / first, (time.time() - 2 * DAY_S,) * 2)
    second = client.upload_media(tmp_path / "second.mov")
    assert client.has_media(second)
    assert not client.has_media(first)
