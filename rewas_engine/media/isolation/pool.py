"""Decoder processes, which run the functions of `rewas_engine.media` that decode."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from fractions import Fraction
from io import BufferedIOBase
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from rewas_engine.errors import Cancelled, MediaError
from rewas_engine.media.isolation import seam
from rewas_engine.media.isolation.messages import (
    FRAMES_BYTES,
    BrokenMessage,
    Kind,
    array_from,
    from_json,
    read_message,
    to_json,
    write_message,
)
from rewas_engine.media.limits import DecodingLimits
from rewas_engine.runtime.progress import CancelSignal

_MAX_IDLE = 2
_MAX_TEXT_BYTES = 1 << 20
_QUEUED_MESSAGES = 4
"""Messages with frames that wait for the caller; the decoder pauses while there are more."""
_POLL_S = 0.02
"""Time until a cancelled call ends."""
_START_S = 60.0
"""Time in which a decoder must have started."""
_END_S = 0.5
"""Time for the end of a stream whose caller wants no more frames."""
_log = logging.getLogger(__name__)


@contextlib.contextmanager
def isolated_decoding(limits: DecodingLimits | None = None) -> Iterator[DecoderPool]:
    """Within the block, decode all media of this process in decoder processes. limits: None is the default."""
    with contextlib.closing(DecoderPool(limits or DecodingLimits())) as pool:
        pool.start_one()
        seam.set_decoder(pool)
        try:
            yield pool
        finally:
            seam.set_decoder(None)


class DecoderPool:
    """Keeps decoder processes between calls. Implements `rewas_engine.media.isolation.seam.Decoder`.

    A decoder that crashes, hangs or is cancelled is killed and replaced.
    """

    def __init__(self, limits: DecodingLimits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._idle: list[Future[_DecoderProcess]] = []
        self._in_use: set[_DecoderProcess] = set()
        self._is_closed = False
        # On Linux, a decoder ends with the thread that started it, so this one lives as long as the process.
        self._starter = ThreadPoolExecutor(1, "rewas-decoder-starter")

    def start_one(self) -> None:
        """Start a decoder in the background, for the next call."""
        with self._lock:
            if not self._is_closed and len(self._idle) < _MAX_IDLE:
                self._idle.append(self._starter.submit(_DecoderProcess, self._limits))

    def call(self, name: str, path: Path, arguments: Mapping[str, Any], cancel: CancelSignal | None) -> Any:
        """See `Decoder.call`."""
        waiting = _Waiting(path.name, arguments, self._limits, cancel)
        with self._decoder(path.name) as decoder:
            decoder.ask(name, path, arguments, max(self._limits.memory_bytes, _MAX_TEXT_BYTES))
            arrays: list[bytearray] = []
            while True:
                kind, content = decoder.receive(waiting)
                if kind is Kind.ARRAY:
                    arrays.append(content)
                elif kind is Kind.RESULT:
                    return from_json(content, arrays, seam.RECORDS)
                else:
                    raise BrokenMessage(f"{kind.name} in a call")

    def stream(
        self, name: str, path: Path, arguments: Mapping[str, Any], cancel: CancelSignal | None
    ) -> Iterator[NDArray[np.uint8]]:
        """See `Decoder.stream`."""
        shape = (arguments["height"], arguments["width"], 3)[: 3 if arguments.get("rgb") else 2]
        waiting = _Waiting(path.name, arguments, self._limits, cancel)
        with self._decoder(path.name) as decoder:
            frame_bytes = math.prod(shape)
            decoder.ask(name, path, arguments, max(frame_bytes, FRAMES_BYTES, _MAX_TEXT_BYTES))
            while True:
                kind, content = decoder.receive(waiting)
                if kind is Kind.END:
                    return
                if kind is not Kind.FRAMES:
                    raise BrokenMessage(f"{kind.name} in a stream")
                try:
                    frames = array_from(content, "uint8", (-1, *shape))
                except ValueError as error:
                    raise BrokenMessage(str(error)) from error
                yield from frames

    def pids(self) -> list[int]:
        """The process ids of the decoders, once they have started."""
        with self._lock:
            return [each.pid for each in (*self._in_use, *(future.result() for future in self._idle))]

    def close(self) -> None:
        """End all decoders."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            in_use = list(self._in_use)
        for future in idle:
            with contextlib.suppress(OSError):
                future.result().kill()
        for decoder in in_use:
            decoder.kill()
        self._starter.shutdown()

    @contextlib.contextmanager
    def _decoder(self, file_name: str) -> Iterator[_DecoderProcess]:
        """Lend a decoder. It is kept if it ended its call in an orderly way, and killed otherwise."""
        decoder = self._take()
        is_in_order = False
        try:
            yield decoder
            is_in_order = True
        except _Refused as refusal:
            is_in_order = True
            raise MediaError(refusal.what, refusal.remedy) from None
        except _Fault as fault:
            _log.warning("The decoder failed on %s:\n%s", file_name, fault)
            raise _limits_error(file_name, f" The decoder ended with {fault.error_name}.") from None
        except BrokenMessage as error:
            _log.warning("The decoder sent %s for %s.", error, file_name)
            raise _limits_error(file_name, "") from None
        except GeneratorExit:
            is_in_order = decoder.is_at_end()
            raise
        finally:
            self._put_back(decoder, is_in_order)

    def _take(self) -> _DecoderProcess:
        while True:
            with self._lock:
                future = self._idle.pop() if self._idle else self._starter.submit(_DecoderProcess, self._limits)
            try:
                decoder = future.result()
            except OSError as error:
                raise MediaError(
                    f"The decoder could not be started ({error.strerror or error}).",
                    "Close other programs, and try again.",
                ) from error
            if decoder.is_alive():
                with self._lock:
                    self._in_use.add(decoder)
                return decoder
            # It was killed while it waited, for example by a system that is short of memory.
            decoder.kill()

    def _put_back(self, decoder: _DecoderProcess, is_in_order: bool) -> None:
        with self._lock:
            self._in_use.discard(decoder)
            if is_in_order and not self._is_closed and len(self._idle) < _MAX_IDLE:
                future: Future[_DecoderProcess] = Future()
                future.set_result(decoder)
                self._idle.append(future)
                return
        decoder.kill()
        if not is_in_order:
            self.start_one()


