"""Several workers share one queue."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from load_run import sound_work, write_load_folder
from server_process import ServerProcess

from rewas_api.v1 import rewas_pb2

pytestmark = pytest.mark.slow
LONG = 1000


def test_two_workers_run_two_jobs_at_the_same_time(tmp_path: Path) -> None:
    write_load_folder(tmp_path)
    with (
        ServerProcess(
            tmp_path / "state",
            [tmp_path / "media"],
            packs_dir=tmp_path / "packs",
            default_pack="tiny",
            settings={"device": "cpu,cpu"},
        ) as server,
        server.client() as client,
        ThreadPoolExecutor() as pool,
    ):
        long = [client.submit(sound_work(tmp_path, LONG)).id for _ in range(2)]

        def run_until_sampling(job_id: str) -> rewas_pb2.Job:
            return next(job for job in client.watch(job_id) if job.stage == rewas_pb2.STAGE_SAMPLE and job.step > 0)

        running = list(pool.map(run_until_sampling, long))
        assert [job.state for job in running] == [rewas_pb2.JOB_STATE_RUNNING] * 2
        assert all(client.get_job(job_id).state == rewas_pb2.JOB_STATE_RUNNING for job_id in long)
        workers = server.worker_pids()
        assert len(workers) == 2
        waiting = client.submit(sound_work(tmp_path, 1)).id
        assert client.get_job(waiting).position == 2
        # The other worker goes on when one ends, and takes the next job when its own is cancelled.
        os.kill(workers[0], signal.SIGKILL)
        client.cancel(long[0])
        client.cancel(long[1])
        assert client.wait(waiting).state == rewas_pb2.JOB_STATE_SUCCEEDED
