"""Worker processes that make clips: they leave Ctrl-C to the process that started them, and end when it is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection


@contextlib.contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """So many workers, which finish what they were given; left by an exception, they end at once, whatever they do."""
    # Fresh interpreters: a fork of a process with torch's threads may hang.
    fresh = get_context("spawn")
    # Nothing is ever said here. It closes with this process too, however that ends: one that was killed cannot say that
    # there is no more work, and its workers would wait for some, asleep, for good.
    listening, speaking = fresh.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, mp_context=fresh, initializer=_begin, initargs=(listening,))
    try:
        yield pool
        pool.shutdown()
    finally:
        speaking.close()
        pool.shutdown(cancel_futures=True)
        listening.close()


def _begin(listening: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_when_closed, args=(listening,), daemon=True).start()


def _end_when_closed(listening: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        listening.recv_bytes()
    # Not sys.exit, which in a thread ends no process; what is half written is not there under its own name.
    os._exit(1)
