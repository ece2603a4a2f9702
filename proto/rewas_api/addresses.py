"""Where a server may be: "HOST:PORT", on this machine unless the user has said otherwise."""

from __future__ import annotations

import ipaddress

from rewas_api.errors import ProblemError, ProblemKind


def validate_address(address: str, *, allow_remote: bool = False) -> str:
    """The address "HOST:PORT" as gRPC wants it.

    Raises ProblemError (SETTINGS) for one that is malformed, and (PERMISSION) for one that is not on this machine
    unless `allow_remote`: picture and sound would leave it unencrypted.
    """
    host, separator, port = address.strip().rpartition(":")
    if not separator or not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise ProblemError(
            f'"{address}" is not the address of a server.',
            "Give a host and a port, for example 127.0.0.1:50071.",
            ProblemKind.SETTINGS,
        )
    bare_host = host.removeprefix("[").removesuffix("]")
    if not allow_remote and not _is_loopback(bare_host):
        raise ProblemError(
            f"The server {address} is not on this machine.",
            "Use an address such as 127.0.0.1:50071, or permit servers elsewhere explicitly.",
            ProblemKind.PERMISSION,
        )
    return f"[{bare_host}]:{port}" if ":" in bare_host else f"{bare_host}:{port}"


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


__all__ = ["validate_address"]
