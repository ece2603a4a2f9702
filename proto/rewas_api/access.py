"""Access to a server: the token that every call carries, and where clients find it on the server's machine.

A server keeps its token in its state folder. While it listens on this machine, a copy lies under the number of its port
in the state folder of the user, where clients look for it. Both files belong to the user alone. Only the standard
library is used, so that the same code runs inside Blender.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

from rewas_api.addresses import is_loopback, split_address
from rewas_api.errors import ProblemError, ProblemKind

TOKEN_VARIABLE = "REWAS_TOKEN"
"""Environment variable with the token, for servers on other machines."""

AUTHORIZATION_KEY = "authorization"
"""Metadata key of the token; the value is "Bearer TOKEN"."""

MAX_TOKEN_CHARACTERS = 512
_STATE_FOLDER_NAME = "rewas"
_LISTENING = "0A"


def default_state_folder() -> Path:
    """Return the folder in which the server keeps its state, unless another one is chosen."""
    return _state_folders()[0]


def announced_token_path(port: int) -> Path:
    """Return the file with the token of the server that listens on this port of this machine."""
    return default_state_folder() / "servers" / f"{port}.token"


def read_token_file(path: Path) -> str:
    """Read a token from a file.

    Raises:
        OSError: The file does not exist, or cannot be read.
        ProblemError: ACCESS. The file is open to other users, or holds no token.
    """
    try:
        # A symbolic link could lead to a file that another user may replace.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _open_to_others(path) from error
        raise
    with os.fdopen(descriptor, "rb") as file:
        if hasattr(os, "geteuid"):
            _check_owner(path, os.fstat(descriptor))
        text = file.read(MAX_TOKEN_CHARACTERS + 2).decode("ascii", "replace").strip()
    if not text or not text.isascii() or not text.isprintable() or len(text) > MAX_TOKEN_CHARACTERS:
        raise ProblemError(
            f"The file {path} does not hold a token.",
            "Copy the file named token from the server's state folder.",
            ProblemKind.ACCESS,
        )
    return text


class TokenSource:
    """Finds the token for one server: the given one, that of the environment, or the file on this machine.

    Args:
        address: "HOST:PORT".
        token: The token, if it is known.
    """

    def __init__(self, address: str, token: str | None = None) -> None:
        self._host, self._port = split_address(address)
        self._address = address
        self._given = token or os.environ.get(TOKEN_VARIABLE) or None
        self._found: str | None = None

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata of a call; empty if no token is found. Raises ProblemError (ACCESS)."""
        if self._given is None and self._found is None:
            self._found = self._find()
        token = self._given or self._found
        return () if token is None else ((AUTHORIZATION_KEY, f"Bearer {token}"),)

    def renew(self) -> bool:
        """Look for the token again, because the server has refused it. Returns whether it is another one."""
        if self._given is not None:
            return False
        before, self._found = self._found, self._find()
        return self._found is not None and self._found != before

    def refusal(self) -> ProblemError:
        """Return the problem to report if the server refuses the token."""
        if self._given is not None:
            what = f"The server at {self._address} refuses the token."
            remedy = f"Use the token from the file named token in its state folder, here or in {TOKEN_VARIABLE}."
        elif not is_loopback(self._host):
            what = f"The server at {self._address} requires a token."
            remedy = f"Give its token with --token-file, {TOKEN_VARIABLE}, or the add-on's preferences."
        else:
            found = "does not contain the right one" if self._found else "does not exist"
            what = f"The server at {self._address} requires a token, and {announced_token_path(self._port)} {found}."
            remedy = (
                "Start the server as the same user, or use the token from the file named token in its state folder."
            )
        return ProblemError(what, remedy, ProblemKind.ACCESS)

    def _find(self) -> str | None:
        if not is_loopback(self._host):
            return None
        for folder in _state_folders():
            path = folder / "servers" / f"{self._port}.token"
            try:
                token = read_token_file(path)
            except OSError:
                continue
            _check_listener(self._port)
            return token
        return None


def _state_folders() -> list[Path]:
    """The user's state folder for ReWaS, as platformdirs names it, then other places where a server may have put it."""
    home = Path.home()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return [(Path(local) if local else home / "AppData" / "Local") / _STATE_FOLDER_NAME / _STATE_FOLDER_NAME]
    if sys.platform == "darwin":
        return [home / "Library" / "Application Support" / _STATE_FOLDER_NAME]
    usual = home / ".local" / "state" / _STATE_FOLDER_NAME
    chosen = os.environ.get("XDG_STATE_HOME", "")
    # Blender from Flathub runs with its own XDG_STATE_HOME, but sees the home folder.
    return [Path(chosen) / _STATE_FOLDER_NAME, usual] if Path(chosen).is_absolute() else [usual]


def _check_owner(path: Path, status: os.stat_result) -> None:
    is_private = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077
    if not is_private:
        raise _open_to_others(path)


def _open_to_others(path: Path) -> ProblemError:
    return ProblemError(
        f"The token file {path} belongs to another user, is open to others, or is not a regular file.",
        "Make it private with `chmod 600`, or delete it and restart the server.",
        ProblemKind.ACCESS,
    )


def _check_listener(port: int) -> None:
    """Refuse to send the token to another user's program that has taken the port of a server that ended.

    Only Linux says whose program listens. Raises ProblemError (ACCESS).
    """
    owners: set[int] = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", table).read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                owners.add(int(fields[7]))
    if owners and owners != {os.geteuid()}:
        raise ProblemError(
            f"Another user's program listens on port {port} of this machine.",
            "Start your own server on another port with `rewas serve --port`, and use its address.",
            ProblemKind.ACCESS,
        )


__all__ = [
    "AUTHORIZATION_KEY",
    "MAX_TOKEN_CHARACTERS",
    "TOKEN_VARIABLE",
    "TokenSource",
    "announced_token_path",
    "default_state_folder",
    "read_token_file",
]
