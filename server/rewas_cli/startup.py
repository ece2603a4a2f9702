"""Ctrl-C and thread settings before anything else is imported.

This module imports nothing slow and nothing of this project.
"""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType

STOPPED_MESSAGE = ("Stopped by Ctrl-C.", "No incomplete files were left.", "CANCELLED")
"""What happened, what it means, and the kind of problem."""
INTERRUPTED = 130
OMP_SPIN_COUNT = 10_000
"""How often a thread of torch polls for another thread before it sleeps; about 300 000 times by default.

If another program is busy, polling takes the core away from the thread that is being waited for. With two threads on
two cores next to one busy program, a take of 5.12 s took 4 to 12 s; with this value, 1.6 s. Without the other program
it takes 0.56 s either way (`benchmarks/shared_cpu.py`)."""


def exit_on_ctrl_c(as_json: bool) -> None:
    """Make Ctrl-C print a message and end the process, until another handler is installed.

    An exception would not work while modules are being imported: some swallow or replace it.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        what, remedy, kind = STOPPED_MESSAGE
        # No print and no json: a signal handler must not import what is not loaded yet.
        if as_json:
            fields = (("what", what), ("remedy", remedy), ("kind", kind))
            lines = ",\n".join(f'    "{name}": "{text}"' for name, text in fields)
            _write(1, f'{{\n  "error": {{\n{lines}\n  }}\n}}\n')
        _write(2, f"Error: {what} {remedy}\n")
        os._exit(INTERRUPTED)

    # If Ctrl-C is ignored (nohup, a background job of a script), leave it ignored.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, stop)


def limit_thread_spinning() -> None:
    """Let waiting threads sleep early, in this process and its children, unless the user has set this up already.

    Call it before torch is imported: GNU OpenMP reads the variable when it is loaded. Other implementations ignore it.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(os.environ):
        os.environ["GOMP_SPINCOUNT"] = str(OMP_SPIN_COUNT)


def silence_grpc() -> None:
    """Keep gRPC's notes about connections off standard error, unless the user wants them. Call it before its import."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")


def _write(descriptor: int, text: str) -> None:
    with contextlib.suppress(OSError):  # The reader has closed it.
        os.write(descriptor, text.encode())
