"""What one client may use: connections, calls, message sizes, and time."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from enum import Enum

from rewas_api.client import MAX_MESSAGE_BYTES, MAX_RESPONSE_BYTES
from rewas_api.errors import ProblemError, ProblemKind
from rewas_server.config import ClientLimits

SUBMIT = "SubmitJob"
SUBMIT_MESSAGE_BYTES = MAX_MESSAGE_BYTES
RESPONSE_MESSAGE_BYTES = MAX_RESPONSE_BYTES
UPLOAD_MESSAGE_BYTES = 1024**2
OTHER_MESSAGE_BYTES = 64 * 1024
RESERVED_DESCRIPTORS = 256
"""File descriptors that connections leave for the job store, media, stems and the pipes of worker processes."""


class CallKind(Enum):
    """The kinds of calls, which are counted separately."""

    CALL = "calls"
    STREAM = "watches and downloads"
    UPLOAD = "uploads"


def message_limit_bytes(method: str) -> int:
    """Return the size limit of a client's message for this method, such as "SubmitJob"."""
    limits = {SUBMIT: SUBMIT_MESSAGE_BYTES, "UploadMedia": UPLOAD_MESSAGE_BYTES}
    return limits.get(method, OTHER_MESSAGE_BYTES)


def channel_options(limits: ClientLimits) -> list[tuple[str, int]]:
    """Return the options of gRPC for these limits."""
    milliseconds = {
        "grpc.server_handshake_timeout_ms": limits.handshake_timeout_s,
        "grpc.max_connection_idle_ms": limits.idle_timeout_s,
        "grpc.max_connection_age_ms": limits.connection_age_s,
        "grpc.max_connection_age_grace_ms": limits.connection_age_s,
        # Finds connections whose other end is gone or stopped.
        "grpc.keepalive_time_ms": limits.keepalive_s,
        "grpc.keepalive_timeout_ms": limits.keepalive_s,
        # Clients ping every 10 s while they watch a job without progress.
        "grpc.http2.min_recv_ping_interval_without_data_ms": 5.0,
    }
    return [
        ("grpc.max_receive_message_length", SUBMIT_MESSAGE_BYTES),
        ("grpc.max_send_message_length", RESPONSE_MESSAGE_BYTES),
        ("grpc.max_allowed_incoming_connections", connection_limit(limits.max_connections)),
        ("grpc.max_concurrent_streams", limits.max_calls_per_connection),
        ("grpc.keepalive_permit_without_calls", 1),
        # Otherwise two servers could share a port and each get half of the calls.
        ("grpc.so_reuseport", 0),
        *((name, round(value_s * 1000)) for name, value_s in milliseconds.items()),
    ]


def connection_limit(wanted: int) -> int:
    """Return how many connections to accept, after raising the limit of open files as far as it goes."""
    if sys.platform == "win32":
        return wanted
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + RESERVED_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(1, min(wanted, soft - RESERVED_DESCRIPTORS))
    return wanted


class CallCounter:
    """Counts the running calls of each client, which is known by its host: all clients share one token."""

    def __init__(self, limits: ClientLimits) -> None:
        self._most = {
            CallKind.CALL: limits.max_calls,
            CallKind.STREAM: limits.max_streams,
            CallKind.UPLOAD: limits.max_uploads,
        }
        self._running: Counter[tuple[str, CallKind]] = Counter()

    @contextlib.contextmanager
    def count(self, host: str, kind: CallKind) -> Iterator[None]:
        """Count a call while it runs. Raises ProblemError (RESOURCES) if the client has too many."""
        key = host, kind
        if self._running[key] >= self._most[kind]:
            raise ProblemError(
                f"This client already has {self._most[kind]} {kind.value} running.",
                "Wait until some of them end.",
                ProblemKind.RESOURCES,
            )
        self._running[key] += 1
        try:
            yield
        finally:
            self._running[key] -= 1
            if not self._running[key]:
                del self._running[key]
