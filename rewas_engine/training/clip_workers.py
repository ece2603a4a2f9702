"""Worker processes that render clips. They ignore Ctrl-C, and exit when their parent process does."""

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
    """Open a pool of workers that finish their tasks. If the block ends with an exception, they exit at once."""
    # Start new interpreters, because forking a process with torch's threads can deadlock.
    context = get_context("spawn")
    # Nothing is ever sent through this pipe. It closes however this process ends. Otherwise the workers of a killed
    # process would wait for work forever.
    receiver, sender = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_initialise_worker, initargs=(receiver,))
    try:
        yield pool
        pool.shutdown()
    finally:
        sender.close()
        pool.shutdown(cancel_futures=True)
        receiver.close()


def _initialise_worker(receiver: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_when_closed, args=(receiver,), daemon=True).start()


def _exit_when_closed(receiver: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        receiver.recv_bytes()
    # sys.exit does not end the process from a thread. Half-written files have temporary names.
    os._exit(1)
