"""The connections of the web page: how many there are, and how long they may wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

MAX_CONNECTIONS = 32
IDLE_TIMEOUT_S = 10.0
"""Seconds without a complete request after which a connection is closed: idle ones, and those that send slowly."""


class ConnectionGuard:
    """Limits connections.

    Args:
        make_protocol: Returns the protocol of a new connection.
        max_connections: Connections that are open at the same time. Further ones are closed at once.
        idle_timeout_s: Seconds within which a connection must send a complete request.
    """

    def __init__(
        self,
        make_protocol: Callable[[], asyncio.Protocol],
        max_connections: int = MAX_CONNECTIONS,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
    ) -> None:
        self._make_protocol = make_protocol
        self._max_connections = max_connections
        self._idle_timeout_s = idle_timeout_s
        self._connections: dict[asyncio.BaseTransport, _GuardedConnection] = {}

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a new connection, for loop.create_server."""
        return _GuardedConnection(self._make_protocol(), self)

    @contextmanager
    def serving(self, transport: asyncio.BaseTransport | None) -> Iterator[None]:
        """Within, a connection is busy with a request, so that it does not count as idle."""
        connection = None if transport is None else self._connections.get(transport)
        if connection is None:
            yield
            return
        connection.stop_timer()
        try:
            yield
        finally:
            connection.start_timer()

    def close(self) -> None:
        """Close all connections."""
        for transport in list(self._connections):
            _abort(transport)

    def begin(self, transport: asyncio.BaseTransport, connection: _GuardedConnection) -> bool:
        """Count a new connection. Returns False if there are too many."""
        if len(self._connections) >= self._max_connections:
            return False
        self._connections[transport] = connection
        return True

    def end(self, transport: asyncio.BaseTransport) -> None:
        """Forget a closed connection."""
        self._connections.pop(transport, None)

    def call_when_idle(self, action: Callable[[], None]) -> asyncio.TimerHandle:
        """Call this when a connection has been idle for too long."""
        return asyncio.get_running_loop().call_later(self._idle_timeout_s, action)


class _GuardedConnection(asyncio.Protocol):
    def __init__(self, inner: asyncio.Protocol, guard: ConnectionGuard) -> None:
        self._inner = inner
        self._guard = guard
        self._transport: asyncio.BaseTransport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self._guard.begin(transport, self):
            _abort(transport)
            return
        self._transport = transport
        self.start_timer()
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._guard.end(self._transport)
            self._transport = None
            self.stop_timer()
            self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._transport is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._transport is not None else None

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def start_timer(self) -> None:
        self.stop_timer()
        if self._transport is not None:
            self._timer = self._guard.call_when_idle(self._abort)

    def stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _abort(self) -> None:
        if self._transport is not None:
            _abort(self._transport)


def _abort(transport: asyncio.BaseTransport) -> None:
    # Not close, which waits until the other side has read what is left.
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
