# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws the energy of a strip by hand, with the mouse or a tablet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import bpy

from ..timeline.energy_drawing import level_at_height
from ..timeline.energy_keys import SILENCE_DB, EnergyKey, keys_from_curve
from ..timeline.pen import Stroke, paint
from . import compat, energy_curves
from .energy_overlay import hide_preview, show_preview
from .prepared import prepared_take
from .redraw import redraw_sequencers
from .strip_events import StripReference, content_time_s, visible_range_s
from .strip_reading import scene_rate
from .take_list import active_item
from .timeline_mouse import make_active, mouse_place, picture_under, timeline_region, view_of

_NAVIGATION = ("MIDDLEMOUSE", "WHEELUPMOUSE", "WHEELDOWNMOUSE", "TRACKPADPAN", "TRACKPADZOOM", "HOME")
_SHORTEST_COLUMN_S = 0.002
_HINT = "Draw the energy over a strip. Shift: straight line    Esc: cancel"


@dataclass
class Drawing(StripReference):
    """A line that is being drawn over a strip.

    keys: the original curve. start_s, end_s: visible part of the strip, in seconds from the start of its content.
    """

    keys: tuple[EnergyKey, ...]
    stroke: Stroke
    start_s: float
    end_s: float

    @classmethod
    def begin(cls, scene: Any, strip: Any, frame: float, channel: float, px_per_frame: float) -> Drawing:
        """Begin at a frame of the scene. The fraction of the channel is the level."""
        start_s, end_s = visible_range_s(scene, strip)
        column_s = max(1.0 / (px_per_frame * float(scene_rate(scene))), _SHORTEST_COLUMN_S)
        stroke = Stroke(column_s, content_time_s(scene, strip, frame), level_at_height(channel - strip.channel))
        return cls(scene.name, strip.name, _curve_beneath(scene, strip, start_s, end_s), stroke, start_s, end_s)

    def move(self, frame: float, channel: float, *, is_straight: bool) -> None:
        """Continue the line to a frame of the scene and a channel."""
        scene, strip = self.strip()
        self.stroke.move(
            content_time_s(scene, strip, frame), level_at_height(channel - strip.channel), is_straight=is_straight
        )

    def curve(self) -> tuple[EnergyKey, ...]:
        """Return the curve with the drawn line in it."""
        return paint(self.keys, self.stroke.points(), start_s=self.start_s, end_s=self.end_s)


def _curve_beneath(scene: Any, strip: Any, start_s: float, end_s: float) -> tuple[EnergyKey, ...]:
    """Return what the user sees and draws over: the drawn curve, or what the active take requested, or silence."""
    keys = energy_curves.read_keys(scene, strip)
    if keys:
        return keys
    item = active_item(strip)
    take = prepared_take(item) if item is not None else None
    if take is not None and take.requested_energy is not None and take.requested_energy.values:
        return keys_from_curve(take.requested_energy, take.lead_in_frames / take.scene_rate)
    return (EnergyKey(start_s, SILENCE_DB), EnergyKey(end_s, SILENCE_DB))


