# SPDX-License-Identifier: GPL-3.0-or-later
"""The ReWaS tab in the sequencer's sidebar. Drawing reads cached state and computes nothing."""

from __future__ import annotations

from typing import Any, ClassVar

import bpy

from ..core.job_rows import JobRow
from ..core.messages import PackChoice
from ..timeline.takes import PRIMARY_ROLE
from .active_picture import active_picture
from .drawing import draw_problem, draw_text
from .energy_operators import draw_energy, draw_layer_energy
from .exchange_report import draw_report
from .preferences import pack_for, pack_for_layer, pack_terms
from .prepared import job_of_strip, job_rows, prepared_take
from .reference_sounds import draw_reference
from .server_drawing import draw_log, draw_server, has_log
from .setting_operators import REWAS_PT_presets
from .take_drawing import draw_missing_sound, draw_takes
from .take_list import active_item
from .video_operators import active_text, draw_video
from .word_operators import draw_words, draw_words_button


class SidebarPanel:
    """A panel in the ReWaS tab."""

    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "UI"
    bl_category = "ReWaS"


class PicturePanel(SidebarPanel):
    """A panel about the picture of the active strip."""

    bl_parent_id = "REWAS_PT_generate"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return active_picture(context) is not None


class REWAS_PT_generate(SidebarPanel, bpy.types.Panel):
    """Prompt and the buttons that generate sound"""

    bl_label = "Sound for Picture"

    def draw_header_preset(self, context: Any) -> None:
        REWAS_PT_presets.draw_panel_header(self.layout)

    def draw(self, context: Any) -> None:
        layout = self.layout
        draw_server(layout, context)
        picture = active_picture(context)
        text = active_text(context)
        if text is not None:
            draw_video(layout, context, text)
        elif picture is None:
            layout.box().label(text="Select a picture strip", icon="SEQUENCE")
        if picture is not None:
            _draw_prompt(layout, context, picture)
        column = layout.column(align=True)
        row = column.row(align=True)
        row.scale_y = 1.5
        has_sound = picture is not None and len(picture.rewas.takes) > 0
        row.operator("rewas.generate", text="Generate New Take" if has_sound else "Generate Sound", icon="SPEAKER")
        if picture is not None and has_sound:
            row = column.row(align=True)
            row.operator("rewas.regenerate")
            row.operator("rewas.range_again", text="Range")
            row.prop(picture.rewas.settings, "range_strength", text="Change", slider=True)
        if picture is not None:
            _draw_recording(column, picture)
        if picture is not None:
            job = job_of_strip(picture)
            if job is not None:
                _draw_job_of_strip(layout, context, job)
            draw_missing_sound(layout, context, picture)
        for terms in _terms(picture):
            draw_text(layout, context, terms)
        if not bpy.data.filepath:
            draw_text(layout, context, "Save the .blend file to keep the sound next to it.")


class REWAS_PT_takes(PicturePanel, bpy.types.Panel):
    """Every version of the sound of this strip"""

    bl_label = "Takes"
    bl_order = 1
    bl_options: ClassVar[set[Any]] = set()

    @classmethod
    def poll(cls, context: Any) -> bool:
        picture = active_picture(context)
        return picture is not None and len(picture.rewas.takes) > 0

    def draw(self, context: Any) -> None:
        draw_takes(self.layout, context, active_picture(context))


