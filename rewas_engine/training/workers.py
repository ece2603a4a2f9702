"""Worker processes that make clips: they leave Ctrl-C to the process that started them, and end when it is gone."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """So many workers, each a fresh interpreter: a fork of a process with torch's threads may hang."""
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A parent that was killed cannot say that there is no more work: its workers would wait for some, asleep, for good.
    parent = parent_process()
    assert parent is not None, "a worker has a parent"
    wait([parent.sentinel])
    # Not sys.exit, which in a thread ends no process; what is half written is not there under its own name.
    os._exit(1)
