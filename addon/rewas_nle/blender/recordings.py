# SPDX-License-Identifier: GPL-3.0-or-later
"""The recordings in takes: their list in the panels, and their credits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bpy

from ..timeline.takes import PRIMARY_ROLE, Take, UsedRecording
from . import compat
from .active_picture import picture_for
from .prepared import prepared_take
from .stem_strips import shown_roles
from .take_list import active_item

_SHOWN_ROWS = 4


class REWAS_OT_copy_credit(bpy.types.Operator):
    """Copy the title, licence and credit of this recording to the clipboard"""

    bl_idname = "rewas.copy_credit"
    bl_label = "Copy Credit"
    bl_options = {"INTERNAL"}

    line: bpy.props.StringProperty(name="Credit", description="The text to copy", options={"HIDDEN", "SKIP_SAVE"})
    tooltip: bpy.props.StringProperty(
        name="Recording", description="Details of the recording", options={"HIDDEN", "SKIP_SAVE"}
    )

    @classmethod
    def description(cls, context: Any, properties: Any) -> str:
        return f"{properties.tooltip}\nClick to copy the credit"

    def execute(self, context: Any) -> compat.OperatorResult:
        context.window_manager.clipboard = self.line
        self.report({"INFO"}, f"Copied: {self.line}")
        return {"FINISHED"}


class REWAS_OT_copy_credits(bpy.types.Operator):
    bl_idname = "rewas.copy_credits"
    bl_label = "Copy Credits"
    bl_description = (
        "Copy the title, licence and credit of every recording in this scene to the clipboard, one recording per line, "
        "for example to paste them into a text strip for the end credits"
    )
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        if compat.scene_of(context).sequence_editor is None:
            cls.poll_message_set("Add a movie strip first")
            return False
        return True

    def execute(self, context: Any) -> compat.OperatorResult:
        lines = credit_lines(compat.scene_of(context))
        if not lines:
            self.report({"INFO"}, "No sound in this scene uses recordings")
            return {"CANCELLED"}
        context.window_manager.clipboard = "\n".join(lines)
        self.report({"INFO"}, f"Copied {len(lines)} line{'s' if len(lines) > 1 else ''}")
        return {"FINISHED"}


class REWAS_PT_strip_recordings(bpy.types.Panel):
    """The recordings in the sound of this strip"""

    bl_label = "Recordings"
    bl_space_type, bl_region_type = compat.STRIP_PANEL_PLACE
    bl_category = "Strip"
    bl_context = compat.STRIP_PANEL_CONTEXT

    @classmethod
    def poll(cls, context: Any) -> bool:
        return bool(_recordings_of_active_sound(context))

    def draw(self, context: Any) -> None:
        draw_recordings(self.layout, context, _recordings_of_active_sound(context))


def credit_lines(scene: Any) -> list[str]:
    """Return the title, licence and credit of every recording on the timeline, in alphabetical order."""
    lines: set[str] = set()
    for strip in compat.all_strips_of(scene.sequence_editor):
        item = active_item(strip)
        if item is not None:
            take = prepared_take(item)
            for role in shown_roles(strip, item):
                lines.update(recording.credit_line for recording in take.recordings_of(role))
    return sorted(lines, key=str.casefold)


def draw_recordings(layout: Any, context: Any, recordings: Sequence[UsedRecording]) -> None:
    """Draw a list of recordings with their licences. Their tooltips show the file and the credit as well."""
    window = context.window_manager.rewas
    shown = recordings if window.show_all_recordings else recordings[:_SHOWN_ROWS]
    column = layout.column(align=True)
    column.label(text="Recordings" if len(recordings) > 1 else "Recording", icon="FILE_SOUND")
    for recording in shown:
        row = column.split(factor=0.6, align=True)
        title = row.row(align=True)
        title.alignment = "LEFT"
        role = "" if recording.role == PRIMARY_ROLE else f" ({recording.role})"
        button = title.operator("rewas.copy_credit", text=recording.title + role, emboss=False, translate=False)
        row.label(text=recording.licence or "No licence stated", translate=False)
        button.line, button.tooltip = recording.credit_line, describe(recording)
    if len(recordings) > _SHOWN_ROWS:
        hidden = len(recordings) - len(shown)
        column.prop(
            window,
            "show_all_recordings",
            text=f"{hidden} More" if hidden else "Show Less",
            icon="DISCLOSURE_TRI_RIGHT" if hidden else "DISCLOSURE_TRI_DOWN",
            emboss=False,
        )


def describe(recording: UsedRecording) -> str:
    """Return the file, words, licence and credit of a recording, one per line."""
    lines = [
        recording.name,
        recording.words,
        f"Licence: {recording.licence or 'not stated'}",
        f"Credit: {recording.credit}" if recording.credit else "",
    ]
    return "\n".join(line for line in lines if line)


def _recordings_of_active_sound(context: Any) -> tuple[UsedRecording, ...]:
    """Return the recordings in the active sound strip."""
    scene = compat.scene_of(context)
    sound = scene.sequence_editor.active_strip if scene.sequence_editor is not None else None
    link = sound.rewas.stem if sound is not None and sound.type == "SOUND" else None
    picture = picture_for(scene, sound) if link is not None and link.owner else None
    if link is None or picture is None:
        return ()
    take = _take_of(picture, link.take)
    return () if take is None else take.recordings_of(link.role)


def _take_of(picture: Any, take_id: str) -> Take | None:
    return next((prepared_take(item) for item in picture.rewas.takes if item.uid == take_id), None)


CLASSES = (REWAS_OT_copy_credit, REWAS_OT_copy_credits, REWAS_PT_strip_recordings)


def register() -> None:
    for kind in CLASSES:
        bpy.utils.register_class(kind)


def unregister() -> None:
    for kind in reversed(CLASSES):
        bpy.utils.unregister_class(kind)
