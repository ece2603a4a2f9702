# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the panel, and the operators, that suggest words for strips."""

from __future__ import annotations

from typing import Any

import bpy

from ..core.description_question import DescriptionAnswer
from ..core.slices import run_all
from ..timeline.strips import Refusal
from . import compat, pump
from .active_picture import active_picture
from .drawing import draw_problem, draw_text
from .questions import is_asking, problem_of, report_refusals, withdraw
from .redraw import redraw_sequencers
from .setting_operators import poll_picture, selected_pictures
from .word_suggestions import KIND, forget_words, start_suggestion, words_of


class REWAS_OT_suggest_words(bpy.types.Operator):
    bl_idname = "rewas.suggest_words"
    bl_label = "Suggest Words"
    bl_description = (
        "Describe the picture and the own sound of the selected strips, and suggest prompts for each strip. "
        "A strip keeps its prompt until you choose a suggestion"
    )
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        pictures = _pictures(context)
        if not pictures:
            return poll_picture(cls, context)
        if all(is_asking(KIND, picture) for picture in pictures):
            cls.poll_message_set("ReWaS is already looking for words for these strips")
            return False
        return True

    def execute(self, context: Any) -> compat.OperatorResult:
        scene = compat.scene_of(context)
        questions = [start_suggestion(scene, strip) for strip in _pictures(context) if not is_asking(KIND, strip)]
        if not bpy.app.background:
            # The panel shows why a question cannot be asked: the operator has ended by then.
            for question in questions:
                pump.run_in_slices(question, lambda refusal: redraw_sequencers())
            return {"FINISHED"}
        refusals: list[Refusal] = [refusal for question in questions if (refusal := run_all(question)) is not None]
        return report_refusals(self, refusals, len(questions))


class REWAS_OT_cancel_words(bpy.types.Operator):
    """Stop looking for words for the selected strips"""

    bl_idname = "rewas.cancel_words"
    bl_label = "Cancel Suggesting Words"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        if not any(is_asking(KIND, picture) for picture in _pictures(context)):
            cls.poll_message_set("ReWaS is not looking for words for these strips")
            return False
        return True

    def execute(self, context: Any) -> compat.OperatorResult:
        for picture in _pictures(context):
            withdraw(KIND, picture)
        redraw_sequencers()
        return {"FINISHED"}


class REWAS_OT_hide_words(bpy.types.Operator):
    """Hide the suggested words of the active strip"""

    bl_idname = "rewas.hide_words"
    bl_label = "Hide Suggested Words"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return poll_picture(cls, context)

    def execute(self, context: Any) -> compat.OperatorResult:
        forget_words(compat.scene_of(context), active_picture(context))
        redraw_sequencers()
        return {"FINISHED"}


def draw_words_button(layout: Any, picture: Any) -> None:
    """Draw the button that asks for words."""
    row = layout.row(align=True)
    is_waiting = is_asking(KIND, picture)
    text = "Looking for Words…" if is_waiting else "Suggest Words"
    row.operator("rewas.suggest_words", text=text, icon="OUTLINER_OB_FONT")
    if is_waiting:
        row.operator("rewas.cancel_words", text="", icon="X")


def draw_words(layout: Any, context: Any, picture: Any) -> None:
    """Draw the suggested words of a strip, or why there are none."""
    problem = problem_of(KIND, picture)
    if problem is not None:
        draw_problem(layout.box(), context, problem)
    answer = words_of(compat.scene_of(context), picture)
    if answer is not None:
        _draw_answer(layout.box(), context, picture, answer)


def _draw_answer(box: Any, context: Any, picture: Any, answer: DescriptionAnswer) -> None:
    row = box.row()
    row.label(text="Suggested prompts:" if answer.suggestions else "No known words match this strip")
    row.operator("rewas.hide_words", text="", icon="X", emboss=False)
    column = box.column(align=True)
    for words in answer.suggestions:
        line = column.split(factor=0.85, align=True)
        is_chosen = words.prompt == picture.rewas.prompt
        icon = "CHECKMARK" if is_chosen else "SPEAKER" if words.is_heard else "FILE_MOVIE"
        line.operator("rewas.use_prompt", text=words.prompt, icon=icon).prompt = words.prompt
        line.label(text="" if words.score is None else f"{words.score:.0%}")
    for text in (answer.picture, answer.sound):
        if text:
            draw_text(box, context, text)
    for note in answer.notes:
        draw_text(box, context, note, icon="INFO")


def _pictures(context: Any) -> list[Any]:
    """Return the selected pictures and the active one, each once."""
    active = active_picture(context)
    selected = selected_pictures(context)
    return selected if active is None or active in selected else [*selected, active]


CLASSES = (REWAS_OT_suggest_words, REWAS_OT_cancel_words, REWAS_OT_hide_words)


def register() -> None:
    for kind in CLASSES:
        bpy.utils.register_class(kind)


def unregister() -> None:
    for kind in reversed(CLASSES):
        bpy.utils.unregister_class(kind)
