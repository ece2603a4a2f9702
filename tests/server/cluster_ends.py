"""How replicas and relays end, and what the network sees of a cluster.

`test_ray_backend.py` runs these tests in a separate network namespace.
"""

import hashlib
import os
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import ray_servers
import soundfile
from ray_servers import digest, gate_url, replica_pids, run_until_sampling, start
from server_process import ServerProcess, children_of, wait_until_ended
from test_server_process import LOOPBACK, listening_places
from test_timeline_server import timeline
from test_worker_jobs import LONG, sound, submit_and_run, wait_for

from rewas_api.client import RewasClient
from rewas_api.errors import JobCancelled
from rewas_api.v1 import rewas_pb2
from rewas_server.files.media import MediaLibrary
from rewas_server.logs import LogPrivacy
from rewas_server.worker import messages
from rewas_server.worker.job_runner import JobFiles, JobRunner, PackSettings

folder, server = ray_servers.folder, ray_servers.server
client, cluster_client = ray_servers.client, ray_servers.cluster_client


@pytest.fixture(scope="module")
def content_url(folder: Path) -> str:
    return str(folder / "content")


@pytest.fixture(scope="module")
def cluster(folder: Path, content_url: str) -> Iterator[ServerProcess]:
    """A server that starts Ray with two replicas. The last test kills it."""
    with start(folder, "cluster", backend="ray", ray_replicas=2, content_store=content_url) as server:
        yield server


def relay_pids(server: ServerProcess) -> list[int]:
    return [
        pid
        for pid in children_of(server.pid)
        if "rewas_server.cluster.relay" in Path(f"/proc/{pid}/cmdline").read_text()
    ]


