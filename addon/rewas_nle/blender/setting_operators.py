# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators on the settings of strips: copying, presets and layers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import bpy
from bl_operators.presets import AddPresetBase
from bl_ui.utils import PresetPanel

from ..timeline.energy_keys import EnergyKey
from ..timeline.names import unused_layer_role
from ..timeline.selection import PICTURE_KINDS
from . import compat
from .active_picture import active_picture
from .energy_curves import read_keys, remove_keys, remove_layer_keys, write_keys
from .sound_properties import SETTING_SETS, copy_settings

PRESET_FOLDER = "rewas"
MAX_LAYERS = 8
"""The contract's limit."""


def poll_picture(operator: Any, context: Any) -> bool:
    """Return whether the active strip has a picture. The poll of operators that need one."""
    if active_picture(context) is None:
        operator.poll_message_set("Make a picture strip, or its sound, the active strip")
        return False
    return True


def selected_pictures(context: Any) -> list[Any]:
    """Return the selected strips that can have sound."""
    editor = compat.scene_of(context).sequence_editor
    if editor is None:
        return []
    strips = compat.strips_of(compat.edited_holder(editor))
    return [strip for strip in strips if strip.select and strip.type in PICTURE_KINDS]


def _drawn_energies(scene: Any, picture: Any, sets: Collection[str]) -> dict[str, tuple[EnergyKey, ...]]:
    """Return the drawn energies that belong to sets of settings, by layer; "" is the primary sound."""
    settings = picture.rewas.settings
    names = [""] if "CONTROL" in sets and settings.energy_source == "DRAWN" else []
    if "LAYERS" in sets:
        names += [layer.name for layer in settings.layers if layer.energy == "DRAWN"]
    return {name: keys for name in names if (keys := read_keys(scene, picture, name))}


class REWAS_OT_copy_settings(bpy.types.Operator):
    """Copy the sound settings that you choose from the active strip to the other selected strips"""

    bl_idname = "rewas.copy_settings"
    bl_label = "Copy Sound Settings to Selected"
    bl_options = {"REGISTER", "UNDO"}

    sets: bpy.props.EnumProperty(
        name="Settings",
        description="Which settings to copy",
        items=[(key, name, description) for key, (name, description, _) in SETTING_SETS.items()],
        default=set(SETTING_SETS),
        options={"ENUM_FLAG"},
    )

    @classmethod
    def poll(cls, context: Any) -> bool:
        if not poll_picture(cls, context):
            return False
        picture = active_picture(context)
        if not any(strip != picture for strip in selected_pictures(context)):
            cls.poll_message_set("Also select the strips to copy to")
            return False
        return True

    def invoke(self, context: Any, event: Any) -> compat.OperatorResult:
        return context.window_manager.invoke_props_dialog(self)  # type: ignore[no-any-return]

    def draw(self, context: Any) -> None:
        self.layout.column().prop(self, "sets", expand=True)

    def execute(self, context: Any) -> compat.OperatorResult:
        scene, picture = compat.scene_of(context), active_picture(context)
        others = [strip for strip in selected_pictures(context) if strip != picture]
        drawn = _drawn_energies(scene, picture, self.sets)
        for strip in others:
            if "LAYERS" in self.sets:
                remove_layer_keys(scene, strip)
            if "PROMPT" in self.sets:
                strip.rewas.prompt = picture.rewas.prompt
            copy_settings(picture.rewas.settings, strip.rewas.settings, sorted(self.sets))
            for layer, keys in drawn.items():
                write_keys(scene, strip, keys, layer)
        self.report({"INFO"}, f"Copied to {len(others)} strip{'s' if len(others) > 1 else ''}")
        return {"FINISHED"}


class REWAS_OT_add_layer(bpy.types.Operator):
    """Add another sound with its own stem and channel"""

    bl_idname = "rewas.add_layer"
    bl_label = "Add Sound Layer"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        if not poll_picture(cls, context):
            return False
        settings = active_picture(context).rewas.settings
        if len(settings.layers) + bool(settings.ambience) >= MAX_LAYERS:
            cls.poll_message_set(f"A strip can have {MAX_LAYERS} layers, including the ambience")
            return False
        return True

    def execute(self, context: Any) -> compat.OperatorResult:
        settings = active_picture(context).rewas.settings
        role = unused_layer_role([layer.name for layer in settings.layers])
        settings.layers.add().name = role
        settings.active_layer_index = len(settings.layers) - 1
        return {"FINISHED"}


class _ActiveLayerOperator:
    @classmethod
    def poll(cls, context: Any) -> bool:
        if not poll_picture(cls, context):
            return False
        settings = active_picture(context).rewas.settings
        if not 0 <= settings.active_layer_index < len(settings.layers):
            cls.poll_message_set("Add a layer first")  # type: ignore[attr-defined]
            return False
        return True


