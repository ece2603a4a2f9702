# SPDX-License-Identifier: GPL-3.0-or-later
"""The operators: each gathers what it needs and makes one call."""

import time
import uuid
from pathlib import Path
from typing import Any

import bpy
from bpy_extras.io_utils import ExportHelper

from ..core.contract import missing_parts
from ..core.generate import Order
from ..timeline.clips import write_timeline
from ..timeline.selection import select_for_sound
from . import compat, pump, sequencer
from .preferences import preferences, stems_folder

_PUMP_PAUSE_S = 0.02


class REWAS_OT_generate(bpy.types.Operator):
    """Make sound for the selected movie strips and place it under them. Blender stays free meanwhile"""

    bl_idname = "rewas.generate"
    bl_label = "Generate Sound"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        if compat.scene_of(context).sequence_editor is None:
            cls.poll_message_set("The timeline is empty: add a movie strip first")
            return False
        return True

    def execute(self, context: Any) -> set[str]:
        scene = compat.scene_of(context)
        selection = select_for_sound(sequencer.selected_strips(scene), sequencer.scene_rate(scene))
        if selection.refusals:
            self.report({"ERROR"}, "\n".join(map(str, selection.refusals)))
            return {"CANCELLED"}
        try:
            folder = stems_folder()
        except (OSError, ValueError) as error:
            self.report({"ERROR"}, f"There is no folder for the stems ({error}). Choose one in the preferences.")
            return {"CANCELLED"}
        settings = scene.rewas.sound_settings(preferences().pack.strip())
        request = uuid.uuid4().hex
        orders = [Order(uuid.uuid4().hex, clip, settings, scene.name, folder, request) for clip in selection.clips]
        address = preferences().server_address
        pump.session().generate(orders, address=address, online_access=bpy.app.online_access)
        pump.wake_timer()
        count = len(orders)
        self.report({"INFO"}, f"Making sound for {count} clip{'s' if count > 1 else ''}; progress is in the ReWaS tab")
        return {"FINISHED"}


class REWAS_OT_cancel(bpy.types.Operator):
    """Stop the job; what it has made so far is dropped"""

    bl_idname = "rewas.cancel"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    key: bpy.props.StringProperty(
        name="Job", description="The job to stop; every job where empty", options={"HIDDEN", "SKIP_SAVE"}
    )

    def execute(self, context: Any) -> set[str]:
        session = pump.session()
        keys = [self.key] if self.key else [key for key, line in session.board.jobs.items() if not line.is_finished]
        stopped = [key for key in keys if session.cancel(key)]
        if not stopped:
            self.report({"INFO"}, "No job is under way")
            return {"CANCELLED"}
        return {"FINISHED"}


class REWAS_OT_clear_finished(bpy.types.Operator):
    """Take the jobs that are over off this list. Their sound stays on the timeline"""

    bl_idname = "rewas.clear_finished"
    bl_label = "Clear Finished"
    bl_options = {"INTERNAL"}

    def execute(self, context: Any) -> set[str]:
        pump.session().forget_finished()
        return {"FINISHED"}


class REWAS_OT_check_server(bpy.types.Operator):
    """Ask the server for its state now; the answer appears in the ReWaS tab"""

    bl_idname = "rewas.check_server"
    bl_label = "Check Server"
    bl_options = {"INTERNAL"}

    def execute(self, context: Any) -> set[str]:
        pump.watch_server()
        pump.session().poll_server_now()
        pump.wake_timer()
        return {"FINISHED"}


class REWAS_OT_copy_prompt(bpy.types.Operator):
    """Give the active strip's prompt to every other selected movie strip"""

    bl_idname = "rewas.copy_prompt"
    bl_label = "Copy Prompt to Selected"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        editor = compat.scene_of(context).sequence_editor
        return editor is not None and editor.active_strip is not None and editor.active_strip.type == "MOVIE"

    def execute(self, context: Any) -> set[str]:
        editor = compat.scene_of(context).sequence_editor
        for strip in compat.strips_of(compat.edited_holder(editor)):
            if strip.select and strip.type == "MOVIE":
                strip.rewas.prompt = editor.active_strip.rewas.prompt
        return {"FINISHED"}


class REWAS_OT_export_timeline(bpy.types.Operator, ExportHelper):
    """Write the movie strips and the generated sound as an OpenTimelineIO file, with prompts and exact rates"""

    bl_idname = "rewas.export_timeline"
    bl_label = "Export OpenTimelineIO"
    bl_options = {"REGISTER"}

    filename_ext = ".otio"
    filter_glob: bpy.props.StringProperty(default="*.otio", options={"HIDDEN"})

    def execute(self, context: Any) -> set[str]:
        trouble = missing_parts()
        if trouble is not None:
            self.report({"ERROR"}, str(trouble))
            return {"CANCELLED"}
        timeline, left_out = sequencer.build_timeline(compat.scene_of(context))
        path = Path(bpy.path.abspath(self.filepath))
        try:
            write_timeline(timeline, path)
        except OSError as error:
            self.report({"ERROR"}, f"{path} could not be written ({error.strerror}). Choose another folder.")
            return {"CANCELLED"}
        for refusal in left_out:
            self.report({"WARNING"}, f"Left out. {refusal}")
        self.report({"INFO"}, f"Wrote {path}")
        return {"FINISHED"}


class REWAS_OT_wait(bpy.types.Operator):
    """Wait until every job is over. For scripts in the background, where timers never fire"""

    bl_idname = "rewas.wait"
    bl_label = "Wait for Sound"
    bl_options = {"INTERNAL"}

    timeout_s: bpy.props.FloatProperty(name="Timeout", description="Seconds to wait at most", default=600.0, min=0.0)

    @classmethod
    def poll(cls, context: Any) -> bool:
        return bpy.app.background

    def execute(self, context: Any) -> set[str]:
        deadline_s = time.monotonic() + self.timeout_s
        pump.pump()
        while pump.session().board.is_busy:
            if time.monotonic() > deadline_s:
                self.report({"ERROR"}, f"A job is still running after {self.timeout_s:g} s. Wait longer, or cancel it.")
                return {"CANCELLED"}
            time.sleep(_PUMP_PAUSE_S)
            pump.pump()
        troubles = dict.fromkeys(str(line.trouble) for line in pump.session().board.jobs.values() if line.trouble)
        if troubles:
            self.report({"ERROR"}, "\n".join(troubles))
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
