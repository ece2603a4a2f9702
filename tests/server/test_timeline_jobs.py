"""The job of a timeline follows its children: with a real store, a real board and a real checker, without a model."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import opentimelineio as otio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_engine import Progress
from rewas_server.checking.checker import RequestChecker
from rewas_server.checking.messages import CheckingSettings
from rewas_server.config import ServerConfig
from rewas_server.files.uploads import UploadLimits, UploadStore
from rewas_server.grpc.service import create_jobs
from rewas_server.jobs import lifecycle
from rewas_server.jobs.artifacts import artifact_path
from rewas_server.jobs.board import JobBoard
from rewas_server.jobs.scheduler import Scheduler
from rewas_server.jobs.sqlite_store import SqliteJobStore
from rewas_server.jobs.timelines import Children, TimelineJobs, follow_children
from rewas_server.otio.clips import parse_timeline

ResultT = TypeVar("ResultT")
NAMES = ("a", "b", "c")
TORN = ProblemError("The picture is torn.", "Take another.", ProblemKind.MEDIA)


def timeline_request(media: Path, key: str = "a") -> rewas_pb2.SubmitJobRequest:
    time = otio.opentime.RationalTime
    timeline = otio.schema.Timeline("reel", global_start_time=time(86_400, 24))
    track = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    timeline.tracks.append(track)
    for name in NAMES:
        span = otio.opentime.TimeRange(time(0, 24), time(24, 24))
        clip = otio.schema.Clip(name, otio.schema.ExternalReference(str(media)), span)
        clip.metadata["rewas"] = {"prompt": f"sound of {name}"}
        track.append(clip)
    work = rewas_pb2.TimelineWork(timeline_otio_json=timeline.to_json_string())
    return rewas_pb2.SubmitJobRequest(idempotency_key=key, timeline=work, priority=rewas_pb2.PRIORITY_BATCH)


def sound_request(media: Path, key: str = "b") -> rewas_pb2.SubmitJobRequest:
    clip = otio.schema.Clip("d", otio.schema.ExternalReference(str(media)))
    clip.source_range = otio.opentime.TimeRange(otio.opentime.RationalTime(0, 24), otio.opentime.RationalTime(24, 24))
    work = rewas_pb2.SoundWork(clip_otio_json=clip.to_json_string(), settings={"prompt": "sound of d"})
    return rewas_pb2.SubmitJobRequest(idempotency_key=key, sound=work)


class World:
    """A store in a folder, and what works with it."""

    def __init__(self, folder: Path, checker: RequestChecker) -> None:
        self.store = SqliteJobStore(folder / "jobs.sqlite3")
        self.board = JobBoard(self.store)
        self.checker = checker
        self.uploads = UploadStore(folder / "uploads", UploadLimits(2**30, 2**30, 2**30))
        self.artifacts = folder / "artifacts"
        self.timelines = TimelineJobs(self.board, checker, self.uploads, self.artifacts)
        self.scheduler = Scheduler(self.board, ServerConfig(state_dir=folder), self.timelines)

    async def submit(self, request: rewas_pb2.SubmitJobRequest) -> str:
        checked = await self.checker.check(request.SerializeToString())
        job, children = create_jobs(checked, request.priority)
        return (await self.board.add(job, request, children)).id

    async def children(self, parent_id: str) -> list[str]:
        return await self.board.child_ids(parent_id)

    async def change(self, job_id: str, *changes: Callable[[rewas_pb2.Job], rewas_pb2.Job]) -> rewas_pb2.Job:
        """Change a child as its worker would, and return the parent."""
        for change in changes:
            job = await self.board.update(job_id, change)
        await self.timelines.child_changed(job.parent_id)
        return await self.board.get(job.parent_id)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("media") / "a.mov"
    path.write_bytes(b"picture")
    return path


@pytest.fixture(scope="module")
def checker(runner: asyncio.Runner, media: Path) -> Iterator[RequestChecker]:
    async def make() -> RequestChecker:
        return RequestChecker(
            lambda limits: CheckingSettings(
                (media.parent,), media.parent / "uploads", "starter", 60.0, limits.memory_bytes
            )
        )

    checker = runner.run(make())
    yield checker
    runner.run(checker.stop())


Act = Callable[[World], Awaitable[ResultT]]


@pytest.fixture
def in_world(runner: asyncio.Runner, checker: RequestChecker, tmp_path: Path) -> Iterator[Callable[[Act[None]], None]]:
    worlds: list[World] = []

    def run(act: Act[None]) -> None:
        async def act_in_world() -> None:
            worlds.append(World(tmp_path, checker))
            await act(worlds[-1])

        runner.run(act_in_world())

    yield run
    for world in worlds:
        world.store.close()


def sound(name: str) -> rewas_pb2.SoundResult:
    stem = rewas_pb2.Stem(
        role="primary",
        artifact={"name": f"{name}.wav", "path": f"/stems/{name}.wav"},
        sample_rate_hz=48000,
        samples=48000,
    )
    settings = rewas_pb2.SoundSettings(prompt=f"sound of {name}")
    return rewas_pb2.SoundResult(takes=[{"seed": 7, "stems": [stem]}], settings=settings)


def succeed(name: str) -> Callable[[rewas_pb2.Job], rewas_pb2.Job]:
    return lambda job: lifecycle.complete_job(job, sound(name))


def fail(job: rewas_pb2.Job) -> rewas_pb2.Job:
    return lifecycle.fail_job(job, TORN)


def progress(fraction: float) -> Callable[[rewas_pb2.Job], rewas_pb2.Job]:
    return lambda job: lifecycle.update_progress(job, Progress("sample", 3, 4, fraction, time_left_s=2.0))


def state_of(job: rewas_pb2.Job) -> str:
    return rewas_pb2.JobState.Name(job.state).removeprefix("JOB_STATE_")


def test_a_timeline_succeeds_with_the_clips_that_have_a_sound(
    in_world: Callable[[Act[None]], None], media: Path
) -> None:
    async def act(world: World) -> None:
        parent_id = await world.submit(timeline_request(media))
        parent = await world.board.get(parent_id)
        assert (state_of(parent), parent.child_count, parent.finished_child_count) == ("QUEUED", 3, 0)
        first, second, third = await world.children(parent_id)
        page = await world.board.list_page(10, None, parent_id=parent_id)
        assert [(job.name, job.parent_id, job.priority) for job in page.jobs] == [
            (name, parent_id, rewas_pb2.PRIORITY_BATCH) for name in NAMES
        ]
        assert [job.id for job in (await world.board.list_page(10, None)).jobs] == [parent_id]

        parent = await world.change(first, lifecycle.start_job, progress(0.6))
        assert (state_of(parent), parent.attempt, parent.stage) == ("RUNNING", 1, rewas_pb2.STAGE_SAMPLE)
        assert parent.fraction == pytest.approx(0.2)
        parent = await world.change(first, succeed("a"))
        assert (parent.finished_child_count, state_of(parent)) == (1, "RUNNING")
        parent = await world.change(second, lifecycle.start_job, fail)
        assert (parent.finished_child_count, parent.fraction) == (2, pytest.approx(2 / 3))
        revision = parent.revision
        await world.timelines.child_changed(parent_id)
        assert (await world.board.get(parent_id)).revision == revision, "nothing has changed"

        parent = await world.change(third, lifecycle.start_job, succeed("c"))
        assert (state_of(parent), parent.fraction, parent.finished_child_count) == ("SUCCEEDED", 1.0, 3)
        clips = parent.timeline.clips
        assert [(clip.name, clip.job_id, clip.WhichOneof("outcome")) for clip in clips] == [
            ("a", first, "sound"),
            ("b", second, "problem"),
            ("c", third, "sound"),
        ]
        assert clips[1].problem.what == TORN.what
        finished = parse_timeline(parent.timeline.timeline_otio_json)
        (track,) = finished.audio_tracks()
        stems = list(track.find_clips())
        assert [stem.media_reference.target_url for stem in stems] == ["a.wav", "c.wav"]
        assert [stem.range_in_parent().start_time.to_seconds() for stem in stems] == [0, 2]
        await world.timelines.child_changed(parent_id)
        assert await world.board.get(parent_id) == parent, "a final state stays"

    in_world(act)


def test_a_cancelled_timeline_ends_after_its_clips(in_world: Callable[[Act[None]], None], media: Path) -> None:
    """Otherwise a retry would leave out the clip that a worker is still stopping."""

    async def act(world: World) -> None:
        parent_id = await world.submit(timeline_request(media))
        first, *_ = await world.children(parent_id)
        await world.board.update(first, lifecycle.start_job)
        await world.scheduler.cancel(parent_id)
        await world.timelines.child_changed(parent_id)
        assert state_of(await world.board.get(parent_id)) == "CANCELLING"
        parent = await world.change(first, lifecycle.cancel_job)
        assert state_of(parent) == "CANCELLED"

    in_world(act)


@pytest.mark.parametrize("retries_child", [False, True])
def test_a_retry_does_not_end_a_timeline_whose_clips_had_ended(
    in_world: Callable[[Act[None]], None], media: Path, monkeypatch: pytest.MonkeyPatch, retries_child: bool
) -> None:
    """Whenever the timeline is updated, it is either still cancelled or has clips to wait for."""

    async def act(world: World) -> None:
        parent_id = await world.submit(timeline_request(media))
        await world.scheduler.cancel(parent_id)
        await world.timelines.child_changed(parent_id)
        assert state_of(await world.board.get(parent_id)) == "CANCELLED"
        change, change_children = world.board.update, world.board.update_children

        async def update(job_id: str, *arguments: Any) -> rewas_pb2.Job:
            job = await change(job_id, *arguments)
            if not following:
                following.append(job_id)
                await world.timelines.child_changed(parent_id)
                following.clear()
            return job

        async def update_children(*arguments: Any, **more: Any) -> list[rewas_pb2.Job]:
            changed = await change_children(*arguments, **more)
            await world.timelines.child_changed(parent_id)
            return changed

        following: list[str] = []
        monkeypatch.setattr(world.board, "update", update)
        monkeypatch.setattr(world.board, "update_children", update_children)
        first, *others = await world.children(parent_id)
        await world.scheduler.retry(first if retries_child else parent_id)
        assert state_of(await world.board.get(first)) == "QUEUED"
        assert {state_of(await world.board.get(each)) for each in others} == {
            "CANCELLED" if retries_child else "QUEUED"
        }
        assert state_of(await world.board.get(parent_id)) == ("RUNNING" if retries_child else "QUEUED")

    in_world(act)


def test_a_retry_of_a_job_without_a_timeline_lets_it_run(
    in_world: Callable[[Act[None]], None], media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job without children must not be taken for a timeline of which all clips have ended."""

    async def act(world: World) -> None:
        timeline_id = await world.submit(timeline_request(media))
        lone_id = await world.submit(sound_request(media))
        followed: asyncio.Queue[str] = asyncio.Queue()
        follow = world.timelines.child_changed

        async def child_changed(parent_id: str) -> list[rewas_pb2.Job]:
            cancelled = await follow(parent_id)
            await followed.put(parent_id)
            return cancelled

        monkeypatch.setattr(world.timelines, "child_changed", child_changed)
        await world.scheduler.cancel(lone_id)
        assert state_of(await world.scheduler.retry(lone_id)) == "QUEUED"
        await world.board.update(lone_id, lifecycle.start_job)
        stems = world.artifacts / lone_id / "d.wav"
        stems.parent.mkdir(parents=True)
        stems.write_bytes(b"sound")
        updates = asyncio.create_task(world.scheduler.update_parents())
        # Twice, because the first time may come before the job in the same round.
        for change in (world.scheduler.pause, world.scheduler.resume):
            await change(timeline_id)
            while await asyncio.wait_for(followed.get(), 30) != timeline_id:
                pass
        updates.cancel()
        assert state_of(await world.board.get(lone_id)) == "RUNNING"
        assert stems.is_file()

    in_world(act)


