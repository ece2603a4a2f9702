# SPDX-License-Identifier: GPL-3.0-or-later
"""The way to the contract: whether its wheels are there and fit, and its errors as the add-on's own.

Extensions share one site-packages folder and the newest wheel wins, so a missing or drifted library is an everyday
condition: it becomes one clear line, never a traceback at start-up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .messages import Trouble

if TYPE_CHECKING:
    from rewas_api.client import RewasClient


class TroubleError(Exception):
    """Something went wrong that the user can do something about."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(str(trouble))
        self.trouble = trouble


def missing_parts() -> Trouble | None:
    """What is wrong with the libraries that came with the extension; None where they load.

    The first call imports them, which takes a moment: make it in a thread.
    """
    try:
        import opentimelineio  # noqa: F401

        import rewas_api.client
        import rewas_api.clip_settings  # noqa: F401
    except Exception as error:  # protobuf and grpc raise errors of their own where versions do not fit
        return Trouble(
            f"The libraries of the ReWaS extension cannot be loaded ({_first_line(error)}).",
            "Install the extension again for this Blender and platform, then restart Blender.",
        )
    return None


def open_client(address: str, *, online_access: bool, timeout_s: float = 10.0) -> RewasClient:
    """A client for the server at "HOST:PORT". Connecting happens with its first call.

    online_access: whether Blender's user permits connections to other machines. Raises TroubleError.
    """
    trouble = missing_parts()
    if trouble is not None:
        raise TroubleError(trouble)
    from rewas_api.addresses import validate_address
    from rewas_api.client import RewasClient
    from rewas_api.errors import ProblemError, ProblemKind

    try:
        validate_address(address, allow_remote=online_access)
    except ProblemError as problem:
        if problem.kind is not ProblemKind.PERMISSION:
            raise TroubleError(
                Trouble(problem.what, f"{problem.remedy} It stands in the add-on's preferences.")
            ) from None
        raise TroubleError(
            Trouble(
                f"The server {address} is on another machine, and Blender may not go online.",
                "Switch on Allow Online Access under Preferences > System, or use a server on this machine.",
            )
        ) from None
    return RewasClient(address, timeout_s=timeout_s, allow_remote=online_access)


def trouble_of(error: Exception) -> Trouble:
    """The error in the add-on's words; faults of our own are named as such."""
    if isinstance(error, TroubleError):
        return error.trouble
    from rewas_api.errors import ProblemError

    if isinstance(error, ProblemError):
        return Trouble(error.what, error.remedy)
    if isinstance(error, OSError):
        return Trouble(
            f"The stem could not be written ({error.strerror or error}: {error.filename}).",
            "Choose another stems folder in the add-on's preferences, or make room on the disk.",
        )
    return Trouble(
        f"The add-on met an error of its own ({type(error).__name__}: {_first_line(error)}).",
        "Please report it, with the text from the system console.",
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
