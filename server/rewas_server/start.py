"""The first moments of the command: what Ctrl-C does before the command can say anything itself.

Nothing is imported here that takes time, and nothing of ours.
"""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType

STOPPED = ("Stopped by Ctrl-C.", "Nothing half-written was left behind.", "CANCELLED")
"""What happened, what about it, and its kind."""
INTERRUPTED = 130


def stop_at_once(as_json: bool) -> None:
    """From now on Ctrl-C says so and ends the process, until something else takes it over.

    As an exception it could not pass through the modules that are being loaded: some swallow it, some make it another.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        what, remedy, kind = STOPPED
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


def _write(descriptor: int, text: str) -> None:
    with contextlib.suppress(OSError):  # Whoever would have read it has gone.
        os.write(descriptor, text.encode())
