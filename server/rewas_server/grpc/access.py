"""The token of the server: its file, its announcement to clients on this machine, and the check of each call."""

from __future__ import annotations

import contextlib
import hmac
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rewas_api.access import AUTHORIZATION_KEY, announced_token_path, read_token_file
from rewas_api.errors import ProblemError, ProblemKind
from rewas_server.files.private_files import write_private_text

TOKEN_BYTES = 32
OPEN_SERVICES = ("/grpc.health.v1.Health/",)
"""Services that need no token: a supervisor must be able to ask whether the server works."""


def load_token(path: Path) -> str:
    """Return the token of the state folder, which is made at the first start.

    Raises ProblemError: ACCESS if the file is open to other users, RESOURCES if it cannot be written.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            return read_token_file(path)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        write_private_text(path, token + "\n")
        return token
    except OSError as error:
        raise _file_problem(path, error) from error


@contextlib.contextmanager
def announce_token(port: int, token: str) -> Iterator[None]:
    """Within, clients of the same user find the token under the number of the port. Raises ProblemError (RESOURCES)."""
    path = announced_token_path(port)
    try:
        write_private_text(path, token + "\n")
    except OSError as error:
        raise _file_problem(path, error) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


class TokenCheck:
    """Checks the token of calls. token: that of the server."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

    def check(self, call_details: Any) -> None:
        """Check a call before its request is read. Raises ProblemError (ACCESS)."""
        if call_details.method.startswith(OPEN_SERVICES):
            return
        sent = [value for key, value in call_details.invocation_metadata or () if key == AUTHORIZATION_KEY]
        # One value, compared in constant time, so that the answer's delay reveals nothing about the token.
        given = sent[0].encode() if len(sent) == 1 and isinstance(sent[0], str) else b""
        if not hmac.compare_digest(given, self._expected):
            raise ProblemError(
                "The call's token is missing or wrong.",
                "Use the one from the file named token in the server's state folder, whose path `rewas serve` prints.",
                ProblemKind.ACCESS,
            )


def _file_problem(path: Path, error: OSError) -> ProblemError:
    return ProblemError(
        f"The token file {path} cannot be read or written ({error.strerror or error}).",
        "Change the permissions of its folder, or choose another one with `rewas serve --state-dir`.",
        ProblemKind.RESOURCES,
    )
