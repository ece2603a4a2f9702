"""What every job store does: acknowledged jobs are stored exactly once, and every call gives what was stored."""

import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgres_server import postgres_server
from stored_jobs import add, add_timeline, end, ids, job, request

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.jobs import lifecycle
from rewas_server.jobs.postgres_store import PostgresJobStore
from rewas_server.jobs.sqlite_store import SqliteJobStore
from rewas_server.jobs.store import MAX_DURATIONS, JobStore, WorkDuration

OpenStore = Callable[[], JobStore]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """Opens the same store again and again."""
    opened: list[JobStore] = []
    url = postgres_server().new_store() if request.param == "postgres" else ""

    def open_again() -> JobStore:
        for store in opened:
            store.close()
        opened[:] = [PostgresJobStore(url) if url else SqliteJobStore(tmp_path / "jobs.sqlite3")]
        return opened[0]

    yield open_again
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> JobStore:
    return open_store()


def set_pinned(store: JobStore, job_id: str, pinned: bool) -> None:
    def pin(before: rewas_pb2.Job) -> rewas_pb2.Job:
        after = rewas_pb2.Job()
        after.CopyFrom(before)
        after.pinned = pinned
        return after

    store.update(job_id, pin)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the process is forked")
def test_acknowledged_jobs_survive_sigkill(open_store: OpenStore) -> None:
    acknowledged: list[str] = []
    for run in range(3):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            store = open_store()
            for number in itertools.count():
                add(store, f"{run}-{number}")
                os.write(writing, f"{run}-{number}\n".encode())
        os.close(writing)
        with os.fdopen(reading) as pipe:
            acknowledged += [pipe.readline().strip() for _ in range(25)]
            os.kill(pid, signal.SIGKILL)
            acknowledged += [line.strip() for line in pipe if line.endswith("\n")]
        os.waitpid(pid, 0)
    stored = ids(open_store().list_page(10_000).jobs)
    assert len(stored) == len(set(stored))
    assert set(acknowledged) <= set(stored)
    assert len(stored) - len(acknowledged) <= 3


def test_an_idempotency_key_identifies_one_job(store: JobStore) -> None:
    first = store.add(job("1"), request("key"))
    assert store.add(job("2"), request("key")) == first
    assert store.find_by_key(request("key")) == first
    assert store.find_by_key(request("other")) is None
    assert ids(store.list_page(10).jobs) == ["1"]
    with pytest.raises(ProblemError) as raised:
        store.add(job("3"), request("key", prompt="wind"))
    assert raised.value.kind is ProblemKind.SETTINGS
    assert "key" in raised.value.what


def test_many_threads_that_add_the_same_work_get_one_job(store: JobStore) -> None:
    stored: list[str] = []

    def submit(thread: int) -> None:
        for number in range(15):
            stored.append(store.add(job(f"{thread}-{number}"), request(str(number))).id)

    threads = [threading.Thread(target=submit, args=[thread]) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stored) == 60
    assert len(set(stored)) == 15
    assert set(stored) == set(store.unfinished())


