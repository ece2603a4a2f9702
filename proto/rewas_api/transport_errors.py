"""Conversion of gRPC errors to ProblemError."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.message import DecodeError

from rewas_api import CONTRACT_VERSION
from rewas_api.errors import (
    PROBLEM_METADATA_KEY,
    ContractMismatch,
    ProblemError,
    ProblemKind,
    ServerUnavailable,
)
from rewas_api.v1 import rewas_pb2


def problem_from_call(error: Any, address: str) -> ProblemError:
    """Convert the error of a call to the server at `address`. error: a grpc.RpcError with the methods of a call."""
    status = error.code()
    sent = _problem_from_metadata(error)
    if sent is not None:
        is_mismatch = status is grpc.StatusCode.UNIMPLEMENTED
        return ContractMismatch(sent.what, sent.remedy) if is_mismatch else sent
    # A server that shuts down cancels the calls that have not ended by then.
    if status in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return ServerUnavailable(
            f"No ReWaS server answers at {address}.",
            f"Start one with `rewas serve --port {address.rpartition(':')[2]}` and try again.",
        )
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return ServerUnavailable(
            f"The server at {address} did not answer in time.",
            "Try again. If it stays silent, stop it and start it again with `rewas serve`.",
        )
    if status is grpc.StatusCode.UNIMPLEMENTED:
        return ContractMismatch(
            f"The server at {address} does not support contract {CONTRACT_VERSION} of this client ({error.details()}).",
            "Install the same version of ReWaS NLE on both sides, and check that no other program uses this port.",
        )
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return ProblemError(
            f"A message was too large for the server at {address} ({error.details()}).",
            "Send fewer clips at once.",
            ProblemKind.RESOURCES,
        )
    return ProblemError(
        f"The server at {address} answered {status.name}: {error.details()}.",
        "See the server's log for the reason, and report it if you cannot fix it.",
        ProblemKind.INTERNAL,
    )


def contract_problem(info: rewas_pb2.GetServerInfoResponse, address: str) -> ContractMismatch | None:
    """The problem if the contracts of this client and the server at `address` differ; None if they are the same."""
    if info.contract_version == CONTRACT_VERSION:
        return None
    older = info.contract_version < CONTRACT_VERSION
    return ContractMismatch(
        f"The server at {address} (version {info.version or 'unknown'}) is {'older' if older else 'newer'} than this "
        f"client: the server uses contract {info.contract_version}, the client {CONTRACT_VERSION}.",
        "Update the server and start it again with `rewas serve`." if older else "Update this client.",
    )


def closed_problem(address: str) -> ServerUnavailable:
    """The problem of a call on a closed client."""
    return ServerUnavailable(f"The connection to the server at {address} was closed.", "Connect again.")


def _problem_from_metadata(error: Any) -> ProblemError | None:
    for key, value in error.trailing_metadata() or ():
        if key == PROBLEM_METADATA_KEY:
            try:
                return ProblemError.from_proto(rewas_pb2.Problem.FromString(value))
            except DecodeError:
                return None
    return None


__all__ = ["closed_problem", "contract_problem", "problem_from_call"]
