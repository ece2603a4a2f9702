"""File locks that the operating system releases when their process ends, even if it is killed."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

_WAIT_S = 0.1
"""Time to retry if the previous holder removes the lock file after it is opened and before it is locked."""
_UNSUPPORTED_ERRNOS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


class AlreadyLocked(Exception):
    """The lock is held by another process, or elsewhere in this one."""


@contextmanager
def file_lock(path: Path, wait_s: float = _WAIT_S) -> Iterator[None]:
    """Hold an exclusive lock on a file, which exists only while it is held.

    A lock file left by a killed process does not block. File systems without lock support are not locked.

    Args:
        path: The lock file.
        wait_s: How long to wait for another holder.

    Raises:
        AlreadyLocked: The lock is taken.
        OSError: The file cannot be written.
    """
    lock = FileLock(path, timeout=wait_s, poll_interval=_WAIT_S / 5, thread_local=False)
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
        # Remove the file while the lock is held, so that it cannot be the file of another holder. Windows removes it on
        # release.
        with suppress(OSError):
            path.unlink()
        lock.release()
