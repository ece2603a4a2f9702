"""How commands reach a server on another machine: its certificate and its token."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rewas_api.access import TokenSource, read_token_file
from rewas_api.client import RewasClient
from rewas_api.errors import ProblemError, ProblemKind


@dataclass
class ServerAccess:
    """The options --certificate and --token-file of `rewas`."""

    certificate: Path | None = None
    token_file: Path | None = None


server_access = ServerAccess()
"""Those of the running command."""


def open_client(address: str, certificate: Path | None = None, token_file: Path | None = None) -> RewasClient:
    """Return a client for a server. Raises ProblemError for an invalid address, certificate or token file.

    Args:
        address: "HOST:PORT".
        certificate: Of the server, unless --certificate names another one.
        token_file: Of the server, unless --token-file names another one; the client finds it itself if None.
    """
    token = _given_token(token_file)
    return RewasClient(address, token=token, certificate=server_access.certificate or certificate)


def find_token(address: str, token_file: Path | None = None) -> str:
    """Return the token for a server.

    Args:
        address: "HOST:PORT".
        token_file: Of the server, unless --token-file names another one.

    Raises:
        ProblemError: ACCESS if no token is found, SETTINGS for a token file that cannot be read.
    """
    source = TokenSource(address, _given_token(token_file))
    metadata = source.metadata()
    if not metadata:
        raise source.refusal()
    return metadata[0][1].removeprefix("Bearer ")


def _given_token(token_file: Path | None) -> str | None:
    token_file = server_access.token_file or token_file
    if token_file is None:
        return None
    try:
        return read_token_file(token_file)
    except OSError as error:
        raise ProblemError(
            f"The token file {token_file} cannot be read ({error.strerror or error}).",
            "Copy the file named token from the server's state folder.",
            ProblemKind.SETTINGS,
        ) from error
