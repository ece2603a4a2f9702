"""Which jobs may run in a replica at the same time."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, eq=False)
class Turn:
    """The turn of a job. begun: set when the job may run."""

    job_id: str
    is_alone: bool
    begun: asyncio.Event = field(default_factory=asyncio.Event)


class Turns:
    """Lets several jobs run at the same time, or one alone, in the order in which they ask.

    A job that may have ended a process runs alone, so that it cannot end other jobs. Two attempts of a job never run at
    the same time.

    jobs: Largest number of jobs at the same time.

    Attributes:
        idle: Set while no job runs.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._waiting: deque[Turn] = deque()
        self._running: list[Turn] = []
        self._is_closed = False
        self.idle = asyncio.Event()
        self.idle.set()

    def ask(self, job_id: str, *, is_alone: bool) -> Turn:
        """Queue a job. Always call `leave` with its turn afterwards."""
        turn = Turn(job_id, is_alone)
        self._waiting.append(turn)
        self._begin_next()
        return turn

    def leave(self, turn: Turn) -> None:
        """End the turn of a job that has ended, or that no longer waits."""
        (self._running if turn in self._running else self._waiting).remove(turn)
        if not self._running:
            self.idle.set()
        self._begin_next()

    def close(self) -> None:
        """Let no further job begin."""
        self._is_closed = True

    def _begin_next(self) -> None:
        while self._waiting and self._may_begin(self._waiting[0]):
            turn = self._waiting.popleft()
            self._running.append(turn)
            self.idle.clear()
            turn.begun.set()

    def _may_begin(self, turn: Turn) -> bool:
        if self._is_closed or len(self._running) >= self._jobs:
            return False
        return not any(turn.is_alone or other.is_alone or turn.job_id == other.job_id for other in self._running)