class REWAS_OT_draw_energy(bpy.types.Operator):
    """Draw the energy over a strip. Higher is louder, and Shift draws a straight line"""

    bl_idname = "rewas.draw_energy"
    bl_label = "Draw Energy"
    bl_options = {"REGISTER", "UNDO"}

    waits: bpy.props.BoolProperty(
        name="Wait for Press",
        description="Start to draw when the mouse button is pressed, instead of immediately",
        default=True,
        options={"HIDDEN", "SKIP_SAVE"},
    )

    _area: Any
    _region: Any
    _drawing: Drawing | None

    @classmethod
    def poll(cls, context: Any) -> bool:
        if timeline_region(context.area) is None:
            cls.poll_message_set("Draw in the timeline of a sequencer")
            return False
        editor = compat.scene_of(context).sequence_editor
        if editor is None or not len(compat.strips_of(editor)):
            cls.poll_message_set("Add a movie strip first")
            return False
        return True

    def invoke(self, context: Any, event: Any) -> compat.OperatorResult:
        self._area, self._region, self._drawing = context.area, timeline_region(context.area), None
        if not self.waits and not self._press(context, event):
            return {"PASS_THROUGH"}
        context.window.cursor_modal_set("PAINT_BRUSH")
        self._area.header_text_set(_HINT)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: Any, event: Any) -> compat.OperatorResult:
        if event.type in ("ESC", "RIGHTMOUSE") and event.value == "PRESS":
            self.cancel(context)
            return {"CANCELLED"}
        if self._drawing is None:
            if event.type in _NAVIGATION:
                return {"PASS_THROUGH"}
            if event.type == "LEFTMOUSE" and event.value == "PRESS" and not self._press(context, event):
                self.report({"INFO"}, "There is no picture strip here. Draw over a movie, image, scene or meta strip")
            return {"RUNNING_MODAL"}
        if event.type == "LEFTMOUSE" and event.value == "RELEASE":
            return self._finish(context)
        frame, channel = mouse_place(self._region, event)
        self._drawing.move(frame, channel, is_straight=event.shift)
        scene, strip = self._drawing.strip()
        show_preview(scene, strip, self._drawing.curve())
        level_db = level_at_height(channel - strip.channel)
        self._area.header_text_set(
            f"Energy: {'silence' if level_db <= SILENCE_DB else f'{level_db:.1f} dB'}    {_HINT}"
        )
        return {"RUNNING_MODAL"}

    def cancel(self, context: Any) -> None:
        hide_preview()
        context.window.cursor_modal_restore()
        self._area.header_text_set(None)

    def _press(self, context: Any, event: Any) -> bool:
        """Begin to draw over the strip under the mouse. Returns whether there is one."""
        scene = compat.scene_of(context)
        frame, channel = mouse_place(self._region, event)
        strip = picture_under(scene, frame, channel)
        if strip is None:
            return False
        make_active(scene, strip)
        self._drawing = Drawing.begin(scene, strip, frame, channel, view_of(self._region).px_per_frame)
        return True

    def _finish(self, context: Any) -> compat.OperatorResult:
        assert self._drawing is not None
        self.cancel(context)
        curve = self._drawing.curve()
        if curve == self._drawing.keys:
            return {"CANCELLED"}
        energy_curves.write_keys(*self._drawing.strip(), curve)
        redraw_sequencers()
        return {"FINISHED"}


class EnergyPen(bpy.types.WorkSpaceTool):
    """The pen in the toolbar of the timeline"""

    bl_space_type = "SEQUENCE_EDITOR"
    bl_context_mode = "SEQUENCER"
    bl_idname = "rewas.energy_pen"
    bl_label = "Energy Pen"
    bl_description = "Draw the energy of a strip. Shift draws a straight line, Ctrl drags an event"
    bl_icon = "ops.gpencil.draw"
    bl_keymap: ClassVar[Any] = (
        ("rewas.draw_energy", {"type": "LEFTMOUSE", "value": "PRESS"}, {"properties": [("waits", False)]}),
        (
            "rewas.draw_energy",
            {"type": "LEFTMOUSE", "value": "PRESS", "shift": True},
            {"properties": [("waits", False)]},
        ),
        ("rewas.drag_event", {"type": "LEFTMOUSE", "value": "PRESS", "ctrl": True}, None),
    )


def register() -> None:
    bpy.utils.register_class(REWAS_OT_draw_energy)
    if not bpy.app.background:
        bpy.utils.register_tool(EnergyPen, after={"builtin.blade"}, separator=True)


def unregister() -> None:
    if not bpy.app.background:
        bpy.utils.unregister_tool(EnergyPen)
    bpy.utils.unregister_class(REWAS_OT_draw_energy)
