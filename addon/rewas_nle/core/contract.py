# SPDX-License-Identifier: GPL-3.0-or-later
"""Access to the server's client: checks its libraries, opens it, and converts its errors.

Extensions share one site-packages folder and the newest wheel wins, so a missing or incompatible library is common:
it is reported in one clear sentence, not as a traceback at start-up.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .messages import Problem

if TYPE_CHECKING:
    from rewas_api.client import RewasClient


@dataclass(frozen=True)
class ServerChoice:
    """The server that the user has chosen.

    address: "HOST:PORT". online_access: whether Blender may connect to other machines. certificate, token_file: paths;
    "" for a server on this machine, which needs neither.
    """

    address: str
    online_access: bool = False
    certificate: str = ""
    token_file: str = ""


DEFAULT_ADDRESS = "127.0.0.1:50071"
"""The same as rewas_api's, which is not imported here: a missing wheel must not stop registration."""


class UserProblemError(Exception):
    """A problem that the user can solve."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def find_dependency_problem() -> Problem | None:
    """Import the libraries that come with the extension. Returns the problem, or None if they load.

    The first call is slow: make it in a thread.
    """
    try:
        import rewas_api.client
        import rewas_api.clip_settings  # noqa: F401
    except Exception as error:  # protobuf and grpc raise their own errors for incompatible versions
        return Problem(
            f"The libraries of the ReWaS extension cannot be loaded ({_first_line(error)}).",
            "Reinstall the extension for this Blender version and platform, then restart Blender.",
        )
    return None


def open_client(server: ServerChoice, *, timeout_s: float = 10.0) -> RewasClient:
    """Return a client for a server. It connects with its first call. Raises UserProblemError."""
    missing = find_dependency_problem()
    if missing is not None:
        raise UserProblemError(missing)
    from rewas_api.access import read_token_file
    from rewas_api.addresses import validate_address
    from rewas_api.client import RewasClient
    from rewas_api.errors import ProblemError, ProblemKind

    try:
        validate_address(server.address, allow_remote=server.online_access)
    except ProblemError as problem:
        if problem.kind is not ProblemKind.PERMISSION:
            raise UserProblemError(
                Problem(problem.what, f"{problem.remedy} Change it in the add-on's preferences.")
            ) from None
        raise UserProblemError(
            Problem(
                f"The server {server.address} is on another machine, but Blender is not allowed to go online.",
                "Enable Allow Online Access in Preferences > System, or use a server on this machine.",
            )
        ) from None
    try:
        token = read_token_file(Path(server.token_file)) if server.token_file else None
        return RewasClient(server.address, timeout_s=timeout_s, token=token, certificate=server.certificate or None)
    except OSError as error:
        raise UserProblemError(
            Problem(
                f"The token file {server.token_file} cannot be read ({error.strerror or error}).",
                "In the add-on's preferences, choose a copy of the file named token from the server's state folder.",
            )
        ) from None
    except ProblemError as problem:
        raise UserProblemError(Problem(problem.what, problem.remedy)) from None


def problem_from(error: Exception) -> Problem:
    """Convert an error into a problem to show. Unexpected errors are described as bugs of the add-on."""
    if isinstance(error, UserProblemError):
        return error.problem
    from rewas_api.errors import ProblemError

    if isinstance(error, ProblemError):
        return Problem(error.what, error.remedy)
    if isinstance(error, OSError):
        return Problem(
            f"Cannot write the stem {error.filename} ({error.strerror or error}).",
            "Choose another stems folder in the add-on's preferences, or free some disk space.",
        )
    return Problem(
        f"Unexpected error in the add-on ({type(error).__name__}: {_first_line(error)}).",
        "Please report it with the text from the system console.",
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
