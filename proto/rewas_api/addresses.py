"""Addresses of servers: "HOST:PORT", on this machine unless the user permits others."""

from __future__ import annotations

import ipaddress

from rewas_api.errors import ProblemError, ProblemKind


def validate_address(address: str, *, allow_remote: bool = False) -> str:
    """Check an address and return it in gRPC's form.

    Args:
        address: "HOST:PORT".
        allow_remote: Whether the server may be on another machine.

    Returns:
        "HOST:PORT", an IPv6 host in brackets.

    Raises:
        ProblemError: SETTINGS for a malformed address, PERMISSION for one on another machine without `allow_remote`.
    """
    bare_host, port = split_address(address)
    if not allow_remote and not is_loopback(bare_host):
        raise ProblemError(
            f"The server {address} is not on this machine.",
            "Use an address such as 127.0.0.1:50071, or give the certificate of the server.",
            ProblemKind.PERMISSION,
        )
    return f"[{bare_host}]:{port}" if ":" in bare_host else f"{bare_host}:{port}"


def split_address(address: str) -> tuple[str, int]:
    """Return the host, without brackets, and the port of "HOST:PORT". Raises ProblemError (SETTINGS)."""
    host, separator, port = address.strip().rpartition(":")
    if not separator or not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise ProblemError(
            f'"{address}" is not a server address.',
            "Give a host and a port, for example 127.0.0.1:50071.",
            ProblemKind.SETTINGS,
        )
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: "localhost", or a loopback address. No name is looked up."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


__all__ = ["is_loopback", "split_address", "validate_address"]