class _Refused(Exception):
    """The decoder refused the file."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what, self.remedy = what, remedy


class _Fault(Exception):
    """The decoder failed with an error that it did not expect."""

    def __init__(self, trace: str) -> None:
        super().__init__(trace)
        self.error_name = trace.strip().rpartition("\n")[2].partition(":")[0].rpartition(".")[2]


class _Waiting:
    """How long one call may wait for its decoder. The time that the caller takes between frames does not count."""

    def __init__(
        self, file_name: str, arguments: Mapping[str, Any], limits: DecodingLimits, cancel: CancelSignal | None
    ) -> None:
        self.file_name, self._cancel, self._stall_s = file_name, cancel, limits.stall_s
        range_s = float(arguments.get("duration_s", Fraction(0)) * max(1, abs(arguments.get("speed", 1))))
        self._left_s = limits.call_s + limits.call_s_per_media_s * range_s

    def wait(self, decoder: _DecoderProcess) -> _Incoming:
        """Return the next message. Raises MediaError if it does not come in time, and Cancelled."""
        began_s = time.monotonic()
        # Starting depends on the machine, not on the file.
        limit_s = min(self._stall_s, self._left_s) if decoder.is_ready else _START_S
        try:
            while True:
                if self._cancel is not None and self._cancel.is_set():
                    raise Cancelled
                with contextlib.suppress(queue.Empty):
                    return decoder.messages.get(timeout=_POLL_S)
                if decoder.is_killed:
                    return None
                if time.monotonic() > began_s + limit_s:
                    raise _limits_error(self.file_name, f" It took longer than {limit_s:.0f} s.")
        finally:
            if decoder.is_ready:
                self._left_s -= time.monotonic() - began_s


_Incoming = tuple[Kind, bytearray] | BaseException | None
"""A message, an error of the reading thread, or None at the end of the decoder."""


class _DecoderProcess:
    """A running decoder."""

    def __init__(self, limits: DecodingLimits) -> None:
        # One thread for each of these libraries: more of them reserve address space, and gain nothing here.
        single = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "rewas_engine.media.isolation.child",
                str(os.getpid()),
                to_json(asdict(limits)).decode(),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **single},
            # Protects it from Ctrl-C in a terminal; it ends with this process.
            start_new_session=sys.platform != "win32",
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        _widen(self._process.stdout)
        self.messages: queue.Queue[_Incoming] = queue.Queue(_QUEUED_MESSAGES)
        self._max_bytes = _MAX_TEXT_BYTES
        self.is_ready, self.is_killed = False, False
        threading.Thread(target=self._read, name="rewas-decoder-reader", daemon=True).start()

    @property
    def pid(self) -> int:
        """The decoder's process id."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def ask(self, name: str, path: Path, arguments: Mapping[str, Any], max_bytes: int) -> None:
        """Send a call, whose answers have at most max_bytes each."""
        self._max_bytes = max_bytes
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # `receive` finds that it has ended.
            write_message(
                self._process.stdin,
                Kind.CALL,
                to_json({"name": name, "path": path.absolute(), "arguments": dict(arguments)}),
            )

    def receive(self, waiting: _Waiting) -> tuple[Kind, bytearray]:
        """Return the next answer. Raises MediaError, Cancelled, and the private errors of this module."""
        while True:
            incoming = waiting.wait(self)
            if isinstance(incoming, BaseException):
                raise incoming
            if incoming is None and not self.is_ready:
                raise MediaError(
                    f"The decoder did not start.{self._end()}",
                    "Check that the machine has enough memory, and try again.",
                )
            self.is_ready = True
            if incoming is None:
                raise _limits_error(waiting.file_name, self._end())
            kind, content = incoming
            if kind is Kind.REFUSED:
                raise _Refused(*from_json(content))
            if kind is Kind.FAULT:
                raise _Fault(content.decode(errors="replace"))
            if kind is not Kind.ACTIVE:
                return kind, content

    def is_at_end(self) -> bool:
        """Whether the current stream has sent all its frames."""
        with contextlib.suppress(queue.Empty):
            incoming = self.messages.get(timeout=_END_S)
            return isinstance(incoming, tuple) and incoming[0] is Kind.END
        return False

    def kill(self) -> None:
        """End the process at once."""
        self.is_killed = True
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError, ValueError):
                    pipe.close()

    def _end(self) -> str:
        """How the process ended, as a sentence."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(timeout=1)
            if code < 0:
                return f" The decoder ended with {signal.Signals(-code).name}."
        return ""

    def _read(self) -> None:
        """Pass messages on until the process ends."""
        incoming: _Incoming = None
        source = cast(BufferedIOBase, self._process.stdout)
        while True:
            try:
                incoming = read_message(source, self._max_bytes)
            except BrokenMessage as error:
                incoming = error
            except (OSError, ValueError):  # closed by `kill`
                incoming = None
            while not self.is_killed:
                with contextlib.suppress(queue.Full):
                    self.messages.put(incoming, timeout=0.1)
                    break
            if self.is_killed or not isinstance(incoming, tuple):
                return


def _widen(pipe: IO[bytes] | None) -> None:
    """Let a pipe hold several frames, so that the two processes wait less for each other."""
    if sys.platform == "linux" and pipe is not None:
        import fcntl

        with contextlib.suppress(OSError):  # beyond what the system allows one user
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 2 * FRAMES_BYTES)


def _limits_error(file_name: str, detail: str) -> MediaError:
    return MediaError(
        f"{file_name} could not be decoded within the limits on memory and time.{detail}",
        "Export it again in a common format, or at a smaller size.",
    )
