"""Servers whose jobs run on Ray replicas, for tests that run in a separate network namespace."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
import test_worker_jobs as worker_jobs
from server_process import ServerProcess
from test_worker_jobs import sound, wait_for

from rewas_api.client import RewasClient
from rewas_api.v1 import rewas_pb2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with media and a pack, for all servers."""
    folder = tmp_path_factory.mktemp("cluster")
    worker_jobs.write_folder(folder)
    return folder


@pytest.fixture(scope="module")
def server(cluster: ServerProcess, folder: Path, content_url: str) -> Iterator[ServerProcess]:
    """Another server, with one job at a time on the replicas of the server `cluster`."""
    with cluster.client() as client:
        # Only a running job proves that Ray has started.
        client.wait(client.submit(sound(folder / "media" / "shot 7.mp4", 1)).id)
    settings = {
        "ray_url": gate_url(cluster),
        "ray_token_file": str(folder / "cluster" / "ray-token"),
        "content_store": content_url,
    }
    with start(folder, "state", backend="ray", **settings) as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[RewasClient]:
    with server.client() as client:
        yield client


@pytest.fixture
def cluster_client(cluster: ServerProcess) -> Iterator[RewasClient]:
    with cluster.client() as client:
        yield client


def start(folder: Path, state: str, **settings: object) -> ServerProcess:
    return ServerProcess(
        folder / state,
        [folder / "media"],
        packs_dir=folder / "packs",
        default_pack="tiny",
        cancel_grace_s=30.0,
        settings=settings,
    )


def gate_url(cluster: ServerProcess) -> str:
    (line,) = [line for line in cluster.log().splitlines() if "The replicas can be reached at" in line]
    return line.partition("reached at ")[2].partition(",")[0]


def replica_pids(server: ServerProcess) -> set[int]:
    """The processes that hold the packs."""
    found = set()
    for pid in server.descendant_pids():
        try:
            title = Path(f"/proc/{pid}/cmdline").read_text()
        except OSError:
            continue
        if title.startswith("ray::ServeReplica:rewas:Replica"):
            found.add(pid)
    return found


def run_until_sampling(client: RewasClient, job_id: str) -> rewas_pb2.Job:
    return wait_for(client, job_id, lambda job: job.stage == rewas_pb2.STAGE_SAMPLE and job.step > 0)


def digest(client: RewasClient, job_id: str, artifact: rewas_pb2.Artifact, folder: Path) -> str:
    """The hash of the samples. The file also holds the time at which it was written."""
    path = client.fetch_artifact(job_id, artifact, folder / f"{job_id}.wav")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == artifact.sha256
    samples, _ = soundfile.read(path, dtype="int32")
    return hashlib.sha256(samples.tobytes()).hexdigest()