class REWAS_PT_layers(PicturePanel, bpy.types.Panel):
    """Background and further sounds, each with its own stem"""

    bl_label = "Ambience and Layers"
    bl_order = 3

    def draw(self, context: Any) -> None:
        layout = self.layout
        picture = active_picture(context)
        settings = picture.rewas.settings
        row = layout.row(align=True)
        draw_field(row, settings, "ambience", "Ambience, for example: a quiet street")
        sub = row.row(align=True)
        sub.ui_units_x = 4
        sub.active = bool(settings.ambience)
        sub.prop(settings, "ambience_gain_db", text="dB")
        if settings.ambience:
            _draw_layer_pack(layout, settings, settings, "ambience_pack", "ambience_recording")
        row = layout.row()
        row.template_list(
            "REWAS_UL_layers", "", settings, "layers", settings, "active_layer_index", rows=3 if settings.layers else 2
        )
        column = row.column(align=True)
        column.operator("rewas.add_layer", text="", icon="ADD")
        column.operator("rewas.remove_layer", text="", icon="REMOVE")
        if len(settings.layers) > 1:
            column.separator()
            column.operator("rewas.move_layer", text="", icon="TRIA_UP").direction = "UP"
            column.operator("rewas.move_layer", text="", icon="TRIA_DOWN").direction = "DOWN"
        if 0 <= settings.active_layer_index < len(settings.layers):
            layer = settings.layers[settings.active_layer_index]
            draw_field(layout, layer, "prompt", "Describe the sound of this layer")
            row = layout.row(align=True)
            row.prop(layer, "energy", text="")
            row.prop(layer, "gain_db", text="Gain dB")
            _draw_layer_pack(layout, settings, layer, "pack", "recording")
            draw_layer_energy(layout, context, picture, layer)
            draw_reference(layout, context, picture, layer)


class REWAS_UL_layers(bpy.types.UIList):
    """Layers of a strip"""

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
        row = layout.row(align=True)
        row.prop(item, "role", text="", emboss=False, icon="SOUND")
        row.label(text=item.prompt or "No prompt yet", icon="NONE" if item.prompt else "ERROR")


class REWAS_PT_control(PicturePanel, bpy.types.Panel):
    """What steers the sound"""

    bl_label = "Control"
    bl_order = 4

    def draw(self, context: Any) -> None:
        layout = self.layout
        _split(layout)
        picture = active_picture(context)
        settings = picture.rewas.settings
        pack = pack_for(settings)
        can_control = pack is None or "energy" in pack.controls
        column = layout.column()
        column.enabled = can_control
        draw_energy(column, context, picture)
        draw_field(column, settings, "energy_edits", "smooth 0.2; mute event 1", text="Edits")
        column.row().prop(settings, "control", expand=True)
        draw_reference(column, context, picture)
        if pack is None or not pack.is_library:
            column.prop(settings, "control_strength", slider=True)
            row = column.row(align=True)
            row.active = settings.control_strength > 0
            row.prop(settings, "control_start", text="From, To", slider=True)
            row.prop(settings, "control_end", text="", slider=True)
        if not can_control and pack is not None:
            draw_text(layout, context, f"The pack {pack.name} follows only the prompt.", icon="INFO")


class REWAS_PT_settings(PicturePanel, bpy.types.Panel):
    """Seed, takes, cuts, pack and output"""

    bl_label = "Settings"
    bl_order = 5

    def draw(self, context: Any) -> None:
        layout = self.layout
        _split(layout)
        settings = active_picture(context).rewas.settings
        pack = pack_for(settings)
        row = layout.row(align=True)
        sub = row.row(align=True)
        sub.active = settings.lock_seed
        sub.prop(settings, "seed")
        row.prop(settings, "lock_seed", text="", icon="LOCKED" if settings.lock_seed else "UNLOCKED")
        layout.prop(settings, "takes")
        column = layout.column()
        column.prop(settings, "cuts")
        row = column.row()
        row.enabled = settings.cuts == "NONE"
        row.prop(settings, "loop")
        if settings.loop and settings.cuts != "NONE":
            draw_text(column, context, "A sound cannot both loop and start afresh at cuts.", icon="ERROR")
        layout.separator()
        layout.prop(settings, "pack")
        if pack is not None:
            layout.label(
                text=pack.properties[:1].upper() + pack.properties[1:], icon="FILE_SOUND" if pack.is_library else "NONE"
            )
        if pack is None or not pack.is_library:
            layout.prop(settings, "use_own_sampling")
            if settings.use_own_sampling:
                column = layout.column()
                column.prop(settings, "num_inference_steps")
                column.prop(settings, "guidance_scale")
                column.prop(settings, "sampler")
        if any(used.is_library for used in _packs_of(settings) if used is not None):
            column = layout.column()
            column.prop(settings, "tail")
            column.prop(settings, "room")
            column.prop(settings, "pitch_variation_cents")
            column.prop(settings, "timing_variation_s")
        layout.separator()
        column = layout.column()
        column.prop(settings, "level")
        column.prop(settings, "gain_db")
        column.prop(settings, "sample_rate")
        column.prop(settings, "mix")
        column.prop(settings, "rank_by")
        layout.separator()
        layout.operator("rewas.copy_settings", text="Copy to Selected…", icon="COPYDOWN")


