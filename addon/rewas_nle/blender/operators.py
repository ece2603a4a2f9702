# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators. Each gathers its inputs and makes one call."""

import time
import uuid
from pathlib import Path
from typing import Any

import bpy
from bpy_extras.io_utils import ExportHelper

from ..core.contract import find_dependency_problem
from ..core.generate import ClipRequest
from ..timeline.clips import write_timeline
from ..timeline.selection import select_clips
from . import compat, pump, sequencer
from .preferences import chosen_server, preferences, stems_folder
from .shared_session import session

_PUMP_PAUSE_S = 0.02


class REWAS_OT_generate(bpy.types.Operator):
    """Generate sound for the selected movie strips and place it below them. You can keep working meanwhile"""

    bl_idname = "rewas.generate"
    bl_label = "Generate Sound"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        if compat.scene_of(context).sequence_editor is None:
            cls.poll_message_set("Add a movie strip first")
            return False
        return True

    def execute(self, context: Any) -> compat.OperatorResult:
        scene = compat.scene_of(context)
        selection = select_clips(sequencer.selected_strips(scene), sequencer.scene_rate(scene))
        if selection.refusals:
            self.report({"ERROR"}, "\n".join(map(str, selection.refusals)))
            return {"CANCELLED"}
        try:
            folder = stems_folder()
        except (OSError, ValueError) as error:
            self.report({"ERROR"}, f"Cannot use the stems folder ({error}). Choose another one in the preferences.")
            return {"CANCELLED"}
        settings = scene.rewas.sound_settings(preferences().pack.strip())
        batch_id = uuid.uuid4().hex
        blend_file = Path(bpy.data.filepath) if bpy.data.filepath else None
        clip_requests = [
            ClipRequest(uuid.uuid4().hex, clip, settings, scene.name, folder, batch_id, blend_file)
            for clip in selection.clips
        ]
        session().generate(clip_requests, chosen_server())
        pump.wake_timer()
        count = len(clip_requests)
        clips = "1 clip" if count == 1 else f"{count} clips"
        self.report({"INFO"}, f"Generating sound for {clips}. The ReWaS tab shows the progress")
        return {"FINISHED"}


class REWAS_OT_cancel(bpy.types.Operator):
    """Stop this job and discard what it has generated so far"""

    bl_idname = "rewas.cancel"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    key: bpy.props.StringProperty(
        name="Job", description="The job to stop. Leave empty to stop all jobs", options={"HIDDEN", "SKIP_SAVE"}
    )

    def execute(self, context: Any) -> compat.OperatorResult:
        current = session()
        keys = [self.key] if self.key else [key for key, job in current.board.jobs.items() if not job.is_finished]
        stopped = [key for key in keys if current.cancel(key)]
        if not stopped:
            self.report({"INFO"}, "No job is running")
            return {"CANCELLED"}
        return {"FINISHED"}


class REWAS_OT_clear_finished(bpy.types.Operator):
    """Remove finished jobs from this list. Their sound stays on the timeline"""

    bl_idname = "rewas.clear_finished"
    bl_label = "Clear Finished"
    bl_options = {"INTERNAL"}

    def execute(self, context: Any) -> compat.OperatorResult:
        session().clear_finished()
        return {"FINISHED"}


class REWAS_OT_check_server(bpy.types.Operator):
    """Check now whether the server is running. The ReWaS tab shows the result"""

    bl_idname = "rewas.check_server"
    bl_label = "Check Server"
    bl_options = {"INTERNAL"}

    def execute(self, context: Any) -> compat.OperatorResult:
        pump.watch_preferred_server()
        session().poll_server_now()
        pump.wake_timer()
        return {"FINISHED"}


class REWAS_OT_copy_prompt(bpy.types.Operator):
    """Copy the prompt of the active strip to all other selected movie strips"""

    bl_idname = "rewas.copy_prompt"
    bl_label = "Copy Prompt to Selected"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        editor = compat.scene_of(context).sequence_editor
        return editor is not None and editor.active_strip is not None and editor.active_strip.type == "MOVIE"

    def execute(self, context: Any) -> compat.OperatorResult:
        editor = compat.scene_of(context).sequence_editor
        for strip in compat.strips_of(compat.edited_holder(editor)):
            if strip.select and strip.type == "MOVIE":
                strip.rewas.prompt = editor.active_strip.rewas.prompt
        return {"FINISHED"}


class REWAS_OT_export_timeline(bpy.types.Operator, ExportHelper):
    """Export the movie strips and the generated sound as an OpenTimelineIO file, with prompts and exact frame rates"""

    bl_idname = "rewas.export_timeline"
    bl_label = "Export OpenTimelineIO"
    bl_options = {"REGISTER"}

    filename_ext = ".otio"
    filter_glob: bpy.props.StringProperty(default="*.otio", options={"HIDDEN"})

    def execute(self, context: Any) -> compat.OperatorResult:
        problem = find_dependency_problem()
        if problem is not None:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        timeline, left_out = sequencer.build_timeline(compat.scene_of(context))
        path = Path(bpy.path.abspath(self.filepath))  # type: ignore[attr-defined]
        try:
            write_timeline(timeline, path)
        except OSError as error:
            self.report({"ERROR"}, f"Cannot write {path} ({error.strerror}). Choose another folder.")
            return {"CANCELLED"}
        for refusal in left_out:
            self.report({"WARNING"}, f"Not exported: {refusal}")
        self.report({"INFO"}, f"Exported {path}")
        return {"FINISHED"}


class REWAS_OT_wait(bpy.types.Operator):
    """Wait until all jobs are finished. For scripts in background mode, where timers never fire"""

    bl_idname = "rewas.wait"
    bl_label = "Wait for Sound"
    bl_options = {"INTERNAL"}

    timeout_s: bpy.props.FloatProperty(
        name="Timeout", description="Longest time to wait, in seconds", default=600.0, min=0.0
    )

    @classmethod
    def poll(cls, context: Any) -> bool:
        return bpy.app.background

    def execute(self, context: Any) -> compat.OperatorResult:
        deadline_s = time.monotonic() + self.timeout_s
        pump.pump()
        while session().board.is_busy:
            if time.monotonic() > deadline_s:
                self.report({"ERROR"}, f"A job is still running after {self.timeout_s:g} s. Wait longer or cancel it.")
                return {"CANCELLED"}
            time.sleep(_PUMP_PAUSE_S)
            pump.pump()
        problems = dict.fromkeys(str(job.problem) for job in session().board.jobs.values() if job.problem)
        if problems:
            self.report({"ERROR"}, "\n".join(problems))
            return {"CANCELLED"}
        return {"FINISHED"}


CLASSES = (
    REWAS_OT_generate,
    REWAS_OT_cancel,
    REWAS_OT_clear_finished,
    REWAS_OT_check_server,
    REWAS_OT_copy_prompt,
    REWAS_OT_export_timeline,
    REWAS_OT_wait,
)


def register() -> None:
    for operator in CLASSES:
        bpy.utils.register_class(operator)


def unregister() -> None:
    for operator in reversed(CLASSES):
        bpy.utils.unregister_class(operator)
