"""A job store does what a plain list of jobs does, in any sequence of calls and restarts."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from postgres_server import postgres_server
from stored_jobs import PROBLEM

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.jobs import lifecycle, sql_store
from rewas_server.jobs.postgres_store import PostgresJobStore
from rewas_server.jobs.sqlite_store import SqliteJobStore
from rewas_server.jobs.store import MAX_DURATIONS, JobStore, QueuedJob, WorkDuration

QUEUED, RUNNING = rewas_pb2.JOB_STATE_QUEUED, rewas_pb2.JOB_STATE_RUNNING
FINAL = (rewas_pb2.JOB_STATE_SUCCEEDED, rewas_pb2.JOB_STATE_FAILED, rewas_pb2.JOB_STATE_CANCELLED)
NUMBERS = st.integers(0, 99)


def copy(job: rewas_pb2.Job) -> rewas_pb2.Job:
    after = rewas_pb2.Job()
    after.CopyFrom(job)
    return after


def complete(job: rewas_pb2.Job) -> rewas_pb2.Job:
    takes = [rewas_pb2.Take(seed=job.revision)]
    return lifecycle.complete_job(job, rewas_pb2.SoundResult(takes=takes))


def delete_files(job: rewas_pb2.Job) -> rewas_pb2.Job:
    after = copy(job)
    after.files_deleted = True
    return after


def promote(job: rewas_pb2.Job) -> rewas_pb2.Job:
    after = copy(job)
    after.priority = rewas_pb2.PRIORITY_INTERACTIVE
    return after


CHANGES: dict[str, Callable[[rewas_pb2.Job], rewas_pb2.Job]] = {
    "start": lifecycle.start_job,
    "complete": complete,
    "fail": lambda job: lifecycle.fail_job(job, PROBLEM),
    "cancel": lifecycle.request_cancel,
    "pause": lifecycle.request_pause,
    "resume": lifecycle.resume_job,
    "retry": lifecycle.retry_job,
    "delete files": delete_files,
    "promote": promote,
    "nothing": lambda job: job,
}


@dataclass
class Entry:
    """A job of the model, which is a list of these in the order of their arrival."""

    job: rewas_pb2.Job
    request: rewas_pb2.SubmitJobRequest
    client: str


class JobStoreMachine(RuleBasedStateMachine):
    open_store: Callable[[Path], JobStore]
    examples = 50
    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        # Some calls read many jobs in parts.
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(sql_store, "LISTED_AT_ONCE", 3)
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
        self.store = self.open_store(self.folder)
        self.entries: list[Entry] = []
        self.timed: list[WorkDuration] = []
        self.count = 0

    def teardown(self) -> None:
        self.store.close()
        self.patch.undo()
        shutil.rmtree(self.folder)

    def find(self, job_id: str) -> Entry | None:
        return next((entry for entry in self.entries if entry.job.id == job_id), None)

    def jobs_where(self, keep: Callable[[rewas_pb2.Job], bool]) -> list[rewas_pb2.Job]:
        return [entry.job for entry in self.entries if keep(entry.job)]

    @initialize(target=jobs)
    def begin(self) -> object:
        """Random sequences seldom reach many jobs that have ended, so they begin with some."""
        assert self.store.unfinished() == []
        self.add("a", "timeline", "", {"1"}, 0, 2, "ada")
        self.add("b", "sound", "tone", {"2"}, 3, 1, "ada")
        self.add("c", "conflict", "", {"3"}, 1, 1, "bob")
        for second, entry in enumerate(self.entries[1:]):
            self.end(entry.job.id, second % 2)
        self.add("d", "energy", "", set(), rewas_pb2.PRIORITY_BATCH, 1, "bob")
        self.update(self.entries[-1].job.id, "start")
        return multiple(*(entry.job.id for entry in self.entries))

    @rule(
        target=jobs,
        key=st.sampled_from("abcdefgh"),
        kind=st.sampled_from(["sound", "energy", "conflict", "timeline"]),
        pack=st.sampled_from(["", "starter", "tone"]),
        uploads=st.sets(st.sampled_from("123"), max_size=2),
        priority=st.sampled_from([0, 1, 2, 3]),
        clips=st.integers(1, 3),
        client=st.sampled_from(["ada", "bob"]),
    )
    def add(self, key: str, kind: str, pack: str, uploads: set[str], priority: int, clips: int, client: str) -> object:
        request = rewas_pb2.SubmitJobRequest(idempotency_key=key)
        work = getattr(request, kind)
        work.SetInParent()
        for sha256 in sorted(uploads):
            work.uploaded_media[f"file {sha256}"] = sha256
        if kind == "sound":
            work.settings.pack = pack
        elif kind == "timeline":
            work.defaults.pack = pack
        else:
            work.pack = pack
        self.count += 1
        parent = rewas_pb2.Job(id=f"job{self.count}", revision=1, state=QUEUED, priority=priority)  # type: ignore[arg-type]
        children = []
        if kind == "timeline":
            parent.child_count = clips
            for clip in range(1, clips + 1):
                child = rewas_pb2.Job(id=f"{parent.id}.{clip}", revision=1, state=QUEUED, parent_id=parent.id)
                child_request = rewas_pb2.SubmitJobRequest(idempotency_key=f"{parent.id}/{clip}")
                child_request.sound.settings.pack = pack
                children.append((child, child_request))
        known = next((entry for entry in self.entries if entry.request.idempotency_key == key), None)
        if known is None:
            assert self.store.find_by_key(request) is None
            assert self.store.add(parent, request, children, client=client) == parent
            self.entries += [Entry(job, each, client) for job, each in [(parent, request), *children]]
            return multiple(parent.id, *(child.id for child, _ in children))
        if known.request == request:
            assert self.store.find_by_key(request) == known.job
            assert self.store.add(parent, request, children, client=client) == known.job
        else:
            with pytest.raises(ProblemError) as raised:
                self.store.add(parent, request, children)
            assert raised.value.kind is ProblemKind.SETTINGS
        return multiple()

    @rule(job_id=jobs, change=st.sampled_from(sorted(CHANGES)))
    def update(self, job_id: str, change: str) -> None:
        entry = self.find(job_id)
        if entry is None:
            with pytest.raises(ProblemError) as raised:
                self.store.update(job_id, CHANGES[change])
            assert raised.value.kind is ProblemKind.NOT_FOUND
            return

        def seen(before: rewas_pb2.Job) -> rewas_pb2.Job:
            assert entry is not None
            assert before == entry.job
            after.append(CHANGES[change](before))
            return after[0]

        after: list[rewas_pb2.Job] = []
        try:
            assert self.store.update(job_id, seen) == after[0]
            entry.job = copy(after[0])
        except lifecycle.InvalidTransition:
            assert after == []

    @rule(job_id=jobs, second=st.integers(0, 5))
    def end(self, job_id: str, second: int) -> None:
        """Cancel a job at some second."""
        entry = self.find(job_id)
        if entry is None or entry.job.state in FINAL:
            return

        def cancel(before: rewas_pb2.Job) -> rewas_pb2.Job:
            after = copy(lifecycle.request_cancel(before))
            after.state = rewas_pb2.JOB_STATE_CANCELLED
            after.finished_at.FromSeconds(second)
            return after

        entry.job = copy(self.store.update(job_id, cancel))

    @rule(job_id=jobs, pinned=st.booleans())
    def pin(self, job_id: str, pinned: bool) -> None:
        entry = self.find(job_id)
        if entry is not None:
            entry.job = copy(self.store.update(job_id, lambda job: lifecycle.pin_job(job, pinned)))

    @rule(job_id=consumes(jobs))
    def delete(self, job_id: str) -> None:
        family = self.jobs_where(lambda job: job_id in (job.id, job.parent_id))
        if self.find(job_id) is not None and all(job.state in FINAL for job in family):
            self.store.delete(job_id)
            self.entries = [entry for entry in self.entries if entry.job not in family]
        else:
            with pytest.raises(ProblemError):
                self.store.delete(job_id)

    @rule(amounts=st.lists(NUMBERS, min_size=1, max_size=30), device=st.sampled_from(["cpu", "cuda:0"]))
    def record(self, amounts: list[int], device: str) -> None:
        for amount in amounts:
            duration = WorkDuration("sound", "starter", device, float(amount), 1.0)
            self.store.record_duration(duration)
            self.timed.append(duration)

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = self.open_store(self.folder)

    @rule(excluded=st.sets(jobs, max_size=3))
    def exclude(self, excluded: set[str]) -> None:
        waiting = [job for job in self.waiting() if job.id not in excluded]
        found = self.store.next_queued(excluded)
        if not waiting:
            assert found is None
            return
        entry = self.find(waiting[0].id)
        assert entry is not None
        assert found == (entry.job, entry.request)

    @rule(
        size=st.integers(1, 4),
        states=st.sets(st.sampled_from([QUEUED, RUNNING, *FINAL])),
        parent=st.none() | jobs,
    )
    def read_pages(self, size: int, states: set[int], parent: str | None) -> None:
        expected = self.jobs_where(lambda job: job.parent_id == (parent or "") and (not states or job.state in states))
        if not parent:
            expected.reverse()
        listed: list[rewas_pb2.Job] = []
        before = None
        while True:
            page = self.store.list_page(size, before, parent_id=parent or "", states=frozenset(states))
            assert len(page.jobs) <= size
            listed += page.jobs
            before = page.next_before
            if before is None:
                break
        assert [job.id for job in listed] == [job.id for job in expected]
        for job, whole in zip(listed, expected, strict=True):
            without_result = copy(whole)
            if whole.WhichOneof("result") is not None:
                without_result.ClearField(whole.WhichOneof("result"))
            assert job == without_result

    def waiting(self) -> list[rewas_pb2.Job]:
        queued = self.jobs_where(lambda job: job.state == QUEUED and not job.child_count)
        # Sorting keeps the order of arrival. Unspecified means NORMAL.
        return sorted(queued, key=lambda job: job.priority or rewas_pb2.PRIORITY_NORMAL)

    @invariant()
    def all_jobs_are_those_of_the_model(self) -> None:
        for entry in self.entries:
            assert self.store.get(entry.job.id) == entry.job
            assert self.store.request(entry.job.id) == entry.request
            expected = self.jobs_where(lambda job, parent=entry.job.id: job.parent_id == parent)  # type: ignore[misc]
            assert self.store.child_ids(entry.job.id) == [job.id for job in expected]
            assert self.store.count_children(entry.job.id) == Counter(job.state for job in expected)
            assert self.store.children(entry.job.id, 100).jobs == expected
        stored = {each.id: each for each in self.store.list_stored()}
        assert stored.keys() == {entry.job.id for entry in self.entries}
        assert all(stored[entry.job.id].state == entry.job.state for entry in self.entries)
        assert all(stored[entry.job.id].pinned == entry.job.pinned for entry in self.entries)
        assert self.store.set_aside_jobs() == []

    @invariant()
    def the_queue_is_that_of_the_model(self) -> None:
        running = self.jobs_where(lambda job: job.state == RUNNING and not job.child_count)
        running.sort(key=lambda job: job.priority or rewas_pb2.PRIORITY_NORMAL)
        expected = []
        for job in [*running, *self.waiting()]:
            entry = self.find(job.id)
            assert entry is not None
            kind = entry.request.WhichOneof("work") or ""
            work = getattr(entry.request, kind)
            pack = work.settings.pack if kind == "sound" else work.pack
            expected.append(QueuedJob(job.id, job.state, job.priority or 2, kind, pack, job.parent_id))
        assert self.store.queue() == expected

    @invariant()
    def unfinished_jobs_are_those_of_the_model(self) -> None:
        unfinished = [entry for entry in self.entries if entry.job.state not in FINAL]
        assert self.store.unfinished() == [entry.job.id for entry in unfinished]
        clips = [entry for entry in unfinished if entry.job.parent_id]
        assert self.store.count_unfinished() == len(unfinished) - len(clips)
        assert self.store.count_unfinished(clips=True) == len(clips)
        for client in ("ada", "bob"):
            counted = [entry for entry in unfinished if entry.client == client and not entry.job.parent_id]
            assert self.store.count_unfinished(client) == len(counted)

    @invariant()
    def used_media_is_that_of_the_model(self) -> None:
        uploads = {
            sha256
            for entry in self.entries
            if entry.job.pinned or entry.job.state not in FINAL
            for sha256 in getattr(entry.request, entry.request.WhichOneof("work") or "").uploaded_media.values()
        }
        assert self.store.media_in_use() == uploads

    @invariant()
    def the_durations_are_those_of_the_model(self) -> None:
        for device in ("cpu", "cuda:0"):
            expected = [duration for duration in reversed(self.timed) if duration.device == device]
            assert self.store.durations("sound", "starter", device) == expected[:MAX_DURATIONS]


class SqliteMachine(JobStoreMachine):
    @staticmethod
    def open_store(folder: Path) -> JobStore:  # type: ignore[override]
        return SqliteJobStore(folder / "jobs.sqlite3")


class PostgresMachine(JobStoreMachine):
    examples = 5
    """Each statement is an exchange with another process."""

    @staticmethod
    def open_store(folder: Path) -> JobStore:  # type: ignore[override]
        place = folder / "url"
        if not place.exists():
            place.write_text(postgres_server().new_store())
        return PostgresJobStore(place.read_text())


@pytest.mark.parametrize("machine", [SqliteMachine, pytest.param(PostgresMachine, marks=pytest.mark.slow)])
def test_a_store_does_what_a_list_of_jobs_does(machine: type[JobStoreMachine]) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=machine.examples,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
