"""Counts calls and transferred bytes, and names the client of each call in the log."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from typing import Any

import grpc

from rewas_server.logs import client_of_call
from rewas_server.metrics import ServerMetrics

REFUSAL_PERIOD_S = 60.0
MAX_LOGGED_REFUSALS = 20
"""Refused calls that are logged in one period; the metrics count all."""
_log = logging.getLogger("rewas.server")


class CallObserver:
    """Observes the calls of the contract. metrics: those to count in."""

    def __init__(self, metrics: ServerMetrics) -> None:
        self._metrics = metrics
        self._period_began_s = float("-inf")
        self._refusals = 0

    @contextlib.contextmanager
    def call(self, method: str, context: Any) -> Iterator[None]:
        """Observe a call within. The error that ends it has become a status code by then."""
        client_of_call.set(context.peer())
        try:
            yield
        except grpc.aio.AbortError:
            code = _code_name(context)
            self._metrics.calls.labels(method, code).inc()
            self._log_refusal(method, code)
            raise
        except BaseException:
            # The client has hung up, or the server stops.
            self._metrics.calls.labels(method, "CANCELLED").inc()
            raise
        self._metrics.calls.labels(method, _code_name(context)).inc()

    def _log_refusal(self, method: str, code: str) -> None:
        """Log a refusal, unless there were many: a flood of them must not push all else out of the log."""
        now_s = time.monotonic()
        if now_s - self._period_began_s > REFUSAL_PERIOD_S:
            if self._refusals > MAX_LOGGED_REFUSALS:
                _log.warning("%d more calls were refused.", self._refusals - MAX_LOGGED_REFUSALS)
            self._period_began_s, self._refusals = now_s, 0
        self._refusals += 1
        if self._refusals <= MAX_LOGGED_REFUSALS:
            # Every watch ends like this when the server stops.
            level = logging.DEBUG if code == "UNAVAILABLE" else logging.INFO
            _log.log(level, "%s was refused (%s).", method, code)

    def count_received(self, method: str, message: Any) -> None:
        """Count the bytes of an upload. message: a request."""
        if method == "UploadMedia":
            self._metrics.uploaded.inc(len(message.data))

    def count_sent(self, method: str, message: Any) -> None:
        """Count the bytes of a download. message: a response that was sent."""
        if method == "FetchArtifact":
            self._metrics.fetched.inc(len(message.data))


def _code_name(context: Any) -> str:
    code = context.code()
    if isinstance(code, grpc.StatusCode):
        return str(code.name)
    return next((each.name for each in grpc.StatusCode if each.value[0] == code), "OK")