def test_a_retry_runs_only_the_clips_without_a_sound(in_world: Callable[[Act[None]], None], media: Path) -> None:
    async def act(world: World) -> None:
        parent_id = await world.submit(timeline_request(media))
        first, second, third = await world.children(parent_id)
        await world.change(first, lifecycle.start_job, succeed("a"))
        await world.change(second, lifecycle.start_job, fail)
        parent = await world.change(third, lifecycle.start_job, succeed("c"))
        seed = (await world.board.request(second)).sound.settings.seed
        done = await world.board.get(first)

        parent = await world.scheduler.retry(parent_id)
        await world.timelines.child_changed(parent_id)
        parent = await world.board.get(parent_id)
        assert (state_of(parent), parent.finished_child_count) == ("RUNNING", 2)
        assert await world.board.get(first) == done
        assert (await world.board.request(second)).sound.settings.seed == seed, "the same sound"
        found = await world.board.next_queued(())
        assert found is not None
        assert found[0].id == second
        parent = await world.change(second, lifecycle.start_job, succeed("b"))
        assert state_of(parent) == "SUCCEEDED"
        assert [clip.WhichOneof("outcome") for clip in parent.timeline.clips] == ["sound"] * 3
        assert await world.scheduler.retry(parent_id) == parent, "nothing is left to retry"

    in_world(act)


