"""Counts calls and transferred bytes, and names the client of each call in the log."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from rewas_server.logs import client_of_call
from rewas_server.metrics import ServerMetrics

_log = logging.getLogger("rewas.server")


class CallInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Must be the first interceptor, so that it sees the status codes of the others."""

    def __init__(self, metrics: ServerMetrics) -> None:
        self._metrics = metrics

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        service, _, method = handler_call_details.method.rpartition("/")
        # The names of unknown methods are chosen by the client, and each name is kept for ever.
        is_known = handler is not None and service.startswith("/rewas.")
        if not is_known or (handler.request_streaming and handler.response_streaming):
            return handler
        coders = {"request_deserializer": handler.request_deserializer}
        coders["response_serializer"] = handler.response_serializer
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(self._observe(method, handler.unary_unary), **coders)
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(self._observe(method, handler.stream_unary), **coders)
        return grpc.unary_stream_rpc_method_handler(self._observe_stream(method, handler.unary_stream), **coders)

    def _observe(self, method: str, handler: Callable[[Any, Any], Awaitable[Any]]) -> Any:
        async def observed(request: Any, context: Any) -> Any:
            with self._call(method, context):
                return await handler(self._count_upload(request) if method == "UploadMedia" else request, context)

        return observed

    def _observe_stream(self, method: str, handler: Callable[[Any, Any], AsyncGenerator[Any, None]]) -> Any:
        async def observed(request: Any, context: Any) -> AsyncGenerator[Any, None]:
            with self._call(method, context):
                async with contextlib.aclosing(handler(request, context)) as responses:
                    async for response in responses:
                        yield response
                        if method == "FetchArtifact":
                            self._metrics.fetched.inc(len(response.data))

        return observed

    async def _count_upload(self, messages: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
        async for message in messages:
            self._metrics.uploaded.inc(len(message.data))
            yield message

    @contextlib.contextmanager
    def _call(self, method: str, context: Any) -> Any:
        client_of_call.set(context.peer())
        try:
            yield
        except grpc.aio.AbortError:
            code = _code_name(context)
            self._metrics.calls.labels(method, code).inc()
            _log.info("%s was refused (%s).", method, code)
            raise
        except BaseException:
            # The client has hung up, or the server stops.
            self._metrics.calls.labels(method, "CANCELLED").inc()
            raise
        self._metrics.calls.labels(method, _code_name(context)).inc()


def _code_name(context: Any) -> str:
    code = context.code()
    if isinstance(code, grpc.StatusCode):
        return str(code.name)
    return next((each.name for each in grpc.StatusCode if each.value[0] == code), "OK")
