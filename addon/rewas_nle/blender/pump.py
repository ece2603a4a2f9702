# SPDX-License-Identifier: GPL-3.0-or-later
"""Delivers messages from background threads to Blender.

A timer calls `on_timer()`. In background mode, where timers never fire, scripts and tests call `pump()`.
"""

from __future__ import annotations

import textwrap
import time
import traceback
from typing import Any

import bpy

from ..core.board import Board
from ..core.generate import ClipRequest
from ..core.messages import JobAccepted, JobCancelled, JobFailed, Message, Problem, ServerState, StemsReceived
from .preferences import chosen_server
from .shared_session import close_session, current_session, session, watch_server
from .stem_placement import mark_strip, place_stems, unmark_strips

PUMP_INTERVAL_S = 0.1
IDLE_INTERVAL_S = 0.5
PUMP_BUDGET_S = 0.01
_POPUP_CHARACTERS = 90

_drawn_board: Board | None = None


def watch_preferred_server() -> None:
    """Poll the server named in the preferences."""
    watch_server(chosen_server())


def pump() -> float:
    """Handle posted messages for at most PUMP_BUDGET_S seconds. Returns the seconds until the next call."""
    current = session()
    current.drain(_handle, deadline_s=time.monotonic() + PUMP_BUDGET_S)
    _redraw_if_changed(current.board)
    return PUMP_INTERVAL_S if current.board.is_busy else IDLE_INTERVAL_S


def on_timer() -> float:
    """Pump and keep the timer alive: Blender unregisters a timer whose function raises."""
    try:
        return pump()
    except Exception:
        traceback.print_exc()
        return IDLE_INTERVAL_S


def wake_timer() -> None:
    """Make the timer fire soon, because a job has started."""
    if bpy.app.timers.is_registered(on_timer):
        bpy.app.timers.unregister(on_timer)
    bpy.app.timers.register(on_timer, first_interval=PUMP_INTERVAL_S, persistent=True)


def _handle(message: Message) -> None:
    if isinstance(message, ServerState):
        return
    clip_request = session().clip_requests.get(message.key)
    if clip_request is None:
        return
    match message:
        case JobAccepted():
            mark_strip(clip_request)
        case StemsReceived():
            placed = place_stems(clip_request, message)
            session().note(clip_request.key, placed.note, placed.problem)
            if placed.problem is None:
                _push_undo(f'ReWaS: sound for "{clip_request.clip.name}"')
            else:
                _show_problem(placed.problem)
        case JobFailed():
            unmark_strips(clip_request)
            if _is_first_report(message.problem, clip_request):
                _show_problem(message.problem)
        case JobCancelled():
            unmark_strips(clip_request)


def _is_first_report(problem: Problem, clip_request: ClipRequest) -> bool:
    """Return whether no other clip of the same press of Generate has reported this problem."""
    current = session()
    same_request = [
        key
        for key, other in current.clip_requests.items()
        if other.batch_id == clip_request.batch_id and key != clip_request.key
    ]
    return not any(current.board.jobs[key].problem == problem for key in same_request if key in current.board.jobs)


def _show_problem(problem: Problem) -> None:
    """Show a problem in a pop-up and in the system console. The panel keeps showing it.

    Not an operator report, because Blender turns an operator's ERROR report into an exception in Python.
    """
    print(f"ReWaS: {problem}")  # noqa: T201
    windows = bpy.context.window_manager.windows
    if bpy.app.background or not windows:
        return

    def draw(menu: Any, context: Any) -> None:
        for sentence in (problem.what, problem.remedy):
            for line in textwrap.wrap(sentence, _POPUP_CHARACTERS):
                menu.layout.label(text=line)

    with bpy.context.temp_override(window=windows[0]):
        bpy.context.window_manager.popup_menu(draw, title="ReWaS", icon="ERROR")


def _push_undo(message: str) -> None:
    windows = bpy.context.window_manager.windows
    if windows:
        with bpy.context.temp_override(window=windows[0]):
            bpy.ops.ed.undo_push(message=message)


def _redraw_if_changed(board: Board) -> None:
    global _drawn_board
    if board is _drawn_board:
        return
    _drawn_board = board
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in ("SEQUENCE_EDITOR", "PREFERENCES"):
                area.tag_redraw()


@bpy.app.handlers.persistent
def _watch_after_load(*_: Any) -> None:
    if not bpy.app.background:
        watch_preferred_server()


def register() -> None:
    wake_timer()
    bpy.app.handlers.load_post.append(_watch_after_load)
    # The preferences do not exist yet while the extension is being enabled, so the first check runs shortly afterwards.
    if not bpy.app.background:
        bpy.app.timers.register(_watch_after_load, first_interval=0.2)


def unregister() -> None:
    if bpy.app.timers.is_registered(on_timer):
        bpy.app.timers.unregister(on_timer)
    if bpy.app.timers.is_registered(_watch_after_load):
        bpy.app.timers.unregister(_watch_after_load)
    if _watch_after_load in bpy.app.handlers.load_post:
        bpy.app.handlers.load_post.remove(_watch_after_load)
    open_session = current_session()
    if open_session is not None:
        for clip_request in open_session.clip_requests.values():
            unmark_strips(clip_request)
        close_session()