def test_a_timeline_without_any_sound_fails_with_the_reasons(
    in_world: Callable[[Act[None]], None], media: Path
) -> None:
    async def act(world: World) -> None:
        parent_id = await world.submit(timeline_request(media))
        for child_id in await world.children(parent_id):
            parent = await world.change(child_id, lifecycle.start_job, fail)
        assert state_of(parent) == "FAILED"
        assert parent.problem.what == f'No clip of the timeline "reel" has a sound: {TORN.what}'
        assert parent.problem.kind == rewas_pb2.PROBLEM_KIND_MEDIA

    in_world(act)


def test_a_cancelled_timeline_keeps_the_sounds_that_are_finished(
    in_world: Callable[[Act[None]], None], media: Path
) -> None:
    async def act(world: World) -> None:
        parent_id = await world.submit(timeline_request(media))
        first, second, third = await world.children(parent_id)
        await world.change(first, lifecycle.start_job, succeed("a"))
        await world.change(second, lifecycle.start_job)
        await world.scheduler.cancel(parent_id)
        await world.timelines.child_changed(parent_id)
        assert state_of(await world.board.get(parent_id)) == "CANCELLING"
        assert state_of(await world.board.get(third)) == "CANCELLED"
        parent = await world.change(second, lifecycle.stop_job)
        assert (state_of(parent), parent.finished_child_count) == ("CANCELLED", 3)
        assert state_of(await world.board.get(first)) == "SUCCEEDED"

    in_world(act)


