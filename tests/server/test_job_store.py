"""The job store: acknowledged jobs are stored exactly once, even if the process is killed."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rewas_api import CONTRACT_VERSION
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.jobs import lifecycle
from rewas_server.jobs.store import SqliteJobStore

ADD_JOBS_FOREVER = """
import itertools, sys
from pathlib import Path
from rewas_api.v1 import rewas_pb2
from rewas_server.jobs import lifecycle
from rewas_server.jobs.store import SqliteJobStore
store = SqliteJobStore(Path(sys.argv[1]))
for number in itertools.count():
    name = f"{sys.argv[2]}-{number}"
    store.add(lifecycle.create_job(name, name), rewas_pb2.SubmitJobRequest(idempotency_key=name))
    print(name, flush=True)
"""


def request(key: str, prompt: str = "rain") -> rewas_pb2.SubmitJobRequest:
    work = rewas_pb2.SoundWork(settings=rewas_pb2.SoundSettings(prompt=prompt))
    work.uploaded_media["b"] = "2"
    work.uploaded_media["a"] = "1"
    return rewas_pb2.SubmitJobRequest(idempotency_key=key, sound=work)


@pytest.fixture
def store(tmp_path: Path) -> SqliteJobStore:
    return SqliteJobStore(tmp_path / "jobs.sqlite3")


@pytest.mark.slow
def test_acknowledged_jobs_survive_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite3"
    acknowledged: list[str] = []
    for run in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", ADD_JOBS_FOREVER, path, str(run)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        acknowledged += [process.stdout.readline().strip() for _ in range(25)]
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
        process.wait()
    stored = [job.id for job in SqliteJobStore(path).list_page(10_000).jobs]
    assert len(stored) == len(set(stored))
    assert set(acknowledged) <= set(stored)
    assert len(stored) - len(acknowledged) <= 3


def test_an_idempotency_key_identifies_one_job(store: SqliteJobStore) -> None:
    first = store.add(lifecycle.create_job("1", "shot"), request("key"))
    assert store.add(lifecycle.create_job("2", "shot"), request("key")) == first
    assert store.find_by_key(request("key")) == first
    assert [job.id for job in store.list_page(10).jobs] == ["1"]
    with pytest.raises(ProblemError) as raised:
        store.add(lifecycle.create_job("3", "shot"), request("key", prompt="wind"))
    assert raised.value.kind is ProblemKind.SETTINGS
    assert "key" in raised.value.what


def test_many_threads_claim_a_job_once(store: SqliteJobStore) -> None:
    for number in range(60):
        store.add(lifecycle.create_job(str(number), "shot"), request(str(number)))
    claimed: list[str] = []

    def claim() -> None:
        while (found := store.claim_next()) is not None:
            claimed.append(found[0].id)

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed, key=int) == [str(number) for number in range(60)]
    assert store.unfinished() == [str(number) for number in range(60)]


def test_the_oldest_job_is_claimed_first_with_its_request(store: SqliteJobStore) -> None:
    for number in range(3):
        store.add(lifecycle.create_job(str(number), "shot"), request(str(number), prompt=f"rain {number}"))
    store.update("0", lifecycle.request_cancel)
    found = store.claim_next()
    assert found is not None
    job, found_request = found
    assert (job.id, job.state, job.attempt) == ("1", rewas_pb2.JOB_STATE_RUNNING, 1)
    assert found_request.sound.settings.prompt == "rain 1"


def test_a_refused_change_changes_nothing(store: SqliteJobStore) -> None:
    store.add(lifecycle.create_job("1", "shot"), request("1"))
    with pytest.raises(lifecycle.InvalidTransition):
        store.update("1", lifecycle.cancel_job)
    assert store.get("1").revision == 1
    store.update("1", lifecycle.start_job)
    assert store.get("1").revision == 2


def test_an_unknown_job_is_named(store: SqliteJobStore) -> None:
    with pytest.raises(ProblemError, match="nonsense") as raised:
        store.get("nonsense")
    assert raised.value.kind is ProblemKind.NOT_FOUND


def test_an_unusable_store_is_reported(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.sqlite3"
    damaged.write_bytes(b"this is no database, however long one looks at it" * 100)
    below_a_file = tmp_path / "file"
    below_a_file.write_text("")
    others = []
    for contract_version in (CONTRACT_VERSION - 1, CONTRACT_VERSION + 1):
        others.append(tmp_path / f"contract-{contract_version}.sqlite3")
        with sqlite3.connect(others[-1]) as connection:
            connection.execute(f"PRAGMA user_version = {contract_version}")
        connection.close()
    for path in (damaged, below_a_file / "jobs.sqlite3", *others):
        with pytest.raises(ProblemError) as raised:
            SqliteJobStore(path)
        assert str(path) in raised.value.what
        assert raised.value.remedy


def test_jobs_are_kept_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite3"
    store = SqliteJobStore(path)
    store.add(lifecycle.create_job("1", "shot"), request("1"))
    completed = store.update("1", lambda job: lifecycle.fail_job(job, ProblemError("a", "b")))
    store.close()
    assert SqliteJobStore(path).get("1") == completed


def test_pages_list_every_job_once_while_new_ones_arrive(store: SqliteJobStore) -> None:
    for number in range(7):
        store.add(lifecycle.create_job(str(number), "shot"), request(str(number)))
    pages, before = [], None
    for arrival in range(7, 20):
        page = store.list_page(3, before)
        pages.append([job.id for job in page.jobs])
        before = page.next_before
        store.add(lifecycle.create_job(str(arrival), "shot"), request(str(arrival)))
        if before is None:
            break
    assert pages == [["6", "5", "4"], ["3", "2", "1"], ["0"]]


@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_the_last_page_has_no_next_token(store: SqliteJobStore, size: int) -> None:
    for number in range(4):
        store.add(lifecycle.create_job(str(number), "shot"), request(str(number)))
    lengths, before = [], None
    while True:
        page = store.list_page(size, before)
        lengths.append(len(page.jobs))
        before = page.next_before
        if before is None:
            break
    assert sum(lengths) == 4
    assert all(lengths)
