"""A TCP proxy on loopback that breaks connections in the middle of a transfer, or connects late."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class BreakingProxy:
    """Forwards connections to a port.

    Connection n is reset after it has sent `limits_bytes[n]` bytes. Each one reaches the port after `delay_s`.
    """

    def __init__(self, target_port: int, limits_bytes: Sequence[int], delay_s: float = 0.0) -> None:
        self._target_port = target_port
        self._limits_bytes = list(limits_bytes)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.broken = 0
        self._delay_s = delay_s

    def run(self) -> None:
        """Accept connections until the listener is closed."""
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                limit = self._limits_bytes.pop(0) if self._limits_bytes else None
                threading.Event().wait(self._delay_s)
                server = socket.create_connection(("127.0.0.1", self._target_port))
                threading.Thread(target=self._forward, args=(client, server, limit), daemon=True).start()
                threading.Thread(target=self._forward, args=(server, client, None), daemon=True).start()

    def close(self) -> None:
        """Accept no more connections."""
        # Closing alone does not wake up accept.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _forward(self, source: socket.socket, target: socket.socket, limit_bytes: int | None) -> None:
        sent_bytes = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
                sent_bytes += len(data)
                if limit_bytes is not None and sent_bytes >= limit_bytes:
                    self.broken += 1
                    _reset(source)
                    _reset(target)
                    return
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def _reset(connection: socket.socket) -> None:
    """Close a connection as a failing network does, without a farewell."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextmanager
def breaking_proxy(target_port: int, limits_bytes: Sequence[int] = (), delay_s: float = 0.0) -> Iterator[BreakingProxy]:
    """Run a proxy for the length of the block."""
    proxy = BreakingProxy(target_port, limits_bytes, delay_s)
    thread = threading.Thread(target=proxy.run, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()
