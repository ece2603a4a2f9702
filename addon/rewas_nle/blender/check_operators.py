# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel for the comparison of prompt and picture, and its operators."""

from __future__ import annotations

from typing import Any

import bpy

from . import compat, pump
from .active_picture import active_picture
from .check_results import KIND, Check, frame_of, read_check, start_check
from .drawing import draw_problem, draw_text
from .preferences import pack_for
from .prepared import prepared_take
from .questions import is_asking, problem_of
from .redraw import redraw_sequencers
from .setting_operators import poll_picture
from .take_list import active_item

MOST_ROWS = 6
_VERDICTS = {
    "agree": ("Prompt and picture match", "CHECKMARK"),
    "unsure": ("No clear result", "QUESTION"),
    "conflict": ("Prompt and picture disagree", "ERROR"),
    "unsupported": ("Not comparable", "X"),
}


class REWAS_OT_check_prompt(bpy.types.Operator):
    """Compare the prompt with the picture of the active strip, mark where they disagree, and suggest better prompts"""

    bl_idname = "rewas.check_prompt"
    bl_label = "Check Prompt"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        if not poll_picture(cls, context):
            return False
        picture = active_picture(context)
        pack = pack_for(picture.rewas.settings)
        if not picture.rewas.prompt.strip():
            cls.poll_message_set("Describe the sound first")
        elif pack is not None and not pack.checks_conflict:
            cls.poll_message_set(f"The pack {pack.name} cannot compare a prompt with the picture")
        elif is_asking(KIND, picture):
            cls.poll_message_set("A check is already running")
        else:
            return True
        return False

    def execute(self, context: Any) -> compat.OperatorResult:
        pump.run_in_slices(
            start_check(compat.scene_of(context), active_picture(context)), lambda refusal: redraw_sequencers()
        )
        pump.wake_timer()
        return {"FINISHED"}


class REWAS_OT_use_prompt(bpy.types.Operator):
    """Use this suggestion as the prompt of the active strip"""

    bl_idname = "rewas.use_prompt"
    bl_label = "Use Suggested Prompt"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    prompt: bpy.props.StringProperty(name="Prompt", description="The new prompt", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: Any) -> bool:
        return poll_picture(cls, context)

    def execute(self, context: Any) -> compat.OperatorResult:
        active_picture(context).rewas.prompt = self.prompt
        redraw_sequencers()
        return {"FINISHED"}


class REWAS_OT_show_mark(bpy.types.Operator):
    """Move the playhead to the start of this range"""

    bl_idname = "rewas.show_mark"
    bl_label = "Show Range"
    bl_options = {"INTERNAL"}

    index: bpy.props.IntProperty(name="Range", description="Number of the range", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: Any) -> bool:
        return poll_picture(cls, context)

    def execute(self, context: Any) -> compat.OperatorResult:
        scene, picture = compat.scene_of(context), active_picture(context)
        marks = picture.rewas.check.marks
        if not 0 <= self.index < len(marks):
            return {"CANCELLED"}
        scene.frame_set(round(frame_of(scene, picture, marks[self.index].start_s)))
        return {"FINISHED"}


class REWAS_PT_check(bpy.types.Panel):
    """Whether the prompt matches the picture"""

    bl_label = "Check"
    bl_order = 2
    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "UI"
    bl_category = "ReWaS"
    bl_parent_id = "REWAS_PT_generate"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return active_picture(context) is not None

    def draw(self, context: Any) -> None:
        layout, picture = self.layout, active_picture(context)
        pack = pack_for(picture.rewas.settings)
        can_check = pack is None or pack.checks_conflict
        text = "Checking…" if is_asking(KIND, picture) else "Check Prompt"
        layout.operator("rewas.check_prompt", text=text, icon="VIEWZOOM")
        row = layout.row()
        row.use_property_split, row.use_property_decorate = True, False
        row.enabled = can_check
        row.prop(picture.rewas.settings, "conflict_policy")
        if not can_check and pack is not None:
            draw_text(layout, context, f"The pack {pack.name} cannot compare a prompt with the picture.", icon="INFO")
        problem = problem_of(KIND, picture)
        if problem is not None:
            draw_problem(layout.box(), context, problem)
        check = read_check(picture)
        if check is not None:
            _draw_check(layout, context, check)
        item = active_item(picture)
        for note in prepared_take(item).notes if item is not None else ():
            draw_text(layout, context, note, icon="INFO")


def _draw_check(layout: Any, context: Any, check: Check) -> None:
    text, icon = _VERDICTS.get(check.verdict, (check.verdict, "QUESTION"))
    box = layout.box()
    box.active = not check.is_outdated
    row = box.split(factor=0.75)
    row.label(text=text, icon=icon)
    if check.verdict != "unsupported":
        row.label(text=f"{check.score:.0%}")
    if check.is_outdated:
        draw_text(box, context, "The prompt has changed since this check. Check again.", icon="INFO")
    draw_text(box, context, check.explanation)
    for index, mark in enumerate(check.marks[:MOST_ROWS]):
        label = f'{mark.start_s:.1f} to {mark.end_s:.1f} s: looks like "{mark.best_label}"'
        box.operator("rewas.show_mark", text=label, icon="TIME", emboss=False).index = index
    if len(check.marks) > MOST_ROWS:
        box.label(text=f"and {len(check.marks) - MOST_ROWS} more ranges")
    if check.suggestions:
        layout.label(text="Prompts that match the picture better:")
        column = layout.column(align=True)
        for suggestion in check.suggestions[:MOST_ROWS]:
            column.operator("rewas.use_prompt", text=suggestion).prompt = suggestion


CLASSES = (REWAS_OT_check_prompt, REWAS_OT_use_prompt, REWAS_OT_show_mark, REWAS_PT_check)


def register() -> None:
    for kind in CLASSES:
        bpy.utils.register_class(kind)


def unregister() -> None:
    for kind in reversed(CLASSES):
        bpy.utils.unregister_class(kind)
