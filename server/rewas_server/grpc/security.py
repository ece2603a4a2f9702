"""What the client of a call may do, and the mapping of errors to gRPC status codes."""

from __future__ import annotations

import functools
import logging
import os
import secrets
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote

import grpc
from google.protobuf.message import Message

from rewas_api.addresses import is_loopback
from rewas_api.errors import PROBLEM_METADATA_KEY, ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_engine import EngineError
from rewas_server.jobs.board import ServerStopping
from rewas_server.work.translation import internal_problem, problem_from_error

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

_OWN_FAILURE = {ProblemKind.RESOURCES: "The server could not read or write a file, or ran out of memory."}
_log = logging.getLogger("rewas.server")


class ReaderTooSlow(Exception):
    """The client does not read the responses of its call."""


def is_on_this_machine(context: Any) -> bool:
    """Return whether the client of a call is on the machine of the server."""
    return _is_on_this_machine(context.peer())


@functools.lru_cache(maxsize=1024)  # called for each response of a watch
def _is_on_this_machine(peer: str) -> bool:
    return is_loopback(peer_host(peer))


def peer_host(peer: str) -> str:
    """Return the host of a peer in gRPC's form: "ipv4:127.0.0.1:50071", "ipv6:%5B::1%5D:50071"."""
    return unquote(peer).partition(":")[2].rpartition(":")[0].removeprefix("[").removesuffix("]")


def client_name(context: Any) -> str:
    """Return the client to which the quotas of a call apply: its host, because all clients share one token."""
    return peer_host(context.peer())


def refuse_remote_project_folders(request: rewas_pb2.SubmitJobRequest, context: Any) -> None:
    """Raise ProblemError (PERMISSION) if a client on another machine names project folders."""
    if request.project_folders and not is_on_this_machine(context):
        raise ProblemError(
            "The request names project folders, but its client is on another machine.",
            "Upload the media instead.",
            ProblemKind.PERMISSION,
        )


def hide_paths(message: Message, state_dir: Path) -> None:
    """Remove the paths of the server's disk from a response for a client on another machine.

    Sentences keep the part of a path that is below the state folder.
    """
    for field, value in message.ListFields():
        if field.message_type is None:
            if isinstance(value, str) and str(state_dir) in value:
                setattr(message, field.name, without_folder(value, state_dir))
        elif not field.message_type.GetOptions().map_entry:
            for each in [value] if isinstance(value, Message) else value:
                if isinstance(each, rewas_pb2.ClipInfo | rewas_pb2.Artifact):
                    each.ClearField("path")
                hide_paths(each, state_dir)


def without_folder(sentence: str, folder: Path) -> str:
    """Return a sentence in which paths below a folder are relative to it."""
    return sentence.replace(f"{folder}{os.sep}", "").replace(str(folder), "the state folder")


async def abort(context: Any, error: Exception, method: str, state_dir: Path) -> NoReturn:
    """End a call with the status code, the message and the Problem for an exception of its handler.

    Of a bug, the client learns a number only: the text and the trace of the exception are in the log.
    """
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, ServerStopping):
        await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
    if isinstance(error, ReaderTooSlow):
        # Clients connect again and resume after this status code.
        _log.warning("A client does not read the responses of %s; the call ends.", method)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "The client did not read the responses in time.")
    problem = problem_from_error(error)
    if problem.kind not in STATUS_BY_KIND:
        reference = secrets.token_hex(4)
        _log.error("Internal error %s in %s.", reference, method, exc_info=error)
        problem = internal_problem(reference)
    elif not isinstance(error, ProblemError | EngineError):
        # The sentence about an unexpected error of the system may name files of the server.
        _log.warning("%s failed: %s", method, problem.what)
        problem = ProblemError(_OWN_FAILURE.get(problem.kind, problem.what), problem.remedy, problem.kind)
    if not is_on_this_machine(context):
        what, remedy = (without_folder(text, state_dir) for text in (problem.what, problem.remedy))
        problem = ProblemError(what, remedy, problem.kind)
    short = ProblemError(_truncate(problem.what), _truncate(problem.remedy), problem.kind)
    await context.abort(
        STATUS_BY_KIND.get(problem.kind, grpc.StatusCode.INTERNAL),
        str(short),
        trailing_metadata=((PROBLEM_METADATA_KEY, short.to_proto().SerializeToString()),),
    )
    raise AssertionError("abort always raises")


def _truncate(sentence: str) -> str:
    return sentence if len(sentence) <= MAX_SENTENCE_CHARACTERS else sentence[: MAX_SENTENCE_CHARACTERS - 1] + "…"
