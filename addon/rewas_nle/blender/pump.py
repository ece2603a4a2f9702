# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place where what threads have to say reaches Blender.

A timer calls `on_timer()`; tests and scripts in the background, where timers never fire, call `pump()`.
"""

from __future__ import annotations

import textwrap
import time
import traceback
from typing import Any

import bpy

from ..core.board import Board
from ..core.generate import Order
from ..core.messages import JobAccepted, JobCancelled, JobFailed, Message, ServerState, StemsArrived, Trouble
from ..core.session import Session
from .placing import mark_strip, place_stems, unmark_strips
from .preferences import preferences

PUMP_INTERVAL_S = 0.1
IDLE_INTERVAL_S = 0.5
PUMP_BUDGET_S = 0.01
_POPUP_CHARACTERS = 90

_session: Session | None = None
_drawn_board: Board | None = None


def session() -> Session:
    """The session of this Blender."""
    global _session
    if _session is None:
        _session = Session()
    return _session


def watch_server() -> None:
    """Begin to ask the server of the preferences for its state."""
    session().watch_server(preferences().server_address, online_access=bpy.app.online_access)


def pump() -> float:
    """Take what threads have posted, for PUMP_BUDGET_S seconds at most, and say when to be called again."""
    current = session()
    current.drain(_handle, deadline_s=time.monotonic() + PUMP_BUDGET_S)
    _redraw_if_changed(current.board)
    return PUMP_INTERVAL_S if current.board.is_busy else IDLE_INTERVAL_S


def on_timer() -> float:
    """Pump, and come again whatever happens: Blender drops a timer whose function raises."""
    try:
        return pump()
    except Exception:
        traceback.print_exc()
        return IDLE_INTERVAL_S


def wake_timer() -> None:
    """Have the timer call soon: a job has begun."""
    if bpy.app.timers.is_registered(on_timer):
        bpy.app.timers.unregister(on_timer)
    bpy.app.timers.register(on_timer, first_interval=PUMP_INTERVAL_S, persistent=True)


def _handle(message: Message) -> None:
    if isinstance(message, ServerState):
        return
    order = session().orders.get(message.key)
    if order is None:
        return
    match message:
        case JobAccepted():
            mark_strip(order)
        case StemsArrived():
            placed = place_stems(order, message)
            session().note(order.key, placed.note, placed.trouble)
            if placed.trouble is None:
                _push_undo(f'ReWaS: sound for "{order.clip.name}"')
            else:
                _tell(placed.trouble)
        case JobFailed():
            unmark_strips(order)
            if _is_first_report(message.trouble, order):
                _tell(message.trouble)
        case JobCancelled():
            unmark_strips(order)


def _is_first_report(trouble: Trouble, order: Order) -> bool:
    """Ten clips and no server are one report, not ten."""
    current = session()
    same_request = [key for key, other in current.orders.items() if other.request == order.request and key != order.key]
    return not any(current.board.jobs[key].trouble == trouble for key in same_request if key in current.board.jobs)


def _tell(trouble: Trouble) -> None:
    """Show what went wrong where the user looks. It stays in the panel too.

    Not through an operator's report: an error that an operator reports to Python becomes an exception there.
    """
    print(f"ReWaS: {trouble}")  # noqa: T201
    windows = bpy.context.window_manager.windows
    if bpy.app.background or not windows:
        return

    def draw(menu: Any, context: Any) -> None:
        for sentence in (trouble.what, trouble.remedy):
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
        watch_server()


def register() -> None:
    wake_timer()
    bpy.app.handlers.load_post.append(_watch_after_load)
    # While the extension is being switched on its preferences are not there yet: the first turn comes a moment later.
    if not bpy.app.background:
        bpy.app.timers.register(_watch_after_load, first_interval=0.2)


def unregister() -> None:
    global _session
    if bpy.app.timers.is_registered(on_timer):
        bpy.app.timers.unregister(on_timer)
    if bpy.app.timers.is_registered(_watch_after_load):
        bpy.app.timers.unregister(_watch_after_load)
    if _watch_after_load in bpy.app.handlers.load_post:
        bpy.app.handlers.load_post.remove(_watch_after_load)
    if _session is not None:
        for order in _session.orders.values():
            unmark_strips(order)
        _session.close()
        _session = None
