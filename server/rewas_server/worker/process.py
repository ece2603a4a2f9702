"""The server's side of the worker process: start, messages and exit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys

from rewas_server.config import ServerConfig
from rewas_server.logs import forward_output
from rewas_server.worker import messages

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 5.0
OUTPUT_TIMEOUT_S = 1.0
"""Time to read the output of a worker that has ended: a child of the worker may keep the pipe open."""
_log = logging.getLogger("rewas.server")


class WorkerEnded(Exception):
    """The worker process has ended, or sent an invalid message."""


class WorkerProcess:
    """A running worker. `ended` is set when it has exited."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._to_worker = process.stdin
        self._from_worker = process.stdout
        self.ended = asyncio.Event()
        self._forwarding = asyncio.create_task(forward_output(process.stderr, "worker", process.pid))
        self._watch_end = asyncio.create_task(self._log_exit())

    @classmethod
    async def start(cls, config: ServerConfig) -> WorkerProcess:
        """Start a worker and wait until it is ready. Raises WorkerEnded if it does not start."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "rewas_server.worker.run",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=messages.MAX_LINE_BYTES,
            # Protects the starting worker from Ctrl-C in the terminal.
            start_new_session=True,
        )
        worker = cls(process)
        try:
            await worker.send(
                messages.Start(
                    allowed_roots=config.allowed_roots,
                    uploads_dir=config.uploads_dir,
                    artifacts_dir=config.artifacts_dir,
                    default_pack=config.default_pack,
                    device=config.device,
                    execution=config.execution,
                    conflict_model=config.conflict_model,
                    log_level=config.log_level,
                    log_prompts=config.log_prompts,
                )
            )
            async with asyncio.timeout(START_TIMEOUT_S):
                first = await worker.receive()
            if not isinstance(first, messages.Ready):
                raise WorkerEnded(f"unexpected first message {first!r}")
        except TimeoutError:
            await worker.stop()
            raise WorkerEnded(f"the worker was not ready within {START_TIMEOUT_S:g} s") from None
        except BaseException:
            await worker.stop()
            raise
        return worker

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    async def send(self, message: messages.Message) -> None:
        """Send a message to the worker. Raises WorkerEnded."""
        try:
            self._to_worker.write(messages.to_line(message))
            await self._to_worker.drain()
        except (ConnectionError, RuntimeError) as error:
            raise WorkerEnded(str(error)) from error

    async def receive(self) -> messages.Message:
        """Receive the next message of the worker. Raises WorkerEnded."""
        try:
            line = await self._from_worker.readline()
            if not line.endswith(b"\n"):
                raise WorkerEnded("the worker closed its pipe")
            return messages.from_line(line)
        except ValueError as error:
            # An incomplete line from a killed worker, or one that is too long.
            raise WorkerEnded(str(error)) from error

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

    def kill(self) -> None:
        """Kill the worker."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _log_exit(self) -> None:
        status = await self._process.wait()
        # What it wrote last often says why.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._forwarding, OUTPUT_TIMEOUT_S)
        _log.info("The worker process %d ended with status %d.", self._process.pid, status)
        self.ended.set()
