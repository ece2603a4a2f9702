"""A real server and requests that are as long or as hostile as possible. No job here reaches a model."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import opentimelineio as otio
import pytest
from server_process import ServerProcess, memory_bytes, wait_until_ended

from rewas_api.client import RewasClient
from rewas_api.errors import ProblemError, ProblemKind, ServerUnavailable
from rewas_api.v1 import rewas_pb2
from rewas_server.otio.names import MAX_NAME_CHARACTERS
from rewas_server.work.limits import MAX_TIMELINE_OTIO_BYTES

MB = 1_000_000
GROWTH_BYTES = 40 * MB
"""What the front process may need for a timeline of any length, at any moment."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    (folder / "media").mkdir()
    (folder / "media" / "a.mov").write_bytes(b"picture")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    settings = {"upload_limit_bytes": 2 * MAX_TIMELINE_OTIO_BYTES}
    with ServerProcess(folder / "state", [folder / "media"], settings=settings) as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[RewasClient]:
    # Reading takes as long as the machine needs.
    with RewasClient(server.address, timeout_s=300) as client:
        yield client


def energy(folder: Path, name: str) -> rewas_pb2.EnergyWork:
    clip = otio.schema.Clip(name, otio.schema.ExternalReference(str(folder / "media" / "a.mov")))
    return rewas_pb2.EnergyWork(clip_otio_json=clip.to_json_string(), energy={"flat_nats": -4})


@contextlib.contextmanager
def little_memory(server: ServerProcess) -> Iterator[None]:
    """The front process takes little memory at any moment of the block."""
    before = memory_bytes(server.pid, "VmRSS")
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # sets the peak to the present value
    yield
    assert memory_bytes(server.pid, "VmHWM") - before < GROWTH_BYTES


@pytest.mark.parametrize("text", ["[" * (MAX_TIMELINE_OTIO_BYTES - 1000), "x" * (MAX_TIMELINE_OTIO_BYTES + 1000)])
def test_a_hostile_timeline_takes_no_memory_of_the_front_process(
    server: ServerProcess, client: RewasClient, text: str
) -> None:
    client.get_server_info()
    with little_memory(server), pytest.raises(ProblemError) as refused:
        client.submit(rewas_pb2.TimelineWork(timeline_otio_json=text))
    assert refused.value.kind is ProblemKind.TIMELINE


def test_the_longest_timeline_takes_little_memory_of_the_front_process(
    server: ServerProcess, client: RewasClient, folder: Path
) -> None:
    made = otio.schema.Timeline("reel")
    made.tracks.append(otio.schema.Track("V1", kind=otio.schema.TrackKind.Video))
    span = otio.opentime.TimeRange(otio.opentime.RationalTime(0, 24), otio.opentime.RationalTime(24, 24))
    clip = otio.schema.Clip("shot", otio.schema.ExternalReference(str(folder / "media" / "a.mov")), span)
    clip.metadata["rewas"] = {"prompt": "rain"}
    made.tracks[0].append(clip)
    made.metadata["long"] = "x" * (MAX_TIMELINE_OTIO_BYTES - 10_000)
    work = rewas_pb2.TimelineWork(timeline_otio_json=made.to_json_string(indent=-1))
    assert len(work.timeline_otio_json) > MAX_TIMELINE_OTIO_BYTES - 10_000
    with little_memory(server):
        job = client.submit(work, idempotency_key="long")
        assert client.submit(work, idempotency_key="long").id == job.id, "the same work"
    assert (job.name, job.child_count) == ("reel", 1)
    client.cancel(job.id)


def test_a_timeline_that_was_not_uploaded_is_refused(client: RewasClient) -> None:
    with pytest.raises(ProblemError, match="timeline has not been uploaded") as refused:
        client.submit(rewas_pb2.TimelineWork(timeline_sha256="1" * 64))
    assert refused.value.kind is ProblemKind.MEDIA


def test_an_upload_that_is_not_text_is_not_a_timeline(client: RewasClient, tmp_path: Path) -> None:
    (tmp_path / "picture.mov").write_bytes(b"\xff\xfe\x00")
    sha256 = client.upload_media(tmp_path / "picture.mov")
    with pytest.raises(ProblemError, match="is not text in UTF-8") as refused:
        client.submit(rewas_pb2.TimelineWork(timeline_sha256=sha256))
    assert refused.value.kind is ProblemKind.TIMELINE


def test_names_of_any_length_leave_the_list_of_jobs_readable(client: RewasClient, folder: Path) -> None:
    with pytest.raises(ProblemError, match=r"The request is 25\.0 MB; the limit is 8\.4 MB"):
        client.submit(energy(folder, "n" * 25 * MB))
    with pytest.raises(ProblemError, match="the limit is 2 MB") as refused:
        client.submit(energy(folder, "n" * 3 * MB))
    assert refused.value.kind is ProblemKind.TIMELINE
    long_names = [letter * 1_900_000 for letter in "abc"]
    jobs = [client.submit(energy(folder, name)) for name in long_names]
    listed = {job.id: job for job in client.list_jobs()}
    for job, name in zip(jobs, long_names, strict=True):
        assert listed[job.id].name == name[: MAX_NAME_CHARACTERS - 1] + "…"
    page = rewas_pb2.ListJobsResponse(jobs=listed.values())
    assert page.ByteSize() < 10_000


@pytest.mark.slow
def test_a_problem_of_a_job_with_a_long_name_is_short(client: RewasClient, folder: Path) -> None:
    # The media is not a video, so the job fails; its problem names the clip.
    work = energy(folder, "n" * 1_900_000)
    work.ClearField("energy")
    job = client.submit(work)
    for snapshot in client.watch(job.id):
        job = snapshot
    assert job.state == rewas_pb2.JOB_STATE_FAILED
    assert "nnn" in job.problem.what
    assert job.ByteSize() < 3000


def test_the_server_goes_on_when_the_checking_process_is_killed(
    server: ServerProcess, client: RewasClient, folder: Path
) -> None:
    client.submit(energy(folder, "before"))
    (process_id,) = server.checking_pids()
    os.kill(process_id, signal.SIGKILL)
    assert client.submit(energy(folder, "after")).name == "after"
    assert server.checking_pids() != [process_id]


def test_a_submission_waits_for_a_busy_server(server: ServerProcess, folder: Path) -> None:
    def wake(problem: ServerUnavailable) -> None:
        os.kill(server.pid, signal.SIGCONT)

    work = energy(folder, "patient")
    with RewasClient(server.address, timeout_s=30) as client:
        client.get_server_info()
    with RewasClient(server.address, timeout_s=1) as client:
        client._contract_checked = True
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with pytest.raises(ServerUnavailable):
                client.submit(work, idempotency_key="impatient")
            job = client.submit(work, idempotency_key="patient", on_lost=wake, reconnect_timeout_s=50)
        finally:
            os.kill(server.pid, signal.SIGCONT)
    with RewasClient(server.address, timeout_s=30) as client:
        assert client.submit(work, idempotency_key="patient").id == job.id


def test_a_server_that_is_killed_leaves_no_checking_process(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "state", [tmp_path], loads_pack=False) as server:
        with server.client() as client, pytest.raises(ProblemError):
            client.submit(rewas_pb2.EnergyWork(clip_otio_json=json.dumps({})))
        (process_id,) = server.checking_pids()
        os.kill(process_id, signal.SIGSTOP)  # It does not notice that its input closes.
        server.kill()
        assert wait_until_ended(process_id)
