# SPDX-License-Identifier: GPL-3.0-or-later
"""The field and the operator that choose a sound to resemble."""

from __future__ import annotations

from typing import Any

import bpy

from . import compat
from .active_picture import active_picture
from .drawing import draw_text
from .preferences import pack_for, pack_for_layer
from .setting_operators import poll_picture


class REWAS_OT_sounds_like_strip(bpy.types.Operator):
    bl_idname = "rewas.sounds_like_strip"
    bl_label = "Sounds Like Selected Strip"
    bl_description = (
        "Use the file of the other selected strip as the sound to resemble. Select that sound or movie strip first, "
        "then the strip that gets the new sound"
    )
    bl_options = {"REGISTER", "UNDO"}

    layer: bpy.props.StringProperty(
        name="Layer",
        description="Name of the layer that should resemble it. Leave empty for the primary sound",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: Any) -> bool:
        if not poll_picture(cls, context):
            return False
        if len(_other_sounds(context)) != 1:
            cls.poll_message_set("Also select one sound or movie strip")
            return False
        return True

    def execute(self, context: Any) -> compat.OperatorResult:
        settings = active_picture(context).rewas.settings
        owner = settings.layers.get(self.layer) if self.layer else settings
        if owner is None:
            self.report({"ERROR"}, f"The strip has no layer {self.layer}. Choose one of its layers")
            return {"CANCELLED"}
        (strip,) = _other_sounds(context)
        owner.sounds_like = strip.sound.filepath if strip.type == "SOUND" else strip.filepath
        return {"FINISHED"}


def _other_sounds(context: Any) -> list[Any]:
    """The selected sound and movie strips besides the picture."""
    editor = compat.scene_of(context).sequence_editor
    picture = active_picture(context)
    return [
        strip
        for strip in compat.strips_of(compat.edited_holder(editor))
        if strip.select and strip != picture and (strip.type == "MOVIE" or (strip.type == "SOUND" and strip.sound))
    ]


def draw_reference(layout: Any, context: Any, strip: Any, layer: Any = None) -> None:
    """Draw the field for the sound that a strip, or one of its layers, should resemble."""
    settings = strip.rewas.settings
    owner = settings if layer is None else layer
    row = layout.row(align=True)
    row.prop(owner, "sounds_like")
    row.operator("rewas.sounds_like_strip", text="", icon="EYEDROPPER").layer = "" if layer is None else layer.name
    pack = pack_for(settings) if layer is None else pack_for_layer(settings, layer.pack)
    if owner.sounds_like and pack is not None and not pack.is_library and "texture" not in pack.controls:
        draw_text(layout, context, f"The pack {pack.name} matches only the spectrum.", icon="INFO")


CLASSES = (REWAS_OT_sounds_like_strip,)


def register() -> None:
    for kind in CLASSES:
        bpy.utils.register_class(kind)


def unregister() -> None:
    for kind in reversed(CLASSES):
        bpy.utils.unregister_class(kind)
