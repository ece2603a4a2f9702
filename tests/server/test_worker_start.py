"""A worker process that cannot start keeps jobs waiting, and says so."""

import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import opentimelineio as otio
import pytest
from server_process import ServerProcess
from sliding_square import FRAME_RATE, FRAMES, write_video

from rewas_api.client import RewasClient
from rewas_api.v1 import rewas_pb2

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux changes limits of a running process"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from rewas_engine.recipes.untrained_starter import write_untrained_pack

    folder = tmp_path_factory.mktemp("worker start")
    (folder / "media").mkdir()
    write_video(folder / "media" / "shot.mp4")
    write_untrained_pack(folder / "packs" / "tiny", seed=0)
    return folder


def flat_energy(folder: Path) -> rewas_pb2.EnergyWork:
    """Work that needs a worker but no model."""
    rate = float(FRAME_RATE)
    clip = otio.schema.Clip(
        "shot",
        otio.schema.ExternalReference(str(folder / "media" / "shot.mp4")),
        otio.opentime.TimeRange(otio.opentime.RationalTime(0, rate), otio.opentime.RationalTime(FRAMES, rate)),
    )
    return rewas_pb2.EnergyWork(clip_otio_json=clip.to_json_string(), energy=rewas_pb2.EnergyInput(flat_nats=-5))


def poll(condition: Callable[[], bool]) -> None:
    while not condition():
        threading.Event().wait(0.05)


def is_ready(client: RewasClient) -> bool:
    return client.get_server_info().worker_ready


def test_jobs_wait_until_a_worker_starts(folder: Path) -> None:
    with (
        ServerProcess(folder / "state", [folder / "media"], packs_dir=folder / "packs", default_pack="tiny") as server,
        server.client() as client,
    ):
        first = client.submit(flat_energy(folder))
        snapshots: list[rewas_pb2.Job] = []
        assert client.wait(first.id, on_snapshot=snapshots.append).state == rewas_pb2.JOB_STATE_SUCCEEDED
        reasons = {job.waiting_reason for job in snapshots if job.state == rewas_pb2.JOB_STATE_QUEUED}
        assert 'The worker process is loading the pack "tiny".' in reasons
        limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        used = len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
        # The server keeps working, but has no room for the pipes of another process.
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (used, limits[1]))
        (worker,) = server.worker_pids()
        os.kill(worker, signal.SIGKILL)
        poll(lambda: "does not start" in client.get_server_info().worker_problem)
        waiting = [client.submit(flat_energy(folder)) for _ in range(3)]
        # More failures than any limit of attempts.
        poll(lambda: server.log().count("did not start") >= 4)
        for job in map(client.get_job, [job.id for job in waiting]):
            assert (job.state, job.attempt, list(job.interruptions)) == (rewas_pb2.JOB_STATE_QUEUED, 0, [])
            assert "does not start" in job.waiting_reason
        assert not is_ready(client)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)
        for job in waiting:
            assert client.wait(job.id).state == rewas_pb2.JOB_STATE_SUCCEEDED
        assert client.get_server_info().worker_problem == ""
