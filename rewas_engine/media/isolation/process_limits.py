"""Limits that a process sets for itself before it reads a hostile file. Each system has some of them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path

from rewas_engine.media.limits import DecodingLimits
from rewas_engine.runtime.parent_death import end_with_parent

_PR_SET_NO_NEW_PRIVS = 38
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446  # the same on all processors
_LANDLOCK_VERSION_FLAG = 1
_READING_RIGHTS = 1 << 2 | 1 << 3
"""Landlock's rights to read files and to list folders."""
_FILE_RIGHTS = (13, 14, 15, 15, 16)
"""Number of Landlock's rights to files in its versions; the last one holds for later versions too."""
_NETWORK_RIGHTS = 1 << 0 | 1 << 1
"""Binding and connecting TCP sockets, from version 4 on."""
_SCOPES = 1 << 0 | 1 << 1
"""Abstract sockets and signals of other processes, from version 6 on."""


class _LandlockRuleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


def limit_this_process(limits: DecodingLimits, parent_pid: int) -> None:
    """Give up what a decoder does not need. Ends the process if its parent has ended already.

    - Linux: memory, open files, core dumps and new privileges. With Landlock (Linux 5.13 and later), also changing and
      starting files; with its later versions, TCP connections (6.7) and signals to other processes (6.12). The process
      ends with its parent.
    - macOS: open files, the size of written files, and core dumps. The system does not enforce a limit of memory.
    - Windows: none. As everywhere, the parent limits the time.
    """
    if sys.platform == "win32":
        return
    import resource

    if sys.platform == "linux":
        # If the machine runs out of memory, the decoder is ended rather than the process with the models.
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    _lower(resource.RLIMIT_NOFILE, limits.open_files)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":
        _lower(resource.RLIMIT_AS, limits.memory_bytes)
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        end_with_parent()
        _allow_only_reading(libc)
    if os.getppid() != parent_pid:
        os._exit(0)


def landlock_version() -> int:
    """Version of Landlock in this system's kernel; 0 without it."""
    if sys.platform != "linux":
        return 0
    return max(0, _syscall(ctypes.CDLL(None), _LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_VERSION_FLAG))


def _allow_only_reading(libc: ctypes.CDLL) -> None:
    """Forbid this thread, and the threads that it starts, to change files and to reach other processes."""
    version = landlock_version()
    if not version:
        return
    rights = (1 << _FILE_RIGHTS[min(version, len(_FILE_RIGHTS)) - 1]) - 1
    ruleset = _LandlockRuleset(
        rights & ~_READING_RIGHTS, _NETWORK_RIGHTS if version >= 4 else 0, _SCOPES if version >= 6 else 0
    )
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    # No rule is added, so none of these rights is left anywhere.
    handle = _syscall(libc, _LANDLOCK_CREATE_RULESET, ctypes.byref(ruleset), size, 0)
    if handle >= 0:
        _syscall(libc, _LANDLOCK_RESTRICT_SELF, handle, 0)
        os.close(handle)


def _syscall(libc: ctypes.CDLL, number: int, *arguments: object) -> int:
    libc.syscall.restype = ctypes.c_long
    converted = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return int(libc.syscall(ctypes.c_long(number), *converted))


def _lower(kind: int, value: int) -> None:
    """Lower a limit of the process for good, and never raise it."""
    if sys.platform == "win32":
        return
    import resource

    hard = resource.getrlimit(kind)[1]
    lowest = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (lowest, lowest))
