"""The scheduler: owns the worker slots and the queue that they share."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.config import ServerConfig
from rewas_server.jobs import lifecycle
from rewas_server.jobs.board import JobBoard
from rewas_server.jobs.forecast import QueuePlace, forecast, typical_duration_s
from rewas_server.jobs.slot import WorkerSlot
from rewas_server.jobs.store import Change, QueuedJob, StoreUnavailable

MIN_FREE_BYTES = 64 * 1024**2
"""No job starts with less free space than this: it could not deliver its stems."""
RETRY_PAUSE_S = 2.0
PARENT_PAUSE_S = 0.5
"""Shortest time between two updates of a timeline job by the progress of its children."""
_INTERRUPTED_STATES = frozenset(
    {rewas_pb2.JOB_STATE_RUNNING, rewas_pb2.JOB_STATE_CANCELLING, rewas_pb2.JOB_STATE_PAUSING}
)
_log = logging.getLogger("rewas.server")


class Timelines(Protocol):
    """Updates the jobs of timelines when their children change."""

    async def child_changed(self, parent_id: str) -> None:
        """Update a timeline job after a change of one of its children, and end it after the last one."""


class Scheduler:
    """The queue and the workers that share it.

    Attributes:
        on_readiness_change: Called without arguments when a worker becomes ready, or is no longer.
        on_worker_end: Called with the cause when a worker has ended, or did not start, although the server goes on.
    """

    def __init__(self, board: JobBoard, config: ServerConfig, timelines: Timelines | None = None) -> None:
        self._board = board
        self._config = config
        self._timelines = timelines
        self._slots = [WorkerSlot(board, config, self, device) for device in config.devices]
        self._group: asyncio.TaskGroup | None = None
        self._held_jobs: set[str] = set()
        self._taking = asyncio.Lock()
        self._blocked_by = ""
        self._changed_parents: set[str] = set()
        self._parents_wake = asyncio.Event()
        self.on_readiness_change: list[Callable[[], object]] = []
        self.on_worker_end: list[Callable[[str], object]] = []
        board.set_queue_state(self)
        board.on_change = self._child_changed

    @property
    def worker_ready(self) -> bool:
        """Whether a worker process is running and takes jobs."""
        return any(slot.is_ready for slot in self._slots)

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the running workers."""
        return [slot.worker_pid for slot in self._slots if slot.worker_pid is not None]

    @property
    def worker_problem(self) -> str:
        """Why no worker process is running; "" while one runs or starts."""
        return "" if self.worker_ready else next((slot.problem for slot in self._slots if slot.problem), "")

    @property
    def device(self) -> str:
        """Devices of the models, separated by commas; "" until a worker has reported its own."""
        return ", ".join(dict.fromkeys(slot.device for slot in self._slots if slot.device))

    @property
    def waiting_reason(self) -> str:
        """Why no job starts; "" if nothing but other jobs keeps them."""
        if self._blocked_by or self.worker_ready:
            return self._blocked_by
        loading = next((slot.loading for slot in self._slots if slot.loading), "")
        if loading:
            return f'The worker process is loading the pack "{loading}".'
        return self.worker_problem or "The worker process is starting."

    def notify_job_added(self) -> None:
        """Check the queue again."""
        for slot in self._slots:
            slot.wake()

    async def places(self) -> dict[str, QueuePlace]:
        """Return the place of each waiting job, by id."""
        queue = await self._board.queue()
        running_left_s = {
            slot.running_job_id: slot.running_time_left_s() for slot in self._slots if slot.running_job_id is not None
        }
        kinds = {(job.kind, job.pack or self._config.default_pack) for job in queue}
        # The workers of one server usually have equal devices.
        device = next((slot.device for slot in self._slots if slot.device), "")
        typical_s = {
            (kind, pack): typical_duration_s(await self._board.durations(kind, pack, device)) for kind, pack in kinds
        }

        def typical(job: QueuedJob) -> float | None:
            return typical_s[job.kind, job.pack or self._config.default_pack]

        return forecast(queue, running_left_s, typical, len(self._slots))

    async def take_job(self) -> tuple[rewas_pb2.Job, rewas_pb2.SubmitJobRequest] | None:
        """Reserve the next waiting job for a slot. None if there is none, or if nothing may start now."""
        async with self._taking:
            free_bytes = await asyncio.to_thread(self._free_bytes)
            if free_bytes < MIN_FREE_BYTES:
                self._block(
                    f"The disk of the server's state folder has only {free_bytes // 1024**2} MiB of free space. "
                    "Jobs wait until there is more room."
                )
                return None
            try:
                found = await self._board.next_queued(self._held_jobs)
            except StoreUnavailable as problem:
                self._block(str(problem))
                return None
            self._block("")
            if found is not None:
                self._held_jobs.add(found[0].id)
            return found

    def release_job(self, job_id: str) -> None:
        """A slot no longer holds this job."""
        self._held_jobs.discard(job_id)

    def readiness_changed(self) -> None:
        """A worker has become ready, or is no longer."""
        self._board.refresh_waiting()
        for call in self.on_readiness_change:
            call()

    def worker_ended(self, cause: str) -> None:
        """A worker has ended, or did not start, although the server goes on."""
        for call in self.on_worker_end:
            call(cause)

    def devices_found(self, devices: Sequence[str]) -> None:
        """Run a worker on each of these devices, too."""
        for device in devices:
            slot = WorkerSlot(self._board, self._config, self, device)
            self._slots.append(slot)
            assert self._group is not None
            self._group.create_task(slot.run())

    async def cancel(self, job_id: str) -> rewas_pb2.Job:
        """Cancel a job, and the children of a timeline."""
        return await self._stop_jobs(job_id, lifecycle.request_cancel)

    async def pause(self, job_id: str) -> rewas_pb2.Job:
        """Pause a job, and the children of a timeline."""
        return await self._stop_jobs(job_id, lifecycle.request_pause)

    async def resume(self, job_id: str) -> rewas_pb2.Job:
        """Put a paused job, and the children of a timeline, back into the queue."""
        job = await self._board.update(job_id, lifecycle.resume_job)
        await self._for_children(job, self.resume)
        self.notify_job_added()
        return job

    async def retry(self, job_id: str) -> rewas_pb2.Job:
        """Run a failed or cancelled job again; of a timeline, the children without a sound."""
        job = await self._board.get(job_id)
        if job.state in lifecycle.FINAL_STATES:
            if job.parent_id:
                await self._board.update(job.parent_id, _reopen)
            job = await self._board.update(job_id, lifecycle.retry_job)
            await self._for_children(job, self._retry_child)
            self.notify_job_added()
        return job

    async def pin(self, job_id: str, pinned: bool) -> rewas_pb2.Job:
        """Keep the files of a job, and of the children of a timeline, until they are unpinned."""
        job = await self._board.update(job_id, lambda job: lifecycle.pin_job(job, pinned))
        await self._for_children(job, lambda child_id: self.pin(child_id, pinned))
        return job

    async def delete(self, job_id: str) -> None:
        """Delete a job in a final state, its children and its files. Raises ProblemError (SETTINGS) for other jobs."""
        job = await self._board.get(job_id)
        if job.parent_id:
            raise ProblemError(
                f'The job "{job.name}" belongs to a timeline.', "Delete the job of the timeline.", ProblemKind.SETTINGS
            )
        if job.state not in lifecycle.FINAL_STATES:
            raise ProblemError(
                f'The job "{job.name}" has not ended.', "Cancel it first, then delete it.", ProblemKind.SETTINGS
            )
        folders = [self._config.artifacts_dir / child.id for child in await self._board.children(job_id)]
        await self._board.delete(job_id)
        for folder in [self._config.artifacts_dir / job_id, *folders]:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def recover(self) -> None:
        """Put the jobs that ran when the server ended back into the queue. That never counts against a job."""
        parents = []
        for job in await self._board.find_earlier():
            if job.child_count:
                parents.append(job.id)
            elif job.state in _INTERRUPTED_STATES:
                await self._board.update(
                    job.id, lambda job: lifecycle.interrupt_job(job, rewas_pb2.INTERRUPTION_CAUSE_SERVER_ENDED)
                )
        self._changed_parents.update(parents)
        self._parents_wake.set()

    async def run(self) -> None:
        """Process jobs until cancelled, then stop the workers. Running jobs wait for the next start of the server."""
        while True:
            try:
                await self.recover()
                break
            except StoreUnavailable as problem:
                self._block(str(problem))
                await asyncio.sleep(RETRY_PAUSE_S)
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self._update_parents())
            for slot in self._slots:
                group.create_task(slot.run())

    async def _stop_jobs(self, job_id: str, request: Change) -> rewas_pb2.Job:
        job = await self._board.update(job_id, request)
        # A job that waits in the store may already be on its way to a worker.
        for slot in self._slots:
            await slot.stop_job(job_id)
        await self._for_children(job, lambda child_id: self._stop_jobs(child_id, request))
        return job

    async def _retry_child(self, child_id: str) -> None:
        await self._board.update(child_id, lifecycle.retry_job)

    async def _for_children(self, job: rewas_pb2.Job, act: Callable[[str], Awaitable[object]]) -> None:
        if job.child_count:
            for child in await self._board.children(job.id):
                await act(child.id)
            self._changed_parents.add(job.id)
            self._parents_wake.set()

    async def _child_changed(self, child: rewas_pb2.Job) -> None:
        self._changed_parents.add(child.parent_id)
        self._parents_wake.set()

    async def _update_parents(self) -> None:
        """Update timeline jobs after changes of their children, each at most twice per second."""
        while True:
            await self._parents_wake.wait()
            self._parents_wake.clear()
            parents, self._changed_parents = self._changed_parents, set()
            for parent_id in parents if self._timelines is not None else ():
                try:
                    await self._timelines.child_changed(parent_id)  # type: ignore[union-attr]
                except StoreUnavailable as problem:
                    _log.error("%s", problem, extra={"job_id": parent_id})
                    self._changed_parents.add(parent_id)
                    self._parents_wake.set()
                except Exception:
                    _log.exception("The timeline job %s could not be updated.", parent_id, extra={"job_id": parent_id})
            await asyncio.sleep(PARENT_PAUSE_S)

    def _block(self, reason: str) -> None:
        """Set why no job starts, "" if nothing keeps them, and check again soon."""
        if reason != self._blocked_by:
            if reason:
                _log.error("%s", reason)
            self._blocked_by = reason
            self._board.refresh_waiting()
        if reason:
            asyncio.get_running_loop().call_later(RETRY_PAUSE_S, self.notify_job_added)

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self._config.state_dir).free


def _reopen(parent: rewas_pb2.Job) -> rewas_pb2.Job:
    """Put the job of a timeline back into the queue if it has ended, because one of its children runs again."""
    return parent if parent.state not in lifecycle.FINAL_STATES else lifecycle.retry_job(parent)