def local_digest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The hash of the samples that a worker on this machine generates."""
    monkeypatch.setenv("REWAS_PACKS", str(folder / "packs"))
    results: list[messages.Message] = []
    runner = JobRunner(PackSettings("tiny", "cpu"), results.append, LogPrivacy())
    request = rewas_pb2.SubmitJobRequest(sound=sound(folder / "media" / "shot 7.mp4"))
    files = JobFiles(folder / "local", MediaLibrary([folder / "media"], folder / "uploads").locate)
    assert runner.run(messages.Work("here", request), files, threading.Event())
    done = results[-1]
    assert isinstance(done, messages.Done)
    assert isinstance(done.result, rewas_pb2.SoundResult)
    samples, _ = soundfile.read(done.result.takes[0].stems[0].artifact.path, dtype="int32")
    return hashlib.sha256(samples.tobytes()).hexdigest()


def test_two_replicas_run_two_jobs_at_the_same_time_and_stop_cancelled_ones(
    server: ServerProcess, cluster: ServerProcess, cluster_client: RewasClient, folder: Path
) -> None:
    before = replica_pids(cluster)
    assert len(before) == 2
    work = sound(folder / "media" / "shot 7.mp4", LONG)
    with ThreadPoolExecutor() as pool:
        for _ in range(2):
            jobs = [cluster_client.submit(work).id for _ in range(2)]
            running = list(pool.map(lambda job_id: run_until_sampling(cluster_client, job_id), jobs))
            assert [job.attempt for job in running] == [1, 1]
            assert all(cluster_client.get_job(job_id).state == rewas_pb2.JOB_STATE_RUNNING for job_id in jobs)
            # The second time, the replicas are free again without having been killed.
            for job_id in jobs:
                cluster_client.cancel(job_id)
                with pytest.raises(JobCancelled):
                    cluster_client.wait(job_id)
    assert replica_pids(cluster) == before


def test_a_replica_stops_when_its_relay_is_killed(
    server: ServerProcess, cluster: ServerProcess, client: RewasClient, folder: Path
) -> None:
    before = replica_pids(cluster)
    job = submit_and_run(client, folder)
    (relay,) = relay_pids(server)
    os.kill(relay, signal.SIGKILL)
    again = wait_for(client, job.id, lambda job: job.attempt == 2 and job.step > 0)
    assert [(entry.cause, entry.count) for entry in again.interruptions] == [
        (rewas_pb2.INTERRUPTION_CAUSE_WORKER_ENDED, 1)
    ]
    # The first attempt no longer occupies a replica.
    with cluster.client() as other:
        assert other.wait(other.submit(sound(folder / "media" / "shot 7.mp4")).id).attempt == 1
    client.cancel(job.id)
    assert replica_pids(cluster) == before


def test_replicas_killed_under_load_lose_nothing(
    server: ServerProcess,
    cluster: ServerProcess,
    cluster_client: RewasClient,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = local_digest(folder, monkeypatch)
    media = folder / "media" / "shot 7.mp4"
    jobs = [cluster_client.submit(sound(media)).id for _ in range(6)]
    reel = cluster_client.submit(timeline(("one", media, 2), ("two", media, 2))).id
    urgent = rewas_pb2.PRIORITY_INTERACTIVE
    long = [cluster_client.submit(sound(media, LONG), priority=urgent).id for _ in range(2)]
    for job_id in long:
        run_until_sampling(cluster_client, job_id)
    killed, _ = replica_pids(cluster)
    os.kill(killed, signal.SIGKILL)
    # One of the two runs again, on another replica. The other one is not disturbed.
    while not (again := [job for job in map(cluster_client.get_job, long) if job.interruptions]):
        threading.Event().wait(0.02)
    (interrupted,) = again
    assert [entry.cause for entry in interrupted.interruptions] == [rewas_pb2.INTERRUPTION_CAUSE_WORKER_ENDED]
    (other,) = set(long) - {interrupted.id}
    assert cluster_client.get_job(other).state == rewas_pb2.JOB_STATE_RUNNING
    cluster_client.cancel(other)
    wait_for(cluster_client, interrupted.id, lambda job: job.attempt == 2 and job.step > 0)
    cluster_client.cancel(interrupted.id)
    for job_id in jobs:
        job = cluster_client.wait(job_id)
        (stem,) = job.sound.takes[0].stems
        assert digest(cluster_client, job_id, stem.artifact, folder / "fetched") == expected
    finished = cluster_client.wait(reel)
    assert [clip.problem.what for clip in finished.timeline.clips] == ["", ""]
    assert len(list(cluster_client.list_jobs(parent_id=reel))) == 2
    assert killed not in replica_pids(cluster)


def test_the_gate_demands_the_token(server: ServerProcess, cluster: ServerProcess) -> None:
    url = gate_url(cluster)
    for path, data in (("/ready", None), ("/work", b"{}"), ("/", None)):
        for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": f"Bearer {cluster.token}"}):
            with pytest.raises(urllib.error.HTTPError) as raised:
                urllib.request.urlopen(urllib.request.Request(f"{url}{path}", data, headers), timeout=60)
            assert raised.value.code == 401


def test_only_loopback_listens(server: ServerProcess, cluster: ServerProcess) -> None:
    """The system lists all sockets of the servers, of Ray and of its processes."""
    processes = {pid for one in (server, cluster) for pid in (one.pid, *one.descendant_pids())}
    assert replica_pids(cluster) <= processes
    places = [place for pid in processes for place in listening_places(pid)]
    assert len(places) > 10
    assert {host for host, _ in places} <= LOOPBACK


def test_ray_ends_with_its_server(server: ServerProcess, cluster: ServerProcess) -> None:
    """The last test, because it kills the server."""
    processes = cluster.descendant_pids()
    with server.client() as client:
        while not client.get_server_info().worker_ready:
            threading.Event().wait(0.05)
        cluster.kill()
        assert all(wait_until_ended(pid) for pid in processes)
        while client.get_server_info().worker_ready:
            threading.Event().wait(0.05)
        while "does not answer" not in client.get_server_info().worker_problem:
            threading.Event().wait(0.05)
