"""Runs inside the window's Blender and answers questions about its state. The tests act only with mouse and keys.

The tests send one JSON object per line to a socket on the loopback interface. Its port is written to the file in
REWAS_OBSERVER. A timer answers on Blender's main thread, after the requested number of rounds of Blender's main loop:
Blender has then handled the keys and clicks that were sent before, and has drawn their result.
"""

from __future__ import annotations

import json
import os
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy

INTERVAL_S = 0.01

drawn: dict[str, int] = {}
"""The panels that were drawn, each with the round in which it was last drawn."""

rounds = 0
_listener: socket.socket
_peer: socket.socket | None = None
_received = b""
_waiting: list[tuple[int, str]] = []


def sequencer_area() -> Any:
    """The area of the timeline, or None."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "SEQUENCE_EDITOR" and area.spaces.active.view_type != "PREVIEW":
                return area
    return None


def sequencer() -> Any:
    """The area of the timeline."""
    found = sequencer_area()
    if found is None:
        raise LookupError("There is no sequencer with a timeline.")
    return found


def file_browser() -> Any:
    """The area in which a file is being chosen, or None."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "FILE_BROWSER" and area.spaces.active.active_operator is not None:
                return area
    return None


def region(kind: str, area: Any = None) -> Any:
    return next(found for found in (area or sequencer()).regions if found.type == kind)


def rectangle(kind: str, area: Any = None) -> tuple[int, int, int, int]:
    """Left, bottom, width and height of a region, by default of the sequencer, in pixels of the window."""
    found = region(kind, area)
    return found.x, found.y, found.width, found.height


def sidebar_offset() -> float:
    """How far the sidebar is scrolled down, in its own units."""
    return float(region("UI").view2d.region_to_view(0, 0)[1])


def scene() -> Any:
    return getattr(bpy.context.workspace, "sequencer_scene", None) or bpy.context.window.scene


def strips() -> list[Any]:
    return strips_of(scene())


def strips_of(scene: Any) -> list[Any]:
    editor = scene.sequence_editor
    if editor is None:
        return []
    return list(editor.strips if hasattr(editor, "strips") else editor.sequences)


def named(name: str) -> Any:
    return next(strip for strip in strips() if strip.name == name)


def ends_of(strip: Any) -> list[int]:
    """The first frame of a strip, and the one after its last."""
    return [strip.frame_final_start, strip.frame_final_end]


def point_of_strip(name: str, where: str = "middle") -> tuple[float, float]:
    """The middle of a strip, or its right handle, in pixels of the window."""
    strip, timeline = named(name), region("WINDOW")
    start, end = strip.frame_final_start, strip.frame_final_end
    x, y = timeline.view2d.view_to_region(
        (start + end) / 2 if where == "middle" else end, strip.channel + 0.5, clip=False
    )
    return timeline.x + x - (0 if where == "middle" else 4), timeline.y + y


def part(name: str) -> Any:
    """A module of the extension."""
    import importlib

    return importlib.import_module(f"bl_ext.user_default.rewas_nle.{name}")


def watch_panels() -> list[str]:
    """Record when each panel of the extension is drawn. Blender does not tell Python which panels are open."""
    names = [name for name in dir(bpy.types) if name.startswith("REWAS_PT_")]
    for name in names:
        panel = getattr(bpy.types, name)
        if "draw" in vars(panel) and not hasattr(panel.draw, "is_watched"):
            panel.draw = _watched(name, panel.draw)
    return names


def _watched(name: str, draw: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    def draw_and_note(self: Any, context: Any) -> None:
        drawn[name] = rounds
        draw(self, context)

    draw_and_note.is_watched = True  # type: ignore[attr-defined]
    return draw_and_note


def answer(code: str) -> dict[str, Any]:
    """Evaluate an expression, or run statements that set `result`."""
    try:
        try:
            compiled = compile(code, "<question>", "eval")
        except SyntaxError:
            names: dict[str, Any] = dict(globals())
            exec(compile(code, "<question>", "exec"), names)
            return {"value": names.get("result")}
        return {"value": eval(compiled, globals())}
    except Exception:
        return {"error": traceback.format_exc()}


def _receive() -> None:
    global _peer, _received
    if _peer is None:
        try:
            _peer, _ = _listener.accept()
        except BlockingIOError:
            return
        _peer.setblocking(False)
    try:
        data = _peer.recv(1 << 16)
    except BlockingIOError:
        return
    if not data:
        _peer.close()
        _peer = None
        return
    *lines, _received = (_received + data).split(b"\n")
    for line in lines:
        question = json.loads(line)
        _waiting.append((rounds + question["rounds"], question["code"]))


def on_timer() -> float:
    global rounds
    rounds += 1
    _receive()
    while _waiting and _waiting[0][0] <= rounds:
        _, code = _waiting.pop(0)
        if _peer is not None:
            _peer.setblocking(True)
            _peer.sendall(json.dumps(answer(code), default=str).encode() + b"\n")
            _peer.setblocking(False)
    return INTERVAL_S


def start() -> None:
    global _listener
    _listener = socket.create_server(("127.0.0.1", 0))
    _listener.setblocking(False)
    target = Path(os.environ["REWAS_OBSERVER"])
    unfinished = target.with_suffix(".unfinished")
    unfinished.write_text(str(_listener.getsockname()[1]), encoding="utf-8")
    unfinished.rename(target)
    bpy.app.timers.register(on_timer, first_interval=INTERVAL_S, persistent=True)


start()
