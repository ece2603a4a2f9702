"""The decoder's process: it decodes what its parent asks for, one call after another.

    python -m rewas_engine.media.isolation.child PARENT_PID LIMITS

Messages (see `rewas_engine.media.isolation.messages`) come and go over standard input and output. The process ends when
its input closes.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from io import BufferedIOBase
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from rewas_engine.errors import MediaError
from rewas_engine.media import audio, facts, video
from rewas_engine.media.container import call_on_activity
from rewas_engine.media.isolation.messages import (
    FRAMES_BYTES,
    Kind,
    bytes_of,
    from_json,
    read_message,
    to_json,
    write_message,
)
from rewas_engine.media.isolation.process_limits import limit_this_process
from rewas_engine.media.isolation.seam import FUNCTIONS, RECORDS, STREAMS
from rewas_engine.media.limits import DecodingLimits, decoding_limits

ACTIVE_INTERVAL_S = 1.0
_MAX_REQUEST_BYTES = 1 << 20
_MODULES = (audio, facts, video)
"""They declare what can be called."""


class Server:
    """Answers the calls of the parent."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._last_sent_s = 0.0

    def report_activity(self) -> None:
        """Tell the parent now and then that decoding goes on."""
        if time.monotonic() - self._last_sent_s > ACTIVE_INTERVAL_S:
            self._send(Kind.ACTIVE, b"")

    def answer(self, request: bytearray) -> None:
        """Call a function, and send its result."""
        called = from_json(request, records=RECORDS)
        name, path, arguments = called["name"], called["path"], called["arguments"]
        self._last_sent_s = time.monotonic()
        try:
            if name in STREAMS:
                self._send_frames(STREAMS[name](path, **arguments))
                return
            arrays: list[NDArray[Any]] = []
            result = to_json(FUNCTIONS[name](path, **arguments), arrays)
            for array in arrays:
                self._send(Kind.ARRAY, bytes_of(array))
            self._send(Kind.RESULT, result)
        except MediaError as error:
            self._send(Kind.REFUSED, to_json((error.what, error.remedy)))
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            self._send(Kind.FAULT, traceback.format_exc().encode())
        except Exception:
            # MemoryError too. Hostile files may cause any error, so the trace goes to the parent's log.
            self._send(Kind.FAULT, traceback.format_exc().encode())

    def _send_frames(self, frames: Iterator[NDArray[np.uint8]]) -> None:
        held = bytearray()
        for frame in frames:
            content = bytes_of(frame)
            if held and len(held) + len(content) > FRAMES_BYTES:
                self._send(Kind.FRAMES, held)
                held = bytearray()
            if len(content) > FRAMES_BYTES // 2:
                self._send(Kind.FRAMES, content)
            else:
                held += content
                if time.monotonic() - self._last_sent_s > ACTIVE_INTERVAL_S:
                    self._send(Kind.FRAMES, held)
                    held = bytearray()
        if held:
            self._send(Kind.FRAMES, held)
        self._send(Kind.END, b"")

    def _send(self, kind: Kind, content: bytes | bytearray | memoryview) -> None:
        write_message(self._output, kind, content)
        self._last_sent_s = time.monotonic()


def _read_requests(source: BufferedIOBase, requests: queue.SimpleQueue[bytearray]) -> None:
    """Pass on requests until the parent ends, and then end at once, even during a call."""
    try:
        while (message := read_message(source, _MAX_REQUEST_BYTES)) is not None:
            requests.put(message[1])
    finally:
        os._exit(0)


def _private_output() -> BinaryIO:
    """Return the pipe to the parent, and drop what libraries print."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    return output


def main() -> None:
    """Answer calls until standard input closes."""
    limits = DecodingLimits(**from_json(sys.argv[2].encode()))
    output = _private_output()
    limit_this_process(limits, int(sys.argv[1]))
    server, requests = Server(output), queue.SimpleQueue[bytearray]()
    source = cast(BufferedIOBase, sys.stdin.buffer)
    call_on_activity(server.report_activity)
    threading.Thread(target=_read_requests, args=(source, requests), daemon=True).start()
    server.report_activity()
    try:
        with decoding_limits(limits):
            while True:
                server.answer(requests.get())
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main()
