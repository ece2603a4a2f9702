# SPDX-License-Identifier: GPL-3.0-or-later
"""The one session of this Blender, shared by preferences, operators, panels and the timer."""

from __future__ import annotations

import sys
import tomllib
import uuid
from pathlib import Path

from ..core.contract import ServerChoice
from ..core.folders import data_folder, unsaved_stems_folder
from ..core.local_server import LocalServer
from ..core.server_install import ServerRelease
from ..core.session import Session

EXTENSION_FOLDER = Path(__file__).resolve().parents[1]

_session: Session | None = None
_local_server: LocalServer | None = None
_unsaved_id = ""
_JOIN_TIMEOUT_S = 5.0


def session() -> Session:
    """Return the session, creating it on first use."""
    global _session
    if _session is None:
        _session = Session()
    return _session


def current_session() -> Session | None:
    """Return the session, or None if nothing has used it yet."""
    return _session


def close_session() -> None:
    """End the session's threads. Its jobs continue."""
    global _session
    if _session is not None:
        _session.close()
        _session = None


def watch_server(server: ServerChoice) -> None:
    """Poll this server for its state from now on."""
    session().watch_server(server)


def local_server() -> LocalServer:
    """Return the server of this computer, which the add-on can install and start."""
    global _local_server
    if _local_server is None:
        manifest = tomllib.loads((EXTENSION_FOLDER / "blender_manifest.toml").read_text(encoding="utf-8"))
        release = ServerRelease(manifest["version"], EXTENSION_FOLDER / "server_requirements.txt")
        own_python = Path(sys.executable) if Path(sys.executable).stem.startswith("python") else None
        _local_server = LocalServer(data_folder() / "server", release, own_python=own_python)
    return _local_server


def close_local_server() -> None:
    """Stop an installation in progress. A running server keeps running."""
    global _local_server
    if _local_server is not None:
        _local_server.close()
        _local_server.join(_JOIN_TIMEOUT_S)
        _local_server = None


def unsaved_folder() -> Path:
    """Return the folder for the sounds of the open file while the file is unsaved."""
    global _unsaved_id
    _unsaved_id = _unsaved_id or uuid.uuid4().hex
    return unsaved_stems_folder() / _unsaved_id


def forget_unsaved_folder() -> None:
    """Forget the folder, because another file was opened."""
    global _unsaved_id
    _unsaved_id = ""
