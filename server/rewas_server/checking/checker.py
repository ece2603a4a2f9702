"""Checks requests and assembles timelines in separate processes, in the order in which they arrive.

Short requests have a process that always runs. Long ones each get a new process, so that a large timeline delays no
clip, and the memory that it took is returned.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.checking.messages import (
    ASSEMBLE,
    CHECK,
    OUT_OF_MEMORY,
    PROBLEM,
    CheckedWork,
    CheckingSettings,
    Frame,
    problem_from_frame,
)
from rewas_server.checking.process import CheckingEnded, CheckingNotStarted, CheckingProcess

SHORT_REQUEST_BYTES = 4_000_000
"""Longest request that shares a process with others."""
_ATTEMPTS = 2
"""A process may also be ended from outside, so a request gets a second one before it is refused."""
_log = logging.getLogger("rewas.server")
AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True)
class CheckingLimits:
    """Limits for one request.

    Attributes:
        time_s: Longest time.
        memory_bytes: Most memory, beyond what the process has at its start.
    """

    time_s: float
    memory_bytes: int


SHORT_REQUEST_LIMITS = CheckingLimits(time_s=30.0, memory_bytes=512 * 1024**2)
LONG_REQUEST_LIMITS = CheckingLimits(time_s=150.0, memory_bytes=2 * 1024**3)


class RequestChecker:
    """Checks requests off the event loop and outside this process.

    Args:
        settings: What the processes need, apart from their limits.
        short_limits: For requests up to SHORT_REQUEST_BYTES.
        long_limits: For longer requests.
    """

    def __init__(
        self,
        settings: Callable[[CheckingLimits], CheckingSettings],
        short_limits: CheckingLimits = SHORT_REQUEST_LIMITS,
        long_limits: CheckingLimits = LONG_REQUEST_LIMITS,
    ) -> None:
        self._short = _Lane(settings(short_limits), keeps_process=True)
        self._long = _Lane(settings(long_limits), keeps_process=False)

    @property
    def process_ids(self) -> list[int]:
        """Ids of the running processes."""
        return [lane.process.pid for lane in (self._short, self._long) if lane.process is not None]

    async def start(self) -> None:
        """Start the process for short requests. A failure is logged; the first request tries again."""
        await self._short.start()

    async def check(self, request: bytes, uploaded_bytes: int = 0) -> CheckedWork:
        """Check a request without running it.

        Args:
            request: A serialised SubmitJobRequest.
            uploaded_bytes: Size of the timeline, if it was uploaded.

        Raises:
            ProblemError: It cannot be fulfilled, or cannot be read within the limits.
        """
        return await self._lane_for(len(request) + uploaded_bytes).run(CHECK, [request], CheckedWork.from_frame)

    async def assemble(
        self, request: rewas_pb2.SubmitJobRequest, clips_path: Path, uploaded_bytes: int = 0
    ) -> rewas_pb2.TimelineResult:
        """Put the sounds of a timeline's clips on its audio tracks.

        Args:
            request: The request for the timeline.
            clips_path: A file with a serialised TimelineResult, whose clips are in the order of the timeline. Clips may
                be large, so they do not pass through this process. A result that is too long for a message becomes a
                file in the same folder.
            uploaded_bytes: Size of the timeline, if it was uploaded.

        Raises:
            ProblemError: The result is too large, or the timeline cannot be read within the limits.
            OSError: There is no such file.
        """
        parts = [request.SerializeToString(), os.fsencode(clips_path)]
        size_bytes = len(parts[0]) + clips_path.stat().st_size + uploaded_bytes
        return await self._lane_for(size_bytes).run(
            ASSEMBLE, parts, lambda answer: rewas_pb2.TimelineResult.FromString(answer.parts[0])
        )

    async def stop(self) -> None:
        """End the processes. Requests that are in progress are refused."""
        await asyncio.gather(self._short.stop(), self._long.stop())

    def _lane_for(self, size_bytes: int) -> _Lane:
        return self._short if size_bytes <= SHORT_REQUEST_BYTES else self._long


@dataclass
class _Lane:
    """Requests that wait for each other, and the process that answers them."""

    settings: CheckingSettings
    keeps_process: bool
    process: CheckingProcess | None = None
    stopping: bool = False
    thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(max_workers=1, thread_name_prefix="rewas-checking")
    )

    async def start(self) -> None:
        def try_to_start() -> None:
            try:
                self._running_process()
            except CheckingNotStarted as error:
                _log.error("The process that checks requests did not start: %s.", error.reason)

        await asyncio.get_running_loop().run_in_executor(self.thread, try_to_start)

    async def run(self, kind: bytes, parts: list[bytes], decode: Callable[[Frame], AnswerT]) -> AnswerT:
        """Ask in the lane's thread, and decode the answer there. The parts of the question leave the list after that.

        An exception keeps the functions that it passes, and all that these refer to, until it is collected.
        """
        if self.stopping:
            raise _stopping_problem()

        def ask_and_decode() -> AnswerT:
            try:
                return decode(self._ask(Frame(kind, parts)))
            finally:
                parts.clear()

        return await asyncio.get_running_loop().run_in_executor(self.thread, ask_and_decode)

    async def stop(self) -> None:
        self.stopping = True
        if self.process is not None:
            self.process.kill()
        await asyncio.to_thread(self.thread.shutdown, wait=True, cancel_futures=True)
        self._end_process()

    def _ask(self, question: Frame) -> Frame:
        """Return the answer. Raises ProblemError, also for a question that ends the process."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                answer = self._running_process().ask(question)
            except CheckingNotStarted as error:
                raise _not_started(error.reason) from error
            except CheckingEnded as end:
                self._end_process()
                if self.stopping:
                    raise _stopping_problem() from end
                _log.warning("The process that checks requests has ended: %s.", end.reason)
                if end.timed_out:
                    raise self._too_slow() from end
                if attempt == _ATTEMPTS:
                    raise _unreadable(end.reason) from end
                continue
            if not self.keeps_process or answer.kind == OUT_OF_MEMORY:
                self._end_process()
            if answer.kind == OUT_OF_MEMORY:
                raise self._too_large()
            if answer.kind == PROBLEM:
                # An exception in a variable would refer to itself, and keep the request in memory.
                raise _reported_problem(answer)
            return answer
        raise AssertionError("the last attempt returns or raises")

    def _running_process(self) -> CheckingProcess:
        if self.process is not None and self.process.has_ended:
            self._end_process()
        if self.process is None:
            self.process = CheckingProcess(self.settings)
        if self.stopping:
            raise _stopping_problem()
        return self.process

    def _end_process(self) -> None:
        if self.process is not None:
            self.process.end()
            self.process = None

    def _too_slow(self) -> ProblemError:
        return ProblemError(
            f"The clip or timeline takes longer than {self.settings.time_limit_s:g} s to read.",
            "Remove metadata that it does not need, or split it.",
            ProblemKind.TIMELINE,
        )

    def _too_large(self) -> ProblemError:
        return ProblemError(
            "The clip or timeline takes more than "
            f"{self.settings.memory_limit_bytes / 1024**3:g} GB of memory to read.",
            "Remove metadata that it does not need, or split it.",
            ProblemKind.RESOURCES,
        )


def _reported_problem(answer: Frame) -> ProblemError:
    problem, trace = problem_from_frame(answer)
    if trace:
        _log.error("%s\n%s", problem.what, trace)
    return problem


def _unreadable(reason: str) -> ProblemError:
    return ProblemError(
        f"The clip or timeline cannot be read: it crashes the process that reads it ({reason}).",
        "Write it with OTIO 0.18, and remove what the request does not need.",
        ProblemKind.TIMELINE,
    )


def _not_started(reason: str) -> ProblemError:
    return ProblemError(
        f"The process that checks requests did not start: {reason}.",
        "Free some memory; see the server's log for details.",
        ProblemKind.RESOURCES,
    )


def _stopping_problem() -> ProblemError:
    return ProblemError("The server is stopping.", "Start it again with `rewas serve`.", ProblemKind.RESOURCES)
