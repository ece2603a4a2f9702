"""A replica without Ray: its messages, its media, several jobs at the same time, and its end."""

import asyncio
import contextlib
import hashlib
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import cast

import pytest
from load_run import flat_energy_work
from sliding_square import write_video

from rewas_api.v1 import rewas_pb2
from rewas_engine import Progress
from rewas_server.cluster.remote_work import RemoteWork
from rewas_server.cluster.replica import STOP_STATUS, Replica
from rewas_server.files.content_store import ContentStore
from rewas_server.worker import messages
from rewas_server.worker.job_runner import OUT_OF_MEMORY_STATUS, JobRunner


@pytest.fixture
def media(tmp_path: Path) -> Path:
    (tmp_path / "media").mkdir()
    path = tmp_path / "media" / "shot.mp4"
    write_video(path)
    return path


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(str(tmp_path / "content"), tmp_path / "server")


@pytest.fixture
def replica(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Replica]:
    with open_replica(tmp_path, monkeypatch) as replica:
        yield replica


@pytest.fixture
def wide_replica(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Replica]:
    """A replica for two jobs at the same time."""
    with open_replica(tmp_path, monkeypatch, jobs_per_replica=2) as replica:
        yield replica


@contextlib.contextmanager
def open_replica(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **settings: int) -> Iterator[Replica]:
    # These jobs need no model, which takes a while to load.
    monkeypatch.setattr(JobRunner, "load_default_pack", lambda self: None)
    folders = {"content_store": str(tmp_path / "content"), "cache_dir": str(tmp_path / "cache")}
    replica = Replica(folders | settings)
    yield replica
    replica.close()


def energy_work(media: Path, sha256: str) -> RemoteWork:
    request = rewas_pb2.SubmitJobRequest(energy=flat_energy_work(media.parents[1]))
    return RemoteWork("7" * 32, request, "tiny", {str(media): sha256}, stop_grace_s=30.0, log_level="debug")


def run(replica: Replica, work: RemoteWork) -> list[messages.Message]:
    return asyncio.run(collect(replica, work))


async def collect(replica: Replica, work: RemoteWork) -> list[messages.Message]:
    """Run a job, and return its messages, without heartbeats."""
    chunks = [chunk async for chunk in replica.run(work.to_bytes())]
    sent = [messages.from_line(line) for line in b"".join(chunks).splitlines(keepends=True)]
    return [message for message in sent if not isinstance(message, messages.Heartbeat)]


def test_a_job_runs_on_media_from_the_store(replica: Replica, store: ContentStore, media: Path, tmp_path: Path) -> None:
    work = energy_work(media, store.put(media))
    media.unlink()
    for _ in range(2):
        begun, *_, done = run(replica, work)
        assert begun == messages.Begun(work.job_id)
        assert isinstance(done, messages.Done)
        assert isinstance(done.result, rewas_pb2.EnergyResult)
        assert len(done.result.energy.values) > 0
    assert [path.name for path in (tmp_path / "cache").iterdir()] == list(work.media.values())


def test_a_job_whose_media_is_missing_or_damaged_does_not_begin(
    replica: Replica, store: ContentStore, media: Path, tmp_path: Path
) -> None:
    sha256 = hashlib.sha256(media.read_bytes()).hexdigest()
    work = energy_work(media, sha256)
    (postponed,) = run(replica, work)
    assert isinstance(postponed, messages.Postponed)
    assert "does not have" in postponed.reason
    store.put(media)
    (tmp_path / "content" / sha256).write_bytes(b"damaged".ljust(media.stat().st_size))
    (postponed,) = run(replica, work)
    assert isinstance(postponed, messages.Postponed)
    assert "damaged" in postponed.reason
    # The damaged file is gone, so that the server stores it again.
    assert list(store.list_content()) == []
    store.put(media)
    assert isinstance(run(replica, work)[-1], messages.Done)


