"""The job board: asynchronous access to the store, and watching of jobs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import ParamSpec, Protocol, TypeVar

from rewas_api.errors import ServerUnavailable
from rewas_api.v1 import rewas_pb2
from rewas_server.jobs import lifecycle
from rewas_server.jobs.forecast import QueuePlace
from rewas_server.jobs.store import Change, JobPage, JobStore, QueuedJob, StoreUnavailable, WorkDuration
from rewas_server.jobs.tracking import JobTracker

P = ParamSpec("P")
T = TypeVar("T")
REFRESH_PAUSE_S = 0.25
"""Shortest time between two updates of the places of waiting jobs."""
LONG_FORECAST_S = 0.02
FORECAST_SHARE = 0.1
"""Largest share of the time for computing the places of a queue, if one forecast takes longer than LONG_FORECAST_S."""
YIELDING_JOBS = 200
"""Number of jobs after which a loop over many of them lets other calls run."""


class ServerStopping(ServerUnavailable):
    """The server is stopping. The job continues when it is started again."""

    def __init__(self) -> None:
        super().__init__("The server is stopping.", "Start it again with `rewas serve`; unfinished jobs continue.")


class QueueState(Protocol):
    """What a waiting job must know about the queue."""

    @property
    def waiting_reason(self) -> str:
        """Why no job starts, in one or two sentences; "" if nothing keeps them."""

    async def places(self) -> dict[str, QueuePlace]:
        """Return the place of each waiting job, by id."""


class JobBoard:
    """Jobs, stored off the event loop, with a stream of snapshots for each watcher.

    The progress of running jobs is not stored: it changes several times per second, and means nothing once the server
    has ended.

    Args:
        store: Where jobs are stored.
        tracker: Logs and counts what happens to jobs, if given.
    """

    def __init__(self, store: JobStore, tracker: JobTracker | None = None) -> None:
        self._store = store
        self._tracker = tracker
        self._watchers: defaultdict[str, set[asyncio.Queue[rewas_pb2.Job | None]]] = defaultdict(set)
        self._running: dict[str, rewas_pb2.Job] = {}
        self._changing: Counter[str] = Counter()
        self._durations: dict[tuple[str, str, str], list[WorkDuration]] = {}
        self._waiting: dict[str, rewas_pb2.Job] = {}
        self._queue_state: QueueState | None = None
        self._places: dict[str, QueuePlace] = {}
        self._places_are_stale = True
        self._next_forecast_s = 0.0
        self._forecasting = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None
        self._is_stale = False
        self._stopping = False
        self.on_change: Callable[[rewas_pb2.Job], Awaitable[None]] | None = None
        """Called with each child job whose snapshot has changed."""

    def set_queue_state(self, queue_state: QueueState) -> None:
        """Set the source of positions, times and reasons of waiting jobs."""
        self._queue_state = queue_state

    async def add(
        self,
        job: rewas_pb2.Job,
        request: rewas_pb2.SubmitJobRequest,
        children: Sequence[tuple[rewas_pb2.Job, rewas_pb2.SubmitJobRequest]] = (),
        *,
        client: str = "",
    ) -> rewas_pb2.Job:
        """See JobStore.add."""
        added = await self._call(self._store.add, job, request, children, client=client)
        if self._tracker is not None and added.id == job.id:
            self._tracker.job_added(added, request)
            for number, (child, child_request) in enumerate(children):
                self._tracker.job_added(child, child_request)
                if number % YIELDING_JOBS == 0:
                    await asyncio.sleep(0)
        self.refresh_waiting()
        return added

    async def find_earlier(self) -> list[rewas_pb2.Job]:
        """Return the unfinished jobs that an earlier run of the server has left, oldest first."""
        jobs: list[rewas_pb2.Job] = []
        ids = await self.unfinished()
        for start in range(0, len(ids), YIELDING_JOBS):
            for job, request in await self._call(self._read_with_requests, ids[start : start + YIELDING_JOBS]):
                if self._tracker is not None:
                    self._tracker.job_added(job, request, is_new=False)
                jobs.append(job)
        return jobs

    def _read_with_requests(self, job_ids: Sequence[str]) -> list[tuple[rewas_pb2.Job, rewas_pb2.SubmitJobRequest]]:
        return [(self._store.get(job_id), self._store.request(job_id)) for job_id in job_ids]

    async def find_by_key(self, request: rewas_pb2.SubmitJobRequest) -> rewas_pb2.Job | None:
        """See JobStore.find_by_key."""
        job = await self._call(self._store.find_by_key, request)
        return None if job is None else self._newest(job)

    async def get(self, job_id: str) -> rewas_pb2.Job:
        """See JobStore.get. A waiting job has its position, time left and reason."""
        running = dict(self._running)
        return await self.with_place(self._newest(await self._call(self._store.get, job_id), running))

    async def request(self, job_id: str) -> rewas_pb2.SubmitJobRequest:
        """See JobStore.request."""
        return await self._call(self._store.request, job_id)

    async def children(self, parent_id: str, size: int, after: int | None = None) -> JobPage:
        """See JobStore.children. The snapshots are those in the store, without the latest progress."""
        return await self._call(self._store.children, parent_id, size, after)

    async def child_ids(self, parent_id: str) -> list[str]:
        """See JobStore.child_ids."""
        return await self._call(self._store.child_ids, parent_id)

    async def count_children(self, parent_id: str) -> dict[int, int]:
        """See JobStore.count_children."""
        return await self._call(self._store.count_children, parent_id)

    async def list_page(
        self, size: int, before: int | None, *, parent_id: str = "", states: Collection[int] = frozenset()
    ) -> JobPage:
        """See JobStore.list_page."""
        running = dict(self._running)
        page = await self._call(self._store.list_page, size, before, parent_id=parent_id, states=frozenset(states))
        return JobPage([await self.with_place(self._newest(job, running)) for job in page.jobs], page.next_before)

    async def unfinished(self) -> list[str]:
        """See JobStore.unfinished."""
        return await self._call(self._store.unfinished)

    async def count_unfinished(self, client: str | None = None, *, clips: bool = False) -> int:
        """See JobStore.count_unfinished."""
        return await self._call(self._store.count_unfinished, client, clips=clips)

    async def queue(self) -> list[QueuedJob]:
        """See JobStore.queue."""
        return await self._call(self._store.queue)

    async def next_queued(self, exclude: Collection[str]) -> tuple[rewas_pb2.Job, rewas_pb2.SubmitJobRequest] | None:
        """See JobStore.next_queued."""
        return await self._call(self._store.next_queued, exclude)

    async def durations(self, kind: str, pack: str, device: str) -> list[WorkDuration]:
        """See JobStore.durations."""
        key = (kind, pack, device)
        if key not in self._durations:
            self._durations[key] = await self._call(self._store.durations, *key)
        return self._durations[key]

    async def record_duration(self, duration: WorkDuration) -> None:
        """See JobStore.record_duration."""
        await self._call(self._store.record_duration, duration)
        self._durations.pop((duration.kind, duration.pack, duration.device), None)

    async def delete(self, job_id: str) -> None:
        """See JobStore.delete."""
        await self._call(self._store.delete, job_id)

    async def update(self, job_id: str, change: Change) -> rewas_pb2.Job:
        """Change a job durably, then notify its watchers and the owner of its parent."""
        states: list[int] = []

        def watched_change(stored: rewas_pb2.Job) -> rewas_pb2.Job:
            states.append(stored.state)
            return self._change_newest(stored, change)

        with self._keeping_progress_out(job_id):
            job = self._newest(await self._call(self._store.update, job_id, watched_change))
            self._remember_running(job)
        self._notify_watchers(await self.with_place(job))
        if job.state != states[-1]:
            self.refresh_waiting()
        await self._notify_parent(job)
        return job

    async def report_progress(self, job_id: str, change: Change) -> None:
        """Change the snapshot of a running job without storing it, and notify its watchers and the owner of its parent.

        Does nothing if the job is not running, or if something else is changing it.
        """
        job = self._running.get(job_id)
        if job is None or job_id in self._changing or job.parent_id in self._changing:
            return
        job = self._running[job_id] = change(job)
        self._notify_watchers(job)
        await self._notify_parent(job)

    async def update_children(
        self, parent_id: str, change: Change, *, states: Collection[int] = frozenset()
    ) -> list[rewas_pb2.Job]:
        """Durably change the children of a job, some at a time, and notify their watchers.

        states: as in JobStore.update_children. Returns the children that have changed.
        """

        def change_newest(stored: rewas_pb2.Job) -> rewas_pb2.Job:
            return self._change_newest(stored, change)

        changed: list[rewas_pb2.Job] = []
        after: int | None = 0
        with self._keeping_progress_out(parent_id):
            while after is not None:
                part = await self._call(
                    self._store.update_children, parent_id, change_newest, states=states, after=after
                )
                for job in part.jobs:
                    self._remember_running(job)
                    self._notify_watchers(job)
                changed += part.jobs
                after = part.next_after
        if changed:
            self.refresh_waiting()
        return changed

    def _change_newest(self, stored: rewas_pb2.Job, change: Change) -> rewas_pb2.Job:
        """Apply a change to the newest snapshot of a job. Returns the stored one if nothing has changed."""
        newest = self._newest(stored)
        after = change(newest)
        return stored if after is newest else after

    def _newest(self, job: rewas_pb2.Job, running_before: Mapping[str, rewas_pb2.Job] | None = None) -> rewas_pb2.Job:
        """Return the newest snapshot of a job.

        Args:
            job: The snapshot in the store.
            running_before: The jobs that were running when the store was read. This one may have ended since.
        """
        for running in (self._running, running_before or {}):
            known = running.get(job.id)
            if known is not None and known.revision > job.revision:
                job = known
        return job

    def _remember_running(self, job: rewas_pb2.Job) -> None:
        if job.state == rewas_pb2.JOB_STATE_RUNNING:
            self._running[job.id] = job
        else:
            self._running.pop(job.id, None)

    @contextlib.contextmanager
    def _keeping_progress_out(self, job_id: str) -> Iterator[None]:
        """Within the block, drop the progress of a job and its children, because the store is changing them."""
        self._changing[job_id] += 1
        try:
            yield
        finally:
            self._changing[job_id] -= 1
            if not self._changing[job_id]:
                del self._changing[job_id]

    async def _notify_parent(self, job: rewas_pb2.Job) -> None:
        if job.parent_id and self.on_change is not None:
            await self.on_change(job)

    async def watch(self, job_id: str) -> AsyncGenerator[rewas_pb2.Job, None]:
        """Yield snapshots of a job, from the current one to the final one. Raises ServerStopping, NOT_FOUND.

        A waiting job yields a snapshot with the same revision when its place in the queue changes.
        """
        changes: asyncio.Queue[rewas_pb2.Job | None] = asyncio.Queue()
        # Subscribe before reading, so that no change is missed in between.
        self._watchers[job_id].add(changes)
        try:
            job = await self.get(job_id)
            self._remember_waiting(job)
            yield job
            while job.state not in lifecycle.FINAL_STATES:
                change = None if self._stopping else await changes.get()
                if change is None:
                    raise ServerStopping
                if change.revision >= job.revision and change != job:
                    job = change
                    yield job
        finally:
            self._watchers[job_id].discard(changes)
            if not self._watchers[job_id]:
                del self._watchers[job_id]
                self._waiting.pop(job_id, None)

    def stop_watching(self) -> None:
        """End every watch with ServerStopping."""
        self._stopping = True
        if self._refreshing is not None:
            self._refreshing.cancel()
        for watchers in self._watchers.values():
            for changes in watchers:
                changes.put_nowait(None)

    def refresh_waiting(self) -> None:
        """Send their new places to the watchers of waiting jobs, soon."""
        self._places_are_stale = True
        self._is_stale = True
        if self._waiting and not self._stopping and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = asyncio.get_running_loop().create_task(self._send_places())

    async def with_place(self, job: rewas_pb2.Job) -> rewas_pb2.Job:
        """Return the snapshot of a waiting job with its position, its time left, and the reason why it waits."""
        if job.state != rewas_pb2.JOB_STATE_QUEUED or self._queue_state is None:
            return job
        placed = rewas_pb2.Job()
        placed.CopyFrom(job)
        placed.waiting_reason = self._queue_state.waiting_reason
        place = await self.place(job.id)
        if place is not None:
            placed.position = place.position
            if place.time_left_s is not None:
                placed.time_left.FromMilliseconds(round(place.time_left_s * 1000))
        return placed

    async def place(self, job_id: str) -> QueuePlace | None:
        """Return the place of a waiting job, or of the waiting children of a timeline; None if there is none."""
        async with self._forecasting:
            began_s = time.monotonic()
            if self._queue_state is not None and self._places_are_stale and began_s >= self._next_forecast_s:
                self._places_are_stale = False
                self._places = await self._queue_state.places()
                spent_s = time.monotonic() - began_s
                if spent_s > LONG_FORECAST_S:
                    self._next_forecast_s = time.monotonic() + spent_s / FORECAST_SHARE
            return self._places.get(job_id)

    async def _send_places(self) -> None:
        while self._is_stale:
            # A pause gathers the changes of many jobs.
            await asyncio.sleep(REFRESH_PAUSE_S)
            self._is_stale = False
            for job in list(self._waiting.values()):
                placed = await self.with_place(job)
                if placed != self._waiting.get(job.id):
                    self._notify_watchers(placed)

    def _notify_watchers(self, job: rewas_pb2.Job) -> None:
        if self._tracker is not None:
            self._tracker.job_changed(job)
        watchers = self._watchers.get(job.id, ())
        if watchers:
            self._remember_waiting(job)
        for changes in watchers:
            changes.put_nowait(job)

    def _remember_waiting(self, job: rewas_pb2.Job) -> None:
        """Keep the snapshot of a watched job that waits, so that its watchers learn of a new place."""
        known = self._waiting.get(job.id)
        if job.state != rewas_pb2.JOB_STATE_QUEUED:
            self._waiting.pop(job.id, None)
        elif known is None or known.revision <= job.revision:
            self._waiting[job.id] = job

    async def _call(self, call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Call the store off the event loop, and count its failures."""
        try:
            return await asyncio.to_thread(call, *args, **options)
        except StoreUnavailable:
            if self._tracker is not None:
                self._tracker.store_failed()
            raise
