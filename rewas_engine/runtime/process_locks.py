"""Files that one living process holds; the system lets go of them when it ends, however it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


class AlreadyLocked(Exception):
    """Another process holds the file."""


def lock(file: IO[bytes]) -> None:
    """Hold an open file until it is closed. Raises OSError where another process, or this one, holds it already."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a file that is there only for as long; one that a killed process left is taken over.

    Raises AlreadyLocked where it is held, and OSError where it cannot be written.
    """
    file = _acquire(path)
    try:
        yield
    finally:
        if sys.platform == "win32":
            file.close()  # an open file cannot be removed there
        with suppress(OSError):  # somebody else took it in between and removes it in turn
            path.unlink()
        file.close()


def _acquire(path: Path) -> IO[bytes]:
    while True:
        file = path.open("ab")
        try:
            lock(file)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        except (BlockingIOError, PermissionError) as error:
            file.close()
            raise AlreadyLocked from error
        except OSError:
            return file  # a file system that knows no locks
        # Whoever held it removed it after we had opened it: what we hold is no file of that name any more.
        file.close()
