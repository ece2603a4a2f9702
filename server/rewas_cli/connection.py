"""How commands reach a server on another machine: its certificate and its token."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rewas_api.access import read_token_file
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
    token = None
    token_file = server_access.token_file or token_file
    if token_file is not None:
        try:
            token = read_token_file(token_file)
        except OSError as error:
            raise ProblemError(
                f"The token file {token_file} cannot be read ({error.strerror or error}).",
                "Copy the file named token from the server's state folder.",
                ProblemKind.SETTINGS,
            ) from error
    return RewasClient(address, token=token, certificate=server_access.certificate or certificate)
