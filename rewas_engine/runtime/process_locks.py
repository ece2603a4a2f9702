"""File locks that the operating system releases when their process ends, even if it is killed."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

_WAIT_S = 0.1
"""Long enough to retry when the previous holder removes the lock file between our opening and locking it."""
_UNSUPPORTED_ERRNOS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


class AlreadyLocked(Exception):
    """Another process, or another holder in this one, has the lock."""


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, which exists only while it is held.

    A file that a killed process left behind does not block. On file systems without locks nothing is locked.

    Raises:
        AlreadyLocked: The lock is taken.
        OSError: The file cannot be written.
    """
    lock = FileLock(path, timeout=_WAIT_S, poll_interval=_WAIT_S / 5, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise AlreadyLocked from error
    except OSError as error:
        if error.errno not in _UNSUPPORTED_ERRNOS:
            raise
    try:
        yield
    finally:
        # While the lock is still held, so that nobody else's file is removed. Windows removes it on release.
        with suppress(OSError):
            path.unlink()
        lock.release()
