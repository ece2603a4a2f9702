"""The frame of every call: token, limits, strict decoding, and errors as status codes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc

from rewas_api import CONTRACT_VERSION
from rewas_api.errors import ProblemError, ProblemKind
from rewas_server import __version__
from rewas_server.config import ClientLimits
from rewas_server.grpc.access import TokenCheck
from rewas_server.grpc.calls import CallObserver
from rewas_server.grpc.decoding import Submission, decode
from rewas_server.grpc.limits import OTHER_MESSAGE_BYTES, SUBMIT, CallCounter, CallKind, message_limit_bytes
from rewas_server.grpc.security import ReaderTooSlow, abort, hide_paths, is_on_this_machine, peer_host

MAX_MESSAGES_RECEIVED_AT_ONCE = 2
"""gRPC has one size limit for all methods. A message of any method can therefore take several times the memory of the
longest submission before its size is known."""
RECEIVING_S = 0.25
"""Seconds after which a message that does not come keeps others from being received no longer."""
SHORT_READ_TIMEOUT_S = 10.0
"""Seconds for the request of a method whose requests are short."""
OBSERVED_SERVICES = "/rewas."


class CallFrame(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Checks each call before its request is read, reads the request, and turns exceptions into status codes.

    On the wire, a single message is a stream of one message. Every call is therefore handled as a stream of bytes, so
    that this class controls the time, the size and the decoding of its request.
    """

    def __init__(self, token: TokenCheck, limits: ClientLimits, observer: CallObserver, state_dir: Path) -> None:
        self._token = token
        self._limits = limits
        self._observer = observer
        self._state_dir = state_dir
        self._counter = CallCounter(limits)
        self._receiving = asyncio.Semaphore(MAX_MESSAGES_RECEIVED_AT_ONCE)
        self._receiving_submissions = asyncio.Semaphore(MAX_MESSAGES_RECEIVED_AT_ONCE)

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        # The names of unknown methods are chosen by the client, and the observer keeps each name for ever.
        is_observed = handler is not None and method.startswith(OBSERVED_SERVICES)
        name = method.rpartition("/")[2]

        async def run(messages: Any, context: Any) -> Any:
            with self._observer.call(name, context) if is_observed else contextlib.nullcontext():
                try:
                    if handler is None:
                        raise _unknown_method(method)
                    self._token.check(handler_call_details)
                    return await self._answer(handler, name, context)
                except Exception as error:
                    failure = error
                release_frames(failure)
                return await abort(context, failure, name, self._state_dir)

        if handler is None or handler.response_streaming:
            serializer = None if handler is None else handler.response_serializer
            return grpc.stream_stream_rpc_method_handler(run, response_serializer=serializer)
        return grpc.stream_unary_rpc_method_handler(run, response_serializer=handler.response_serializer)

    async def _answer(self, handler: Any, name: str, context: Any) -> Any:
        count = functools.partial(self._counter.count, peer_host(context.peer()))
        async with contextlib.aclosing(self._read(handler, name, context)) as requests:
            if handler.request_streaming:
                with count(CallKind.UPLOAD):
                    return await handler.stream_unary(requests, context)
            with count(CallKind.STREAM if handler.response_streaming else CallKind.CALL):
                request = await anext(requests, None)
                if request is None:
                    raise ProblemError("The call has no request.", "Send one message.", ProblemKind.SETTINGS)
                if handler.unary_unary:
                    return self._for_client(await handler.unary_unary(request, context), context)
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
                        await context.write(self._for_client(response, context))
                except TimeoutError as error:
                    raise ReaderTooSlow from error
                self._observer.count_sent(name, response)

    def _for_client(self, response: Any, context: Any) -> Any:
        if not is_on_this_machine(context):
            hide_paths(response, self._state_dir)
        return response

    async def _read(self, handler: Any, name: str, context: Any) -> AsyncGenerator[Any, None]:
        limit_bytes = message_limit_bytes(name)
        timeout_s = self._limits.read_timeout_s
        if limit_bytes == OTHER_MESSAGE_BYTES:
            timeout_s = min(timeout_s, SHORT_READ_TIMEOUT_S)
        while (data := await self._receive(context, name, timeout_s)) is not None:
            if len(data) > limit_bytes:
                raise ProblemError(
                    f"The message has {len(data)} bytes; the limit of {name} is {limit_bytes}.",
                    "Send smaller messages; 256 KiB is a good size for uploads.",
                    ProblemKind.RESOURCES,
                )
            await asyncio.sleep(0)  # Receiving a long message has kept other calls waiting, and decoding does again.
            request = decode(handler.request_deserializer, data)
            self._observer.count_received(name, request)
            yield Submission(request, data) if name == SUBMIT else request

    async def _receive(self, context: Any, name: str, timeout_s: float) -> bytes | None:
        is_submission = name == SUBMIT
        # The client sends the bulk of a message only when the server asks for it.
        async with self._receiving_submissions if is_submission else self._receiving:
            message = asyncio.create_task(_next_message(context))
            try:
                await asyncio.wait({message}, timeout=timeout_s if is_submission else RECEIVING_S)
            except asyncio.CancelledError:
                message.cancel()
                raise
        try:
            async with asyncio.timeout(timeout_s):
                return await message
        except TimeoutError as error:
            raise ProblemError(
                f"The next message of the client did not arrive within {timeout_s:g} s.",
                "Check the network and try again.",
                ProblemKind.RESOURCES,
            ) from error


def release_frames(error: BaseException | None) -> None:
    """Release what the frames of an exception hold, such as the bytes of its request.

    gRPC keeps the exception that ends a call in a reference cycle, which is collected late.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


async def _next_message(context: Any) -> bytes | None:
    # The iterator of messages would hold each of them until the next one comes.
    message: Any = await context.read()
    return None if message is grpc.aio.EOF else message


def _unknown_method(method: str) -> ProblemError:
    """Return the refusal of a method of another contract, which every version of the client shows."""
    return ProblemError(
        f"This server (ReWaS NLE {__version__}, contract {CONTRACT_VERSION}) does not have the method {method}.",
        "Install the same version of ReWaS NLE on both sides.",
        ProblemKind.SERVER,
    )