def test_a_clip_that_is_cancelled_alone_does_not_cancel_the_timeline(
    in_world: Callable[[Act[None]], None], media: Path
) -> None:
    async def act(world: World) -> None:
        parent_id = await world.submit(timeline_request(media))
        first, second, third = await world.children(parent_id)
        await world.scheduler.cancel(second)
        await world.change(first, lifecycle.start_job, succeed("a"))
        parent = await world.change(third, lifecycle.start_job, succeed("c"))
        assert state_of(parent) == "SUCCEEDED"
        problem = parent.timeline.clips[1].problem
        assert (problem.what, problem.kind) == ('The clip "b" was cancelled.', rewas_pb2.PROBLEM_KIND_SETTINGS)

    in_world(act)


def test_a_paused_timeline_waits_until_it_is_resumed(in_world: Callable[[Act[None]], None], media: Path) -> None:
    async def act(world: World) -> None:
        parent_id = await world.submit(timeline_request(media))
        first, second, third = await world.children(parent_id)
        await world.change(first, lifecycle.start_job)
        await world.scheduler.pause(parent_id)
        await world.timelines.child_changed(parent_id)
        assert state_of(await world.board.get(parent_id)) == "PAUSING"
        parent = await world.change(first, lifecycle.stop_job)
        assert state_of(parent) == "PAUSED"
        assert await world.board.next_queued(()) is None
        await world.scheduler.resume(parent_id)
        for child_id in (first, second, third):
            parent = await world.change(child_id, lifecycle.start_job, succeed("a"))
        assert state_of(parent) == "SUCCEEDED"

    in_world(act)