class REWAS_PT_export(SidebarPanel, bpy.types.Panel):
    """Generate, import and export for the whole timeline"""

    bl_label = "Timeline"
    bl_order = 6
    bl_parent_id = "REWAS_PT_generate"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        column = self.layout.column(align=True)
        column.operator("rewas.generate_missing", icon="SPEAKER")
        column.separator()
        column.operator("rewas.import_timeline", icon="IMPORT")
        column.operator("rewas.import_sound_changes", icon="FILE_REFRESH")
        column.operator("rewas.export_timeline", icon="EXPORT")
        column.separator()
        column.operator("rewas.copy_credits", icon="COPYDOWN")
        draw_report(self.layout, context)


class REWAS_PT_jobs(SidebarPanel, bpy.types.Panel):
    """Progress of each job, with running jobs first"""

    bl_label = "Jobs"
    bl_order = 7
    bl_parent_id = "REWAS_PT_generate"

    @classmethod
    def poll(cls, context: Any) -> bool:
        return bool(job_rows().rows)

    def draw_header_preset(self, context: Any) -> None:
        rows = job_rows()
        if rows.unfinished:
            self.layout.label(text=f"{rows.unfinished} unfinished")

    def draw(self, context: Any) -> None:
        layout = self.layout
        rows, window = job_rows(), context.window_manager.rewas
        layout.template_list("REWAS_UL_jobs", "", window, "jobs", window, "active_job_index", rows=4, maxrows=8)
        index = min(window.active_job_index, len(rows.rows) - 1)
        row = rows.rows[index]
        for note in row.notes:
            draw_text(layout, context, note, icon="INFO")
        if row.problem is not None:
            draw_problem(layout, context, row.problem)
        elif row.progress is None:
            draw_text(layout, context, row.text)
        buttons = layout.row(align=True)
        if rows.unfinished:
            buttons.operator("rewas.cancel", text="Cancel All", icon="X").key = ""
        if rows.finished:
            buttons.operator("rewas.clear_finished", icon="TRASH")


class REWAS_UL_jobs(bpy.types.UIList):
    """Jobs of this Blender"""

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
        rows = job_rows().rows
        if index >= len(rows):  # the list shrinks with the next tick
            return
        row = rows[index]
        line = layout.row(align=True)
        if row.progress is None:
            line.label(text=row.name, icon=row.icon)
            if row.problem is not None:
                line.label(text=row.text)
        else:
            line = line.split(factor=0.4, align=True)
            line.label(text=row.name, icon=row.icon)
            line = line.row(align=True)
            line.progress(factor=row.progress, text=row.text)
        if row.can_retry:
            line.operator("rewas.retry", text="", icon="FILE_REFRESH", emboss=False).key = row.key
        if row.can_cancel:
            line.operator("rewas.cancel", text="", icon="X", emboss=False).key = row.key


class REWAS_PT_server_log(SidebarPanel, bpy.types.Panel):
    """The last lines of the log of the local server or of its installation"""

    bl_label = "Server Log"
    bl_order = 8
    bl_parent_id = "REWAS_PT_generate"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return has_log()

    def draw(self, context: Any) -> None:
        draw_log(self.layout)


def draw_field(layout: Any, data: Any, name: str, placeholder: str, text: str = "") -> None:
    """Draw a text field with a hint in it, if this Blender can."""
    if "placeholder" in bpy.types.UILayout.bl_rna.functions["prop"].parameters:  # type: ignore[attr-defined]
        layout.prop(data, name, text=text, placeholder=placeholder)
    else:
        layout.prop(data, name, text=text)


