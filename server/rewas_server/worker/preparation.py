"""Reads the video of the next job in a thread of low priority, while another job runs.

The energy that it estimates goes into the cache of the pack, where the job finds it. There is no other effect: the job
has not begun. An error here is not reported, because it occurs again in the job itself.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from rewas_engine import Cancelled
from rewas_engine.runtime.progress import CancelSignal

LOWER_PRIORITY = 5
"""Added niceness of the thread. A higher value could delay a job that waits for its preparation."""
STOP_TIMEOUT_S = 30.0
_POLL_S = 0.02
_log = logging.getLogger("rewas.worker")

Prepare = Callable[[CancelSignal], object]
"""Prepares a job. May raise anything."""


@dataclass(frozen=True, eq=False)
class _Task:
    job_id: str
    prepare: Prepare
    on_end: Callable[[str], object]
    cancel: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)


class Preparation:
    """Prepares one job at a time. The latest request replaces the previous one."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[_Task] = queue.SimpleQueue()
        self._latest: _Task | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin(self, job_id: str, prepare: Prepare, on_end: Callable[[str], object]) -> None:
        """Prepare a job. on_end: called with its id afterwards, whether it succeeded or not."""
        with self._lock:
            if self._latest is not None:
                self._latest.cancel.set()
            self._latest = _Task(job_id, prepare, on_end)
            self._tasks.put(self._latest)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="rewas-preparation", daemon=True)
                self._thread.start()

    def is_preparing(self, job_id: str) -> bool:
        """Whether this job is being prepared."""
        latest = self._latest
        return latest is not None and latest.job_id == job_id and not latest.ended.is_set()

    def wait_for(self, job_id: str, cancel: CancelSignal) -> None:
        """Wait until this job is prepared, if its preparation has begun. Raises Cancelled."""
        latest = self._latest
        if latest is None or latest.job_id != job_id:
            return
        while not latest.ended.wait(_POLL_S):
            if cancel.is_set():
                latest.cancel.set()
                raise Cancelled

    def stop(self) -> None:
        """Stop preparing, and wait until its memory is free."""
        with self._lock:
            latest = self._latest
        if latest is not None:
            latest.cancel.set()
            if not latest.ended.wait(STOP_TIMEOUT_S):
                _log.warning("Reading the video of the next job does not stop.")

    def _run(self) -> None:
        _lower_priority_of_thread()
        while True:
            task = self._tasks.get()
            try:
                if not task.cancel.is_set():
                    task.prepare(task.cancel)
            except Exception as error:
                # Without the text of the error, which may quote the request.
                _log.debug("Not prepared (%s).", type(error).__name__, extra={"job_id": task.job_id})
            finally:
                task.ended.set()
                task.on_end(task.job_id)


def _lower_priority_of_thread() -> None:
    # Only on Linux does each thread have its own priority.
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + LOWER_PRIORITY)
