"""Ties the life of a child process to that of its parent."""

from __future__ import annotations

import ctypes
import sys

_PR_SET_PDEATHSIG = 1
_SIGKILL = 9


def end_with_parent() -> None:
    """Have the system kill this process when its parent ends, even if this process hangs or is stopped.

    Call it first in the main thread of a child. Only Linux offers this; elsewhere a child ends when its input closes.
    Raises OSError if the system refuses.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
