"""Jobs through a real server, a real worker and a real, untrained model: results, progress, cancelling, crashes."""

import hashlib
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import opentimelineio as otio
import pytest
import soundfile
from server_process import ServerProcess, is_running, wait_until_ended
from sliding_square import FRAME_RATE, FRAMES, write_video

from rewas_api.client import RewasClient
from rewas_api.errors import JobCancelled, JobFailed, ProblemError, ProblemKind, ServerUnavailable
from rewas_api.v1 import rewas_pb2
from rewas_server.config import ServerConfig
from rewas_server.jobs import lifecycle
from rewas_server.jobs.sqlite_store import SqliteJobStore

pytestmark = pytest.mark.slow
LONG = 1000
"""Sampling steps of a job that keeps running until the test interferes."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jobs")
    write_folder(folder)
    return folder


def write_folder(folder: Path) -> None:
    """Write a video, a file that is not a video, and a small, untrained pack."""
    from rewas_engine.recipes.untrained_starter import write_untrained_pack

    (folder / "media").mkdir()
    write_video(folder / "media" / "shot 7.mp4")
    (folder / "media" / "text.mp4").write_text("this is text, not a video")
    write_untrained_pack(folder / "packs" / "tiny", seed=0)


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    """One server for all tests. The last one kills it."""
    with start(folder, folder / "state") as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[RewasClient]:
    with server.client() as client:
        yield client


def start(folder: Path, state_dir: Path, port: int = 0) -> ServerProcess:
    return ServerProcess(
        state_dir,
        [folder / "media"],
        port=port,
        packs_dir=folder / "packs",
        default_pack="tiny",
        cancel_grace_s=30.0,
        settings={"worker_silence_s": 4.0},
    )


def clip(path: Path | str, frames: int = FRAMES) -> otio.schema.Clip:
    rate = float(FRAME_RATE)
    return otio.schema.Clip(
        "shot 7",
        otio.schema.ExternalReference(str(path)),
        otio.opentime.TimeRange(otio.opentime.RationalTime(0, rate), otio.opentime.RationalTime(frames, rate)),
    )


def sound(path: Path | str, num_steps: int = 4) -> rewas_pb2.SoundWork:
    settings = rewas_pb2.SoundSettings(prompt="a ball bounces", seed=7, num_inference_steps=num_steps)
    return rewas_pb2.SoundWork(clip_otio_json=clip(path).to_json_string(), settings=settings)


def submit_and_run(client: RewasClient, folder: Path, num_steps: int = LONG) -> rewas_pb2.Job:
    """Submit a long job and return when it is sampling."""
    job = client.submit(sound(folder / "media" / "shot 7.mp4", num_steps))
    return wait_for(client, job.id, lambda job: job.stage == rewas_pb2.STAGE_SAMPLE and job.step > 0)


def wait_for(client: RewasClient, job_id: str, condition: Callable[[rewas_pb2.Job], bool]) -> rewas_pb2.Job:
    for job in client.watch(job_id):
        if condition(job):
            return job
    raise AssertionError(f"the job ended before the condition was true: {job}")


def test_a_sound_job_from_end_to_end(client: RewasClient, folder: Path, tmp_path: Path) -> None:
    snapshots: list[rewas_pb2.Job] = []
    job = client.submit(sound(folder / "media" / "shot 7.mp4", num_steps=5))
    assert job.name == "shot 7"
    job = client.wait(job.id, on_snapshot=snapshots.append)
    assert job.state == rewas_pb2.JOB_STATE_SUCCEEDED
    assert job.fraction == 1.0
    assert job.attempt == 1
    assert job.HasField("started_at")
    sampled = [snapshot.step for snapshot in snapshots if snapshot.stage == rewas_pb2.STAGE_SAMPLE]
    # Not all steps in quick succession are reported, but the beginning of each stage is.
    assert sampled == sorted(sampled)
    assert sampled[0] == 0
    revisions = [snapshot.revision for snapshot in snapshots if snapshot.state != rewas_pb2.JOB_STATE_QUEUED]
    assert revisions == sorted(set(revisions))
    fractions = [snapshot.fraction for snapshot in snapshots]
    assert fractions == sorted(fractions)
    (stem,) = job.sound.takes[0].stems
    duration_s = Fraction(job.sound.clip.duration_s.numerator, job.sound.clip.duration_s.denominator)
    assert duration_s == FRAMES / FRAME_RATE
    assert stem.samples == round(duration_s * stem.sample_rate_hz)
    fetched = client.fetch_artifact(job.id, stem.artifact, tmp_path / "deep" / "growl.wav")
    assert hashlib.sha256(fetched.read_bytes()).hexdigest() == stem.artifact.sha256
    assert soundfile.info(fetched).frames == stem.samples
    assert list(fetched.parent.iterdir()) == [fetched]
    assert client.get_server_info().device == "cpu"
    listed = {listed.id: listed for listed in client.list_jobs()}[job.id]
    assert listed.state == rewas_pb2.JOB_STATE_SUCCEEDED
    assert listed.WhichOneof("result") is None


def test_an_interrupted_fetch_is_resumed(client: RewasClient, folder: Path, tmp_path: Path) -> None:
    job = client.wait(client.submit(sound(folder / "media" / "shot 7.mp4")).id)
    artifact = job.sound.takes[0].stems[0].artifact
    data = client.fetch_artifact(job.id, artifact, tmp_path / "whole.wav").read_bytes()
    half = len(data) // 2
    (tmp_path / f".again.wav.{artifact.sha256[:16]}.part").write_bytes(data[:half])
    received: list[int] = []
    again = client.fetch_artifact(
        job.id, artifact, tmp_path / "again.wav", on_progress=lambda done, _: received.append(done)
    )
    assert again.read_bytes() == data
    assert received[0] > half
    (tmp_path / f".torn.wav.{artifact.sha256[:16]}.part").write_bytes(b"\0" * half)
    with pytest.raises(ProblemError, match="damaged"):
        client.fetch_artifact(job.id, artifact, tmp_path / "torn.wav")
    assert client.fetch_artifact(job.id, artifact, tmp_path / "torn.wav").read_bytes() == data
    (tmp_path / "file").write_text("")
    with pytest.raises(ProblemError) as raised:
        client.fetch_artifact(job.id, artifact, tmp_path / "file" / "stem.wav")
    assert raised.value.kind is ProblemKind.RESOURCES


def test_a_cancelled_fetch_leaves_no_file(client: RewasClient, folder: Path, tmp_path: Path) -> None:
    job = client.wait(client.submit(sound(folder / "media" / "shot 7.mp4")).id)

    def stop(done_bytes: int, total_bytes: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.fetch_artifact(job.id, job.sound.takes[0].stems[0].artifact, tmp_path / "stem.wav", on_progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../jobs.sqlite3", "", ".", "..", "/etc/passwd", "growl.wav\0"])
def test_only_listed_artifacts_are_sent(client: RewasClient, folder: Path, tmp_path: Path, name: str) -> None:
    job = client.wait(client.submit(sound(folder / "media" / "shot 7.mp4"), idempotency_key="for names").id)
    with pytest.raises(ProblemError) as raised:
        client.fetch_artifact(job.id, rewas_pb2.Artifact(name=name, size_bytes=9, sha256="0" * 64), tmp_path / "x")
    assert raised.value.kind is ProblemKind.NOT_FOUND


def test_energy_and_conflict(client: RewasClient, folder: Path) -> None:
    otio_json = clip(folder / "media" / "shot 7.mp4").to_json_string()
    job = client.wait(client.submit(rewas_pb2.EnergyWork(clip_otio_json=otio_json)).id)
    assert len(job.energy.energy.values) > 0
    assert np.isfinite(job.energy.energy.values).all()
    # Work without stems leaves no folder.
    assert not (folder / "state" / "artifacts" / job.id).exists()
    job = client.wait(client.submit(rewas_pb2.ConflictWork(clip_otio_json=otio_json, prompt="rain")).id)
    assert job.conflict.verdict != rewas_pb2.VERDICT_UNSPECIFIED
    assert job.conflict.explanation
    snapshots: list[rewas_pb2.Job] = []
    submitted = client.submit(rewas_pb2.DescriptionWork(clip_otio_json=otio_json, pack="starter"))
    job = client.wait(submitted.id, on_snapshot=snapshots.append)
    assert job.description.picture_model
    assert "The clip has no sound." in job.description.notes
    assert job.fraction == 1.0
    # A list of jobs contains no results.
    assert not next(each for each in client.list_jobs() if each.id == job.id).HasField("description")


def test_uploaded_media_give_the_same_sound(client: RewasClient, folder: Path) -> None:
    by_path = client.wait(client.submit(sound(folder / "media" / "shot 7.mp4")).id)
    work = sound("file:///another/machine/shot%207.mp4")
    with pytest.raises(ProblemError) as raised:
        client.submit(work)
    assert raised.value.kind is ProblemKind.PERMISSION
    work.uploaded_media["file:///another/machine/shot%207.mp4"] = client.upload_media(folder / "media" / "shot 7.mp4")
    by_upload = client.wait(client.submit(work).id)
    assert by_upload.sound.takes[0].stems[0].samples == by_path.sound.takes[0].stems[0].samples
    assert by_upload.sound.takes[0].output_energy.values == by_path.sound.takes[0].output_energy.values
    assert by_upload.sound.takes[0].stems[0].artifact.name == by_path.sound.takes[0].stems[0].artifact.name


@pytest.mark.parametrize("name", ["text.mp4", "truncated.mp4"])
def test_errors_about_an_upload_name_its_clip_and_not_its_hash(client: RewasClient, folder: Path, name: str) -> None:
    media = folder / "media" / name
    if name == "truncated.mp4":
        whole = (folder / "media" / "shot 7.mp4").read_bytes()
        media.write_bytes(whole[: len(whole) // 2])
    url = "file:///another/machine/shot.mp4"
    again = sound(folder / "media" / "shot 7.mp4")
    again.regenerate.sound_url = url
    otio_json = clip(url).to_json_string()
    works = [
        sound(url),
        again,
        rewas_pb2.EnergyWork(clip_otio_json=otio_json),
        rewas_pb2.ConflictWork(clip_otio_json=otio_json, prompt="rain"),
        rewas_pb2.DescriptionWork(clip_otio_json=otio_json),
    ]
    sha256 = client.upload_media(media)
    for work in works:
        work.uploaded_media[url] = sha256
        with pytest.raises(JobFailed) as raised:
            client.wait(client.submit(work).id)
        assert raised.value.kind is ProblemKind.MEDIA
        assert "shot" in raised.value.what
        assert sha256 not in str(raised.value)


def test_the_same_idempotency_key_returns_the_same_job(client: RewasClient, folder: Path) -> None:
    key = uuid.uuid4().hex
    work = sound(folder / "media" / "shot 7.mp4")
    first = client.submit(work, idempotency_key=key)
    assert client.submit(work, idempotency_key=key).id == first.id
    with pytest.raises(ProblemError) as raised:
        client.submit(sound(folder / "media" / "shot 7.mp4", num_steps=9), idempotency_key=key)
    assert raised.value.kind is ProblemKind.SETTINGS
    client.wait(first.id)


def test_impossible_work_fails_only_its_job(client: RewasClient, folder: Path) -> None:
    job = client.submit(sound(folder / "media" / "text.mp4"))
    with pytest.raises(JobFailed, match=r"text\.mp4|shot 7") as raised:
        client.wait(job.id)
    assert raised.value.kind is ProblemKind.MEDIA
    assert raised.value.remedy
    assert not (folder / "state" / "artifacts" / job.id).exists()
    assert client.wait(client.submit(sound(folder / "media" / "shot 7.mp4")).id).state == rewas_pb2.JOB_STATE_SUCCEEDED


def test_cancelling_in_each_state(client: RewasClient, folder: Path) -> None:
    running = submit_and_run(client, folder)
    waiting = client.submit(sound(folder / "media" / "shot 7.mp4"))
    assert waiting.state == rewas_pb2.JOB_STATE_QUEUED
    assert client.cancel(waiting.id).state == rewas_pb2.JOB_STATE_CANCELLED
    step_before = client.get_job(running.id).step
    assert client.cancel(running.id).state == rewas_pb2.JOB_STATE_CANCELLING
    assert client.cancel(running.id).state in (rewas_pb2.JOB_STATE_CANCELLING, rewas_pb2.JOB_STATE_CANCELLED)
    with pytest.raises(JobCancelled):
        client.wait(running.id)
    ended = client.get_job(running.id)
    assert step_before <= ended.step < LONG
    assert not (folder / "state" / "artifacts" / running.id).exists()
    assert client.cancel(running.id) == ended
    completed = client.wait(client.submit(sound(folder / "media" / "shot 7.mp4")).id)
    assert client.cancel(completed.id) == completed


def test_a_signal_in_the_waiting_thread_cancels(client: RewasClient, folder: Path) -> None:
    cancel = threading.Event()
    job = client.submit(sound(folder / "media" / "shot 7.mp4", LONG))
    with pytest.raises(JobCancelled):
        client.wait(
            job.id, on_snapshot=lambda job: cancel.set() if job.stage == rewas_pb2.STAGE_SAMPLE else None, cancel=cancel
        )


def test_a_write_error_fails_the_job(client: RewasClient, folder: Path, tmp_path: Path) -> None:
    artifacts = folder / "state" / "artifacts"
    artifacts.mkdir(exist_ok=True)
    artifacts.rename(tmp_path / "artifacts")
    artifacts.write_text("a file where the folder should be")
    try:
        with pytest.raises(JobFailed) as raised:
            client.wait(client.submit(sound(folder / "media" / "shot 7.mp4")).id)
        assert raised.value.kind is ProblemKind.RESOURCES
        assert client.get_server_info().worker_ready
    finally:
        artifacts.unlink()
        (tmp_path / "artifacts").rename(artifacts)


def test_a_job_fails_after_three_worker_crashes(server: ServerProcess, client: RewasClient, folder: Path) -> None:
    job = client.submit(sound(folder / "media" / "shot 7.mp4", LONG))
    seen: set[int] = set()
    for attempt in (1, 2, 3):
        job = wait_for(client, job.id, lambda job, attempt=attempt: job.attempt == attempt and job.step > 0)
        (worker,) = server.worker_pids()
        assert worker not in seen
        seen.add(worker)
        os.kill(worker, signal.SIGKILL)
    with pytest.raises(JobFailed, match="worker process ended 3 times") as raised:
        client.wait(job.id)
    assert raised.value.kind is ProblemKind.RESOURCES
    assert [(entry.cause, entry.count) for entry in raised.value.job.interruptions] == [
        (rewas_pb2.INTERRUPTION_CAUSE_WORKER_ENDED, 3)
    ]
    assert not any(is_running(pid) for pid in seen)
    quick = client.wait(client.submit(sound(folder / "media" / "shot 7.mp4")).id)
    assert quick.state == rewas_pb2.JOB_STATE_SUCCEEDED
    again = client.retry(job.id)
    assert (again.state, again.attempt) == (rewas_pb2.JOB_STATE_QUEUED, 0)
    wait_for(client, job.id, lambda job: job.attempt == 1 and job.step > 0)
    client.cancel(job.id)
    with pytest.raises(JobCancelled):
        client.wait(job.id)


def test_a_worker_that_stops_responding_is_replaced(server: ServerProcess, client: RewasClient, folder: Path) -> None:
    """The grace period of this server is far longer than the test."""
    job = submit_and_run(client, folder)
    (stopped_worker,) = server.worker_pids()
    os.kill(stopped_worker, signal.SIGSTOP)
    assert client.cancel(job.id).state == rewas_pb2.JOB_STATE_CANCELLING
    with pytest.raises(JobCancelled):
        client.wait(job.id)
    assert is_running(stopped_worker), "the cancel took effect before the worker was killed"
    job = client.wait(client.submit(sound(folder / "media" / "shot 7.mp4")).id)
    assert job.state == rewas_pb2.JOB_STATE_SUCCEEDED
    assert not is_running(stopped_worker)
    assert not job.interruptions


def test_a_job_whose_worker_hangs_twice_fails_with_the_reason(folder: Path, tmp_path: Path) -> None:
    """The first time was in an earlier run of the server."""
    work = sound(folder / "media" / "shot 7.mp4", LONG)
    job = lifecycle.start_job(lifecycle.create_job(uuid.uuid4().hex, "shot 7"))
    job = lifecycle.interrupt_job(job, rewas_pb2.INTERRUPTION_CAUSE_DEADLINE)
    store = SqliteJobStore(ServerConfig(state_dir=tmp_path / "state").database_path)
    store.add(job, rewas_pb2.SubmitJobRequest(idempotency_key="hangs", sound=work))
    store.close()
    with start(folder, tmp_path / "state") as server, server.client() as client:
        wait_for(client, job.id, lambda job: job.attempt == 2 and job.step > 0)
        os.kill(server.worker_pids()[0], signal.SIGSTOP)
        with pytest.raises(JobFailed, match="time limit 2 times, or the worker process stopped responding"):
            client.wait(job.id)


def test_paused_jobs_start_over_when_they_are_resumed(client: RewasClient, folder: Path) -> None:
    running = submit_and_run(client, folder)
    waiting = client.submit(sound(folder / "media" / "shot 7.mp4"))
    assert client.pause(waiting.id).state == rewas_pb2.JOB_STATE_PAUSED
    assert client.pause(running.id).state == rewas_pb2.JOB_STATE_PAUSING
    paused = wait_for(client, running.id, lambda job: job.state == rewas_pb2.JOB_STATE_PAUSED)
    assert (paused.attempt, paused.step) == (1, 0)
    # Nothing else waits, so the worker would run them if it could.
    assert client.wait(client.submit(sound(folder / "media" / "shot 7.mp4")).id).attempt == 1
    assert client.get_job(running.id).state == client.get_job(waiting.id).state == rewas_pb2.JOB_STATE_PAUSED
    assert client.resume(running.id).state == rewas_pb2.JOB_STATE_QUEUED
    wait_for(client, running.id, lambda job: job.attempt == 2 and job.step > 0)
    client.cancel(running.id)
    client.resume(waiting.id)
    assert client.wait(waiting.id).state == rewas_pb2.JOB_STATE_SUCCEEDED


def test_urgent_jobs_run_first_and_every_waiting_job_knows_its_place(client: RewasClient, folder: Path) -> None:
    running = submit_and_run(client, folder)
    priorities = {
        "batch": rewas_pb2.PRIORITY_BATCH,
        "usual": rewas_pb2.PRIORITY_UNSPECIFIED,
        "person": rewas_pb2.PRIORITY_INTERACTIVE,
    }
    jobs = {
        name: client.submit(sound(folder / "media" / "shot 7.mp4"), priority=priority)
        for name, priority in priorities.items()
    }
    places = {name: client.get_job(job.id) for name, job in jobs.items()}
    assert {name: job.position for name, job in places.items()} == {"person": 1, "usual": 2, "batch": 3}
    # Such sounds have been generated before, and the running job reports its progress.
    left_s = {name: job.time_left.ToNanoseconds() / 1e9 for name, job in places.items()}
    assert 0 < left_s["person"] < left_s["usual"] < left_s["batch"]
    client.cancel(running.id)
    ended = {name: client.wait(job.id).finished_at.ToNanoseconds() for name, job in jobs.items()}
    assert sorted(ended, key=lambda name: ended[name]) == ["person", "usual", "batch"]


def test_finished_jobs_are_pinned_and_deleted_with_their_files(client: RewasClient, folder: Path) -> None:
    job = client.wait(client.submit(sound(folder / "media" / "shot 7.mp4")).id)
    files = folder / "state" / "artifacts" / job.id
    assert files.is_dir()
    assert client.pin(job.id, True).pinned
    assert not client.pin(job.id, False).pinned
    client.delete(job.id)
    assert not files.exists()
    with pytest.raises(ProblemError, match=job.id) as raised:
        client.get_job(job.id)
    assert raised.value.kind is ProblemKind.NOT_FOUND
    running = submit_and_run(client, folder)
    with pytest.raises(ProblemError, match="has not ended"):
        client.delete(running.id)
    client.cancel(running.id)


def test_jobs_and_their_watchers_continue_after_the_server_was_killed_or_stopped(
    server: ServerProcess, folder: Path
) -> None:
    """The last test of this file, because it kills the server."""
    with server.client() as client:
        running = submit_and_run(client, folder)
        waiting = client.submit(sound(folder / "media" / "shot 7.mp4"))
        (worker,) = server.worker_pids()
        os.kill(worker, signal.SIGSTOP)
        server.kill()
        assert wait_until_ended(worker), "even a stopped worker ends with its server"
        with pytest.raises(ServerUnavailable):
            client.get_job(running.id)
    snapshots: dict[str, list[rewas_pb2.Job]] = {running.id: [], waiting.id: []}
    with (
        start(folder, folder / "state", port=server.port) as second,
        second.client() as client,
        ThreadPoolExecutor() as pool,
    ):
        again = wait_for(client, running.id, lambda job: job.attempt == 2 and job.step > 0)
        assert again.revision > running.revision
        watches = {
            job_id: pool.submit(client.wait, job_id, on_snapshot=received.append, reconnect_timeout_s=300)
            for job_id, received in snapshots.items()
        }
        while not all(snapshots.values()):
            assert not any(watch.done() for watch in watches.values())
            threading.Event().wait(0.01)
        # A closed terminal sends this signal.
        second.stop(signal.SIGHUP)
        with start(folder, folder / "state", port=server.port) as third, third.client() as other_client:
            job = wait_for(
                other_client, running.id, lambda job: job.attempt == 3 and job.state == rewas_pb2.JOB_STATE_RUNNING
            )
            assert [(entry.cause, entry.count) for entry in job.interruptions] == [
                (rewas_pb2.INTERRUPTION_CAUSE_SERVER_ENDED, 2)
            ]
            other_client.cancel(running.id)
            with pytest.raises(JobCancelled):
                watches[running.id].result(timeout=300)
            assert watches[waiting.id].result(timeout=300).state == rewas_pb2.JOB_STATE_SUCCEEDED
    for received in snapshots.values():
        revisions = [snapshot.revision for snapshot in received]
        assert revisions == sorted(revisions)
        assert revisions[-1] > revisions[0]
    assert snapshots[running.id][-1].revision > again.revision