def _draw_prompt(layout: Any, context: Any, picture: Any) -> None:
    box = layout.box()
    row = box.row()
    row.label(text=picture.name, icon="FILE_MOVIE")
    row.operator("rewas.copy_settings", text="", icon="COPYDOWN")
    column = box.column(align=True)
    draw_field(column, picture.rewas, "prompt", "What should be heard?")
    pack = pack_for(picture.rewas.settings)
    if pack is None or not pack.is_library:
        draw_field(column, picture.rewas.settings, "negative_prompt", "What should not be heard?")
    draw_words_button(column, picture)
    draw_words(layout, context, picture)


def _draw_recording(layout: Any, picture: Any) -> None:
    """Draw the button for the next recordings, and the field that chooses the recordings of a new take."""
    settings, item = picture.rewas.settings, active_item(picture)
    pack = pack_for(settings)
    is_library = pack is not None and pack.is_library
    if not is_library and (item is None or not prepared_take(item).recordings_of(PRIMARY_ROLE)):
        return
    row = layout.row(align=True)
    row.operator("rewas.another_recording", icon="FILE_SOUND")
    if is_library:
        row.prop(settings, "recording")


def _draw_layer_pack(layout: Any, settings: Any, owner: Any, pack_name: str, recording_name: str) -> None:
    """Draw the pack of a layer and, if it is a library, which recordings it performs."""
    row = layout.row(align=True)
    draw_field(row, owner, pack_name, "Same Pack")
    pack = pack_for_layer(settings, getattr(owner, pack_name))
    if pack is not None and pack.is_library:
        row.prop(owner, recording_name, text="Recording")


def _layer_packs(settings: Any) -> list[str]:
    """Return the names of the packs that the layers of a strip name."""
    names = [settings.ambience_pack if settings.ambience else "", *(layer.pack for layer in settings.layers)]
    return [name for name in dict.fromkeys(names) if name]


def _packs_of(settings: Any) -> list[PackChoice | None]:
    """Return the packs of a strip and its layers, each None while unknown."""
    return [pack_for_layer(settings, name) for name in ("", *_layer_packs(settings))]


def _draw_job_of_strip(layout: Any, context: Any, job: JobRow) -> None:
    if job.progress is not None:
        row = layout.row(align=True)
        row.progress(factor=job.progress, text=job.text)
        if job.can_retry:
            row.operator("rewas.retry", text="", icon="FILE_REFRESH").key = job.key
        if job.can_cancel:
            row.operator("rewas.cancel", text="", icon="X").key = job.key
    if job.problem is not None:
        box = layout.box()
        draw_problem(box, context, job.problem)
        if job.progress is None and job.can_retry:
            box.operator("rewas.retry", icon="FILE_REFRESH").key = job.key


def _split(layout: Any) -> None:
    layout.use_property_split = True
    layout.use_property_decorate = False


def _terms(picture: Any) -> list[str]:
    """Return the terms of the packs of a strip and its layers."""
    if picture is None:
        return [pack_terms()]
    settings = picture.rewas.settings
    found = []
    for name in dict.fromkeys((settings.pack, *_layer_packs(settings))):
        pack = pack_for_layer(settings, name)
        missing = f"The server has no usable pack {name}." if name else ""
        found.append(pack.terms if pack is not None else missing)
    return [terms for terms in dict.fromkeys(found) if terms]


CLASSES = (
    REWAS_UL_layers,
    REWAS_UL_jobs,
    REWAS_PT_generate,
    REWAS_PT_takes,
    REWAS_PT_layers,
    REWAS_PT_control,
    REWAS_PT_settings,
    REWAS_PT_export,
    REWAS_PT_jobs,
    REWAS_PT_server_log,
)


def register() -> None:
    for panel in CLASSES:
        bpy.utils.register_class(panel)


def unregister() -> None:
    for panel in reversed(CLASSES):
        bpy.utils.unregister_class(panel)
