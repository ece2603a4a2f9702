"""The frame of every call: token, limits, strict decoding, and errors as status codes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from rewas_api import CONTRACT_VERSION
from rewas_api.errors import ProblemError, ProblemKind
from rewas_server import __version__
from rewas_server.config import ClientLimits
from rewas_server.grpc.access import TokenCheck
from rewas_server.grpc.calls import CallObserver
from rewas_server.grpc.decoding import decode
from rewas_server.grpc.limits import CallCounter, CallKind, message_limit_bytes
from rewas_server.grpc.security import ReaderTooSlow, abort, peer_host

MAX_REQUESTS_READ_AT_ONCE = 4
"""Requests that are received at the same time: each may take a whole message in memory, twice."""
OBSERVED_SERVICES = "/rewas."


class CallFrame(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Checks each call before its request is read, reads the request, and turns exceptions into status codes.

    On the wire, a single message is a stream of one message. Every call is therefore handled as a stream of bytes, so
    that this class controls the time, the size and the decoding of its request.
    """

    def __init__(self, token: TokenCheck, limits: ClientLimits, observer: CallObserver) -> None:
        self._token = token
        self._limits = limits
        self._observer = observer
        self._counter = CallCounter(limits)
        self._reading = asyncio.Semaphore(MAX_REQUESTS_READ_AT_ONCE)

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        # The names of unknown methods are chosen by the client, and the observer keeps each name for ever.
        is_observed = handler is not None and method.startswith(OBSERVED_SERVICES)
        name = method.rpartition("/")[2]

        async def run(messages: AsyncIterator[bytes], context: Any) -> Any:
            with self._observer.call(name, context) if is_observed else contextlib.nullcontext():
                try:
                    if handler is None:
                        raise _unknown_method(method)
                    self._token.check(handler_call_details)
                    return await self._answer(handler, name, messages, context)
                except Exception as error:
                    await abort(context, error, name)

        if handler is None or handler.response_streaming:
            serializer = None if handler is None else handler.response_serializer
            return grpc.stream_stream_rpc_method_handler(run, response_serializer=serializer)
        return grpc.stream_unary_rpc_method_handler(run, response_serializer=handler.response_serializer)

    async def _answer(self, handler: Any, name: str, messages: AsyncIterator[bytes], context: Any) -> Any:
        count = functools.partial(self._counter.count, peer_host(context.peer()))
        async with contextlib.aclosing(self._read(handler, name, messages)) as requests:
            if handler.request_streaming:
                with count(CallKind.UPLOAD):
                    return await handler.stream_unary(requests, context)
            with count(CallKind.STREAM if handler.response_streaming else CallKind.CALL):
                async with self._reading:
                    request = await anext(requests, None)
                if request is None:
                    raise ProblemError("The call has no request.", "Send one message.", ProblemKind.SETTINGS)
                if handler.unary_unary:
                    return await handler.unary_unary(request, context)
                return await self._write(handler.unary_stream(request, context), name, context)

    async def _write(self, responses: Any, name: str, context: Any) -> None:
        if inspect.isawaitable(responses):
            # The health service writes its few bytes itself.
            await responses
            return
        async with contextlib.aclosing(responses):
            async for response in responses:
                try:
                    async with asyncio.timeout(self._limits.write_timeout_s):
                        await context.write(response)
                except TimeoutError as error:
                    raise ReaderTooSlow from error
                self._observer.count_sent(name, response)

    async def _read(self, handler: Any, name: str, messages: AsyncIterator[bytes]) -> AsyncGenerator[Any, None]:
        iterator, limit_bytes = aiter(messages), message_limit_bytes(name)
        while (data := await self._receive(iterator)) is not None:
            if len(data) > limit_bytes:
                raise ProblemError(
                    f"The message has {len(data)} bytes; the limit of {name} is {limit_bytes}.",
                    "Send smaller messages.",
                    ProblemKind.RESOURCES,
                )
            request = decode(handler.request_deserializer, data)
            self._observer.count_received(name, request)
            yield request

    async def _receive(self, messages: AsyncIterator[bytes]) -> bytes | None:
        try:
            async with asyncio.timeout(self._limits.read_timeout_s):
                return await anext(messages, None)
        except TimeoutError as error:
            raise ProblemError(
                f"The next message of the client did not arrive within {self._limits.read_timeout_s:g} s.",
                "Check the network and try again.",
                ProblemKind.RESOURCES,
            ) from error


def _unknown_method(method: str) -> ProblemError:
    """Return the refusal of a method of another contract, which every version of the client shows."""
    return ProblemError(
        f"This server (ReWaS NLE {__version__}, contract {CONTRACT_VERSION}) does not have the method {method}.",
        "Install the same version of ReWaS NLE on both sides.",
        ProblemKind.SERVER,
    )
