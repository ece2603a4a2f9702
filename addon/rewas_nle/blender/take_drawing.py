# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws the takes of a strip, and whether its sound is too short."""

from __future__ import annotations

from typing import Any

import bpy

from ..timeline.missing import missing_ranges
from ..timeline.takes import PRIMARY_ROLE, Take
from .drawing import draw_problem, draw_text
from .links import problems
from .prepared import prepared_take
from .recordings import draw_recordings
from .stem_strips import position_of
from .take_list import active_item

FAULT_LABELS = {
    "silent": "The sound is silent.",
    "clipped": "The sound is clipped.",
    "stuck": "The sound is stuck: it repeats or holds one spectrum.",
    "wrong": "The sound does not match its prompt.",
}


class REWAS_UL_takes(bpy.types.UIList):
    """Takes of a strip. A click puts a take on the timeline"""

    def draw_item(
        self,
        context: Any,
        layout: Any,
        data: Any,
        item: Any,
        icon: Any,
        active_data: Any,
        active_property: Any,
        index: Any,
        flt_flag: Any,
    ) -> None:
        take = prepared_take(item)
        row = layout.row(align=True)
        row.prop(item, "is_favourite", text="", emboss=False, icon="SOLO_ON" if item.is_favourite else "SOLO_OFF")
        row.prop(item, "label", text="", emboss=False)
        if take.faults or take.notes:
            row.label(text="", icon="ERROR" if take.faults else "INFO")
        score = row.row()
        score.ui_units_x = 2.5
        score.alignment = "RIGHT"
        score.label(text="" if take.score is None else f"{take.score:.0%}")


def draw_takes(layout: Any, context: Any, picture: Any) -> None:
    """Draw the list of takes with its buttons, and how the active one was generated."""
    settings = picture.rewas
    row = layout.row()
    row.template_list("REWAS_UL_takes", "", settings, "takes", settings, "active_take_index", rows=4, maxrows=8)
    column = row.column(align=True)
    is_playing = context.screen is not None and context.screen.is_animation_playing
    column.operator("rewas.play_take", text="", icon="PAUSE" if is_playing else "PLAY")
    column.operator("rewas.compare_takes", text="", icon="ARROW_LEFTRIGHT")
    column.separator()
    column.operator("rewas.delete_take", text="", icon="TRASH")
    item = active_item(picture)
    if item is None:
        return
    problem = problems.get(settings.uid)
    if problem is not None:
        draw_problem(layout.box(), context, problem)
    row = layout.row(align=True)
    row.operator("rewas.generate_like_take", text="Another Like This", icon="FILE_REFRESH")
    row.operator("rewas.use_take_settings", text="Use Settings", icon="LOOP_BACK")
    layout.operator("rewas.send_take", icon="FORWARD")
    take = prepared_take(item)
    _draw_details(layout, context, take)
    if take.recordings:
        draw_recordings(layout, context, take.recordings)


def _draw_details(layout: Any, context: Any, take: Take) -> None:
    for fault in take.faults:
        draw_text(layout, context, FAULT_LABELS.get(fault, fault), icon="ERROR")
    for note in take.notes:
        draw_text(layout, context, note, icon="INFO")
    column = layout.column(align=True)
    column.scale_y = 0.8
    for name, value in details(take):
        row = column.split(factor=0.35)
        row.label(text=name)
        row.label(text=value)


def details(take: Take) -> list[tuple[str, str]]:
    """Return what a take was generated with and how good it is, as names and values."""
    settings = take.settings
    steps, guidance = settings.get("num_inference_steps"), settings.get("guidance_scale")
    found = [
        ("Prompt", take.prompt),
        ("Avoid", str(settings.get("negative_prompt", ""))),
        ("Seed", str(take.seed)),
        ("Pack", f"{take.pack} {take.pack_version}".strip()),
        ("Licence", take.licence),
        *(
            (label, f"{value} ({pack.role})")
            for pack in take.layer_packs
            for label, value in (("Pack", f"{pack.name} {pack.version}".strip()), ("Licence", pack.licence))
        ),
        ("Recording", str(take.place) if take.recordings_of(PRIMARY_ROLE) else ""),
        ("Sampling", f"{steps} steps, guidance {guidance:g}" if steps and guidance is not None else ""),
        ("Stems", ", ".join(take.roles)),
        ("Prompt match", "" if take.text_score is None else f"{take.text_score:.0%}"),
        ("AVHScore", "" if take.avh_score is None else f"{take.avh_score:.3f}"),
        ("Energy match", "" if take.energy_correlation is None else f"{take.energy_correlation:.2f}"),
    ]
    return [(name, value) for name, value in found if value]


def draw_missing_sound(layout: Any, context: Any, picture: Any) -> None:
    """Draw that a strip shows frames that its sound does not cover, with the button that generates only these."""
    item = active_item(picture)
    if item is None or not missing_ranges(position_of(picture), prepared_take(item)):
        return
    row = layout.row(align=True)
    row.label(text="Sound too short", icon="ERROR")
    row.operator("rewas.generate_missing_sound", text="Complete")


def register() -> None:
    bpy.utils.register_class(REWAS_UL_takes)


def unregister() -> None:
    bpy.utils.unregister_class(REWAS_UL_takes)
