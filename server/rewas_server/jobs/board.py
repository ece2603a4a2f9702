"""The job board: asynchronous access to the store, and watching of jobs."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator

from rewas_api.errors import ServerUnavailable
from rewas_api.v1 import rewas_pb2
from rewas_server.jobs import lifecycle
from rewas_server.jobs.store import Change, JobPage, JobStore
from rewas_server.jobs.tracking import JobTracker


class ServerStopping(ServerUnavailable):
    """The server is stopping. The job continues when it is started again."""

    def __init__(self) -> None:
        super().__init__("The server is stopping.", "Start it again with `rewas serve`; unfinished jobs continue.")


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
        self._stopping = False

    async def add(self, job: rewas_pb2.Job, request: rewas_pb2.SubmitJobRequest) -> rewas_pb2.Job:
        """See JobStore.add."""
        stored = await asyncio.to_thread(self._store.add, job, request)
        if self._tracker is not None and stored.id == job.id:
            self._tracker.job_added(stored, request)
        return stored

    async def find_by_key(self, request: rewas_pb2.SubmitJobRequest) -> rewas_pb2.Job | None:
        """See JobStore.find_by_key."""
        return await asyncio.to_thread(self._store.find_by_key, request)

    async def get(self, job_id: str) -> rewas_pb2.Job:
        """See JobStore.get."""
        return await asyncio.to_thread(self._store.get, job_id)

    async def list_page(self, size: int, before: int | None) -> JobPage:
        """See JobStore.list_page."""
        return await asyncio.to_thread(self._store.list_page, size, before)

    async def unfinished(self) -> list[str]:
        """See JobStore.unfinished."""
        return await asyncio.to_thread(self._store.unfinished)

    async def update(self, job_id: str, change: Change) -> rewas_pb2.Job:
        """Change a job durably, then notify its watchers."""
        job = await asyncio.to_thread(self._store.update, job_id, change)
        self._notify_watchers(job)
        return job

    async def claim_next(self) -> tuple[rewas_pb2.Job, rewas_pb2.SubmitJobRequest] | None:
        """See JobStore.claim_next."""
        claimed = await asyncio.to_thread(self._store.claim_next)
        if claimed is not None:
            self._notify_watchers(claimed[0])
        return claimed

    async def watch(self, job_id: str) -> AsyncGenerator[rewas_pb2.Job, None]:
        """Yield snapshots of a job, from the current one to the final one. Raises ServerStopping, NOT_FOUND."""
        changes: asyncio.Queue[rewas_pb2.Job | None] = asyncio.Queue()
        # Subscribe before reading, so that no change is missed in between.
        self._watchers[job_id].add(changes)
        try:
            job = await self.get(job_id)
            yield job
            seen_revision = job.revision
            while job.state not in lifecycle.FINAL_STATES:
                change = None if self._stopping else await changes.get()
                if change is None:
                    raise ServerStopping
                if change.revision > seen_revision:
                    job, seen_revision = change, change.revision
                    yield job
        finally:
            self._watchers[job_id].discard(changes)
            if not self._watchers[job_id]:
                del self._watchers[job_id]

    def stop_watching(self) -> None:
        """End every watch with ServerStopping."""
        self._stopping = True
        for watchers in self._watchers.values():
            for changes in watchers:
                changes.put_nowait(None)

    def _notify_watchers(self, job: rewas_pb2.Job) -> None:
        if self._tracker is not None:
            self._tracker.job_changed(job)
        for changes in self._watchers.get(job.id, ()):
            changes.put_nowait(job)
