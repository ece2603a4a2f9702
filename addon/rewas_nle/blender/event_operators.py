# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators for the events of a drawn energy: isolate, mute, boost, move.

They change the keys of the curve, so that the sequencer and the Graph Editor show the result at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import bpy

from ..timeline.energy_events import (
    EnergyEvent,
    boost_event,
    event_at,
    isolate_event,
    move_event,
    mute_event,
)
from ..timeline.energy_keys import EnergyKey
from . import compat, energy_curves
from .active_picture import active_picture
from .energy_overlay import hide_preview, show_preview
from .redraw import redraw_sequencers
from .setting_operators import poll_picture
from .strip_events import (
    StripReference,
    content_time_s,
    event_at_playhead,
    playhead_s,
    read_drawn_energy,
    visible_range_s,
)
from .strip_reading import scene_rate
from .timeline_mouse import make_active, mouse_place, picture_under, timeline_region

_Result: TypeAlias = compat.OperatorResult
_SLOW = 0.1


class _EventOperator:
    @classmethod
    def poll(cls, context: Any) -> bool:
        if not poll_picture(cls, context):
            return False
        scene, picture = compat.scene_of(context), active_picture(context)
        if not energy_curves.has_keys(scene, picture):
            cls.poll_message_set("Estimate or draw the energy of this strip first")  # type: ignore[attr-defined]
        elif event_at_playhead(scene, picture) is None:
            cls.poll_message_set("Move the playhead onto a peak of the energy")  # type: ignore[attr-defined]
        else:
            return True
        return False


def _change(context: Any, edit: Callable[[tuple[EnergyKey, ...], EnergyEvent], tuple[EnergyKey, ...]]) -> _Result:
    """Replace the curve of the active picture with the edited one."""
    scene, picture = compat.scene_of(context), active_picture(context)
    event = event_at_playhead(scene, picture)
    if event is None:
        return {"CANCELLED"}
    energy_curves.write_keys(scene, picture, edit(read_drawn_energy(scene, picture).keys, event))
    redraw_sequencers()
    return {"FINISHED"}


class REWAS_OT_isolate_event(_EventOperator, bpy.types.Operator):
    """Keep only the event under the playhead, and silence the rest of the strip's energy"""

    bl_idname = "rewas.isolate_event"
    bl_label = "Isolate Event"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: Any) -> _Result:
        return _change(context, isolate_event)


class REWAS_OT_mute_event(_EventOperator, bpy.types.Operator):
    """Remove the event under the playhead from the strip's energy. The background stays"""

    bl_idname = "rewas.mute_event"
    bl_label = "Mute Event"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: Any) -> _Result:
        return _change(context, mute_event)


class REWAS_OT_boost_event(_EventOperator, bpy.types.Operator):
    """Make the event under the playhead louder, or softer with a negative change"""

    bl_idname = "rewas.boost_event"
    bl_label = "Boost Event"
    bl_options = {"REGISTER", "UNDO"}

    change_db: bpy.props.FloatProperty(
        name="Change",
        description="How much louder the event becomes, in decibels",
        default=6.0,
        min=-100.0,
        max=100.0,
        soft_min=-24.0,
        soft_max=24.0,
        precision=1,
    )

    def execute(self, context: Any) -> _Result:
        return _change(context, lambda keys, event: boost_event(keys, event, self.change_db))


@dataclass
class EventDrag(StripReference):
    """An event that follows the mouse.

    keys: the original curve. start_frame: frame of the scene where the drag began.
    """

    keys: tuple[EnergyKey, ...]
    event: EnergyEvent
    start_frame: float
    by_s: float = 0.0

    def move_to(self, frame: float, *, is_slow: bool, snaps: bool) -> tuple[EnergyKey, ...]:
        """Return the curve after moving the mouse to a frame.

        is_slow: the event moves by a tenth of the distance. snaps: its peak goes to the start of a frame.
        """
        scene, strip = self.strip()
        rate = float(scene_rate(scene))
        self.by_s = (frame - self.start_frame) / rate * (_SLOW if is_slow else 1.0)
        if snaps:
            self.by_s = round((self.event.peak_s + self.by_s) * rate) / rate - self.event.peak_s
        return move_in_strip(scene, strip, self.keys, self.event, self.by_s)


def move_in_strip(
    scene: Any, strip: Any, keys: tuple[EnergyKey, ...], event: EnergyEvent, by_s: float
) -> tuple[EnergyKey, ...]:
    """Return a strip's curve with an event moved, whose peak stays within the visible part of the strip."""
    start_s, end_s = visible_range_s(scene, strip)
    return move_event(keys, event, by_s, start_s=start_s, end_s=end_s)


