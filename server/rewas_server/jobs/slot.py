"""A worker slot: keeps one worker process running and gives it one job after another."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from rewas_api import enum_names
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_engine import Progress
from rewas_server.config import ServerConfig
from rewas_server.jobs import lifecycle
from rewas_server.jobs.board import JobBoard
from rewas_server.jobs.forecast import RunningClock, deadline_s, duration_per_amount
from rewas_server.jobs.store import Change, StoreUnavailable, WorkDuration, work_kind, work_pack
from rewas_server.worker import messages
from rewas_server.worker.process import WorkerEnded, WorkerProcess

MAX_RESTART_DELAY_S = 30.0
STOP_EFFECT_S = 1.5
"""A job that is cancelled or paused counts as stopped after this time, even if its worker has not stopped yet."""
WATCH_INTERVAL_S = 0.5
MAX_STORE_DELAY_S = 10.0
PROGRESS_INTERVAL_S = 0.2
"""Shortest time between two reports of the same stage. A report takes a millisecond or two for each watcher."""
_log = logging.getLogger("rewas.server")


StartWorker = Callable[[str], Awaitable[WorkerProcess]]
"""Starts a worker on a device. Raises WorkerEnded, OSError if it does not start."""


class JobSource(Protocol):
    """Where a slot gets its jobs from."""

    async def take_job(self) -> tuple[rewas_pb2.Job, rewas_pb2.SubmitJobRequest] | None:
        """Reserve the next waiting job. None if there is none, or if nothing may start now."""

    def release_job(self, job_id: str) -> None:
        """The slot no longer holds this job."""

    async def job_to_prepare(self, slot: WorkerSlot) -> tuple[str, rewas_pb2.SubmitJobRequest] | None:
        """Return the job that a busy slot will probably run next, without reserving it; None if there is none."""

    def run_alone(self, job_ids: Iterable[str]) -> None:
        """From now on, neither prepare these jobs nor any job while they run: one of them has ended a worker."""

    def runs_alone(self, job: rewas_pb2.Job) -> bool:
        """Whether nothing may be prepared while this job runs."""

    def readiness_changed(self) -> None:
        """The worker of the slot has become ready, or is no longer."""

    def devices_found(self, devices: Sequence[str]) -> None:
        """The machine has further devices, on which no worker runs yet."""

    def worker_ended(self, cause: str) -> None:
        """The worker of the slot has ended, or did not start, although the server goes on. cause: for metrics."""


@dataclass
class _RunningJob:
    """The job that the worker holds.

    Attributes:
        deadline_at_s: On the clock of time.monotonic(); None until the worker has begun the job.
        is_released: Whether the job has been stopped for its clients although the worker has not stopped yet.
        runs_alone: Whether nothing may be prepared while it runs.
        preparing: Task that has the worker prepare the next jobs, from the first sampling step on.
        reported: The latest progress that clients know, sent at `reported_at_s` on the clock of time.monotonic().
    """

    job_id: str
    kind: str
    pack: str
    clock: RunningClock
    amount_s: float = 0.0
    runs_alone: bool = False
    began_s: float = field(default_factory=time.monotonic)
    deadline_at_s: float | None = None
    is_released: bool = False
    preparing: asyncio.Task[None] | None = None
    reported: Progress | None = None
    reported_at_s: float = 0.0

    def is_worth_reporting(self, progress: Progress) -> bool:
        """Whether clients need this progress: a stage begins, or continues and the last report was a while ago."""
        is_new_stage = self.reported is None or self.reported.stage != progress.stage
        is_over = progress.step == progress.total_steps  # The next stage or the end of the job follows at once.
        now_s = time.monotonic()
        if not is_new_stage and (is_over or now_s < self.reported_at_s + PROGRESS_INTERVAL_S):
            return False
        self.reported, self.reported_at_s = progress, now_s
        return True

    @property
    def is_begun(self) -> bool:
        """Whether the worker has begun the job."""
        return self.deadline_at_s is not None


class WorkerSlot:
    """One worker process and the job that it runs.

    Attributes:
        problem: Why no worker runs, in one or two sentences; "" while one runs or starts.
        device: Device of the model; "" until the worker has reported it.
        loading: Name of the pack that the worker is loading before a job needs it; "" otherwise.
        packs: Names of the packs in the worker's memory.
        load_problem: Why the pack that was last requested is not loaded.
        loads_packs: Whether the worker loads packs before their first job, and prepares jobs.
    """

    def __init__(
        self, board: JobBoard, config: ServerConfig, source: JobSource, start_worker: StartWorker, device: str
    ) -> None:
        self._board = board
        self._config = config
        self._source = source
        self._start_worker = start_worker
        self._requested_device = device
        self._worker: WorkerProcess | None = None
        self._running: _RunningJob | None = None
        self._wake = asyncio.Event()
        self._failed_starts = 0
        self._releases: set[asyncio.Task[None]] = set()
        self._is_ready = False
        self.problem = ""
        self.device = ""
        self.loading = ""
        self.packs: tuple[str, ...] = ()
        self.load_problem: ProblemError | None = None
        self.loads_packs = False
        self._wanted_pack = ""
        self._prepared_job_id = ""

    @property
    def is_ready(self) -> bool:
        """Whether the worker process is running and takes jobs."""
        return self._is_ready and self._worker is not None and not self._worker.ended.is_set()

    @property
    def worker_pid(self) -> int | None:
        """Process id of the worker, or None."""
        return None if self._worker is None or self._worker.ended.is_set() else self._worker.pid

    @property
    def running_job_id(self) -> str | None:
        """The job that the worker holds, or None."""
        return None if self._running is None or self._running.is_released else self._running.job_id

    def running_time_left_s(self) -> float | None:
        """Time left of the running job in seconds; None while unknown."""
        return None if self._running is None else self._running.clock.time_left_s()

    @property
    def is_busy(self) -> bool:
        """Whether the worker holds a job."""
        return self._running is not None

    @property
    def coming_packs(self) -> tuple[str, ...]:
        """Names of the packs that the worker is loading, or will load when it is idle."""
        return tuple(pack for pack in (self.loading, self._wanted_pack) if pack)

    def load_pack(self, pack: str) -> None:
        """Load a pack as soon as the worker is idle. This replaces an earlier request that is still waiting."""
        self._wanted_pack, self.load_problem = pack, None
        self._wake.set()

    def wake(self) -> None:
        """Look for a job again."""
        self._wake.set()

    async def stop_job(self, job_id: str) -> None:
        """Stop a job that was cancelled or paused, if this slot runs it.

        The job counts as stopped after STOP_EFFECT_S. A worker that does not stop within the grace period is killed.
        """
        running, worker = self._running, self._worker
        if running is None or worker is None or running.job_id != job_id or running.is_released:
            return
        with contextlib.suppress(WorkerEnded):
            await worker.send(messages.Stop(job_id))
        loop = asyncio.get_running_loop()
        loop.call_later(STOP_EFFECT_S, self._begin_release, running)
        loop.call_later(self._config.cancel_grace_s, self._kill_if_still_running, worker, running)

    async def run(self) -> None:
        """Process jobs until cancelled, then stop the worker. A running job waits for the next start of the server."""
        watching = asyncio.create_task(self._watch_worker())
        try:
            while True:
                worker = await self._ensure_worker()
                if worker is None:
                    continue
                self._wake.clear()
                taken = await self._source.take_job()
                if taken is None and self._wanted_pack and self.loads_packs:
                    await self._load_pack(worker)
                    continue
                if taken is None:
                    await _wait_for_first(self._wake, worker.ended)
                    continue
                await self._run_job(worker, *taken)
        finally:
            watching.cancel()
            await self._stop()

    async def _ensure_worker(self) -> WorkerProcess | None:
        if self._worker is not None and not self._worker.ended.is_set():
            return self._worker
        self._note_end()
        # What the ended worker was preparing says nothing about the end of the next one.
        self._prepared_job_id = ""
        self._set_ready(False)
        try:
            self._worker = await self._start_worker(self._requested_device)
            self.loading = self._config.default_pack
            self._board.refresh_waiting()
            while not isinstance(message := await self._worker.receive(), messages.Ready):
                if isinstance(message, messages.Waiting):
                    self.loading, self.problem = "", message.reason
                    self._set_ready(False)
                self._note_packs(message)
            self.loads_packs = message.loads_packs
            if message.devices:
                # The next worker of this slot uses the same device.
                self._requested_device = message.devices[0]
                self._source.devices_found(message.devices[1:])
        except (WorkerEnded, OSError) as error:
            self.loading = ""
            self._failed_starts += 1
            if self._worker is None:
                self._source.worker_ended("not-started")
            self.problem = (
                f"The worker process does not start ({error}). Jobs wait until it does; see the server's log."
            )
            _log.error("The worker process did not start (%s).", error)
            self._set_ready(False)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(MAX_RESTART_DELAY_S, 2.0**self._failed_starts / 4)):
                    await self._wake.wait()
            self._wake.clear()
            return None
        self.loading, self.problem, self._failed_starts = "", "", 0
        _log.info("The worker process %d is ready.", self._worker.pid)
        self._set_ready(True)
        return self._worker

    async def _run_job(self, worker: WorkerProcess, job: rewas_pb2.Job, request: rewas_pb2.SubmitJobRequest) -> None:
        pack = work_pack(request) or self._config.default_pack
        running = _RunningJob(
            job.id, work_kind(request), pack, RunningClock(None), runs_alone=self._source.runs_alone(job)
        )
        self._running = running
        try:
            await worker.send(messages.Work(job.id, request, running.runs_alone))
            while not await self._handle_message(await worker.receive(), worker, running):
                pass
        except WorkerEnded as end:
            cause = end.cause
            _log.warning("The worker process ended during the job %s (%s).", job.id, end, extra={"job_id": job.id})
            self._set_ready(False)
            if running.is_released:
                await asyncio.to_thread(self._remove_files, job.id)
            elif running.is_begun:
                counts = not self._may_be_innocent(running)
                await self._persist(job.id, lambda job: lifecycle.interrupt_job(job, cause, counts=counts))
        finally:
            if running.preparing is not None:
                running.preparing.cancel()
            # A server that stops needs to know which job it interrupts.
            if not asyncio.current_task().cancelling():  # type: ignore[union-attr]
                self._running = None
                self._source.release_job(job.id)

    async def _load_pack(self, worker: WorkerProcess) -> None:
        """Have an idle worker load the pack that a client has requested."""
        self.loading, self._wanted_pack = self._wanted_pack, ""
        self._board.refresh_waiting()
        try:
            await worker.send(messages.LoadPack(self.loading))
            while not isinstance(message := await worker.receive(), messages.LoadEnded):
                self._note_packs(message)
            self.load_problem = message.problem
        except WorkerEnded as end:
            _log.warning("The worker process ended while it loaded the pack %s (%s).", self.loading, end)
            self._set_ready(False)
            self.load_problem = ProblemError(
                f'The worker process ended while it loaded the pack "{self.loading}".',
                "Close other programs or choose a smaller pack. The server's log has details.",
                ProblemKind.RESOURCES,
            )
        finally:
            self.loading = ""
            self._board.refresh_waiting()

    async def _prepare_next(self, worker: WorkerProcess) -> None:
        """Have the worker read the video of the next job, and of another one if the queue changes."""
        sent = ""
        with contextlib.suppress(WorkerEnded):
            while True:
                self._wake.clear()
                found = await self._source.job_to_prepare(self)
                if found is not None and found[0] != sent:
                    sent = self._prepared_job_id = found[0]
                    await worker.send(messages.Prepare(*found))
                    _log.debug("The worker reads the video of the next job.", extra={"job_id": sent})
                await self._wake.wait()

    def _may_be_innocent(self, running: _RunningJob) -> bool:
        """Return whether another job may have ended the worker. The next run shows which one did.

        The other job was being prepared, or ran in the same process.
        """
        prepared, self._prepared_job_id = self._prepared_job_id, ""
        if not prepared and (running.runs_alone or not self._config.runs_jobs_together):
            return False
        self._source.run_alone(filter(None, (running.job_id, prepared)))
        return running.deadline_at_s is None or time.monotonic() < running.deadline_at_s

    async def _handle_message(self, message: messages.Message, worker: WorkerProcess, running: _RunningJob) -> bool:
        """Handle a message from the worker. Returns whether it has finished with the job."""
        if isinstance(message, messages.Loaded | messages.Prepared):
            self._note_packs(message)
            return False
        if getattr(message, "job_id", None) != running.job_id:
            worker.kill()
            raise WorkerEnded(f"unexpected message {message!r}")
        if isinstance(message, messages.Begun):
            await self._begin(running)
            return False
        if isinstance(message, messages.Measured):
            await self._set_deadline(message.amount_s, running)
            return False
        if isinstance(message, messages.JobProgress):
            if message.progress.stage == "sample" and running.preparing is None and self._may_prepare(running):
                running.preparing = asyncio.create_task(self._prepare_next(worker))
            await self._report_progress(message, running)
            return False
        if isinstance(message, messages.Done | messages.Failed | messages.Stopped):
            await self._end(message, running)
            return True
        raise WorkerEnded(f"unexpected message {message!r}")

    def _may_prepare(self, running: _RunningJob) -> bool:
        return self.loads_packs and not running.runs_alone

    async def _begin(self, running: _RunningJob) -> None:
        running.began_s = time.monotonic()
        running.deadline_at_s = running.began_s + self._config.min_deadline_s
        if not await self._persist(running.job_id, lifecycle.start_job):
            # It was cancelled or paused before the worker began it.
            await self.stop_job(running.job_id)
            running.is_released = True

    async def _set_deadline(self, amount_s: float, running: _RunningJob) -> None:
        history = await self._history(running)
        per_amount = duration_per_amount(history)
        running.clock = RunningClock(None if per_amount is None else per_amount * amount_s)
        running.amount_s = amount_s
        running.deadline_at_s = running.began_s + deadline_s(amount_s, history, self._config.min_deadline_s)

    async def _report_progress(self, message: messages.JobProgress, running: _RunningJob) -> None:
        running.clock.report(message.progress.fraction)
        if running.is_released or not running.is_worth_reporting(message.progress):
            return
        progress = replace(message.progress, time_left_s=running.clock.time_left_s())
        await self._board.report_progress(running.job_id, lambda job: lifecycle.update_progress(job, progress))

    async def _end(self, message: messages.Done | messages.Failed | messages.Stopped, running: _RunningJob) -> None:
        spent_s = time.monotonic() - running.began_s
        if running.is_released or not await self._persist(running.job_id, lambda job: _end_job(job, message)):
            await asyncio.to_thread(self._remove_files, running.job_id)
        elif isinstance(message, messages.Done):
            duration = WorkDuration(running.kind, running.pack, self.device, running.amount_s, spent_s)
            with contextlib.suppress(StoreUnavailable):
                await self._board.record_duration(duration)

    def _begin_release(self, running: _RunningJob) -> None:
        # The event loop itself keeps only weak references to its tasks.
        task = asyncio.create_task(self._release(running))
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def _release(self, running: _RunningJob) -> None:
        """Count the job as stopped although the worker has not stopped yet."""
        if self._running is running and not running.is_released:
            running.is_released = True
            await self._persist(running.job_id, lifecycle.stop_job)

    def _kill_if_still_running(self, worker: WorkerProcess, running: _RunningJob) -> None:
        if self._running is running:
            _log.warning(
                "The worker process does not stop the job %s and is killed.",
                running.job_id,
                extra={"job_id": running.job_id},
            )
            worker.kill(rewas_pb2.INTERRUPTION_CAUSE_DEADLINE)

    async def _persist(self, job_id: str, change: Change) -> bool:
        """Store a change, as soon as the store is available. Returns False if the job's state does not allow it."""
        delay_s = 0.25
        while True:
            try:
                await self._board.update(job_id, change)
                return True
            except lifecycle.InvalidTransition:
                return False
            except StoreUnavailable as problem:
                _log.error("%s The change of the job %s waits.", problem, job_id, extra={"job_id": job_id})
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, MAX_STORE_DELAY_S)
            except ProblemError as problem:
                if problem.kind is not ProblemKind.NOT_FOUND:
                    raise
                return False

    async def _history(self, running: _RunningJob) -> list[WorkDuration]:
        try:
            return await self._board.durations(running.kind, running.pack, self.device)
        except StoreUnavailable:
            return []

    async def _watch_worker(self) -> None:
        """Kill a worker that sends no sign of life, or that exceeds the deadline of its job."""
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            worker, running = self._worker, self._running
            if worker is None or worker.ended.is_set():
                continue
            now_s = time.monotonic()
            if now_s - worker.last_heard_s > self._config.worker_silence_s:
                _log.error("The worker process %d does not respond and is killed.", worker.pid)
            elif running is not None and running.deadline_at_s is not None and now_s > running.deadline_at_s:
                _log.error("The job %s exceeds its time limit, and its worker process is killed.", running.job_id)
            else:
                continue
            worker.kill(rewas_pb2.INTERRUPTION_CAUSE_DEADLINE)

    def _note_end(self) -> None:
        if self._worker is not None:
            cause = enum_names.INTERRUPTION_CAUSE.to_name(self._worker.end_cause)
            self._worker = None
            self.packs = ()
            self._source.worker_ended(cause or "")

    def _note_packs(self, message: messages.Message) -> None:
        """Note what a message says about the packs, or about the job that is prepared."""
        if isinstance(message, messages.Loaded):
            self.device, self.packs = message.device, message.packs
        elif isinstance(message, messages.Prepared) and message.job_id == self._prepared_job_id:
            _log.debug("The worker has read ahead.", extra={"job_id": message.job_id})
            self._prepared_job_id = ""

    def _set_ready(self, is_ready: bool) -> None:
        self._is_ready = is_ready
        self._source.readiness_changed()

    def _remove_files(self, job_id: str) -> None:
        shutil.rmtree(self._config.artifacts_dir / job_id, ignore_errors=True)

    async def _stop(self) -> None:
        if self._worker is not None:
            await self._worker.stop()
        running = self._running
        if running is not None and running.is_begun and not running.is_released:
            with contextlib.suppress(lifecycle.InvalidTransition, ProblemError):
                await self._board.update(
                    running.job_id,
                    lambda job: lifecycle.interrupt_job(job, rewas_pb2.INTERRUPTION_CAUSE_SERVER_ENDED),
                )


def _end_job(job: rewas_pb2.Job, message: messages.Done | messages.Failed | messages.Stopped) -> rewas_pb2.Job:
    if job.state == rewas_pb2.JOB_STATE_CANCELLING:
        return lifecycle.cancel_job(job)
    if isinstance(message, messages.Done):
        return lifecycle.complete_job(job, message.result)
    if isinstance(message, messages.Failed):
        return lifecycle.fail_job(job, message.problem)
    if job.state == rewas_pb2.JOB_STATE_PAUSING:
        return lifecycle.pause_job(job)
    return lifecycle.fail_job(
        job, ProblemError("The worker stopped the job unexpectedly.", "Submit it again.", ProblemKind.INTERNAL)
    )


async def _wait_for_first(*events: asyncio.Event) -> None:
    waiting: list[asyncio.Task[bool]] = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
