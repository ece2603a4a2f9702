"""Worker processes that cannot start keep jobs waiting, and those that ran out of memory are replaced."""

import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from load_run import flat_energy_work, sound_work, write_load_folder
from server_process import ServerProcess

from rewas_api.client import RewasClient
from rewas_api.errors import JobFailed, ProblemKind
from rewas_api.v1 import rewas_pb2

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux changes limits of a running process"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("worker start")
    write_load_folder(folder)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    with ServerProcess(folder / "state", [folder / "media"], packs_dir=folder / "packs", default_pack="tiny") as server:
        yield server


def poll(condition: Callable[[], bool]) -> None:
    while not condition():
        threading.Event().wait(0.05)


def is_ready(client: RewasClient) -> bool:
    return client.get_server_info().worker_ready


def test_jobs_wait_until_a_worker_starts(server: ServerProcess, folder: Path) -> None:
    with server.client() as client:
        first = client.submit(flat_energy_work(folder))
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
        waiting = [client.submit(flat_energy_work(folder)) for _ in range(3)]
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


def test_a_worker_that_ran_out_of_memory_is_replaced(server: ServerProcess, folder: Path) -> None:
    with server.client() as client:
        client.wait(client.submit(flat_energy_work(folder)).id)
        (worker,) = server.worker_pids()
        used_bytes = int(Path(f"/proc/{worker}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(worker, resource.RLIMIT_AS, (used_bytes, used_bytes))
        with pytest.raises(JobFailed) as raised:
            client.wait(client.submit(sound_work(folder, 4)).id)
        assert raised.value.kind is ProblemKind.RESOURCES
        # The next job gets a process whose memory is not in pieces.
        assert client.wait(client.submit(sound_work(folder, 4)).id).attempt == 1
        assert server.worker_pids() != [worker]
