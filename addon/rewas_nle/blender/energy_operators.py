# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the panel, and the operators, that choose what the sound of a strip follows."""

from __future__ import annotations

from typing import Any

import bpy

from ..core.slices import run_all
from . import compat, pump
from .active_picture import active_picture
from .drawing import draw_problem, draw_text
from .energy_curves import has_keys, remove_keys
from .energy_estimates import KIND, is_outdated, kind_of, notes_of, start_estimate
from .event_operators import draw_events
from .preferences import pack_for
from .questions import is_asking, problem_of
from .redraw import redraw_sequencers
from .setting_operators import poll_picture

_SOURCES = [
    ("PICTURE", "Picture", "The motion in the picture"),
    ("OWN_SOUND", "Own Sound", "The level of the sound in the strip's own media, such as production audio"),
    ("OTHER_SOUND", "Another Sound", "The level of the sound file that was chosen last"),
]
_LAYER = "Name of the layer that gets the curve. Leave empty for the primary sound"


class _EnergyOperator:
    @classmethod
    def poll(cls, context: Any) -> bool:
        if not poll_picture(cls, context):
            return False
        picture = active_picture(context)
        pack = pack_for(picture.rewas.settings)
        if pack is not None and "energy" not in pack.controls:
            cls.poll_message_set(f"The pack {pack.name} follows only the prompt")  # type: ignore[attr-defined]
        elif is_asking(KIND, picture):
            cls.poll_message_set("The energy of this strip is already being estimated")  # type: ignore[attr-defined]
        else:
            return True
        return False


class REWAS_OT_estimate_energy(_EnergyOperator, bpy.types.Operator):
    bl_idname = "rewas.estimate_energy"
    bl_label = "Estimate Energy"
    bl_description = (
        "Estimate the energy that the sound would follow, and draw it as keyframes that you can edit. "
        "They replace an existing curve. The curve of the primary sound then includes the edits under Control"
    )
    bl_options = {"REGISTER"}

    source: bpy.props.EnumProperty(
        name="From", description="Where the energy comes from", items=_SOURCES, options={"SKIP_SAVE"}
    )
    layer: bpy.props.StringProperty(name="Layer", description=_LAYER, options={"SKIP_SAVE"})

    def execute(self, context: Any) -> compat.OperatorResult:
        return _estimate(self, context, self.source, self.layer)


class REWAS_OT_energy_from_sound(_EnergyOperator, bpy.types.Operator):
    bl_idname = "rewas.energy_from_sound"
    bl_label = "Energy from Sound File"
    bl_description = (
        "Draw the level of a sound file as the energy of the strip. To perform a sound, record it with any audio "
        "program while you watch the strip, then choose the recording. Blender itself cannot record sound"
    )
    bl_options = {"REGISTER", "UNDO"}

    filepath: bpy.props.StringProperty(
        name="File", description="The sound file, which begins where the strip begins", subtype="FILE_PATH"
    )
    layer: bpy.props.StringProperty(name="Layer", description=_LAYER, options={"SKIP_SAVE"})
    filter_sound: bpy.props.BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})
    filter_movie: bpy.props.BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})
    filter_folder: bpy.props.BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})

    def invoke(self, context: Any, event: Any) -> compat.OperatorResult:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: Any) -> compat.OperatorResult:
        settings = active_picture(context).rewas.settings
        settings.energy_sound, settings.energy_sound_start_s = self.filepath, 0.0
        return _estimate(self, context, "OTHER_SOUND", self.layer)


class REWAS_OT_energy_from_picture(bpy.types.Operator):
    """Remove the drawn curve of the active strip, so that its sound follows the picture again"""

    bl_idname = "rewas.energy_from_picture"
    bl_label = "From Picture Again"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        if not poll_picture(cls, context):
            return False
        picture = active_picture(context)
        if picture.rewas.settings.energy_source == "PICTURE" and not has_keys(compat.scene_of(context), picture):
            cls.poll_message_set("The sound already follows the picture")
            return False
        return True

    def execute(self, context: Any) -> compat.OperatorResult:
        picture = active_picture(context)
        remove_keys(compat.scene_of(context), picture)
        picture.rewas.settings.energy_source = "PICTURE"
        redraw_sequencers()
        return {"FINISHED"}


