"""The server's side of a process that checks requests: start, questions and answers, time limit."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading

from rewas_server.checking.messages import READY, CheckingSettings, Frame, FrameError, read_frame, write_frame
from rewas_server.logs import forward_pipe

START_TIMEOUT_S = 120.0


class CheckingEnded(Exception):
    """The process has ended before it answered.

    Args:
        reason: Why, as a clause.
        timed_out: Whether it was ended because the request took too long.
    """

    def __init__(self, reason: str, *, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.timed_out = timed_out


class CheckingNotStarted(Exception):
    """The process does not start. reason: why, as a clause."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class CheckingProcess:
    """A running process. Its methods block; one thread at a time may use it.

    Raises CheckingNotStarted.
    """

    def __init__(self, settings: CheckingSettings) -> None:
        self._settings = settings
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "rewas_server.checking.run"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                # Protects the process from Ctrl-C in the terminal.
                start_new_session=True,
            )
        except OSError as error:
            raise CheckingNotStarted(str(error)) from error
        # It ends with the process, whose pipe is closed then.
        threading.Thread(
            target=forward_pipe,
            args=(self._process.stderr, "checking", self._process.pid),
            name="rewas-log",
            daemon=True,
        ).start()
        try:
            first = self._exchange(settings.to_frame(), START_TIMEOUT_S)
        except CheckingEnded as end:
            raise CheckingNotStarted(end.reason) from end
        if first.kind != READY:
            self.end()
            raise CheckingNotStarted(f"its first message was {first.kind!r}")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def ask(self, question: Frame) -> Frame:
        """Send a question and return the answer. Raises CheckingEnded, and then ends the process."""
        return self._exchange(question, self._settings.time_limit_s)

    def kill(self) -> None:
        """End it at once, from any thread."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def end(self) -> None:
        """End it and wait for that."""
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _exchange(self, question: Frame, limit_s: float) -> Frame:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        is_late = threading.Event()

        def stop() -> None:
            is_late.set()
            self.kill()

        # A process that does not read or write blocks this thread in the middle of a message.
        timer = threading.Timer(limit_s, stop)
        timer.daemon = True
        timer.start()
        try:
            write_frame(self._process.stdin, question)  # type: ignore[arg-type]
            return read_frame(self._process.stdout)  # type: ignore[arg-type]
        except (FrameError, OSError) as error:
            self.end()
            raise CheckingEnded(self._why_ended(), timed_out=is_late.is_set()) from error
        finally:
            timer.cancel()

    def _why_ended(self) -> str:
        status = self._process.returncode
        if status is not None and status < 0:
            with contextlib.suppress(ValueError):
                return f"it was ended by the signal {signal.Signals(-status).name}"
        return f"it ended with the status {status}"
