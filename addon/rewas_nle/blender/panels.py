# SPDX-License-Identifier: GPL-3.0-or-later
"""The ReWaS tab in the sequencer's sidebar. Drawing reads cached state and computes nothing."""

from __future__ import annotations

from typing import Any

import bpy

from ..core.board import JobStatus
from ..core.messages import Problem, ServerState
from . import compat
from .drawing import draw_text
from .preferences import pack_terms
from .shared_session import session


class _SidebarPanel:
    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "UI"
    bl_category = "ReWaS"


class REWAS_PT_generate(_SidebarPanel, bpy.types.Panel):
    """Prompt, settings and the Generate button"""

    bl_label = "Sound for Picture"

    def draw(self, context: Any) -> None:
        layout = self.layout
        scene = compat.scene_of(context)
        _draw_server(layout, context, session().board.server)
        editor = scene.sequence_editor
        strip = editor.active_strip if editor is not None else None
        box = layout.box()
        if strip is None or strip.type != "MOVIE":
            box.label(text="Select a movie strip", icon="SEQUENCE")
        else:
            row = box.row()
            row.label(text=strip.name, icon="FILE_MOVIE")
            row.operator("rewas.copy_prompt", text="", icon="COPYDOWN")
            row = box.row()
            if "placeholder" in bpy.types.UILayout.bl_rna.functions["prop"].parameters:  # type: ignore[attr-defined]
                row.prop(strip.rewas, "prompt", text="", placeholder="What should be heard?")
            else:
                row.prop(strip.rewas, "prompt", text="")
        row = layout.row()
        row.scale_y = 1.5
        row.operator("rewas.generate", icon="SPEAKER")
        draw_text(layout, context, pack_terms())
        if not bpy.data.filepath:
            draw_text(layout, context, "Save the .blend file to keep the sound next to it.")


class REWAS_PT_settings(_SidebarPanel, bpy.types.Panel):
    """Seed, takes, steps, guidance"""

    bl_label = "Settings"
    bl_parent_id = "REWAS_PT_generate"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = compat.scene_of(context).rewas
        layout.prop(settings, "takes")
        layout.prop(settings, "control_strength", slider=True)
        layout.prop(settings, "use_random_seed")
        row = layout.row()
        row.active = not settings.use_random_seed
        row.prop(settings, "seed")
        layout.prop(settings, "use_own_sampling", text="Custom Sampling")
        column = layout.column()
        column.active = settings.use_own_sampling
        column.prop(settings, "num_inference_steps")
        column.prop(settings, "guidance_scale")


class REWAS_PT_jobs(_SidebarPanel, bpy.types.Panel):
    """Progress of each job, newest first"""

    bl_label = "Jobs"
    bl_parent_id = "REWAS_PT_generate"

    @classmethod
    def poll(cls, context: Any) -> bool:
        return bool(session().board.jobs)

    def draw(self, context: Any) -> None:
        jobs = list(session().board.jobs.values())
        for job in reversed(jobs):
            _draw_job(self.layout, context, job)
        if any(job.is_finished for job in jobs):
            self.layout.operator("rewas.clear_finished", icon="TRASH")


class REWAS_PT_export(_SidebarPanel, bpy.types.Panel):
    """Export of the timeline for other tools"""

    bl_label = "Timeline"
    bl_parent_id = "REWAS_PT_generate"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        self.layout.operator("rewas.export_timeline", icon="EXPORT")


def _draw_server(layout: Any, context: Any, server: ServerState | None) -> None:
    row = layout.row()
    if server is None:
        row.label(text="Connecting to the server…", icon="SORTTIME")
    elif server.problem is not None:
        row.label(text="Server not available", icon="ERROR")
    elif not server.worker_ready:
        row.label(text=f"Server {server.version} is loading", icon="SORTTIME")
    else:
        row.label(text=f"Server {server.version} on {server.device or 'an unknown device'}", icon="CHECKMARK")
    row.operator("rewas.check_server", text="", icon="FILE_REFRESH")
    if server is not None and server.problem is not None:
        _draw_problem(layout, context, server.problem)


def _draw_job(layout: Any, context: Any, job: JobStatus) -> None:
    box = layout.box()
    row = box.row()
    icons = {"done": "CHECKMARK", "failed": "ERROR", "cancelled": "X"}
    row.label(text=job.clip_name, icon="ERROR" if job.problem else icons.get(job.state, "SORTTIME"))
    if not job.is_finished:
        if job.state != "cancelling":
            row.operator("rewas.cancel", text="", icon="X").key = job.key
        box.progress(factor=job.fraction, text=job.status_text)
        if job.time_left_s is not None and job.state == "running":
            box.label(text=f"About {_duration_label(job.time_left_s)} left")
    else:
        draw_text(box, context, job.status_text)
    for note in job.sound_notes:
        draw_text(box, context, note, icon="INFO")
    if job.problem is not None:
        _draw_problem(box, context, job.problem)


def _draw_problem(layout: Any, context: Any, problem: Problem) -> None:
    draw_text(layout, context, problem.what)
    draw_text(layout, context, problem.remedy)


def _duration_label(seconds: float) -> str:
    return f"{round(seconds)} s" if seconds < 90 else f"{round(seconds / 60)} min"


CLASSES = (REWAS_PT_generate, REWAS_PT_jobs, REWAS_PT_settings, REWAS_PT_export)


def register() -> None:
    for panel in CLASSES:
        bpy.utils.register_class(panel)


def unregister() -> None:
    for panel in reversed(CLASSES):
        bpy.utils.unregister_class(panel)
