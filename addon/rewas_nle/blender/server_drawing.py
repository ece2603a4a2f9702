# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws the state of the server: the first-run card, the progress of an installation, and the log."""

from __future__ import annotations

import time
from typing import Any

import bpy

from ..core.contract import DEFAULT_ADDRESS
from ..core.local_server import LocalServerStatus
from ..core.messages import ServerState
from . import compat
from .drawing import draw_problem, draw_text
from .shared_session import local_server, session

LOG_LINES = 12
_LOG_SHOWN_S = 5.0

_log_lines: list[str] = []
_log_drawn_at_s = float("-inf")


def draw_server(layout: Any, context: Any) -> None:
    """Draw the state of the server, with the buttons that are useful in it."""
    server, local = session().board.server, local_server().status
    if local.is_busy:
        _draw_progress(layout, local)
    elif server is not None and server.problem is None:
        _draw_answering(layout, context, server, local)
    elif server is None:
        layout.label(text="Connecting to the server…", icon="SORTTIME")
    elif local.phase in ("absent", "unfinished"):
        _draw_first_run(layout, context, server, local)
    else:
        _draw_stopped(layout, context, server, local)
    if local.problem is not None and not local.is_busy:
        box = layout.box()
        draw_text(box, context, local.problem.what, icon="ERROR")
        draw_text(box, context, local.problem.remedy)


def _draw_answering(layout: Any, context: Any, server: ServerState, local: LocalServerStatus) -> None:
    row = layout.row()
    if server.worker_ready:
        row.label(text=f"Server {server.version} on {server.device or 'an unknown device'}", icon="CHECKMARK")
    else:
        row.label(text=f"Server {server.version} is loading", icon="SORTTIME")
    if local.is_own and local.address == server.address:
        row.operator("rewas.stop_server", text="", icon="PAUSE")
    row.operator("rewas.check_server", text="", icon="FILE_REFRESH")
    if local.is_own:
        _draw_update(layout, local)
    if not session().board.jobs and not _has_strips(context):
        row = layout.row()
        row.scale_y = 1.5
        row.operator("rewas.try_sample", icon="PLAY")


def _draw_first_run(layout: Any, context: Any, server: ServerState, local: LocalServerStatus) -> None:
    box = layout.box()
    box.label(text="No server answers", icon="INFO")
    draw_text(box, context, "A separate program, the ReWaS server, generates the sound on this or another computer.")
    row = box.row()
    row.scale_y = 1.5
    text = "Continue the Installation" if local.phase == "unfinished" else "Install and Start the Local Server"
    row.operator("rewas.install_server", text=text, icon="IMPORT")
    if not bpy.app.online_access:
        draw_text(box, context, "Installing downloads the server. Blender's preferences do not allow this yet.")
        box.operator("extensions.userpref_allow_online", text="Allow Online Access", icon="INTERNET")
    box.operator("rewas.install_server_from_folder", icon="FILE_FOLDER")
    row = box.row(align=True)
    row.operator("rewas.set_server_address", icon="URL")
    row.operator("rewas.check_server", text="", icon="FILE_REFRESH")
    _draw_reason(box, context, server)


def _draw_stopped(layout: Any, context: Any, server: ServerState, local: LocalServerStatus) -> None:
    row = layout.row()
    if local.phase == "running":
        row.label(text="The local server does not answer", icon="ERROR")
        row.operator("rewas.stop_server", text="", icon="PAUSE")
    else:
        row.label(text="The local server is stopped", icon="PAUSE")
        row.operator("rewas.check_server", text="", icon="FILE_REFRESH")
        row = layout.row()
        row.scale_y = 1.5
        row.operator("rewas.start_server", icon="PLAY")
    _draw_update(layout, local)
    if local.phase == "running" and server.problem is not None:
        draw_problem(layout, context, server.problem)
    else:
        _draw_reason(layout, context, server)


def _draw_reason(layout: Any, context: Any, server: ServerState) -> None:
    """Draw why the server cannot be used, unless it is only that nobody has started or entered one yet."""
    if server.problem is not None and not (server.is_absent and server.address == DEFAULT_ADDRESS):
        draw_problem(layout, context, server.problem)


def _draw_update(layout: Any, local: LocalServerStatus) -> None:
    if local.is_outdated:
        layout.label(text=f"Server {local.version} belongs to another version of the add-on", icon="INFO")
        row = layout.row(align=True)
        row.operator("rewas.install_server", text="Update the Local Server", icon="IMPORT")
        row.operator("rewas.install_server_from_folder", text="", icon="FILE_FOLDER")


def _draw_progress(layout: Any, local: LocalServerStatus) -> None:
    labels = {"starting": "Starting the server", "stopping": "Stopping the server", "removing": "Removing the server"}
    row = layout.row()
    if local.phase == "installing":
        row.progress(factor=local.fraction, text=local.text or "Installing the server")
        row.operator("rewas.cancel_install", text="", icon="X")
    else:
        row.label(text=labels[local.phase], icon="SORTTIME")


def _has_strips(context: Any) -> bool:
    editor = compat.scene_of(context).sequence_editor
    return editor is not None and len(compat.strips_of(editor)) > 0


def draw_preferences(layout: Any, context: Any, preferences: Any) -> None:
    """Draw the part of the preferences for the local server."""
    local = local_server().status
    box = layout.box()
    box.label(text="Server on This Computer")
    if local.is_busy:
        _draw_progress(box, local)
        return
    box.prop(preferences, "device")
    if not local.version:
        row = box.row()
        row.operator("rewas.install_server", icon="IMPORT")
        row.operator("rewas.install_server_from_folder", icon="FILE_FOLDER")
    else:
        state = f"{local.version}, runs at {local.address}" if local.phase == "running" else f"{local.version}, stopped"
        box.label(text=f"Installed: {state}")
        _draw_update(box, local)
        if local.is_own and local.device != preferences.device:
            box.label(text="Restart the server to use the chosen device", icon="INFO")
        row = box.row()
        row.operator("rewas.stop_server" if local.is_own else "rewas.start_server")
        row.operator("rewas.remove_server", icon="TRASH")
    draw_text(box, context, f"Folder: {local_server().folder.folder}")
    if local.problem is not None:
        draw_problem(box, context, local.problem)


def has_log() -> bool:
    """Return whether there is a log to show."""
    return local_server().status.phase != "absent" or local_server().status.problem is not None


def draw_log(layout: Any) -> None:
    """Draw the last lines of the log. The timer reads them while the panel is open."""
    global _log_drawn_at_s
    _log_drawn_at_s = time.monotonic()
    column = layout.column(align=True)
    column.scale_y = 0.75
    for line in _log_lines or ["The log is empty"]:
        column.label(text=line)
    layout.operator("rewas.open_server_log", icon="TEXT")


def read_log() -> bool:
    """Read the end of the log if its panel is open. Returns whether it has changed."""
    global _log_lines
    if time.monotonic() - _log_drawn_at_s > _LOG_SHOWN_S:
        return False
    lines = local_server().log_lines(LOG_LINES)
    changed, _log_lines = lines != _log_lines, lines
    return changed