class REWAS_OT_remove_layer(_ActiveLayerOperator, bpy.types.Operator):
    """Remove this layer from the settings. Existing takes keep it"""

    bl_idname = "rewas.remove_layer"
    bl_label = "Remove Sound Layer"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: Any) -> compat.OperatorResult:
        picture = active_picture(context)
        settings = picture.rewas.settings
        remove_keys(compat.scene_of(context), picture, settings.layers[settings.active_layer_index].name)
        settings.layers.remove(settings.active_layer_index)
        settings.active_layer_index = max(min(settings.active_layer_index, len(settings.layers) - 1), 0)
        return {"FINISHED"}


class REWAS_OT_move_layer(_ActiveLayerOperator, bpy.types.Operator):
    """Move this layer in the list. The stems have the same order"""

    bl_idname = "rewas.move_layer"
    bl_label = "Move Sound Layer"
    bl_options = {"REGISTER", "UNDO"}

    direction: bpy.props.EnumProperty(
        name="Direction",
        description="Where to move the layer",
        items=[("UP", "Up", "Towards the top"), ("DOWN", "Down", "Towards the bottom")],
    )

    def execute(self, context: Any) -> compat.OperatorResult:
        settings = active_picture(context).rewas.settings
        index = settings.active_layer_index
        target = index + (-1 if self.direction == "UP" else 1)
        if not 0 <= target < len(settings.layers):
            return {"CANCELLED"}
        settings.layers.move(index, target)
        settings.active_layer_index = target
        return {"FINISHED"}


class REWAS_OT_add_preset(AddPresetBase, bpy.types.Operator):
    """Save the sound settings of the active strip as a preset, or remove one"""

    bl_idname = "rewas.add_preset"
    bl_label = "Add Sound Preset"
    preset_menu = "REWAS_PT_presets"
    preset_subdir = PRESET_FOLDER
    # Not preset_defines: Blender 4.3 cannot evaluate them with Python 3.13.
    preset_values = [
        f"bpy.context.window_manager.rewas.preset.{name}"
        for _, _, names in SETTING_SETS.values()
        for name in names
        if name != "energy_sound"
    ]

    def pre_cb(self, context: Any) -> None:
        """Called before the preset is written."""
        picture = active_picture(context)
        if picture is not None:
            copy_settings(picture.rewas.settings, context.window_manager.rewas.preset)


class REWAS_OT_load_preset(bpy.types.Operator):
    """Load this preset into the active strip. Its prompt does not change"""

    bl_idname = "rewas.load_preset"
    bl_label = "Load Sound Preset"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    filepath: bpy.props.StringProperty(
        name="File", description="File of the preset", subtype="FILE_PATH", options={"SKIP_SAVE", "HIDDEN"}
    )

    @classmethod
    def poll(cls, context: Any) -> bool:
        return poll_picture(cls, context)

    def execute(self, context: Any) -> compat.OperatorResult:
        scratch = context.window_manager.rewas.preset
        picture = active_picture(context)
        copy_settings(picture.rewas.settings, scratch)
        try:
            bpy.utils.execfile(self.filepath)
        except Exception as error:  # a preset of another version, or one that someone has edited
            self.report(
                {"ERROR"}, f"The preset {self.filepath} cannot be used ({error}). Remove it and save a new one."
            )
            return {"CANCELLED"}
        # A preset holds no curves, so what follows one keeps that of the strip.
        drawn = [layer.name for layer in scratch.layers if layer.energy == "DRAWN"]
        remove_layer_keys(compat.scene_of(context), picture, kept=drawn)
        copy_settings(scratch, picture.rewas.settings)
        return {"FINISHED"}


class REWAS_PT_presets(PresetPanel, bpy.types.Panel):
    """Presets of sound settings"""

    bl_label = "Sound Presets"
    bl_space_type = "SEQUENCE_EDITOR"
    preset_subdir = PRESET_FOLDER
    preset_operator = "rewas.load_preset"
    preset_add_operator = "rewas.add_preset"


CLASSES = (
    REWAS_OT_copy_settings,
    REWAS_OT_add_layer,
    REWAS_OT_remove_layer,
    REWAS_OT_move_layer,
    REWAS_OT_add_preset,
    REWAS_OT_load_preset,
    REWAS_PT_presets,
)


def register() -> None:
    for kind in CLASSES:
        bpy.utils.register_class(kind)


def unregister() -> None:
    for kind in reversed(CLASSES):
        bpy.utils.unregister_class(kind)
