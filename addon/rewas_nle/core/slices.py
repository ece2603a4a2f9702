# SPDX-License-Identifier: GPL-3.0-or-later
"""Long work on the main thread in slices: generators that yield often, continued until a deadline."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Slices(Generic[Result]):
    """The work of a generator, done in slices. The generator should yield at least every millisecond.

    Attributes:
        result: What the generator returned, None until it has ended.
    """

    def __init__(self, work: Generator[None, None, Result]) -> None:
        self._work = work
        self.result: Result | None = None

    def step(self, deadline_s: float) -> bool:
        """Work until the deadline, but at least one slice. Returns whether the work has ended.

        `deadline_s`: on the clock of time.monotonic(). Raises what the generator raises.
        """
        try:
            while True:
                next(self._work)
                if time.monotonic() >= deadline_s:
                    return False
        except StopIteration as end:
            self.result = end.value
            return True

    def close(self) -> None:
        """Abandon the work."""
        self._work.close()


def run_all(work: Generator[None, None, Result]) -> Result:
    """Do the whole work at once. For scripts in background mode and tests."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: Result = end.value
            return result
