# SPDX-License-Identifier: GPL-3.0-or-later
"""The one session of this Blender, shared by preferences, operators, panels and the timer."""

from __future__ import annotations

from ..core.contract import ServerChoice
from ..core.session import Session

_session: Session | None = None


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
    """Cancel every job and end the session's threads."""
    global _session
    if _session is not None:
        _session.close()
        _session = None


def watch_server(server: ServerChoice) -> None:
    """Poll this server for its state from now on."""
    session().watch_server(server)
