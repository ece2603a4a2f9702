"""The server's side of the worker process: start, messages and exit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rewas_api.v1.rewas_pb2 import (
    INTERRUPTION_CAUSE_OUT_OF_MEMORY,
    INTERRUPTION_CAUSE_WORKER_ENDED,
    InterruptionCause,
)
from rewas_server.config import ServerConfig
from rewas_server.logs import forward_output
from rewas_server.worker import messages

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 5.0
OUTPUT_TIMEOUT_S = 1.0
"""Time to read the output of a worker that has ended: a child of the worker may keep the pipe open."""
_log = logging.getLogger("rewas.server")


class WorkerEnded(Exception):
    """The worker process has ended, or sent an invalid message. cause: as it counts for the job that it ran."""

    def __init__(self, reason: str, cause: InterruptionCause = INTERRUPTION_CAUSE_WORKER_ENDED) -> None:
        super().__init__(reason)
        self.cause = cause


class WorkerProcess:
    """A running worker.

    Attributes:
        ended: Set when the process has exited.
        last_heard_s: Time of its last message, on the clock of time.monotonic().
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._to_worker = process.stdin
        self._from_worker = process.stdout
        self._messages: asyncio.Queue[messages.Message | None] = asyncio.Queue()
        self._oom_kills_before = _count_oom_kills()
        self._killed_for: InterruptionCause | None = None
        self._fault = ""
        self.ended = asyncio.Event()
        self.last_heard_s = time.monotonic()
        self._forwarding = asyncio.create_task(forward_output(process.stderr, "worker", process.pid))
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._watch_end())]

    @classmethod
    async def start(cls, module: str, opening: Sequence[messages.Message]) -> WorkerProcess:
        """Start a worker, which then loads its default pack.

        Args:
            module: The program.
            opening: The first messages to it.

        Raises:
            WorkerEnded, OSError: It does not start.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=messages.MAX_LINE_BYTES,
            # Protects the starting worker from Ctrl-C in the terminal.
            start_new_session=True,
        )
        worker = cls(process)
        try:
            for message in opening:
                await worker.send(message)
            async with asyncio.timeout(START_TIMEOUT_S):
                first = await worker.receive()
            if not isinstance(first, messages.Loading):
                raise WorkerEnded(f"unexpected first message {first!r}")
        except TimeoutError:
            await worker.stop()
            raise WorkerEnded(f"the worker did not start within {START_TIMEOUT_S:g} s") from None
        except BaseException:
            await worker.stop()
            raise
        return worker

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    @property
    def end_cause(self) -> InterruptionCause:
        """Why the worker has ended. Use it once `ended` is set."""
        return self._end().cause

    async def send(self, message: messages.Message) -> None:
        """Send a message to the worker. Raises WorkerEnded."""
        try:
            self._to_worker.write(messages.to_line(message))
            await self._to_worker.drain()
        except (ConnectionError, RuntimeError) as error:
            # The process may have closed its pipe a moment before it ends.
            self.kill()
            await self.ended.wait()
            raise self._end() from error

    async def receive(self) -> messages.Message:
        """Receive the next message of the worker, other than heartbeats. Raises WorkerEnded."""
        message = await self._messages.get()
        if message is None:
            self._messages.put_nowait(None)
            # A worker that breaks the protocol or has closed its pipe is of no further use.
            self.kill()
            await self.ended.wait()
            raise self._end()
        return message

    async def stop(self) -> None:
        """Close the worker's input, which ends it. Kill it if that does not help."""
        with contextlib.suppress(OSError, RuntimeError):
            self._to_worker.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self.ended.wait()
        except TimeoutError:
            self.kill()
            await self.ended.wait()

    def kill(self, cause: InterruptionCause | None = None) -> None:
        """Kill the worker. cause: why, if the reason is the job that it runs."""
        if self._killed_for is None:
            self._killed_for = cause
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _end(self) -> WorkerEnded:
        status = self._process.returncode
        reason = self._fault or f"the worker process {self.pid} ended with status {status}"
        if self._killed_for is not None:
            return WorkerEnded(reason, self._killed_for)
        if status == -signal.SIGKILL and _count_oom_kills() > self._oom_kills_before:
            return WorkerEnded(f"{reason}: the system ran out of memory", INTERRUPTION_CAUSE_OUT_OF_MEMORY)
        return WorkerEnded(reason)

    async def _read(self) -> None:
        try:
            while (line := await self._from_worker.readline()).endswith(b"\n"):
                self.last_heard_s = time.monotonic()
                message = messages.from_line(line)
                if not isinstance(message, messages.Heartbeat):
                    self._messages.put_nowait(message)
        except ValueError as error:
            # An incomplete line from a killed worker, or one that is too long.
            self._fault = str(error)
        finally:
            self._messages.put_nowait(None)

    async def _watch_end(self) -> None:
        status = await self._process.wait()
        # What it wrote last often says why.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._forwarding, OUTPUT_TIMEOUT_S)
        _log.info("The worker process %d ended with status %d.", self._process.pid, status)
        self.ended.set()


async def start_local_worker(config: ServerConfig, device: str) -> WorkerProcess:
    """Start a worker with a model on a device of this machine. Raises WorkerEnded, OSError if it does not start."""
    return await WorkerProcess.start("rewas_server.worker.run", [start_message(config, device)])


def start_message(config: ServerConfig, device: str) -> messages.Start:
    """Return the first message to a worker."""
    return messages.Start(
        allowed_roots=config.allowed_roots,
        uploads_dir=config.uploads_dir,
        artifacts_dir=config.artifacts_dir,
        default_pack=config.default_pack,
        device=device,
        execution=config.execution,
        decoding=config.decoding.limits(),
        conflict_model=config.conflict_model,
        avh_model=config.avh_model,
        picture_model=config.picture_model,
        sound_model=config.sound_model,
        language_model=config.language_model,
        video_model=config.video_model,
        log_level=config.log_level,
        log_prompts=config.log_prompts,
    )


def _count_oom_kills() -> int:
    """Number of processes that Linux has killed because memory ran out, in this control group or on this machine."""
    for path, name in ((Path("/sys/fs/cgroup/memory.events"), "oom_kill"), (Path("/proc/vmstat"), "oom_kill")):
        try:
            counters = dict(line.split()[:2] for line in path.read_text().splitlines() if " " in line)
        except OSError:
            continue
        if name in counters:
            return int(counters[name])
    return 0