def test_a_clip_that_ends_instead_of_pausing_counts(in_world: Callable[[Act[None]], None], media: Path) -> None:
    async def act(world: World) -> None:
        parent_id = await world.submit(timeline_request(media))
        first, second, third = await world.children(parent_id)
        for child_id in (first, second):
            await world.change(child_id, lifecycle.start_job, succeed("a"))
        await world.change(third, lifecycle.start_job)
        await world.scheduler.pause(parent_id)
        parent = await world.change(third, succeed("c"))
        assert state_of(parent) == "SUCCEEDED"

    in_world(act)


def test_a_timeline_is_ended_after_a_restart(in_world: Callable[[Act[None]], None], media: Path) -> None:
    parent_ids = []

    async def act_before(world: World) -> None:
        parent_ids.append(await world.submit(timeline_request(media)))
        # The server ends before it has noticed that the last clip is finished.
        for child_id in await world.children(parent_ids[0]):
            for change in (lifecycle.start_job, succeed("a")):
                await world.board.update(child_id, change)
        world.store.close()

    async def act_after(world: World) -> None:
        assert state_of(await world.board.get(parent_ids[0])) == "QUEUED"
        await world.timelines.child_changed(parent_ids[0])
        assert state_of(await world.board.get(parent_ids[0])) == "SUCCEEDED"

    in_world(act_before)
    in_world(act_after)


