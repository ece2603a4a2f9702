"""Limits that a process sets for itself before it reads a hostile file. Each system has some of them."""

from __future__ import annotations

import os
import sys

from rewas_engine.media.limits import DecodingLimits

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_SIGKILL = 9


def limit_this_process(limits: DecodingLimits, parent_pid: int) -> None:
    """Give up what a decoder does not need. Ends the process if its parent has ended already.

    - Linux: memory, open files, writing to files, core dumps, new privileges; it ends with its parent.
    - macOS: open files, writing to files, core dumps. The system does not enforce a limit of memory.
    - Windows: none. As everywhere, the parent limits the time.
    """
    if sys.platform == "win32":
        return
    import resource

    _lower(resource.RLIMIT_NOFILE, limits.open_files)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":
        import ctypes

        _lower(resource.RLIMIT_AS, limits.memory_bytes)
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(0)


def _lower(kind: int, value: int) -> None:
    """Lower a limit of the process for good, and never raise it."""
    if sys.platform == "win32":
        return
    import resource

    hard = resource.getrlimit(kind)[1]
    lowest = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (lowest, lowest))
