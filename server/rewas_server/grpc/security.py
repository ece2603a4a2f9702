"""Access to artifacts, and the mapping of errors to gRPC status codes."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import grpc

from rewas_api import CONTRACT_VERSION
from rewas_api.addresses import is_loopback
from rewas_api.errors import PROBLEM_METADATA_KEY, ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server import __version__
from rewas_server.jobs.board import ServerStopping
from rewas_server.work.translation import problem_from_error

STATUS_BY_KIND = {
    ProblemKind.SETTINGS: grpc.StatusCode.INVALID_ARGUMENT,
    ProblemKind.TIMELINE: grpc.StatusCode.INVALID_ARGUMENT,
    ProblemKind.MEDIA: grpc.StatusCode.FAILED_PRECONDITION,
    ProblemKind.PACK: grpc.StatusCode.FAILED_PRECONDITION,
    ProblemKind.CONFLICT: grpc.StatusCode.FAILED_PRECONDITION,
    ProblemKind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ProblemKind.PERMISSION: grpc.StatusCode.PERMISSION_DENIED,
    ProblemKind.ACCESS: grpc.StatusCode.UNAUTHENTICATED,
    ProblemKind.RESOURCES: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ProblemKind.SERVER: grpc.StatusCode.UNIMPLEMENTED,
}
MAX_SENTENCE_CHARACTERS = 600
"""Longest sentence in the metadata of a call, which gRPC limits to a few kilobytes."""

_log = logging.getLogger("rewas.server")


class ProblemInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Turns exceptions of handlers into a status code, a message, and a Problem in the trailing metadata."""

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:
            return _refusal_of_unknown_method(handler_call_details.method)
        # The health service answers for itself: its Watch is a coroutine, not a generator.
        if not handler_call_details.method.startswith("/rewas."):
            return handler
        coders = {"request_deserializer": handler.request_deserializer}
        coders["response_serializer"] = handler.response_serializer
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(_wrap_handler(handler.unary_unary), **coders)
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(_wrap_handler(handler.stream_unary), **coders)
        return grpc.unary_stream_rpc_method_handler(_wrap_stream_handler(handler.unary_stream), **coders)


def _refusal_of_unknown_method(method: str) -> Any:
    """Refuse a call to a method of another contract, with a message that every version of the client shows."""

    async def refuse(requests: Any, context: Any) -> AsyncGenerator[bytes, None]:
        problem = ProblemError(
            f"This server (ReWaS NLE {__version__}, contract {CONTRACT_VERSION}) does not have the method {method}.",
            "Install the same version of ReWaS NLE on both sides.",
            ProblemKind.SERVER,
        )
        await _abort(context, problem)
        yield b""

    # On the wire, a single message is a stream of one message, so this handler accepts every kind of call.
    return grpc.stream_stream_rpc_method_handler(refuse)


def is_on_this_machine(context: Any) -> bool:
    """Return whether the client of a call is on the machine of the server."""
    return is_loopback(peer_host(context.peer()))


def peer_host(peer: str) -> str:
    """Return the host of a peer in gRPC's form: "ipv4:127.0.0.1:50071", "ipv6:%5B::1%5D:50071"."""
    return unquote(peer).partition(":")[2].rpartition(":")[0].removeprefix("[").removesuffix("]")


def refuse_remote_project_folders(request: rewas_pb2.SubmitJobRequest, context: Any) -> None:
    """Raise ProblemError (PERMISSION) if a client on another machine names project folders."""
    if request.project_folders and not is_on_this_machine(context):
        raise ProblemError(
            "The request names project folders, but its client is on another machine.",
            "Upload the media instead.",
            ProblemKind.PERMISSION,
        )


def artifact_path(artifacts_dir: Path, job: rewas_pb2.Job, name: str) -> tuple[Path, rewas_pb2.Artifact]:
    """Return the path of an artifact of a job by its name.

    Only names in the job's result are accepted, so that a request cannot name an arbitrary path. Raises ProblemError
    (NOT_FOUND).
    """
    for artifact in list_artifacts(job):
        path = (artifacts_dir / job.id / artifact.name).resolve()
        if artifact.name == name and path.parent == (artifacts_dir / job.id).resolve() and path.is_file():
            return path, artifact
    raise ProblemError(
        f'The job "{job.name}" has no artifact "{name[:100]}".',
        "Use a name from the job's result, or generate the sound again if its files were removed.",
        ProblemKind.NOT_FOUND,
    )


def list_artifacts(job: rewas_pb2.Job) -> Iterator[rewas_pb2.Artifact]:
    """Yield all artifacts of a job."""
    sounds = [job.sound] if job.HasField("sound") else [clip.sound for clip in job.timeline.clips]
    for sound in sounds:
        for take in sound.takes:
            for stem in take.stems:
                yield stem.artifact


def _wrap_handler(handler: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
    async def guarded(request: Any, context: Any) -> Any:
        try:
            return await handler(request, context)
        except Exception as error:
            await _abort(context, error)

    return guarded


def _wrap_stream_handler(
    handler: Callable[[Any, Any], AsyncGenerator[Any, None]],
) -> Callable[[Any, Any], AsyncGenerator[Any, None]]:
    async def guarded(request: Any, context: Any) -> AsyncGenerator[Any, None]:
        try:
            async with contextlib.aclosing(handler(request, context)) as responses:
                async for response in responses:
                    yield response
        except Exception as error:
            await _abort(context, error)

    return guarded


async def _abort(context: Any, error: Exception) -> None:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, ServerStopping):
        await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
    problem = store_problem(error) if isinstance(error, sqlite3.Error) else problem_from_error(error)
    if problem.kind not in STATUS_BY_KIND:
        _log.error("Internal error in a call.", exc_info=error)
    short = ProblemError(_truncate(problem.what), _truncate(problem.remedy), problem.kind)
    await context.abort(
        STATUS_BY_KIND.get(problem.kind, grpc.StatusCode.INTERNAL),
        str(short),
        trailing_metadata=((PROBLEM_METADATA_KEY, short.to_proto().SerializeToString()),),
    )


def store_problem(error: sqlite3.Error) -> ProblemError:
    """Return the problem to report if the job store fails."""
    return ProblemError(
        f"The server's job store failed ({error}).",
        "Make sure that the server's state folder is writable and its disk has free space.",
        ProblemKind.RESOURCES,
    )


def _truncate(sentence: str) -> str:
    return sentence if len(sentence) <= MAX_SENTENCE_CHARACTERS else sentence[: MAX_SENTENCE_CHARACTERS - 1] + "…"
