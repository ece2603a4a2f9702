# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators for the server of this computer, and the timer that shows what it does."""

from __future__ import annotations

import shutil
import traceback
from pathlib import Path
from typing import Any

import bpy

from ..core.folders import data_folder
from ..core.local_server import LocalServerStatus
from ..timeline.sample import SAMPLE_FPS, SAMPLE_FRAMES, SAMPLE_NAME, SAMPLE_PROMPT, SAMPLE_SIZE_PX
from . import compat
from .preferences import chosen_server, preferences
from .redraw import redraw_panels
from .server_drawing import read_log
from .shared_session import EXTENSION_FOLDER, close_local_server, local_server, session, watch_server

BUSY_INTERVAL_S = 0.25
IDLE_INTERVAL_S = 2.0
_SAMPLE_SCENE = "ReWaS Sample"

_shown: LocalServerStatus | None = None


def _is_idle(operator: Any, *, installed: bool | None = None) -> bool:
    local = local_server().status
    if local.is_busy:
        operator.poll_message_set("Wait until the server is installed, started or stopped")
        return False
    if installed is not None and bool(local.version) != installed:
        operator.poll_message_set("Install the server first" if installed else "The server is already installed")
        return False
    return True


class REWAS_OT_install_server(bpy.types.Operator):
    bl_idname = "rewas.install_server"
    bl_label = "Install and Start the Local Server"
    bl_description = (
        "Download the server into a separate folder of your user data, and start it. Blender's own Python stays as it "
        "is. This takes several minutes; you can keep working meanwhile"
    )
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        if not bpy.app.online_access:
            cls.poll_message_set("Enable Allow Online Access in Preferences > System, or install from a folder")
            return False
        return _is_idle(cls)

    def execute(self, context: Any) -> compat.OperatorResult:
        local_server().install(then_start=(preferences().server_address, preferences().device))
        wake_server_timer()
        return {"FINISHED"}


class REWAS_OT_install_server_from_folder(bpy.types.Operator):
    """Install the server without a network, from a folder with the wheels of its release, and start it"""

    bl_idname = "rewas.install_server_from_folder"
    bl_label = "Install from a Folder"
    bl_options = {"INTERNAL"}

    directory: bpy.props.StringProperty(
        name="Folder", description="Folder with the .whl files of the server and its dependencies", subtype="DIR_PATH"
    )
    filter_folder: bpy.props.BoolProperty(default=True, options={"HIDDEN"})
    filter_glob: bpy.props.StringProperty(default="*.whl", options={"HIDDEN"})

    @classmethod
    def poll(cls, context: Any) -> bool:
        return _is_idle(cls)

    def invoke(self, context: Any, event: Any) -> compat.OperatorResult:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: Any) -> compat.OperatorResult:
        wheelhouse = Path(bpy.path.abspath(self.directory)).absolute()
        start = (preferences().server_address, preferences().device)
        local_server().install(wheelhouse=wheelhouse, then_start=start)
        wake_server_timer()
        return {"FINISHED"}


class REWAS_OT_cancel_install(bpy.types.Operator):
    """Stop installing the server. The next installation continues where this one stopped"""

    bl_idname = "rewas.cancel_install"
    bl_label = "Cancel Installation"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return local_server().status.phase == "installing"

    def execute(self, context: Any) -> compat.OperatorResult:
        local_server().cancel()
        return {"FINISHED"}


class REWAS_OT_start_server(bpy.types.Operator):
    """Start the server on this computer. It keeps running when Blender closes, so that jobs can finish"""

    bl_idname = "rewas.start_server"
    bl_label = "Start the Local Server"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return _is_idle(cls, installed=True)

    def execute(self, context: Any) -> compat.OperatorResult:
        local_server().start(preferences().server_address, preferences().device)
        wake_server_timer()
        return {"FINISHED"}


class REWAS_OT_stop_server(bpy.types.Operator):
    """Stop the server on this computer. Its unfinished jobs continue when it starts again"""

    bl_idname = "rewas.stop_server"
    bl_label = "Stop the Local Server"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        if not local_server().status.is_own:
            cls.poll_message_set("No server that the add-on started is running")
            return False
        return _is_idle(cls)

    def execute(self, context: Any) -> compat.OperatorResult:
        local_server().stop()
        wake_server_timer()
        return {"FINISHED"}


class REWAS_OT_remove_server(bpy.types.Operator):
    """Stop the server and delete its folder. Your sounds and the jobs of the server are kept"""

    bl_idname = "rewas.remove_server"
    bl_label = "Remove the Local Server"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return _is_idle(cls)

    def invoke(self, context: Any, event: Any) -> compat.OperatorResult:
        result: compat.OperatorResult = context.window_manager.invoke_confirm(self, event)
        return result

    def execute(self, context: Any) -> compat.OperatorResult:
        local_server().remove()
        wake_server_timer()
        return {"FINISHED"}


class REWAS_OT_set_server_address(bpy.types.Operator):
    """Use a server that is already running, on this computer or another one"""

    bl_idname = "rewas.set_server_address"
    bl_label = "Enter an Address"
    bl_options = {"INTERNAL"}

    address: bpy.props.StringProperty(
        name="Address", description="Host and port of the server, as printed by `rewas serve`"
    )
    certificate: bpy.props.StringProperty(
        name="Certificate", description="Only for another computer: the server's certificate.pem", subtype="FILE_PATH"
    )
    token_file: bpy.props.StringProperty(
        name="Token",
        description="Only for another computer: a copy of the server's file named token",
        subtype="FILE_PATH",
    )

    def invoke(self, context: Any, event: Any) -> compat.OperatorResult:
        chosen = preferences()
        self.address, self.certificate = chosen.server_address, chosen.certificate
        self.token_file = chosen.token_file
        result: compat.OperatorResult = context.window_manager.invoke_props_dialog(self, width=400)
        return result

    def execute(self, context: Any) -> compat.OperatorResult:
        chosen = preferences()
        chosen.certificate, chosen.token_file = self.certificate, self.token_file
        use_address(self.address)
        return {"FINISHED"}


