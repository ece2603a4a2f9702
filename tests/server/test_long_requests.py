"""A real server and requests that are as long or as hostile as possible. No job here reaches a model."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import opentimelineio as otio
import pytest
from server_process import ServerProcess, wait_until_ended

from rewas_api.client import RewasClient
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.otio.names import MAX_NAME_CHARACTERS
from rewas_server.work.limits import MAX_TIMELINE_OTIO_BYTES

MB = 1_000_000
RECEIVED_COPIES = 3
"""gRPC holds a message up to three times while it receives it."""
OWN_GROWTH_BYTES = 80 * MB
"""What the front process may need in addition to gRPC, at any moment and in the end."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    (folder / "media").mkdir()
    (folder / "media" / "a.mov").write_bytes(b"picture")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    with ServerProcess(folder / "state", [folder / "media"]) as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[RewasClient]:
    # Reading takes as long as the machine needs.
    with RewasClient(server.address, timeout_s=300) as client:
        yield client


def energy(folder: Path, name: str) -> rewas_pb2.EnergyWork:
    clip = otio.schema.Clip(name, otio.schema.ExternalReference(str(folder / "media" / "a.mov")))
    return rewas_pb2.EnergyWork(clip_otio_json=clip.to_json_string(), energy={"flat_nats": -4})


def status_bytes(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1]) * 1024


@pytest.mark.parametrize("text", ["[" * (MAX_TIMELINE_OTIO_BYTES - 1000), "x" * (MAX_TIMELINE_OTIO_BYTES + 1000)])
def test_a_hostile_timeline_takes_no_memory_of_the_front_process(
    server: ServerProcess, client: RewasClient, text: str
) -> None:
    work = rewas_pb2.TimelineWork(timeline_otio_json=text)
    before = status_bytes(server.pid, "VmRSS")
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # sets the peak to the present value
    with pytest.raises(ProblemError) as refused:
        client.submit(work)
    assert refused.value.kind is ProblemKind.TIMELINE
    peak = status_bytes(server.pid, "VmHWM")
    assert peak - before < RECEIVED_COPIES * len(text) + OWN_GROWTH_BYTES
    assert status_bytes(server.pid, "VmRSS") - before < 2 * OWN_GROWTH_BYTES


def test_names_of_any_length_leave_the_list_of_jobs_readable(client: RewasClient, folder: Path) -> None:
    for length in (25 * MB, 3 * MB):
        with pytest.raises(ProblemError, match="the limit is 2 MB") as refused:
            client.submit(energy(folder, "n" * length))
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


def test_a_server_that_is_killed_leaves_no_checking_process(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "state", [tmp_path]) as server:
        with server.client() as client, pytest.raises(ProblemError):
            client.submit(rewas_pb2.EnergyWork(clip_otio_json=json.dumps({})))
        (process_id,) = server.checking_pids()
        server.kill()
        assert wait_until_ended(process_id)
