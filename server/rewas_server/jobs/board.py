"""The job board: asynchronous access to the store, and watching of jobs."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
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

    Args:
        store: Where jobs are stored.
        tracker: Logs and counts what happens to jobs, if given.
    """

    def __init__(self, store: JobStore, tracker: JobTracker | None = None) -> None:
        self._store = store
        self._tracker = tracker
        self._watchers: defaultdict[str, set[asyncio.Queue[rewas_pb2.Job | None]]] = defaultdict(set)
        self._waiting: dict[str, rewas_pb2.Job] = {}
        self._queue_state: QueueState | None = None
        self._places: dict[str, QueuePlace] | None = None
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
            for child, child_request in children:
                self._tracker.job_added(child, child_request)
        self.refresh_waiting()
        return added

    async def find_earlier(self) -> list[rewas_pb2.Job]:
        """Return the unfinished jobs that an earlier run of the server has left, oldest first."""
        jobs = []
        for job_id in await self.unfinished():
            job = await self._call(self._store.get, job_id)
            if self._tracker is not None:
                self._tracker.job_added(job, await self.request(job_id), is_new=False)
            jobs.append(job)
        return jobs

    async def find_by_key(self, request: rewas_pb2.SubmitJobRequest) -> rewas_pb2.Job | None:
        """See JobStore.find_by_key."""
        return await self._call(self._store.find_by_key, request)

    async def get(self, job_id: str) -> rewas_pb2.Job:
        """See JobStore.get. A waiting job has its position, time left and reason."""
        return await self.with_place(await self._call(self._store.get, job_id))

    async def request(self, job_id: str) -> rewas_pb2.SubmitJobRequest:
        """See JobStore.request."""
        return await self._call(self._store.request, job_id)

    async def children(self, parent_id: str) -> list[rewas_pb2.Job]:
        """See JobStore.children."""
        return await self._call(self._store.children, parent_id)

    async def list_page(
        self, size: int, before: int | None, *, parent_id: str = "", states: Collection[int] = frozenset()
    ) -> JobPage:
        """See JobStore.list_page."""
        page = await self._call(self._store.list_page, size, before, parent_id=parent_id, states=frozenset(states))
        return JobPage([await self.with_place(job) for job in page.jobs], page.next_before)

    async def unfinished(self) -> list[str]:
        """See JobStore.unfinished."""
        return await self._call(self._store.unfinished)

    async def count_unfinished(self, client: str | None = None) -> int:
        """See JobStore.count_unfinished."""
        return await self._call(self._store.count_unfinished, client)

    async def queue(self) -> list[QueuedJob]:
        """See JobStore.queue."""
        return await self._call(self._store.queue)

    async def next_queued(self, exclude: Collection[str]) -> tuple[rewas_pb2.Job, rewas_pb2.SubmitJobRequest] | None:
        """See JobStore.next_queued."""
        return await self._call(self._store.next_queued, exclude)

    async def durations(self, kind: str, pack: str, device: str) -> list[WorkDuration]:
        """See JobStore.durations."""
        return await self._call(self._store.durations, kind, pack, device)

    async def record_duration(self, duration: WorkDuration) -> None:
        """See JobStore.record_duration."""
        await self._call(self._store.record_duration, duration)

    async def delete(self, job_id: str) -> None:
        """See JobStore.delete."""
        await self._call(self._store.delete, job_id)

    async def update(self, job_id: str, change: Change) -> rewas_pb2.Job:
        """Change a job durably, then notify its watchers and the owner of its parent."""
        states: list[int] = []

        def watched_change(job: rewas_pb2.Job) -> rewas_pb2.Job:
            states.append(job.state)
            return change(job)

        job = await self._call(self._store.update, job_id, watched_change)
        self._notify_watchers(await self.with_place(job))
        if job.state != states[-1]:
            self.refresh_waiting()
        if job.parent_id and self.on_change is not None:
            await self.on_change(job)
        return job

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
        self._places = None
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
        if self._places is None:
            self._places = await self._queue_state.places()
        place = self._places.get(job.id)
        if place is not None:
            placed.position = place.position
            if place.time_left_s is not None:
                placed.time_left.FromMilliseconds(round(place.time_left_s * 1000))
        return placed

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