def test_many_threads_that_change_a_job_lose_no_change(store: JobStore) -> None:
    add(store, "1")

    def count(before: rewas_pb2.Job) -> rewas_pb2.Job:
        after = rewas_pb2.Job()
        after.CopyFrom(before)
        after.step += 1
        return after

    threads = [threading.Thread(target=lambda: [store.update("1", count) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("1").step == 80


def test_jobs_of_a_higher_priority_run_first_and_older_ones_before_newer_ones(store: JobStore) -> None:
    batch, normal, interactive = rewas_pb2.PRIORITY_BATCH, rewas_pb2.PRIORITY_NORMAL, rewas_pb2.PRIORITY_INTERACTIVE
    priorities = {"1": batch, "2": rewas_pb2.PRIORITY_UNSPECIFIED, "3": interactive, "4": normal, "5": interactive}
    for job_id, priority in priorities.items():
        store.add(job(job_id, priority), request(job_id, prompt=f"rain {job_id}"))
    order = []
    while (found := store.next_queued()) is not None:
        next_job, next_request = found
        assert next_job == store.get(next_job.id)
        assert next_request.sound.settings.prompt == f"rain {next_job.id}"
        assert next_job.state == rewas_pb2.JOB_STATE_QUEUED
        order.append(next_job.id)
        store.update(next_job.id, lifecycle.request_cancel)
    assert order == ["3", "5", "2", "4", "1"]


def test_the_queue_shows_the_order_in_which_jobs_run(store: JobStore) -> None:
    store.add(job("1", rewas_pb2.PRIORITY_BATCH), request("1", pack="tone"))
    add(store, "2")
    energy = rewas_pb2.SubmitJobRequest(idempotency_key="3", energy=rewas_pb2.EnergyWork(pack="starter"))
    store.add(job("3", rewas_pb2.PRIORITY_INTERACTIVE), energy)
    add_timeline(store, "4", clips=2)
    add(store, "5", "6")
    store.update("1", lifecycle.start_job)
    end(store, "5")
    queue = store.queue()
    assert [queued.id for queued in queue] == ["1", "3", "2", "4.1", "4.2", "6"]
    assert [queued.kind for queued in queue] == ["sound", "energy", *["sound"] * 4]
    assert [queued.pack for queued in queue[:3]] == ["tone", "starter", ""]
    assert [queued.parent_id for queued in queue] == ["", "", "", "4", "4", ""]
    assert queue[0].state == rewas_pb2.JOB_STATE_RUNNING
    assert queue[1].state == rewas_pb2.JOB_STATE_QUEUED
    assert queue[0].priority == rewas_pb2.PRIORITY_BATCH


def test_excluded_jobs_are_passed_over(store: JobStore) -> None:
    add(store, "1", "2", "3")
    for excluded, expected in (({"1"}, "2"), (["2", "1"], "3"), ({"3", "gone"}, "1")):
        found = store.next_queued(excluded)
        assert found is not None
        assert found[0].id == expected
    assert store.next_queued({"1", "2", "3"}) is None


def test_a_timeline_never_runs_itself(store: JobStore) -> None:
    add_timeline(store, "1", clips=2)
    found = store.next_queued()
    assert found is not None
    assert found[0].id == "1.1"
    assert found[1].idempotency_key == "1/1"
    end(store, "1.1", "1.2")
    assert store.next_queued() is None
    assert store.unfinished() == ["1"]


def test_a_timeline_is_stored_with_its_children_or_not_at_all(store: JobStore) -> None:
    add(store, "2.2")
    # The second child's identifier is taken.
    with pytest.raises(ValueError, match="twice"):
        add_timeline(store, "2", clips=3)
    assert store.unfinished() == ["2.2"]
    assert store.children("2", 100).jobs == []


def test_children_are_listed_in_the_order_of_the_timeline(store: JobStore) -> None:
    add_timeline(store, "1", clips=5)
    add(store, "2")
    add_timeline(store, "3", clips=1)
    assert ids(store.list_page(10).jobs) == ["3", "2", "1"]
    assert ids(store.children("1", 100).jobs) == ["1.1", "1.2", "1.3", "1.4", "1.5"]
    assert store.children("", 100).jobs == store.children("2", 100).jobs == []
    pages, before = [], None
    while True:
        page = store.list_page(2, before, parent_id="1")
        pages.append(ids(page.jobs))
        before = page.next_before
        if before is None:
            break
    assert pages == [["1.1", "1.2"], ["1.3", "1.4"], ["1.5"]]


def test_lists_can_be_limited_to_states(store: JobStore) -> None:
    add(store, "1", "2", "3", "4")
    store.update("1", lifecycle.start_job)
    end(store, "3")
    queued, running, failed = (
        rewas_pb2.JOB_STATE_QUEUED,
        rewas_pb2.JOB_STATE_RUNNING,
        rewas_pb2.JOB_STATE_FAILED,
    )
    assert ids(store.list_page(10, states={queued}).jobs) == ["4", "2"]
    assert ids(store.list_page(10, states=frozenset({running, failed})).jobs) == ["3", "1"]
    first = store.list_page(1, states={queued})
    assert ids(first.jobs) == ["4"]
    second = store.list_page(1, first.next_before, states={queued})
    assert ids(second.jobs) == ["2"]
    assert second.next_before is None
    assert store.list_page(10, states={rewas_pb2.JOB_STATE_CANCELLED}).jobs == []


def test_lists_leave_results_out_and_other_calls_do_not(store: JobStore) -> None:
    add(store, "1")
    store.update("1", lifecycle.start_job)
    result = rewas_pb2.SoundResult(takes=[rewas_pb2.Take(seed=7)])
    completed = store.update("1", lambda job: lifecycle.complete_job(job, result))
    assert completed.sound == result
    assert store.get("1") == completed
    listed = store.list_page(1).jobs[0]
    assert listed.WhichOneof("result") is None
    completed.ClearField("sound")
    assert listed == completed


def test_a_refused_change_changes_nothing(store: JobStore) -> None:
    add(store, "1")
    with pytest.raises(lifecycle.InvalidTransition):
        store.update("1", lifecycle.cancel_job)
    assert store.get("1").revision == 1
    store.update("1", lifecycle.start_job)
    assert store.get("1").revision == 2


def test_an_unknown_job_is_named(store: JobStore) -> None:
    calls = (store.get, store.request, store.delete, lambda job_id: store.update(job_id, lifecycle.start_job))
    for call in calls:
        with pytest.raises(ProblemError, match="nonsense") as raised:
            call("nonsense")
        assert raised.value.kind is ProblemKind.NOT_FOUND


def test_everything_is_kept_after_a_restart(open_store: OpenStore) -> None:
    store = open_store()
    add_timeline(store, "1", clips=1)
    store.update("1.1", lifecycle.start_job)
    completed = store.update("1.1", lambda job: lifecycle.complete_job(job, rewas_pb2.SoundResult()))
    duration = WorkDuration("sound", "starter", "cpu", 4.0, 2.5)
    store.record_duration(duration)
    store = open_store()
    assert store.get("1.1") == completed
    assert store.children("1", 100).jobs == [completed]
    assert store.request("1.1") == request("1/1")
    assert store.request("1").timeline.uploaded_media["a"] == "media of 1"
    assert store.durations("sound", "starter", "cpu") == [duration]


def test_pages_list_every_job_once_while_new_ones_arrive(store: JobStore) -> None:
    add(store, *map(str, range(7)))
    pages, before = [], None
    for arrival in range(7, 20):
        page = store.list_page(3, before)
        pages.append(ids(page.jobs))
        before = page.next_before
        add(store, str(arrival))
        if before is None:
            break
    assert pages == [["6", "5", "4"], ["3", "2", "1"], ["0"]]


@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_the_last_page_has_no_next_token(store: JobStore, size: int) -> None:
    add(store, *map(str, range(4)))
    lengths, before = [], None
    while True:
        page = store.list_page(size, before)
        lengths.append(len(page.jobs))
        before = page.next_before
        if before is None:
            break
    assert sum(lengths) == 4
    assert all(lengths)


def test_unfinished_jobs_are_counted(store: JobStore) -> None:
    add(store, "1", "2", "3")
    add_timeline(store, "4", clips=2)
    end(store, "2")
    assert store.unfinished() == ["1", "3", "4", "4.1", "4.2"]
    assert (store.count_unfinished(), store.count_unfinished(clips=True)) == (3, 2)


def test_the_newest_durations_are_kept(store: JobStore) -> None:
    for number in range(MAX_DURATIONS + 5):
        store.record_duration(WorkDuration("sound", "starter", "cpu", float(number), 1.0))
    store.record_duration(WorkDuration("sound", "starter", "cuda:0", 1.0, 1.0))
    amounts = [duration.amount_s for duration in store.durations("sound", "starter", "cpu")]
    assert amounts == [float(number) for number in range(MAX_DURATIONS + 4, 4, -1)]
    assert len(store.durations("sound", "starter", "cuda:0")) == 1
    assert store.durations("energy", "starter", "cpu") == []


def test_a_job_is_deleted_with_its_children(store: JobStore) -> None:
    add_timeline(store, "1", clips=2)
    add(store, "2")
    for job_id in ("1.1", "1.2", "1"):
        with pytest.raises(ProblemError) as raised:
            store.delete("1")
        assert raised.value.kind is ProblemKind.SETTINGS
        assert '"1"' in raised.value.what
        end(store, job_id)
    store.delete("1")
    assert store.unfinished() == ["2"]
    assert ids(store.list_page(10).jobs) == ["2"]
    assert store.children("1", 100).jobs == []
    # The key is free again.
    add_timeline(store, "1", clips=2)
    assert ids(store.children("1", 100).jobs) == ["1.1", "1.2"]


def test_media_of_unfinished_and_pinned_jobs_is_in_use(store: JobStore) -> None:
    assert store.media_in_use() == set()
    add_timeline(store, "1", clips=1)
    assert store.media_in_use() == {"1", "2", "media of 1"}
    end(store, "1.1")
    assert store.media_in_use() == {"media of 1"}
    set_pinned(store, "1.1", True)
    end(store, "1")
    assert store.media_in_use() == {"1", "2"}
    set_pinned(store, "1.1", False)
    assert store.media_in_use() == set()
    # It may run again.
    set_pinned(store, "1", True)
    store.delete("1")
    assert store.media_in_use() == set()


def test_the_unfinished_jobs_of_each_client_are_counted(store: JobStore) -> None:
    store.add(job("1"), request("1"), client="ada")
    store.add(job("2"), request("2"), client="bob")
    store.add(job("3", clips=2), request("3"), [(job("4", parent_id="3"), request("3/1"))], client="ada")
    assert [store.count_unfinished(client) for client in ("ada", "bob", "eve", None)] == [2, 1, 0, 3]
    assert [store.count_unfinished(client, clips=True) for client in ("ada", "bob", None)] == [1, 0, 1]
    store.update("1", lifecycle.request_cancel)
    assert [store.count_unfinished(client) for client in ("ada", "bob", None)] == [1, 1, 2]


def test_what_retention_needs_is_listed(store: JobStore) -> None:
    add_timeline(store, "films", 2)
    add(store, "done")
    ended = store.update("done", lifecycle.request_cancel)
    listed = {one.id: one for one in store.list_stored()}
    assert set(listed) == {"films", "films.1", "films.2", "done"}
    assert listed["films.2"].parent_id == "films"
    assert [one.finished_at_s is None for one in listed.values()] == [one.id != "done" for one in listed.values()]
    assert listed["done"].finished_at_s == ended.finished_at.ToMilliseconds() / 1000
    assert listed["done"].state == ended.state
    assert all(one.size_bytes > 50 and not one.pinned and not one.files_deleted for one in listed.values())
    assert store.media_named() == {"1", "2", "media of films"}
    store.delete("done")
    assert "done" not in {one.id for one in store.list_stored()}


def test_a_sound_store_has_set_no_job_aside(store: JobStore) -> None:
    add(store, "1")
    assert store.set_aside_jobs() == []


def test_any_text_is_kept(store: JobStore) -> None:
    key = "\x00 \x01 \x01\x02 é 声 \U0001f50a ? %s \\ ' \""
    store.add(job("1"), request(key, pack="\x00"), client="\x01\x00")
    assert store.get("1").id == "1"
    assert store.request("1") == request(key, pack="\x00")
    assert store.find_by_key(request(key, pack="\x00")) == store.get("1")
    assert store.find_by_key(request(key.replace("\x00", "\x01"))) is None
    assert [queued.pack for queued in store.queue()] == ["\x00"]
    assert store.count_unfinished("\x01\x00") == 1
    assert store.set_aside_jobs() == []
    with pytest.raises(ProblemError) as raised:
        store.get("\x00")
    assert raised.value.kind is ProblemKind.NOT_FOUND
    assert store.next_queued({"\x01", "é"}) is not None