def test_progress_that_is_out_of_date_is_not_sent(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 10_000
    work = RemoteWork("7" * 32, rewas_pb2.SubmitJobRequest(), "tiny", {}, stop_grace_s=30.0)

    def run_fast(job: messages.Work, *_: object) -> bool:
        for step in range(steps + 1):
            replica._send(messages.JobProgress(job.job_id, Progress("sample", step, steps, step / steps)))
        replica._send(messages.JobProgress(job.job_id, Progress("deliver", 0, 1, 1.0)))
        replica._send(messages.Stopped(job.job_id))
        return True

    monkeypatch.setattr(replica._runner, "run", run_fast)
    *sent, before, last, stopped = run(replica, work)
    assert len(sent) < steps / 2
    shown = [message.progress for message in (*sent, before, last) if isinstance(message, messages.JobProgress)]
    assert [progress.fraction for progress in shown] == sorted(progress.fraction for progress in shown)
    assert shown[-2:] == [Progress("sample", steps, steps, 1.0), Progress("deliver", 0, 1, 1.0)]
    assert isinstance(stopped, messages.Stopped)


def any_work(job: str, *, is_alone: bool = False, log_level: str = "info") -> RemoteWork:
    request = rewas_pb2.SubmitJobRequest()
    return RemoteWork(job * 32, request, "tiny", {}, stop_grace_s=30.0, log_level=log_level, is_alone=is_alone)


class Jobs:
    """Replaces the packs. Its jobs run until `let_go` ends them.

    Attributes:
        running: Ids of the running jobs.
        most: Largest number of jobs that have run at the same time.
    """

    def __init__(self, replica: Replica) -> None:
        self.running: set[str] = set()
        self.most = 0
        self._replica = replica
        self._changed = threading.Condition()
        self._let_go: set[str] = set()

    def run(self, work: messages.Work, files: object, stopped: threading.Event, default_pack: str) -> bool:
        with self._changed:
            self.running.add(work.job_id)
            self.most = max(self.most, len(self.running))
            self._changed.notify_all()
            logging.getLogger("rewas.worker").info("This is %s.", work.job_id[0])
            # Nothing wakes the condition when the job is stopped.
            while work.job_id not in self._let_go and not stopped.is_set():
                self._changed.wait(0.02)
            self.running.remove(work.job_id)
            self._changed.notify_all()
        self._replica._send(messages.Stopped(work.job_id))
        return True

    def let_go(self, *jobs: str) -> None:
        with self._changed:
            self._let_go.update(job * 32 for job in jobs)
            self._changed.notify_all()

    async def wait_for(self, *jobs: str) -> None:
        """Wait until exactly these jobs run."""

        def wait() -> bool:
            with self._changed:
                return self._changed.wait_for(lambda: {job_id[0] for job_id in self.running} == set(jobs), 60)

        assert await asyncio.to_thread(wait)


@pytest.fixture
def jobs(wide_replica: Replica, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    jobs = Jobs(wide_replica)
    monkeypatch.setattr(wide_replica._runner, "run", jobs.run)
    return jobs


def test_jobs_run_at_the_same_time_and_each_relay_gets_the_messages_of_its_own(
    wide_replica: Replica, jobs: Jobs
) -> None:
    async def act() -> list[list[messages.Message]]:
        calls = [asyncio.ensure_future(collect(wide_replica, any_work(job))) for job in "abc"]
        await jobs.wait_for("a", "b")
        jobs.let_go("a")
        await jobs.wait_for("b", "c")
        jobs.let_go("b", "c")
        return await asyncio.gather(*calls)

    for job, sent in zip("abc", asyncio.run(act()), strict=True):
        assert sent[-1] == messages.Stopped(job * 32)
        (logged,) = [message.line for message in sent if isinstance(message, messages.Logged)]
        assert f"This is {job}." in logged
    assert jobs.most == 2


def test_a_job_that_may_have_ended_a_process_runs_alone(wide_replica: Replica, jobs: Jobs) -> None:
    async def act() -> None:
        calls = [asyncio.ensure_future(collect(wide_replica, any_work("a")))]
        await jobs.wait_for("a")
        calls.append(asyncio.ensure_future(collect(wide_replica, any_work("b", is_alone=True))))
        calls.append(asyncio.ensure_future(collect(wide_replica, any_work("c"))))
        jobs.let_go("a")
        await jobs.wait_for("b")
        jobs.let_go("b")
        await jobs.wait_for("c")
        jobs.let_go("c")
        await asyncio.gather(*calls)

    asyncio.run(act())
    assert jobs.most == 1


def test_a_relay_that_hangs_up_stops_only_its_own_job(wide_replica: Replica, jobs: Jobs) -> None:
    async def act() -> None:
        other = asyncio.ensure_future(collect(wide_replica, any_work("b")))
        await jobs.wait_for("b")
        lines = cast(AsyncGenerator[bytes], wide_replica.run(any_work("a").to_bytes()))
        await anext(lines)
        await jobs.wait_for("a", "b")
        waiting = cast(AsyncGenerator[bytes], wide_replica.run(any_work("c").to_bytes()))
        assert messages.from_line(await anext(waiting)) == messages.Heartbeat()
        # Neither a waiting job nor a running one keeps its place.
        await waiting.aclose()
        await lines.aclose()
        assert jobs.running == {"b" * 32}
        third = asyncio.ensure_future(collect(wide_replica, any_work("d")))
        await jobs.wait_for("b", "d")
        jobs.let_go("b", "d")
        assert (await other)[-1] == messages.Stopped("b" * 32)
        await third

    asyncio.run(act())


def test_the_log_gets_as_much_as_one_of_the_jobs_wants(wide_replica: Replica, jobs: Jobs) -> None:
    async def act() -> list[int]:
        calls = [asyncio.ensure_future(collect(wide_replica, any_work("a", log_level="error")))]
        await jobs.wait_for("a")
        levels = [logging.getLogger("rewas").level]
        calls.append(asyncio.ensure_future(collect(wide_replica, any_work("b", log_level="debug"))))
        await jobs.wait_for("a", "b")
        levels.append(logging.getLogger("rewas").level)
        jobs.let_go("b")
        await calls[1]
        levels.append(logging.getLogger("rewas").level)
        jobs.let_go("a")
        await calls[0]
        return levels

    assert asyncio.run(act()) == [logging.ERROR, logging.DEBUG, logging.ERROR]


def test_media_of_running_jobs_stay_in_the_cache(
    tmp_path: Path, store: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    films = []
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode() * 1000)
        films.append(store.put(tmp_path / name))
    with open_replica(tmp_path, monkeypatch, jobs_per_replica=2, cache_limit_bytes=1) as replica:
        jobs = Jobs(replica)
        monkeypatch.setattr(replica._runner, "run", jobs.run)

        async def act() -> None:
            calls = []
            for job, sha256 in zip("ab", films, strict=True):
                work = RemoteWork(job * 32, rewas_pb2.SubmitJobRequest(), "tiny", {job: sha256}, stop_grace_s=30.0)
                calls.append(asyncio.ensure_future(collect(replica, work)))
                await jobs.wait_for(*"ab"[: len(calls)])
            assert {path.name for path in (tmp_path / "cache").iterdir()} == set(films)
            jobs.let_go("a", "b")
            await asyncio.gather(*calls)

        asyncio.run(act())


NEVER_STOPS = """
import asyncio, sys, threading
from rewas_server.cluster.remote_work import RemoteWork
from rewas_server.cluster.replica import Replica
from rewas_server.worker.job_runner import JobRunner
from rewas_api.v1 import rewas_pb2

JobRunner.load_default_pack = lambda self: None
replica = Replica({"content_store": sys.argv[1]})
replica._runner.run = lambda *_: threading.Event().wait()

async def hang_up():
    lines = replica.run(RemoteWork("7" * 32, rewas_pb2.SubmitJobRequest(), "tiny", {}, stop_grace_s=0.2).to_bytes())
    print(await anext(lines), flush=True)
    await lines.aclose()

asyncio.run(hang_up())
"""


def test_a_replica_ends_if_its_job_does_not_stop(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NEVER_STOPS, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == STOP_STATUS, done.stderr
    assert "heartbeat" in done.stdout


RUNS_OUT_OF_MEMORY = """
import asyncio, sys, threading
from rewas_server.cluster.remote_work import RemoteWork
from rewas_server.cluster.replica import Replica
from rewas_server.worker.job_runner import JobRunner
from rewas_api.v1 import rewas_pb2

JobRunner.load_default_pack = lambda self: None
replica = Replica({"content_store": sys.argv[1], "jobs_per_replica": 2})
both, failed = threading.Barrier(2), threading.Event()

def run_job(work, *_):
    both.wait()
    if work.job_id[0] == "a":
        return False
    assert failed.wait(50)
    return True

replica._runner.run = run_job

async def call(job):
    work = RemoteWork(job * 32, rewas_pb2.SubmitJobRequest(), "tiny", {}, stop_grace_s=30.0)
    async for _ in replica.run(work.to_bytes()):
        pass
    print(job, flush=True)
    failed.set()

async def act():
    calls = [asyncio.ensure_future(call(job)) for job in "ab"]
    await calls[0]
    # The process runs until the other job has ended, but begins no further job.
    await asyncio.gather(call("c"), *calls)

asyncio.run(act())
"""


def test_a_replica_out_of_memory_ends_when_its_other_jobs_have_ended(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUNS_OUT_OF_MEMORY, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == OUT_OF_MEMORY_STATUS, done.stderr
    assert done.stdout.split() == ["a", "b"]


def test_the_end_of_a_call_waits_until_the_job_has_stopped(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray sends the next job when the call has ended."""
    ended = []

    def run_until_stopped(work: object, files: object, stopped: object, default_pack: str) -> bool:
        assert stopped.wait(30)  # type: ignore[attr-defined]
        ended.append(default_pack)
        return True

    monkeypatch.setattr(replica._runner, "run", run_until_stopped)
    work = RemoteWork("7" * 32, rewas_pb2.SubmitJobRequest(), "tiny", {}, stop_grace_s=30.0)

    async def hang_up() -> None:
        lines = cast(AsyncGenerator[bytes], replica.run(work.to_bytes()))
        assert messages.from_line(await anext(lines)) == messages.Heartbeat()
        assert not ended
        await lines.aclose()
        assert ended == ["tiny"]

    asyncio.run(hang_up())
