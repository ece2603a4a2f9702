"""Tells whether a file has changed, without reading it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

FileStamp = tuple[int, int, int]
"""Size in bytes, modification time in nanoseconds, and inode. Equal stamps mean equal content."""


def file_stamp(path: str | Path) -> FileStamp:
    """Return the stamp of a file. Raises OSError."""
    return _stamp(os.stat(path))  # noqa: PTH116


def regular_file_stamp(path: str | Path) -> FileStamp | None:
    """Return the stamp of a file; None if there is none at the path, or if it is a folder or a device."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):  # ValueError: with a null character
        return None
    return _stamp(found) if stat.S_ISREG(found.st_mode) else None


def _stamp(found: os.stat_result) -> FileStamp:
    # SQLite's integers have a sign.
    return found.st_size, found.st_mtime_ns, found.st_ino & (2**63 - 1)
