"""The scheduler: owns the worker slots and the queue that they share."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import shutil
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.config import ServerConfig
from rewas_server.jobs import lifecycle
from rewas_server.jobs.board import JobBoard
from rewas_server.jobs.forecast import QueuePlace, forecast, typical_duration_s
from rewas_server.jobs.slot import StartWorker, WorkerSlot
from rewas_server.jobs.store import Change, QueuedJob, StoreUnavailable
from rewas_server.worker.process import start_local_worker

MIN_FREE_BYTES = 64 * 1024**2
"""No job starts with less free space than this: it could not deliver its stems."""
RETRY_PAUSE_S = 2.0
MAX_LONE_JOBS = 1000
"""Number of jobs that are remembered because they may have ended a worker."""
PARENT_PAUSE_S = 0.5
"""Shortest time between two updates of a timeline job by the progress of its children."""
_INTERRUPTED_STATES = frozenset(
    {rewas_pb2.JOB_STATE_RUNNING, rewas_pb2.JOB_STATE_CANCELLING, rewas_pb2.JOB_STATE_PAUSING}
)
_log = logging.getLogger("rewas.server")


class Timelines(Protocol):
    """Updates the jobs of timelines when their children change."""

    async def child_changed(self, parent_id: str) -> Sequence[rewas_pb2.Job]:
        """Update a timeline job after a change of one of its children, and end it after the last one.

        Returns the children that were cancelled.
        """


class Scheduler:
    """The queue and the workers that share it.

    start_worker: Starts a worker. None starts workers with a model on this machine.

    Attributes:
        on_readiness_change: Called without arguments when a worker becomes ready, or is no longer.
        on_worker_end: Called with the cause when a worker has ended, or did not start, although the server continues.
    """

    def __init__(
        self,
        board: JobBoard,
        config: ServerConfig,
        timelines: Timelines | None = None,
        start_worker: StartWorker | None = None,
    ) -> None:
        self._board = board
        self._config = config
        self._timelines = timelines
        self._start_worker = start_worker or functools.partial(start_local_worker, config)
        self._slots = [self._new_slot(device) for device in config.devices]
        self._group: asyncio.TaskGroup | None = None
        self._held_jobs: set[str] = set()
        self._taking = asyncio.Lock()
        self._lone_jobs: deque[str] = deque(maxlen=MAX_LONE_JOBS)
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
        ready = [slot for slot in self._slots if slot.is_ready]
        if self._blocked_by or not all(slot.loading for slot in ready):
            return self._blocked_by
        loading = next((slot.loading for slot in self._slots if slot.loading), "")
        if loading:
            return f'The worker process is loading the pack "{loading}".'
        return self.worker_problem or "The worker process is starting."

    def notify_queue_changed(self) -> None:
        """Check the queue again: jobs were added or removed."""
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
            try:
                found = await self._board.next_queued(self._held_jobs)
            except StoreUnavailable as problem:
                self._block(str(problem))
                return None
            free_bytes = MIN_FREE_BYTES if found is None else await asyncio.to_thread(self._free_bytes)
            if free_bytes < MIN_FREE_BYTES:
                self._block(
                    f"The disk of the server's state folder has only {free_bytes // 1024**2} MiB of free space. "
                    "Jobs wait until there is more room."
                )
                return None
            self._block("")
            if found is not None:
                self._held_jobs.add(found[0].id)
                # Busy slots may be preparing this job.
                self.notify_queue_changed()
            return found

    async def job_to_prepare(self, slot: WorkerSlot) -> tuple[str, rewas_pb2.SubmitJobRequest] | None:
        """Return the job that a busy slot will probably run next; None if there is none."""
        if any(other.is_ready and not other.is_busy for other in self._slots):
            return None  # The next job will not have to wait.
        earlier = sum(_time_left_s(other) < _time_left_s(slot) for other in self._slots if other is not slot)
        try:
            passed_over = set(self._held_jobs)
            for _ in range(earlier + 1):
                found = await self._board.next_queued(passed_over)
                if found is None:
                    return None
                job, request = found
                passed_over.add(job.id)
        except StoreUnavailable:
            return None
        return None if self.runs_alone(job) else (job.id, request)

    def run_alone(self, job_ids: Iterable[str]) -> None:
        """From now on, neither prepare these jobs nor any job while they run: one of them has ended a worker."""
        self._lone_jobs.extend(job_ids)

    def runs_alone(self, job: rewas_pb2.Job) -> bool:
        """Whether nothing may be prepared while this job runs: it has been interrupted, or may have ended a worker."""
        ends_of_server = {rewas_pb2.INTERRUPTION_CAUSE_SERVER_ENDED}
        return job.id in self._lone_jobs or any(each.cause not in ends_of_server for each in job.interruptions)

    @property
    def packs(self) -> list[str]:
        """Names of the packs in memory."""
        return sorted({pack for slot in self._slots for pack in slot.packs})

    @property
    def coming_packs(self) -> list[str]:
        """Names of the packs that workers are loading, or will load when they are idle, before a job needs them."""
        return sorted({pack for slot in self._slots for pack in slot.coming_packs})

    @property
    def load_problem(self) -> ProblemError | None:
        """Why the pack that a client last requested is not loaded."""
        return next((slot.load_problem for slot in self._slots if slot.load_problem is not None), None)

    def load_pack(self, pack: str) -> None:
        """Have every worker load a pack as soon as it is idle. Raises ProblemError (SETTINGS) if none can."""
        ready = [slot for slot in self._slots if slot.is_ready]
        if ready and not any(slot.loads_packs for slot in ready):
            raise ProblemError(
                "The workers of this server load a pack only with its first job.", "Submit a job.", ProblemKind.SETTINGS
            )
        for slot in self._slots:
            slot.load_pack(pack)

    def release_job(self, job_id: str) -> None:
        """A slot no longer holds this job."""
        self._held_jobs.discard(job_id)

    def readiness_changed(self) -> None:
        """A worker has become ready, or is no longer."""
        self._board.refresh_waiting()
        for call in self.on_readiness_change:
            call()

    def worker_ended(self, cause: str) -> None:
        """A worker has ended, or did not start, although the server continues."""
        for call in self.on_worker_end:
            call(cause)

    def devices_found(self, devices: Sequence[str]) -> None:
        """Run a worker on each of these devices, too."""
        for device in devices:
            slot = self._new_slot(device)
            self._slots.append(slot)
            assert self._group is not None
            self._group.create_task(slot.run())

    def _new_slot(self, device: str) -> WorkerSlot:
        return WorkerSlot(self._board, self._config, self, self._start_worker, device)

    async def cancel(self, job_id: str) -> rewas_pb2.Job:
        """Cancel a job, and the children of a timeline."""
        return await self._stop_jobs(job_id, lifecycle.request_cancel)

    async def pause(self, job_id: str) -> rewas_pb2.Job:
        """Pause a job, and the children of a timeline."""
        return await self._stop_jobs(job_id, lifecycle.request_pause)

    async def resume(self, job_id: str) -> rewas_pb2.Job:
        """Put a paused job, and the children of a timeline, back into the queue."""
        job = await self._board.update(job_id, lifecycle.resume_job)
        await self._change_children(job, lifecycle.resume_job)
        self.notify_queue_changed()
        return job

    async def retry(self, job_id: str) -> rewas_pb2.Job:
        """Run a failed or cancelled job again; of a timeline, the children without a sound."""
        job = await self._board.get(job_id)
        if job.state in lifecycle.FINAL_STATES:
            # The timeline changes last: a running timeline whose children have all ended would end again.
            await self._change_children(job, lifecycle.retry_job)
            job = await self._board.update(job_id, lifecycle.retry_job)
            if job.parent_id:
                await self._board.update(job.parent_id, _reopen)
            # A timeline can end at once if no clip has to run again. Jobs without clips must not be taken for one.
            if job.parent_id or job.child_count:
                self._parent_changed(job.parent_id or job.id)
            self.notify_queue_changed()
        return job

    async def pin(self, job_id: str, pinned: bool) -> rewas_pb2.Job:
        """Keep the files of a job, and of the children of a timeline, until they are unpinned."""
        job = await self._board.update(job_id, lambda job: lifecycle.pin_job(job, pinned))
        await self._change_children(job, lambda child: lifecycle.pin_job(child, pinned))
        return job

    async def delete(self, job_id: str) -> None:
        """Delete a job in a final state, its children and its files. Raises ProblemError (SETTINGS) for other jobs."""
        job = await self._board.get(job_id)
        if job.parent_id:
            raise ProblemError(
                f'The job "{job.name}" belongs to a timeline.',
                "Delete the timeline's job instead.",
                ProblemKind.SETTINGS,
            )
        if job.state not in lifecycle.FINAL_STATES:
            raise ProblemError(
                f'The job "{job.name}" has not ended.', "Cancel it first, then delete it.", ProblemKind.SETTINGS
            )
        ids = [job_id, *await self._board.child_ids(job_id)]
        await self._board.delete(job_id)
        await asyncio.to_thread(_remove_folders, self._config.artifacts_dir, ids)

    async def recover(self) -> None:
        """Put the jobs that ran when the server ended back into the queue. That never counts against a job."""
        parents = set()
        for job in await self._board.find_earlier():
            if job.child_count or job.parent_id:
                parents.add(job.parent_id or job.id)
            if job.state in _INTERRUPTED_STATES and not job.child_count:
                await self._board.update(job.id, lifecycle.recover_job)
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
            group.create_task(self.update_parents())
            for slot in self._slots:
                group.create_task(slot.run())

    async def _stop_jobs(self, job_id: str, request: Change) -> rewas_pb2.Job:
        job = await self._board.update(job_id, request)
        self.notify_queue_changed()
        stopped = {job_id}
        if job.child_count:
            # Running children come first, because thousands may be waiting.
            for states in (_INTERRUPTED_STATES, lifecycle.UNFINISHED_STATES - _INTERRUPTED_STATES):
                stopped.update(child.id for child in await self._change_children(job, request, states))
                await self._stop_slots(stopped)
        await self._stop_slots(stopped)
        return job

    async def _stop_slots(self, job_ids: Collection[str]) -> None:
        for slot in self._slots:
            # A job that waits in the store may already have been sent to a worker.
            running = slot.running_job_id
            if running is not None and running in job_ids:
                await slot.stop_job(running)

    async def _change_children(
        self, job: rewas_pb2.Job, change: Change, states: Collection[int] = frozenset()
    ) -> list[rewas_pb2.Job]:
        """Change the children of a timeline, those in the given states or all, and return those that have changed."""
        if not job.child_count:
            return []
        changed = await self._board.update_children(job.id, change, states=states)
        self._parent_changed(job.id)
        return changed

    async def _child_changed(self, child: rewas_pb2.Job) -> None:
        self._parent_changed(child.parent_id)

    def _parent_changed(self, parent_id: str) -> None:
        """Have `update_parents` update a timeline job."""
        self._changed_parents.add(parent_id)
        self._parents_wake.set()

    async def update_parents(self) -> None:
        """Update timeline jobs after changes of their children, each at most twice per second, until cancelled."""
        while True:
            await self._parents_wake.wait()
            self._parents_wake.clear()
            parents, self._changed_parents = self._changed_parents, set()
            for parent_id in parents if self._timelines is not None else ():
                try:
                    cancelled = await self._timelines.child_changed(parent_id)  # type: ignore[union-attr]
                    await self._stop_slots({child.id for child in cancelled})
                except StoreUnavailable as problem:
                    _log.error("%s", problem, extra={"job_id": parent_id})
                    self._parent_changed(parent_id)
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
            asyncio.get_running_loop().call_later(RETRY_PAUSE_S, self.notify_queue_changed)

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self._config.state_dir).free


def _remove_folders(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)


def _time_left_s(slot: WorkerSlot) -> float:
    left_s = slot.running_time_left_s()
    return math.inf if left_s is None else left_s


def _reopen(parent: rewas_pb2.Job) -> rewas_pb2.Job:
    """Put the job of a timeline back into the queue if it has ended, because one of its children runs again."""
    return parent if parent.state not in lifecycle.FINAL_STATES else lifecycle.retry_job(parent)
