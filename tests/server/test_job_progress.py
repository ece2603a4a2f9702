"""Every reader sees the progress of running jobs, although it is not stored."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from stored_jobs import add, add_timeline

from rewas_api.v1 import rewas_pb2
from rewas_engine import Progress
from rewas_server.config import ServerConfig
from rewas_server.jobs import lifecycle
from rewas_server.jobs.board import JobBoard
from rewas_server.jobs.scheduler import Scheduler
from rewas_server.jobs.sqlite_store import SqliteJobStore

Change = Callable[[rewas_pb2.Job], rewas_pb2.Job]


@pytest.fixture
def store(tmp_path: Path) -> SqliteJobStore:
    store = SqliteJobStore(tmp_path / "jobs.sqlite3")
    add(store, "a")
    return store


def sampling(fraction: float) -> Change:
    return lambda job: lifecycle.update_progress(job, Progress("sample", 1, 4, fraction))


def test_every_reader_sees_the_progress_and_the_store_does_not(store: SqliteJobStore) -> None:
    async def act() -> None:
        board = JobBoard(store)
        await board.report_progress("a", sampling(0.1))
        assert (await board.get("a")).state == rewas_pb2.JOB_STATE_QUEUED
        watch = board.watch("a")
        await anext(watch)
        started = await board.update("a", lifecycle.start_job)
        await board.report_progress("a", sampling(0.5))
        listed = (await board.list_page(10, None)).jobs
        for job in (await board.get("a"), *listed):
            assert (job.fraction, job.step, job.revision) == (0.5, 1, started.revision + 1)
        assert store.get("a") == started
        seen = [await anext(watch), await anext(watch)]
        assert [job.fraction for job in seen] == [0.0, 0.5]
        ended = await board.update("a", lambda job: lifecycle.complete_job(job, rewas_pb2.SoundResult()))
        assert ended.revision == started.revision + 2
        assert store.get("a") == ended == (await board.get("a")) == await anext(watch)

    asyncio.run(act())


def test_later_changes_keep_the_progress(store: SqliteJobStore) -> None:
    async def act() -> None:
        board = JobBoard(store)
        await board.update("a", lifecycle.start_job)
        await board.report_progress("a", sampling(0.5))
        assert (await board.update("a", lambda job: job)).fraction == 0.5
        pinned = await board.update("a", lambda job: lifecycle.pin_job(job, True))
        assert (pinned.fraction, pinned.pinned) == (0.5, True)
        await board.report_progress("a", sampling(0.7))
        interrupted = await board.update(
            "a", lambda job: lifecycle.interrupt_job(job, rewas_pb2.INTERRUPTION_CAUSE_WORKER_ENDED)
        )
        assert interrupted.fraction == 0.7
        await board.report_progress("a", sampling(0.9))
        assert (await board.get("a")).fraction == 0.7
        assert (await board.update("a", lifecycle.start_job)).revision > interrupted.revision

    asyncio.run(act())


def test_progress_never_undoes_a_change_that_is_being_stored(store: SqliteJobStore) -> None:
    async def act() -> None:
        board = JobBoard(store)
        add_timeline(store, "t", 2)
        for job_id in ("a", "t.1"):
            await board.update(job_id, lifecycle.start_job)
        for job_id, cancel in (
            ("a", board.update("a", lifecycle.request_cancel)),
            ("t.1", board.update_children("t", lifecycle.request_cancel)),
        ):
            storing = asyncio.create_task(cancel)
            await asyncio.sleep(0)  # It is in the store's thread now.
            await board.report_progress(job_id, sampling(0.5))
            await storing
            await board.report_progress(job_id, sampling(0.6))
            assert (await board.get(job_id)).state == rewas_pb2.JOB_STATE_CANCELLING

    asyncio.run(act())


def test_watchers_of_an_earlier_run_see_what_the_next_run_does(store: SqliteJobStore, tmp_path: Path) -> None:
    """Their client ignores snapshots with a lower revision than the last one."""

    async def act() -> None:
        board = JobBoard(store)
        await board.update("a", lifecycle.start_job)
        for step in range(50):
            await board.report_progress("a", sampling(step / 100))
        last_seen = await board.get("a")
        next_board = JobBoard(store)
        await Scheduler(next_board, ServerConfig(state_dir=tmp_path)).recover()
        recovered = await next_board.get("a")
        assert recovered.state == rewas_pb2.JOB_STATE_QUEUED
        assert recovered.revision > last_seen.revision

    asyncio.run(act())