class _EventMove:
    """An operator that moves an event with the mouse."""

    by_s: bpy.props.FloatProperty(
        name="Time",
        description="How far the event moves, in seconds. Negative values move it to an earlier time",
        precision=3,
        step=1,
        options={"SKIP_SAVE"},
    )
    at_s: bpy.props.FloatProperty(
        name="Event",
        description="A time within the event, in seconds from the start of the strip's content",
        options={"HIDDEN", "SKIP_SAVE"},
    )

    _drag: EventDrag
    _area: Any
    _region: Any
    _confirms_on = ("LEFTMOUSE", "PRESS")

    def execute(self, context: Any) -> _Result:
        scene, picture = compat.scene_of(context), active_picture(context)
        at_s = self.at_s if self.properties.is_property_set("at_s") else playhead_s(scene, picture)  # type: ignore[attr-defined]
        drawn = read_drawn_energy(scene, picture)
        event = event_at(drawn.events, at_s)
        if event is None:
            return {"CANCELLED"}
        energy_curves.write_keys(scene, picture, move_in_strip(scene, picture, drawn.keys, event, self.by_s))
        redraw_sequencers()
        return {"FINISHED"}

    def modal(self, context: Any, event: Any) -> _Result:
        if event.type in ("ESC", "RIGHTMOUSE") and event.value == "PRESS":
            self.cancel(context)
            return {"CANCELLED"}
        if (event.type, event.value) == self._confirms_on or event.type in ("RET", "NUMPAD_ENTER"):
            self.cancel(context)
            self.by_s = self._drag.by_s
            return self.execute(context)
        frame, _ = mouse_place(self._region, event)
        scene, strip = self._drag.strip()
        show_preview(scene, strip, self._drag.move_to(frame, is_slow=event.shift, snaps=event.ctrl))
        self._area.header_text_set(f"Event: {self._drag.by_s:+.3f} s    Shift: slowly    Ctrl: snap to frames")
        return {"RUNNING_MODAL"}

    def cancel(self, context: Any) -> None:
        hide_preview()
        context.window.cursor_modal_restore()
        self._area.header_text_set(None)

    def _begin(self, context: Any, mouse: Any, picture: Any, event: EnergyEvent) -> _Result:
        scene = compat.scene_of(context)
        frame, _ = mouse_place(self._region, mouse)
        self.at_s = event.peak_s
        self._drag = EventDrag(scene.name, picture.name, read_drawn_energy(scene, picture).keys, event, frame)
        context.window.cursor_modal_set("MOVE_X")
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}


class REWAS_OT_move_event(_EventMove, _EventOperator, bpy.types.Operator):
    """Move the event under the playhead with the mouse. Shift moves it slowly, Ctrl snaps its peak to frames"""

    bl_idname = "rewas.move_event"
    bl_label = "Move Event"
    bl_options = {"REGISTER", "UNDO"}

    def invoke(self, context: Any, event: Any) -> _Result:
        scene, picture = compat.scene_of(context), active_picture(context)
        self._area, self._region = context.area, timeline_region(context.area)
        found = event_at_playhead(scene, picture)
        if self._region is None or found is None:
            return self.execute(context)
        return self._begin(context, event, picture, found)


class REWAS_OT_drag_event(_EventMove, bpy.types.Operator):
    """Drag the event under the mouse to another time. Shift moves it slowly, Ctrl snaps its peak to frames"""

    bl_idname = "rewas.drag_event"
    bl_label = "Drag Event"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    _confirms_on = ("LEFTMOUSE", "RELEASE")

    def invoke(self, context: Any, event: Any) -> _Result:
        scene = compat.scene_of(context)
        self._area, self._region = context.area, timeline_region(context.area)
        if self._region is None:
            return {"PASS_THROUGH"}
        frame, channel = mouse_place(self._region, event)
        picture = picture_under(scene, frame, channel)
        if picture is None or not energy_curves.has_keys(scene, picture):
            return {"PASS_THROUGH"}
        found = event_at(read_drawn_energy(scene, picture).events, content_time_s(scene, picture, frame))
        if found is None:
            return {"PASS_THROUGH"}
        make_active(scene, picture)
        return self._begin(context, event, picture, found)


def draw_events(layout: Any, context: Any, strip: Any) -> None:
    """Draw the buttons for the event under the playhead."""
    row = layout.row(align=True)
    row.operator("rewas.isolate_event", text="Isolate")
    row.operator("rewas.mute_event", text="Mute")
    row.operator("rewas.boost_event", text="Boost")
    row.operator("rewas.move_event", text="Move")


CLASSES = (
    REWAS_OT_isolate_event,
    REWAS_OT_mute_event,
    REWAS_OT_boost_event,
    REWAS_OT_move_event,
    REWAS_OT_drag_event,
)


def register() -> None:
    for operator in CLASSES:
        bpy.utils.register_class(operator)


def unregister() -> None:
    for operator in reversed(CLASSES):
        bpy.utils.unregister_class(operator)
