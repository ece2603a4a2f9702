"""The scheduler: keeps a worker process running and gives it one job after another."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.config import ServerConfig
from rewas_server.jobs import lifecycle
from rewas_server.jobs.board import JobBoard
from rewas_server.jobs.store import StoreUnavailable
from rewas_server.worker import messages
from rewas_server.worker.process import WorkerEnded, WorkerProcess

MAX_FAILED_STARTS = 3
MAX_RESTART_DELAY_S = 30.0
_log = logging.getLogger("rewas.server")


class Scheduler:
    """One worker process and its queue."""

    def __init__(self, board: JobBoard, config: ServerConfig) -> None:
        self._board = board
        self._config = config
        self._worker: WorkerProcess | None = None
        self._running_job_id: str | None = None
        self._wake = asyncio.Event()
        self._failed_starts = 0
        self.device = ""

    @property
    def worker_ready(self) -> bool:
        """Whether the worker process is running."""
        return self._worker is not None and not self._worker.ended.is_set()

    @property
    def worker_pid(self) -> int | None:
        """Process id of the running worker, or None."""
        return self._worker.pid if self._worker is not None and self.worker_ready else None

    def notify_job_added(self) -> None:
        """Check the queue again."""
        self._wake.set()

    async def cancel(self, job_id: str) -> rewas_pb2.Job:
        """Cancel a job. A worker that does not stop it within the grace period is killed."""
        job = await self._board.update(job_id, lifecycle.request_cancel)
        if job.state == rewas_pb2.JOB_STATE_CANCELLING and self._worker is not None:
            await self._forward_cancel(self._worker, job_id)
        return job

    async def recover(self) -> None:
        """Requeue or fail the jobs that were running when the server crashed."""
        for job_id in await self._board.unfinished():
            await self._board.update(job_id, _after_crash)

    async def run(self) -> None:
        """Process jobs until cancelled, then stop the worker. A running job waits for the next start of the server."""
        try:
            while True:
                worker = await self._ensure_worker()
                if worker is None:
                    continue
                self._wake.clear()
                claimed = await self._board.claim_next()
                if claimed is None:
                    await _wait_for_first(self._wake, worker.ended)
                    continue
                job, request = claimed
                self._running_job_id = job.id
                await self._do(worker, job, request)
                self._running_job_id = None
        finally:
            await self._stop()

    async def _ensure_worker(self) -> WorkerProcess | None:
        if self._worker is not None and not self._worker.ended.is_set():
            return self._worker
        self._worker = None
        try:
            self._worker = await WorkerProcess.start(self._config)
        except (WorkerEnded, OSError) as error:
            self._failed_starts += 1
            _log.error("The worker process did not start (%s).", error)
            if self._failed_starts >= MAX_FAILED_STARTS:
                await self._fail_waiting_jobs()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(MAX_RESTART_DELAY_S, 2.0**self._failed_starts / 4)):
                    await self._wake.wait()
            self._wake.clear()
            return None
        self._failed_starts = 0
        _log.info("The worker process %d is ready.", self._worker.pid)
        return self._worker

    async def _fail_waiting_jobs(self) -> None:
        problem = ProblemError(
            "The worker process does not start.",
            "Check the server's log, fix the installation and try again.",
            ProblemKind.RESOURCES,
        )
        for job_id in await self._board.unfinished():
            with contextlib.suppress(lifecycle.InvalidTransition):
                await self._board.update(job_id, lambda job: lifecycle.fail_job(job, problem))

    async def _do(self, worker: WorkerProcess, job: rewas_pb2.Job, request: rewas_pb2.SubmitJobRequest) -> None:
        clock = _TimeLeftEstimator()
        try:
            await worker.send(messages.Work(job.id, request))
            # A cancellation between the claim and the message above did not reach the worker.
            if (await self._board.get(job.id)).state == rewas_pb2.JOB_STATE_CANCELLING:
                await self._forward_cancel(worker, job.id)
            while not await self._handle_message(await worker.receive(), job.id, clock):
                pass
        except WorkerEnded as end:
            _log.error("The worker process ended during the job %s (%s).", job.id, end)
            worker.kill()
            await worker.ended.wait()
            await self._board.update(job.id, lambda job: lifecycle.interrupt_job(job, by_crash=True))

    async def _handle_message(self, message: messages.Message, job_id: str, clock: _TimeLeftEstimator) -> bool:
        """Handle a message from the worker. Returns whether the job has ended."""
        if isinstance(message, messages.Device):
            self.device = message.device
            return False
        if isinstance(message, messages.JobProgress) and message.job_id == job_id:
            progress = replace(message.progress, time_left_s=clock.time_left_s(message.progress.fraction))
            # The job may have been cancelled in the meantime, and a failure to store progress must not fail it.
            with contextlib.suppress(lifecycle.InvalidTransition, StoreUnavailable):
                await self._board.update(job_id, lambda job: lifecycle.update_progress(job, progress))
            return False
        if isinstance(message, messages.Done | messages.Failed | messages.Stopped) and message.job_id == job_id:
            await self._board.update(job_id, lambda job: _end_job(job, message))
            return True
        raise WorkerEnded(f"unexpected message {message!r}")

    async def _forward_cancel(self, worker: WorkerProcess, job_id: str) -> None:
        with contextlib.suppress(WorkerEnded):
            await worker.send(messages.Cancel(job_id))
        asyncio.get_running_loop().call_later(self._config.cancel_grace_s, self._kill_if_unresponsive, worker, job_id)

    def _kill_if_unresponsive(self, worker: WorkerProcess, job_id: str) -> None:
        if self._running_job_id == job_id and worker is self._worker:
            _log.error("The worker process does not stop the job %s and is killed.", job_id)
            worker.kill()

    async def _stop(self) -> None:
        if self._worker is not None:
            await self._worker.stop()
        if self._running_job_id is not None:
            with contextlib.suppress(lifecycle.InvalidTransition, StoreUnavailable):
                await self._board.update(self._running_job_id, lambda job: lifecycle.interrupt_job(job, by_crash=False))


class _TimeLeftEstimator:
    """Estimates the remaining time of a job from its first progress report, so that model loading does not count."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None

    def time_left_s(self, fraction: float) -> float | None:
        now_s = time.monotonic()
        if self._first is None:
            self._first = (now_s, fraction)
        began_s, began_fraction = self._first
        passed = fraction - began_fraction
        return (now_s - began_s) * (1.0 - fraction) / passed if passed > 0.02 else None


def _end_job(job: rewas_pb2.Job, message: messages.Done | messages.Failed | messages.Stopped) -> rewas_pb2.Job:
    if job.state == rewas_pb2.JOB_STATE_CANCELLING:
        return lifecycle.cancel_job(job)
    if isinstance(message, messages.Done):
        return lifecycle.complete_job(job, message.result)
    if isinstance(message, messages.Failed):
        return lifecycle.fail_job(job, message.problem)
    return lifecycle.fail_job(
        job, ProblemError("The worker stopped the job without a request.", "Submit it again.", ProblemKind.INTERNAL)
    )


def _after_crash(job: rewas_pb2.Job) -> rewas_pb2.Job:
    return job if job.state == rewas_pb2.JOB_STATE_QUEUED else lifecycle.interrupt_job(job, by_crash=True)


async def _wait_for_first(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
