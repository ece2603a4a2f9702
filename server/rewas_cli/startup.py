"""The first moments of the command: what Ctrl-C does before the command can say anything, and how threads wait.

Nothing is imported here that takes time, and nothing of ours.
"""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType

STOPPED_MESSAGE = ("Stopped by Ctrl-C.", "Nothing half-written was left behind.", "CANCELLED")
"""What happened, what about it, and its kind."""
INTERRUPTED = 130
OMP_SPIN_COUNT = 10_000
"""How often one of torch's threads looks whether another is ready before it sleeps; by default some 300 000 times.

Where another program works on the same processor, the one that is waited for does not get to run. Two threads on two
cores beside one busy program made a take of 5.12 s in 4 to 12 s, and in 1.6 s with so few; alone in 0.56 s either way
(`benchmarks/shared_cpu.py`)."""


def exit_on_ctrl_c(as_json: bool) -> None:
    """From now on Ctrl-C says so and ends the process, until something else takes it over.

    As an exception it could not pass through the modules that are being loaded: some swallow it, some make it another.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        what, remedy, kind = STOPPED_MESSAGE
        # Neither print nor json: what is not yet loaded must not be asked for within a signal handler.
        if as_json:
            fields = (("what", what), ("remedy", remedy), ("kind", kind))
            held = ",\n".join(f'    "{name}": "{words}"' for name, words in fields)
            _write(1, f'{{\n  "error": {{\n{held}\n  }}\n}}\n')
        _write(2, f"Error: {what} {remedy}\n")
        os._exit(INTERRUPTED)

    # Where Ctrl-C is ignored (nohup, a script's background), it stays so.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, stop)


def limit_thread_spinning() -> None:
    """Let threads that wait make room early, here and in processes started from here, unless the user chose otherwise.

    To be called before torch is imported: GNU's OpenMP reads it when it is loaded. Others do not know it.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(os.environ):
        os.environ["GOMP_SPINCOUNT"] = str(OMP_SPIN_COUNT)


def _write(descriptor: int, text: str) -> None:
    with contextlib.suppress(OSError):  # Whoever would have read it has gone.
        os.write(descriptor, text.encode())