class REWAS_OT_open_server_log(bpy.types.Operator):
    """Open the complete log in your system's program for text files"""

    bl_idname = "rewas.open_server_log"
    bl_label = "Open the Log"
    bl_options = {"INTERNAL"}

    def execute(self, context: Any) -> compat.OperatorResult:
        path = local_server().log_path
        if not path.exists():
            self.report({"INFO"}, "There is no log yet")
            return {"CANCELLED"}
        bpy.ops.wm.path_open(filepath=str(path))
        return {"FINISHED"}


class REWAS_OT_try_sample(bpy.types.Operator):
    """Add the sample clip, a bouncing ball, and generate its sound. If the timeline has strips, it gets a new scene"""

    bl_idname = "rewas.try_sample"
    bl_label = "Try It on the Sample Clip"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        server = session().board.server
        if server is None or server.problem is not None:
            cls.poll_message_set("Start a server first")
            return False
        return True

    def execute(self, context: Any) -> compat.OperatorResult:
        try:
            path = copy_sample()
        except OSError as error:
            self.report({"ERROR"}, f"Cannot copy the sample clip ({error.strerror or error}). Free some disk space.")
            return {"CANCELLED"}
        add_sample(_scene_for_sample(context), path)
        bpy.ops.rewas.generate()  # type: ignore[attr-defined]
        return {"FINISHED"}


def copy_sample() -> Path:
    """Copy the sample clip to the user's data folder, because updates delete the extension's. Raises OSError."""
    source, target = EXTENSION_FOLDER / "sample" / SAMPLE_NAME, data_folder() / "sample" / SAMPLE_NAME
    if not target.exists() or target.stat().st_size != source.stat().st_size:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return target


def _scene_for_sample(context: Any) -> Any:
    scene = compat.scene_of(context)
    if scene.sequence_editor is None or not len(compat.strips_of(scene.sequence_editor)):
        return scene
    scene = bpy.data.scenes.new(_SAMPLE_SCENE)
    context.window.scene = scene
    if getattr(context.workspace, "sequencer_scene", None) is not None:
        context.workspace.sequencer_scene = scene
    return scene


def add_sample(scene: Any, path: Path) -> Any:
    """Add the sample clip to an empty scene, which gets its frame rate and length. Returns its strip."""
    scene.render.fps, scene.render.fps_base = SAMPLE_FPS, 1.0
    scene.frame_start, scene.frame_end = 1, SAMPLE_FRAMES
    editor = scene.sequence_editor or scene.sequence_editor_create()
    strip = compat.strips_of(editor).new_movie(SAMPLE_NAME, str(path), 1, 1)
    width_px, height_px = SAMPLE_SIZE_PX
    scale = min(scene.render.resolution_x / width_px, scene.render.resolution_y / height_px)
    strip.transform.scale_x = strip.transform.scale_y = scale
    strip.rewas.prompt = SAMPLE_PROMPT
    strip.select = True
    editor.active_strip = strip
    return strip


def use_address(address: str) -> None:
    """Connect to this server from now on."""
    if preferences().server_address != address:
        preferences().server_address = address  # watches it
    watch_server(chosen_server())
    session().poll_server_now()


def show_local_server() -> float:
    """Show what the local server does, and connect to it when it runs. Returns the seconds until the next call."""
    global _shown
    status = local_server().status
    if status is not _shown:
        before, _shown = _shown, status
        if status.phase == "running" and status.address and not (before and before.address == status.address):
            use_address(status.address)
        elif status.phase == "stopped" and before is not None and before.phase == "stopping":
            session().poll_server_now()
        redraw_panels()
    if read_log():
        redraw_panels()
    return BUSY_INTERVAL_S if status.is_busy else IDLE_INTERVAL_S


def wake_server_timer() -> None:
    """Show the local server's work soon."""
    if bpy.app.timers.is_registered(_on_timer):
        bpy.app.timers.unregister(_on_timer)
    bpy.app.timers.register(_on_timer, first_interval=BUSY_INTERVAL_S, persistent=True)


def _on_timer() -> float:
    try:
        return show_local_server()
    except Exception:  # Blender unregisters a timer whose function raises
        traceback.print_exc()
        return IDLE_INTERVAL_S


CLASSES = (
    REWAS_OT_install_server,
    REWAS_OT_install_server_from_folder,
    REWAS_OT_cancel_install,
    REWAS_OT_start_server,
    REWAS_OT_stop_server,
    REWAS_OT_remove_server,
    REWAS_OT_set_server_address,
    REWAS_OT_open_server_log,
    REWAS_OT_try_sample,
)


def register() -> None:
    for operator in CLASSES:
        bpy.utils.register_class(operator)
    if not bpy.app.background:
        local_server().refresh()
        wake_server_timer()


def unregister() -> None:
    global _shown
    if bpy.app.timers.is_registered(_on_timer):
        bpy.app.timers.unregister(_on_timer)
    close_local_server()
    _shown = None
    for operator in reversed(CLASSES):
        bpy.utils.unregister_class(operator)
