"""The one place where gRPC's errors become ours."""

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
    """The problem behind a failed call (grpc.RpcError with the call's methods) to the server at `address`."""
    sent = _problem_from_metadata(error)
    if sent is not None:
        return sent
    status = error.code()
    # A server that ends its calls while it stops cancels those that do not end by themselves.
    if status in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return ServerUnavailable(
            f"No ReWaS server answers at {address}.",
            f"Start one with `rewas serve --port {address.rpartition(':')[2]}` and try again.",
        )
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return ServerUnavailable(
            f"The server at {address} did not answer in time.",
            "Try again; if it stays silent, stop it and start it again with `rewas serve`.",
        )
    if status is grpc.StatusCode.UNIMPLEMENTED:
        return ContractMismatch(
            f"The server at {address} does not speak this version of the contract ({error.details()}).",
            "Install the same version of ReWaS NLE on both sides, and see that no other program listens there.",
        )
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return ProblemError(
            f"A message was too large for the server at {address} ({error.details()}).",
            "Send fewer clips at once.",
            ProblemKind.RESOURCES,
        )
    return ProblemError(
        f"The server at {address} answered {status.name}: {error.details()}.",
        "Look into the server's log for the reason, and report it if it is not yours to mend.",
        ProblemKind.INTERNAL,
    )


def contract_problem(info: rewas_pb2.ServerInfo, address: str) -> ContractMismatch | None:
    """Why this client and that server cannot work together; None where they can."""
    if info.contract_version == CONTRACT_VERSION:
        return None
    older = info.contract_version < CONTRACT_VERSION
    return ContractMismatch(
        f"The server at {address} (version {info.version or 'unknown'}) is {'older' if older else 'newer'} than this "
        f"client: it speaks contract {info.contract_version}, this client speaks {CONTRACT_VERSION}.",
        "Update the server and start it again with `rewas serve`." if older else "Update this client.",
    )


def closed_problem(address: str) -> ServerUnavailable:
    """What a call on a closed client is answered with."""
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
