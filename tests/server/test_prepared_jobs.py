"""The worker reads the video of the next job while another one samples: no sample changes, and no other job suffers."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import opentimelineio as otio
import pytest
import soundfile
from load_run import write_load_folder
from server_process import ServerProcess, children_of
from sliding_square import FRAME_RATE

from rewas_api.client import RewasClient
from rewas_api.v1 import rewas_pb2

pytestmark = pytest.mark.slow
LONG = 1000
"""Sampling steps of a job that keeps running until the test interferes."""
LONG_AGO_S = 1_700_000_000
READING = "The worker reads the video of the next job."
READ = "The worker has read ahead."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    write_load_folder(folder)
    os.utime(folder / "media" / "shot.mp4", (LONG_AGO_S, LONG_AGO_S))
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    with ServerProcess(
        folder / "state",
        [folder / "media"],
        packs_dir=folder / "packs",
        default_pack="tiny",
        settings={"log_level": "debug"},
    ) as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[RewasClient]:
    with server.client() as client:
        yield client


def work(folder: Path, first: int, steps: int, name: str = "shot.mp4") -> rewas_pb2.SoundWork:
    """A sound for one second of the clip, from frame `first` on."""
    rate = float(FRAME_RATE)
    span = otio.opentime.TimeRange(otio.opentime.RationalTime(first, rate), otio.opentime.RationalTime(24, rate))
    clip = otio.schema.Clip(name, otio.schema.ExternalReference(str(folder / "media" / name)), span)
    settings = rewas_pb2.SoundSettings(prompt="a ball bounces", seed=7, num_inference_steps=steps)
    return rewas_pb2.SoundWork(clip_otio_json=clip.to_json_string(), settings=settings)


def wait_until_sampling(client: RewasClient, job_id: str) -> None:
    next(job for job in client.watch(job_id) if job.stage == rewas_pb2.STAGE_SAMPLE and job.step > 0)


def wait_for_log(server: ServerProcess, job_id: str, message: str) -> None:
    path = server.state_dir / "logs" / "server.jsonl"
    while not any(job_id in line and message in line for line in path.read_text().splitlines()):
        Event().wait(0.05)


def samples(client: RewasClient, job: rewas_pb2.Job, folder: Path) -> bytes:
    """The samples alone: a stem also contains the time at which it was generated."""
    path = client.fetch_artifact(job.id, job.sound.takes[0].stems[0].artifact, folder / f"{job.id}.wav")
    return soundfile.read(path, dtype="int32")[0].tobytes()


def test_the_next_job_is_prepared_and_has_not_begun(server: ServerProcess, client: RewasClient, folder: Path) -> None:
    running = client.submit(work(folder, 0, LONG)).id
    wait_until_sampling(client, running)
    prepared, cancelled = client.submit(work(folder, 10, 2)).id, client.submit(work(folder, 12, 2)).id
    wait_for_log(server, prepared, READ)
    waiting = client.get_job(prepared)
    assert (waiting.state, waiting.attempt, waiting.HasField("started_at")) == (rewas_pb2.JOB_STATE_QUEUED, 0, False)
    # The next job changes: the one after it is read instead, and none of it has begun.
    client.pause(prepared)
    wait_for_log(server, cancelled, READ)
    client.cancel(cancelled)
    assert client.get_job(cancelled).state == rewas_pb2.JOB_STATE_CANCELLED
    client.resume(prepared)
    client.cancel(running)
    stages: list[int] = []
    job = client.wait(prepared, on_snapshot=lambda job: stages.append(job.stage))
    assert job.attempt == 1
    assert {rewas_pb2.STAGE_DECODE, rewas_pb2.STAGE_ENERGY, rewas_pb2.STAGE_SAMPLE} <= set(stages)


def test_an_error_of_the_next_job_is_its_own(server: ServerProcess, client: RewasClient, folder: Path) -> None:
    (folder / "media" / "text.mp4").write_text("this is text, not a video")
    running = client.submit(work(folder, 0, LONG)).id
    wait_until_sampling(client, running)
    broken = client.submit(work(folder, 0, 2, "text.mp4")).id
    wait_for_log(server, broken, READ)
    assert client.get_job(running).state == rewas_pb2.JOB_STATE_RUNNING
    assert client.get_job(broken).state == rewas_pb2.JOB_STATE_QUEUED
    client.cancel(running)
    final = list(client.watch(broken))[-1]
    assert (final.state, final.problem.kind) == (rewas_pb2.JOB_STATE_FAILED, rewas_pb2.PROBLEM_KIND_MEDIA)


def test_a_next_job_that_ends_the_worker_costs_the_running_one_nothing(
    server: ServerProcess, client: RewasClient, folder: Path, tmp_path: Path
) -> None:
    running = client.submit(work(folder, 0, LONG)).id
    wait_until_sampling(client, running)
    ahead = client.submit(work(folder, 20, 2)).id
    wait_for_log(server, ahead, READ)
    client.cancel(running)
    prepared = client.wait(ahead)
    running = client.submit(work(folder, 0, LONG)).id
    wait_until_sampling(client, running)
    (worker,) = server.worker_pids()
    for decoder in children_of(worker):
        # The job that runs has read its video; the next one is still being read when the worker ends.
        os.kill(decoder, signal.SIGSTOP)
    suspect = client.submit(work(folder, 5, 2)).id
    wait_for_log(server, suspect, READING)
    os.kill(worker, signal.SIGKILL)
    next(job for job in client.watch(running) if job.state == rewas_pb2.JOB_STATE_QUEUED)
    wait_until_sampling(client, running)
    assert list(client.get_job(running).interruptions) == []
    # It runs alone from now on: if the worker ends again, this job is the cause.
    (worker,) = server.worker_pids()
    os.kill(worker, signal.SIGKILL)
    job = next(job for job in client.watch(running) if job.interruptions)
    assert [each.count for each in job.interruptions] == [1]
    client.cancel(running)
    assert client.wait(suspect).attempt == 1
    # The new worker has not prepared this one, and gives the same samples.
    alone = client.wait(client.submit(work(folder, 20, 2)).id)
    assert samples(client, alone, tmp_path) == samples(client, prepared, tmp_path)
    assert alone.sound.requested_energy == prepared.sound.requested_energy
