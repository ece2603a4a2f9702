# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of the jobs in Blender's status bar. Drawing reads one prepared line."""

from __future__ import annotations

import time
from typing import Any

import bpy

from ..core.board import Board
from ..core.messages import Problem
from .user_activity import is_user_busy

FAILURE_SHOWN_S = 60.0
_LONGEST_CHARACTERS = 120

_line = ("", "NONE")
_progress: tuple[Board | None, tuple[str, str] | None] = (None, None)
"""The line about the jobs, and the board that it describes."""
_failure = ""
_failure_ends_s = 0.0


def show_failure(problem: Problem) -> None:
    """Show for a while what went wrong. The panel shows what to do about it."""
    global _failure, _failure_ends_s
    _failure = _shorten(problem.what)
    _failure_ends_s = time.monotonic() + FAILURE_SHOWN_S


def clear_failure() -> None:
    """Stop showing what went wrong."""
    global _failure
    _failure = ""


def update_status_bar(board: Board) -> None:
    """Prepare the line for the state of the jobs, and redraw the status bar if it has changed."""
    global _line, _progress
    if board is not _progress[0]:
        _progress = board, _progress_line(board)
    line = _failure_line() or _progress[1] or ("", "NONE")
    if line == _line:
        return
    _line = line
    workspace = bpy.context.workspace
    # This redraws the status bar. It would remove the help text of a modal operator.
    if workspace is not None and not is_user_busy():
        workspace.status_text_set(None)


def _failure_line() -> tuple[str, str] | None:
    return (f"ReWaS: {_failure}", "ERROR") if _failure and time.monotonic() < _failure_ends_s else None


def _progress_line(board: Board) -> tuple[str, str] | None:
    unfinished = [job for job in board.jobs.values() if not job.is_finished]
    if not unfinished:
        return None
    shown = next((job for job in unfinished if job.state == "running"), unfinished[0])
    more = f", {len(unfinished) - 1} more" if len(unfinished) > 1 else ""
    return f"ReWaS: {shown.clip_name}: {shown.status_text}{more}", "SPEAKER"


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_CHARACTERS else text[: _LONGEST_CHARACTERS - 1].rstrip() + "…"


def _draw(self: Any, context: Any) -> None:
    text, icon = _line
    if text:
        self.layout.label(text=text, icon=icon)


def register() -> None:
    bpy.types.STATUSBAR_HT_header.append(_draw)  # type: ignore[arg-type]


def unregister() -> None:
    global _line, _failure
    bpy.types.STATUSBAR_HT_header.remove(_draw)  # type: ignore[arg-type]
    _line, _failure = ("", "NONE"), ""
