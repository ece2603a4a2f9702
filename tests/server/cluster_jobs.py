"""The tests of local jobs, run on a cluster, and several jobs in one replica. Files are on an S3 server.

`test_ray_backend.py` runs these tests in a separate network namespace.
"""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import ray_servers
import test_content_store
import test_worker_jobs as worker_jobs
from ray_servers import digest, replica_pids, run_until_sampling, start
from server_process import ServerProcess
from test_worker_jobs import LONG, sound, wait_for

from rewas_api.client import RewasClient
from rewas_api.errors import JobCancelled
from rewas_api.v1 import rewas_pb2

# The same tests as for a worker on this machine.
test_energy_and_conflict = worker_jobs.test_energy_and_conflict
test_uploaded_media_give_the_same_sound = worker_jobs.test_uploaded_media_give_the_same_sound
test_impossible_work_fails_only_its_job = worker_jobs.test_impossible_work_fails_only_its_job
test_cancelling_in_each_state = worker_jobs.test_cancelling_in_each_state
test_a_write_error_fails_the_job = worker_jobs.test_a_write_error_fails_the_job
test_paused_jobs_start_over_when_they_are_resumed = worker_jobs.test_paused_jobs_start_over_when_they_are_resumed
test_urgent_jobs_run_first = worker_jobs.test_urgent_jobs_run_first_and_every_waiting_job_knows_its_place

s3 = test_content_store.s3
folder, server = ray_servers.folder, ray_servers.server
client, cluster_client = ray_servers.client, ray_servers.cluster_client


@pytest.fixture(scope="module")
def content_url(request: pytest.FixtureRequest) -> str:
    return f"{request.getfixturevalue('s3')}/rewas"


@pytest.fixture(scope="module")
def cluster(folder: Path, content_url: str) -> Iterator[ServerProcess]:
    """A server that starts Ray with one replica, which runs two jobs at the same time."""
    settings = {
        "ray_replicas": 1,
        "ray_jobs_per_replica": 2,
        "execution": {"precision": "float32", "batch_size": 4, "shares_batches": True},
        "content_store": content_url,
    }
    with start(folder, "cluster", backend="ray", **settings) as server:
        yield server


def test_samples_of_jobs_that_share_batches_do_not_depend_on_each_other(
    server: ServerProcess, cluster: ServerProcess, cluster_client: RewasClient, folder: Path
) -> None:
    media = folder / "media" / "shot 7.mp4"
    (replica,) = replica_pids(cluster)

    def generate() -> str:
        job = cluster_client.wait(cluster_client.submit(sound(media)).id)
        return digest(cluster_client, job.id, job.sound.takes[0].stems[0].artifact, folder / "fetched")

    alone = generate()
    long, cancelled = (cluster_client.submit(sound(media, LONG)).id for _ in range(2))
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda job_id: run_until_sampling(cluster_client, job_id), (long, cancelled)))
    cluster_client.cancel(cancelled)
    with pytest.raises(JobCancelled):
        cluster_client.wait(cancelled)
    assert generate() == alone
    running = cluster_client.get_job(long)
    assert (running.state, running.attempt) == (rewas_pb2.JOB_STATE_RUNNING, 1)
    assert replica_pids(cluster) == {replica}
    cluster_client.cancel(long)


def test_the_end_of_a_replica_interrupts_all_its_jobs_and_they_run_again_alone(
    server: ServerProcess, cluster: ServerProcess, cluster_client: RewasClient, folder: Path
) -> None:
    """The last test, because Ray starts another replica."""
    media = folder / "media" / "shot 7.mp4"
    jobs = [cluster_client.submit(sound(media, LONG)).id for _ in range(2)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda job_id: run_until_sampling(cluster_client, job_id), jobs))
    (replica,) = replica_pids(cluster)
    os.kill(replica, signal.SIGKILL)
    for job_id in jobs:
        wait_for(cluster_client, job_id, lambda job: job.state == rewas_pb2.JOB_STATE_QUEUED)
    for _ in range(2):
        first = next_running(cluster_client, jobs)
        jobs.remove(first)
        # The other job waits until this one has ended.
        assert all(cluster_client.get_job(job_id).state == rewas_pb2.JOB_STATE_QUEUED for job_id in jobs)
        assert list(cluster_client.get_job(first).interruptions) == []
        cluster_client.cancel(first)


def next_running(client: RewasClient, job_ids: list[str]) -> str:
    """Wait until one of these jobs is sampling, and return its id."""
    while True:
        for job_id in job_ids:
            job = client.get_job(job_id)
            if job.state == rewas_pb2.JOB_STATE_RUNNING and job.step > 0:
                return job_id
        threading.Event().wait(0.02)
