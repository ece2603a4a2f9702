"""Timelines through a real server, a real worker and a real, untrained model: finished clips stay finished."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import opentimelineio as otio
import pytest
import soundfile
from server_process import ServerProcess
from sliding_square import FRAME_RATE, FRAMES, write_video

from rewas_api.client import RewasClient
from rewas_api.errors import JobCancelled
from rewas_api.v1 import rewas_pb2
from rewas_server.otio.clips import parse_timeline

pytestmark = pytest.mark.slow
LONG = 1000
"""Sampling steps of a clip that keeps running until the test interferes."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from rewas_engine.recipes.untrained_starter import write_untrained_pack

    folder = tmp_path_factory.mktemp("timelines")
    (folder / "media").mkdir()
    write_video(folder / "media" / "shot.mp4")
    write_untrained_pack(folder / "packs" / "tiny", seed=0)
    return folder


def start(folder: Path, port: int = 0) -> ServerProcess:
    return ServerProcess(
        folder / "state", [folder / "media"], port=port, packs_dir=folder / "packs", default_pack="tiny"
    )


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    """One server for all tests. The last one kills it."""
    with start(folder) as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[RewasClient]:
    with server.client() as client:
        yield client


def timeline(*clips: tuple[str, Path, int]) -> rewas_pb2.TimelineWork:
    """A timeline of (name, media, sampling steps)."""
    rate = float(FRAME_RATE)
    made = otio.schema.Timeline("reel")
    track = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    made.tracks.append(track)
    for name, media, num_steps in clips:
        span = otio.opentime.TimeRange(otio.opentime.RationalTime(0, rate), otio.opentime.RationalTime(FRAMES, rate))
        clip = otio.schema.Clip(name, otio.schema.ExternalReference(str(media)), span)
        clip.metadata["rewas"] = {"prompt": "a ball bounces", "num_inference_steps": num_steps}
        track.append(clip)
    return rewas_pb2.TimelineWork(timeline_otio_json=made.to_json_string())


def wait_for(client: RewasClient, job_id: str, condition: Callable[[rewas_pb2.Job], bool]) -> rewas_pb2.Job:
    for job in client.watch(job_id, reconnect_timeout_s=300):
        if condition(job):
            return job
    raise AssertionError(f"the job ended before the condition was true: {job}")


def is_sampling(job: rewas_pb2.Job) -> bool:
    return job.stage == rewas_pb2.STAGE_SAMPLE and job.step > 0


def files(folder: Path) -> dict[str, tuple[str, int]]:
    """Hash and time of modification of each file."""
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) for path in folder.iterdir()
    }


def test_a_torn_clip_fails_alone_and_is_retried_alone(client: RewasClient, folder: Path, tmp_path: Path) -> None:
    good, torn = folder / "media" / "shot.mp4", folder / "media" / "torn.mp4"
    torn.write_text("this is text, not a video")
    snapshots: list[rewas_pb2.Job] = []
    job = client.submit(timeline(("one", good, 2), ("two", torn, 2), ("three", good, 2)))
    job = client.wait(job.id, on_snapshot=snapshots.append)
    assert (job.name, job.child_count, job.finished_child_count, job.fraction) == ("reel", 3, 3, 1.0)
    fractions = [snapshot.fraction for snapshot in snapshots]
    assert fractions == sorted(fractions)
    one, two, three = job.timeline.clips
    assert two.problem.kind == rewas_pb2.PROBLEM_KIND_MEDIA
    assert "two" in two.problem.what
    assert [child.name for child in client.list_jobs(parent_id=job.id)] == ["one", "two", "three"]
    finished = parse_timeline(job.timeline.timeline_otio_json)
    placed = [clip.name for track in finished.audio_tracks() for clip in track.find_clips()]
    assert placed == ["one primary", "three primary"]
    for number, clip in ((1, one), (3, three)):
        (stem,) = clip.sound.takes[0].stems
        assert stem.artifact.name.startswith(f"{number:03d} {clip.name} primary take 1 seed ")
        fetched = client.fetch_artifact(clip.job_id, stem.artifact, tmp_path / stem.artifact.name)
        assert soundfile.info(fetched).frames == stem.samples

    before = files(folder / "state" / "artifacts" / one.job_id)
    write_video(torn)
    client.retry(job.id)
    job = client.wait(job.id)
    assert [clip.WhichOneof("outcome") for clip in job.timeline.clips] == ["sound"] * 3
    assert [clip.job_id for clip in job.timeline.clips] == [one.job_id, two.job_id, three.job_id]
    assert files(folder / "state" / "artifacts" / one.job_id) == before
    assert not (folder / "state" / "artifacts" / job.id).exists(), "only the clips have files"


def test_a_cancelled_timeline_stops_and_keeps_the_finished_clip(client: RewasClient, folder: Path) -> None:
    media = folder / "media" / "shot.mp4"
    job = client.submit(timeline(("one", media, 2), ("two", media, LONG), ("three", media, 2)))
    one, two, _ = client.list_jobs(parent_id=job.id)
    client.wait(one.id)
    wait_for(client, two.id, is_sampling)
    client.cancel(job.id)
    with pytest.raises(JobCancelled):
        client.wait(job.id)
    states = [rewas_pb2.JobState.Name(child.state) for child in client.list_jobs(parent_id=job.id)]
    assert states == ["JOB_STATE_SUCCEEDED", "JOB_STATE_CANCELLED", "JOB_STATE_CANCELLED"]
    assert len(files(folder / "state" / "artifacts" / one.id)) == 1
    client.delete(job.id)
    assert not (folder / "state" / "artifacts" / one.id).exists()


def test_finished_clips_stay_when_worker_and_server_are_killed(server: ServerProcess, folder: Path) -> None:
    """The last test of this file, because it kills the server."""
    media = folder / "media" / "shot.mp4"
    with server.client() as client:
        job = client.submit(timeline(("one", media, 2), ("two", media, 150), ("three", media, 2)))
        one, two, three = client.list_jobs(parent_id=job.id)
        client.wait(one.id)
        before = files(folder / "state" / "artifacts" / one.id)
        wait_for(client, two.id, is_sampling)
        (worker,) = server.worker_pids()
        os.kill(worker, signal.SIGKILL)
        again = wait_for(client, two.id, lambda child: child.attempt == 2 and is_sampling(child))
        assert [(entry.cause, entry.count) for entry in again.interruptions] == [
            (rewas_pb2.INTERRUPTION_CAUSE_WORKER_ENDED, 1)
        ]
        assert files(folder / "state" / "artifacts" / one.id) == before
        server.kill()
    with start(folder, server.port) as second, second.client() as client:
        job = client.wait(job.id, reconnect_timeout_s=300)
        assert [clip.job_id for clip in job.timeline.clips] == [one.id, two.id, three.id]
        assert [clip.WhichOneof("outcome") for clip in job.timeline.clips] == ["sound"] * 3
        assert files(folder / "state" / "artifacts" / one.id) == before
        assert client.get_job(one.id).attempt == 1
