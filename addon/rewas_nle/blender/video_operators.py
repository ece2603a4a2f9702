# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the panel, and the operators, that turn text strips into videos with sound."""

from __future__ import annotations

from typing import Any

import bpy

from . import compat
from .drawing import draw_problem, draw_text
from .questions import is_asking, problem_of, report_refusals, withdraw
from .redraw import redraw_sequencers
from .text_videos import KIND, start_video


class REWAS_OT_generate_video(bpy.types.Operator):
    bl_idname = "rewas.generate_video"
    bl_label = "Video with Sound from Text"
    bl_description = (
        "Generate a short video with sound of what each selected text strip says, and put both next to the text. "
        "The text is muted. The server needs a model for this"
    )
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        texts = _texts(context)
        if not texts:
            cls.poll_message_set("Select a text strip")
            return False
        if all(is_asking(KIND, text) for text in texts):
            cls.poll_message_set("ReWaS is already generating videos for these text strips")
            return False
        return True

    def execute(self, context: Any) -> compat.OperatorResult:
        scene = compat.scene_of(context)
        texts = [text for text in _texts(context) if not is_asking(KIND, text)]
        refusals = [refusal for text in texts if (refusal := start_video(scene, text)) is not None]
        redraw_sequencers()
        return report_refusals(self, refusals, len(texts))


class REWAS_OT_cancel_video(bpy.types.Operator):
    """Stop generating videos for the selected text strips"""

    bl_idname = "rewas.cancel_video"
    bl_label = "Cancel Video"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        if not any(is_asking(KIND, text) for text in _texts(context)):
            cls.poll_message_set("ReWaS is not generating videos for these text strips")
            return False
        return True

    def execute(self, context: Any) -> compat.OperatorResult:
        for text in _texts(context):
            withdraw(KIND, text)
        redraw_sequencers()
        return {"FINISHED"}


def active_text(context: Any) -> Any:
    """Return the active strip if it is a text strip, otherwise None."""
    editor = compat.scene_of(context).sequence_editor
    strip = editor.active_strip if editor is not None else None
    return strip if strip is not None and strip.type == "TEXT" else None


def draw_video(layout: Any, context: Any, text: Any) -> None:
    """Draw the button that generates a video from a text strip, and why the last one failed."""
    box = layout.box()
    draw_text(box, context, text.text.strip() or "This text strip is empty", icon="FONT_DATA")
    row = box.row(align=True)
    is_waiting = is_asking(KIND, text)
    row.operator(
        "rewas.generate_video", text="Generating Video…" if is_waiting else "Generate Video", icon="FILE_MOVIE"
    )
    if is_waiting:
        row.operator("rewas.cancel_video", text="", icon="X")
    problem = problem_of(KIND, text)
    if problem is not None:
        draw_problem(box, context, problem)


def _texts(context: Any) -> list[Any]:
    """Return the selected text strips and the active one, each once."""
    editor = compat.scene_of(context).sequence_editor
    if editor is None:
        return []
    selected = [
        strip for strip in compat.strips_of(compat.edited_holder(editor)) if strip.select and strip.type == "TEXT"
    ]
    active = active_text(context)
    return selected if active is None or active in selected else [*selected, active]


CLASSES = (REWAS_OT_generate_video, REWAS_OT_cancel_video)


def register() -> None:
    for kind in CLASSES:
        bpy.utils.register_class(kind)


def unregister() -> None:
    for kind in reversed(CLASSES):
        bpy.utils.unregister_class(kind)