def _estimate(operator: Any, context: Any, source: str, layer: str) -> compat.OperatorResult:
    if layer and layer not in active_picture(context).rewas.settings.layers:
        operator.report({"ERROR"}, f"The strip has no layer {layer}. Choose one of its layers")
        return {"CANCELLED"}
    question = start_estimate(compat.scene_of(context), active_picture(context), source, layer)
    if not bpy.app.background:
        # If that is not possible, the panel shows the reason: the operator has ended by then.
        pump.run_in_slices(question, lambda refusal: redraw_sequencers())
        return {"FINISHED"}
    refusal = run_all(question)
    if refusal is None:
        return {"FINISHED"}
    operator.report({"ERROR"}, str(refusal))
    return {"CANCELLED"}


def draw_energy(layout: Any, context: Any, strip: Any) -> None:
    """Draw what the sound of a strip follows, and the buttons that change it."""
    settings = strip.rewas.settings
    pack = pack_for(settings)
    source = settings.energy_source
    layout.prop(settings, "energy_source")
    if source == "OTHER_SOUND":
        layout.prop(settings, "energy_sound")
        layout.prop(settings, "energy_sound_start_s")
    elif source == "FLAT":
        layout.prop(settings, "flat_db")
    elif source == "DRAWN":
        _draw_curve(layout, context, strip)
    if source in ("OWN_SOUND", "OTHER_SOUND"):
        layout.prop(settings, "energy_audio_track")
        row = layout.row()
        can_match = pack is None or "texture" in pack.controls
        row.enabled = can_match and not settings.sounds_like
        row.prop(settings, "use_texture")
        if not can_match and pack is not None:
            draw_text(layout, context, f"The pack {pack.name} cannot match timbre.", icon="INFO")
    column = layout.column(align=True)
    if is_asking(KIND, strip):
        column.label(text="Estimating the energy…", icon="TIME")
    elif source in ("DRAWN", "FLAT"):
        column.operator_menu_enum("rewas.estimate_energy", "source", text="Estimate Energy", icon="FCURVE")
    else:
        column.operator("rewas.estimate_energy", icon="FCURVE").source = source
    row = column.row(align=True)
    row.operator("rewas.energy_from_sound", text="From Sound…", icon="FILE_SOUND")
    row.operator("rewas.energy_from_picture", text="From Picture", icon="LOOP_BACK")
    _draw_result(layout, context, strip, "")


def draw_layer_energy(layout: Any, context: Any, strip: Any, layer: Any) -> None:
    """Draw what the energy of a layer needs besides its kind."""
    if layer.energy == "FLAT":
        layout.prop(layer, "flat_db")
    if layer.energy != "DRAWN":
        return
    if is_asking(kind_of(layer.name), strip):
        layout.label(text="Estimating the energy…", icon="TIME")
    elif not has_keys(compat.scene_of(context), strip, layer.name):
        draw_text(layout, context, "There is no curve yet. Estimate the energy.", icon="INFO")
    row = layout.row(align=True)
    row.operator_menu_enum("rewas.estimate_energy", "source", text="Estimate", icon="FCURVE").layer = layer.name
    row.operator("rewas.energy_from_sound", text="From Sound…", icon="FILE_SOUND").layer = layer.name
    _draw_result(layout, context, strip, layer.name)


def _draw_result(layout: Any, context: Any, strip: Any, layer: str) -> None:
    problem = problem_of(kind_of(layer), strip)
    if problem is not None:
        draw_problem(layout.box(), context, problem)
    for note in notes_of(strip, layer):
        draw_text(layout, context, note, icon="INFO")
    settings = strip.rewas.settings
    is_drawn = (settings.layers[layer].energy if layer else settings.energy_source) == "DRAWN"
    if is_drawn and is_outdated(compat.scene_of(context), strip, layer):
        draw_text(
            layout, context, "The prompt has changed since the energy was estimated. Estimate it again.", icon="INFO"
        )
    elif not layer and settings.energy_source == "PICTURE" and not strip.rewas.prompt.strip():
        pack = pack_for(settings)
        if pack is not None and pack.reads_words:
            draw_text(layout, context, "The energy depends on the prompt. Describe the sound first.", icon="INFO")


def _draw_curve(layout: Any, context: Any, strip: Any) -> None:
    if has_keys(compat.scene_of(context), strip):
        draw_events(layout, context, strip)
        draw_text(layout, context, "Edit the curve in the Graph Editor.", icon="GRAPH")
    else:
        draw_text(layout, context, "There is no curve yet. Estimate the energy, or draw it.", icon="INFO")


CLASSES = (REWAS_OT_estimate_energy, REWAS_OT_energy_from_sound, REWAS_OT_energy_from_picture)


def register() -> None:
    for kind in CLASSES:
        bpy.utils.register_class(kind)


def unregister() -> None:
    for kind in reversed(CLASSES):
        bpy.utils.unregister_class(kind)