def test_a_timeline_that_cannot_be_assembled_fails_and_keeps_its_clips(
    in_world: Callable[[Act[None]], None], media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(world: World) -> None:
        parent_id = await world.submit(timeline_request(media))
        *others, last = await world.children(parent_id)
        for child_id in others:
            await world.change(child_id, lifecycle.start_job, succeed("a"))
        full = ProblemError("There is no memory.", "Free some.", ProblemKind.RESOURCES)

        async def refuse(*_: object) -> rewas_pb2.TimelineResult:
            raise full

        with monkeypatch.context() as patch:
            patch.setattr(RequestChecker, "assemble", refuse)
            parent = await world.change(last, lifecycle.start_job, succeed("c"))
        assert (state_of(parent), parent.problem.what) == ("FAILED", full.what)
        assert {state_of(await world.board.get(child_id)) for child_id in (*others, last)} == {"SUCCEEDED"}
        await world.scheduler.retry(parent_id)
        await world.timelines.child_changed(parent_id)
        assert state_of(await world.board.get(parent_id)) == "SUCCEEDED"

    in_world(act)


def test_a_long_result_becomes_a_file_of_the_job(
    in_world: Callable[[Act[None]], None], media: Path, tmp_path: Path
) -> None:
    async def act(world: World) -> None:
        parent_id = await world.submit(timeline_request(media))
        first, second, third = await world.children(parent_id)

        def succeed_at_length(job: rewas_pb2.Job) -> rewas_pb2.Job:
            result = sound("a")
            result.clip.path = str(media)
            result.requested_energy.values.extend([1.5] * 300_000)
            return lifecycle.complete_job(job, result)

        for child_id in (first, second):
            await world.change(child_id, lifecycle.start_job, succeed_at_length)
        parent = await world.change(third, lifecycle.start_job, fail)
        assert (state_of(parent), list(parent.timeline.clips)) == ("SUCCEEDED", [])
        assert parent.ByteSize() < 1000
        path, artifact = artifact_path(tmp_path / "artifacts", parent, parent.timeline.file.name)
        content = path.read_bytes()
        assert (artifact.size_bytes, artifact.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        assert path.stat().st_mode & 0o77 == 0
        assert [entry.name for entry in path.parent.iterdir()] == [artifact.name]
        result = rewas_pb2.TimelineResult.FromString(content)
        assert [clip.WhichOneof("outcome") for clip in result.clips] == ["sound", "sound", "problem"]
        assert len(result.clips[1].sound.requested_energy.values) == 300_000
        assert str(tmp_path) not in str(result)
        assert "/stems" not in str(result)

        # One clip has no sound yet.
        assert state_of(await world.scheduler.retry(parent_id)) == "QUEUED"
        parent = await world.change(third, lifecycle.start_job, succeed("c"))
        assert (state_of(parent), parent.timeline.failed_clip_count) == ("SUCCEEDED", 0)
        await world.scheduler.delete(parent_id)
        assert not path.parent.exists()

    in_world(act)


def test_a_clip_without_media_fails_alone(in_world: Callable[[Act[None]], None], media: Path) -> None:
    async def act(world: World) -> None:
        missing = media.with_name("gone.mov")
        request = timeline_request(media)
        work = request.timeline
        work.timeline_otio_json = work.timeline_otio_json.replace(str(media), str(missing), 1)
        parent_id = await world.submit(request)
        first, second, third = await world.children(parent_id)
        child = await world.board.get(first)
        assert state_of(child) == "FAILED"
        assert child.problem.what == f'The clip "a": The media file {missing} does not exist.'
        assert (await world.board.get(parent_id)).finished_child_count == 1
        found = await world.board.next_queued(())
        assert found is not None
        assert found[0].id == second
        for child_id in (second, third):
            parent = await world.change(child_id, lifecycle.start_job, succeed(child_id))
        assert state_of(parent) == "SUCCEEDED"
        assert [clip.WhichOneof("outcome") for clip in parent.timeline.clips] == ["problem", "sound", "sound"]
        assert str(missing) in parent.timeline.clips[0].problem.what

        request.idempotency_key = "b"
        work.timeline_otio_json = work.timeline_otio_json.replace(str(media), str(missing))
        with pytest.raises(ProblemError, match='No clip of the timeline "reel" has a sound') as refused:
            await world.submit(request)
        assert refused.value.kind is ProblemKind.MEDIA

    in_world(act)


def damage(world: World, statement: str, *values: object) -> None:
    with contextlib.closing(sqlite3.connect(world.store.path)) as connection, connection:
        connection.execute(statement, values)


@pytest.mark.parametrize("lost", ["snapshot", "request", "row"])
def test_a_timeline_that_cannot_be_read_stops_its_clips(
    in_world: Callable[[Act[None]], None], media: Path, lost: str
) -> None:
    async def act(world: World) -> None:
        parent_id = await world.submit(timeline_request(media))
        first, second, third = await world.children(parent_id)
        for change in (lifecycle.start_job, succeed("a")):
            await world.board.update(first, change)
        await world.board.update(second, lifecycle.start_job)
        if lost == "snapshot":
            damage(world, "UPDATE job SET snapshot = x'ff' WHERE id = ?", parent_id)
        elif lost == "request":
            damage(world, "UPDATE job_request SET message = x'ff' WHERE job_id = ?", parent_id)
            with pytest.raises(ProblemError, match="is damaged"):
                await world.board.request(parent_id)
        else:
            damage(world, "DELETE FROM job WHERE id = ?", parent_id)

        cancelled = await world.timelines.child_changed(parent_id)
        assert [job.id for job in cancelled] == [second, third]
        # The worker holds the second one.
        states = [state_of(await world.board.get(child_id)) for child_id in (first, second, third)]
        assert states == ["SUCCEEDED", "CANCELLING", "CANCELLED"]
        await world.board.update(second, lifecycle.stop_job)
        assert await world.timelines.child_changed(parent_id) == []
        if lost == "row":
            return
        parent = await world.board.get(parent_id)
        assert (state_of(parent), parent.child_count) == ("FAILED", 3)
        assert "damaged" in parent.problem.what
        assert "unfinished clips are cancelled" in parent.problem.remedy
        assert ("Retry it" in parent.problem.remedy) == (lost == "snapshot")

        # A retry keeps finished clips if the timeline is still known.
        await world.scheduler.retry(parent_id)
        for child_id in (second, third):
            parent = await world.change(child_id, lifecycle.start_job, succeed("b"))
        assert state_of(parent) == ("SUCCEEDED" if lost == "snapshot" else "FAILED")

    in_world(act)


def test_the_clips_of_a_timeline_that_cannot_be_read_stop_at_the_next_start(
    in_world: Callable[[Act[None]], None], media: Path
) -> None:
    async def act(world: World) -> None:
        parent_id = await world.submit(timeline_request(media))
        children = await world.children(parent_id)
        damage(world, "UPDATE job SET snapshot = x'ff' WHERE id = ?", parent_id)
        await world.scheduler.recover()
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            updating = group.create_task(world.scheduler.update_parents())
            while {state_of(await world.board.get(child_id)) for child_id in children} != {"CANCELLED"}:
                await asyncio.sleep(0.01)
            updating.cancel()

    in_world(act)


def test_the_stems_are_fetched_with_the_job_of_their_clip(
    in_world: Callable[[Act[None]], None], media: Path, tmp_path: Path
) -> None:
    async def act(world: World) -> None:
        parent_id = await world.submit(timeline_request(media))
        for name, child_id in zip(NAMES, await world.children(parent_id), strict=True):
            stem = tmp_path / "artifacts" / child_id / f"{name}.wav"
            stem.parent.mkdir(parents=True)
            stem.write_bytes(b"sound")
            parent = await world.change(child_id, lifecycle.start_job, succeed(name))
        for clip in parent.timeline.clips:
            child = await world.board.get(clip.job_id)
            path, _ = artifact_path(tmp_path / "artifacts", child, f"{clip.name}.wav")
            assert path.parent.name == clip.job_id
            with pytest.raises(ProblemError, match="no artifact"):
                artifact_path(tmp_path / "artifacts", parent, f"{clip.name}.wav")

    in_world(act)


CHILD_STATES = sorted(set(rewas_pb2.JobState.values()) - {rewas_pb2.JOB_STATE_UNSPECIFIED})


@given(
    st.sampled_from(CHILD_STATES),
    st.lists(st.tuples(st.sampled_from(CHILD_STATES), st.floats(0, 1)), min_size=1, max_size=5),
    st.none() | st.floats(0, 1e6),
)
def test_following_any_children_is_a_permitted_change_and_stable(
    parent_state: rewas_pb2.JobState, children: Sequence[tuple[rewas_pb2.JobState, float]], time_left_s: float | None
) -> None:
    parent = rewas_pb2.Job(id="p", state=parent_state, revision=7, child_count=len(children), fraction=0.25)
    jobs = [rewas_pb2.Job(id=str(n), state=state, fraction=part) for n, (state, part) in enumerate(children)]
    busy = [job for job in jobs if job.state not in lifecycle.FINAL_STATES]
    followed = Children(Counter(job.state for job in jobs), busy, time_left_s)
    before = parent.SerializeToString(deterministic=True)
    after = follow_children(parent, followed)
    assert parent.SerializeToString(deterministic=True) == before
    assert after.fraction >= parent.fraction
    assert after is parent or after.revision > parent.revision
    if parent.state in lifecycle.FINAL_STATES:
        assert after is parent
    elif after.state == rewas_pb2.JOB_STATE_CANCELLED:
        assert parent.state == rewas_pb2.JOB_STATE_CANCELLING
    else:
        assert after.state not in lifecycle.FINAL_STATES
        assert after.finished_child_count == sum(job.state in lifecycle.FINAL_STATES for job in jobs)
    again = follow_children(after, followed)
    assert again is after
