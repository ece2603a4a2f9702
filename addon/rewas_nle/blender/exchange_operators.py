# SPDX-License-Identifier: GPL-3.0-or-later
"""Export and import of timelines. Files are written and read in a thread, strips are read and built in slices."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import bpy
from bpy_extras.io_utils import ExportHelper, ImportHelper

from ..core.exchange_files import (
    ARCHIVE_SUFFIX,
    REAPER_SUFFIX,
    TIMELINE_SUFFIX,
    CancelledError,
    ExchangeError,
    ReadChanges,
    ReadFile,
    read_changes,
    read_scene,
    write_scene,
)
from ..core.messages import Problem
from ..core.slices import Slices
from ..timeline.exchanged import ExchangedScene
from . import compat, exchange_report, pump
from .arrivals import push_undo
from .exchange_building import BuildError, build_scene, prepare_target
from .exchange_changes import apply_changes
from .exchange_reading import read_scene as read_blender_scene
from .exchange_report import Activity, Report
from .redraw import redraw_sequencers
from .status_bar import show_failure
from .strip_reading import scene_rate

_POLL_INTERVAL_S = 0.1
_FILTER = f"*{TIMELINE_SUFFIX};*{ARCHIVE_SUFFIX}"
_IMPORT_FILTER = f"{_FILTER};*{REAPER_SUFFIX}"

_replaced: dict[str, tuple[str, str]] = {}
"""For each imported scene, the workspace that showed it first, and the scene shown there before. All are names."""


class _Job:
    """Work that a thread does. The main thread handles its result."""

    def __init__(self, work: Callable[[], Any], on_end: Callable[[Any, Exception | None], None]) -> None:
        self._work = work
        self._on_end = on_end
        self._result: Any = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="rewas-exchange", daemon=True)

    def start(self) -> None:
        """Run in a thread, or at once in background mode, where nobody waits for a window."""
        if bpy.app.background:
            self._run()
            self._on_end(self._result, self._error)
            return
        self._thread.start()
        bpy.app.timers.register(self._poll, first_interval=_POLL_INTERVAL_S, persistent=True)

    def _run(self) -> None:
        try:
            self._result = self._work()
        except Exception as error:
            self._error = error

    def _poll(self) -> float | None:
        redraw_sequencers()
        if self._thread.is_alive():
            return _POLL_INTERVAL_S
        self._on_end(self._result, self._error)
        return None


class REWAS_OT_export_timeline(bpy.types.Operator, ExportHelper):
    """Export the timeline as an OpenTimelineIO file: pictures, sounds, takes, prompts, channels and markers"""

    bl_idname = "rewas.export_timeline"
    bl_label = "Export Timeline"
    bl_options = {"REGISTER"}

    _included_media = False
    """Whether the media was included when the name was last checked."""
    filter_glob: bpy.props.StringProperty(default=_FILTER, options={"HIDDEN"})
    include_media: bpy.props.BoolProperty(
        name="Include Media",
        description="Write an .otioz file that also contains the media, to open it on another computer",
        default=False,
    )
    use_relative_paths: bpy.props.BoolProperty(
        name="Relative Paths",
        description="Store paths of media relative to the file, so that you can move both together",
        default=True,
    )

    @classmethod
    def poll(cls, context: Any) -> bool:
        return _is_free(cls)

    @property
    def filename_ext(self) -> str:
        """Suffix of the name that Blender proposes. Blender keeps the options of the last export."""
        return ARCHIVE_SUFFIX if self.include_media else TIMELINE_SUFFIX

    def invoke(self, context: Any, event: Any) -> Any:
        operator: Any = self
        operator._included_media = operator.include_media
        return ExportHelper.invoke(operator, context, event)

    def check(self, context: Any) -> bool:
        """Make the name and Include Media agree: the one that the user has changed decides."""
        operator: Any = self
        path = Path(operator.filepath)
        is_known = path.suffix.lower() in (TIMELINE_SUFFIX, ARCHIVE_SUFFIX)
        is_archive = path.suffix.lower() == ARCHIVE_SUFFIX
        if is_known and is_archive != operator.include_media and operator._included_media == operator.include_media:
            operator.include_media = operator._included_media = is_archive
            return True
        operator._included_media = operator.include_media
        suffix = ARCHIVE_SUFFIX if operator.include_media else TIMELINE_SUFFIX
        wanted = path.with_suffix(suffix) if is_known else path.with_name(path.name + suffix)
        if not path.name or wanted == path:
            return False
        operator.filepath = str(wanted)
        return True

    def draw(self, context: Any) -> None:
        self.layout.prop(self, "include_media")
        row = self.layout.row()
        row.enabled = not self.include_media
        row.prop(self, "use_relative_paths")

    def execute(self, context: Any) -> compat.OperatorResult:
        path = Path(bpy.path.abspath(self.filepath)).absolute()  # type: ignore[attr-defined]
        activity = exchange_report.begin(f"Exporting {path.name}")
        scene_name, relative = compat.scene_of(context).name, self.use_relative_paths

        def write(scene: ExchangedScene | None) -> None:
            if scene is None:
                what = f'The scene "{scene_name}" was removed during the export.'
                _fail(ExchangeError(what, "Restore the scene with Undo and export again."), "export")
                return
            work = lambda: write_scene(  # noqa: E731 - both arguments of a job are functions
                scene, path, relative=relative, progress=_progress(activity), cancelled=activity.cancelled
            )
            _Job(work, lambda notes, error: _finish_export(path, notes, error)).start()

        pump.run_in_slices(read_blender_scene(scene_name), write)
        return _result(self)


class REWAS_OT_import_timeline(bpy.types.Operator, ImportHelper):
    """Import a timeline from an OpenTimelineIO file or REAPER project: clips, sounds, takes, prompts and markers"""

    bl_idname = "rewas.import_timeline"
    bl_label = "Import Timeline"
    bl_options = {"REGISTER"}

    filename_ext = TIMELINE_SUFFIX
    filter_glob: bpy.props.StringProperty(default=_IMPORT_FILTER, options={"HIDDEN"})
    target: bpy.props.EnumProperty(
        name="Import Into",
        description="Where the strips go",
        items=[
            ("AUTO", "Automatic", "This scene if its timeline is empty, otherwise a new scene"),
            ("NEW", "New Scene", "A new scene with the frame rate of the timeline"),
            (
                "CURRENT",
                "This Scene",
                "This scene, on channels above its strips. If it has strips, it keeps its frame rate, and imported "
                "strips go to the nearest frame",
            ),
        ],
    )
    search_folder: bpy.props.StringProperty(
        name="Search Folder",
        description="Folder to search, including its subfolders, for media that is not where the file says",
        subtype="DIR_PATH",
        options=compat.BLEND_RELATIVE,
    )
    timeline_name: bpy.props.StringProperty(
        name="Timeline", description="Name of the timeline to import, if the file contains several"
    )

    @classmethod
    def poll(cls, context: Any) -> bool:
        return _is_free(cls)

    def execute(self, context: Any) -> compat.OperatorResult:
        path = Path(bpy.path.abspath(self.filepath)).absolute()  # type: ignore[attr-defined]
        scene = compat.scene_of(context)
        is_empty = scene.sequence_editor is None or not len(compat.strips_of(scene.sequence_editor))
        into_new = self.target == "NEW" or (self.target == "AUTO" and not is_empty)
        rate = None if into_new or is_empty else scene_rate(scene)
        name, scene_name = self.timeline_name, scene.name
        search = (Path(bpy.path.abspath(self.search_folder)).absolute(),) if self.search_folder else ()
        activity = exchange_report.begin(f"Importing {path.name}")

        def read() -> ReadFile:
            return read_scene(
                path, name=name, rate=rate, search=search, progress=_progress(activity), cancelled=activity.cancelled
            )

        _Job(read, lambda found, error: _build(path, found, error, activity, scene_name, into_new=into_new)).start()
        return _result(self)


class REWAS_OT_import_sound_changes(bpy.types.Operator, ImportHelper):
    """Apply the changes of a mix to this scene: moved, trimmed, muted, renamed and new sounds"""

    bl_idname = "rewas.import_sound_changes"
    bl_label = "Import Sound Changes"
    bl_options = {"REGISTER"}

    filename_ext = TIMELINE_SUFFIX
    filter_glob: bpy.props.StringProperty(default=_IMPORT_FILTER, options={"HIDDEN"})
    remove_missing: bpy.props.BoolProperty(
        name="Remove Missing Sounds",
        description="Remove the sound strips that the file no longer contains. Otherwise, they are only listed",
        default=False,
    )
    search_folder: bpy.props.StringProperty(
        name="Search Folder",
        description="Folder to search, including subfolders, for new sounds that are not where the file says",
        subtype="DIR_PATH",
        options=compat.BLEND_RELATIVE,
    )
    timeline_name: bpy.props.StringProperty(
        name="Timeline", description="Name of the timeline to compare with, if the file contains several"
    )

    @classmethod
    def poll(cls, context: Any) -> bool:
        return _is_free(cls)

    def execute(self, context: Any) -> compat.OperatorResult:
        path = Path(bpy.path.abspath(self.filepath)).absolute()  # type: ignore[attr-defined]
        scene_name, name, removes = compat.scene_of(context).name, self.timeline_name, self.remove_missing
        search = (Path(bpy.path.abspath(self.search_folder)).absolute(),) if self.search_folder else ()
        activity = exchange_report.begin(f"Importing changes from {path.name}")

        def compare(scene: ExchangedScene | None) -> None:
            if scene is None:
                what = f'The scene "{scene_name}" was removed during the import.'
                _fail(ExchangeError(what, "Restore the scene with Undo, and import the changes again."), "import")
                return
            work = lambda: read_changes(  # noqa: E731 - both arguments of a job are functions
                path, scene, name=name, search=search, progress=_progress(activity), cancelled=activity.cancelled
            )
            _Job(work, lambda found, error: _apply(path, found, error, activity, scene_name, removes=removes)).start()

        pump.run_in_slices(read_blender_scene(scene_name), compare)
        return _result(self)


class REWAS_OT_cancel_exchange(bpy.types.Operator):
    """Stop the export or import"""

    bl_idname = "rewas.cancel_exchange"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    def execute(self, context: Any) -> compat.OperatorResult:
        activity = exchange_report.current_activity()
        if activity is not None:
            activity.cancelled.set()
        return {"FINISHED"}


class REWAS_OT_clear_exchange(bpy.types.Operator):
    """Remove this report"""

    bl_idname = "rewas.clear_exchange"
    bl_label = "Clear"
    bl_options = {"INTERNAL"}

    def execute(self, context: Any) -> compat.OperatorResult:
        exchange_report.clear()
        return {"FINISHED"}


def _is_free(operator: Any) -> bool:
    if exchange_report.current_activity() is not None:
        operator.poll_message_set("Wait until the export or import in progress has ended")
        return False
    return True


def _progress(activity: Activity) -> Callable[[float], None]:
    def report(fraction: float) -> None:
        activity.fraction = fraction

    return report


def _result(operator: Any) -> compat.OperatorResult:
    """Report the result to a script. In a window, the panel shows it later."""
    report = exchange_report.last_report()
    if report is None:
        return {"FINISHED"}
    _report_to(operator, report)
    return {"CANCELLED"} if report.is_failure else {"FINISHED"}


def _report_to(operator: Any, report: Report) -> None:
    for detail in report.details:
        operator.report({"INFO"}, detail)
    for note in report.notes:
        operator.report({"WARNING"}, str(note))
    operator.report({"ERROR" if report.is_failure else "INFO"}, report.text)


def _finish_export(path: Path, notes: Any, error: Exception | None) -> None:
    if error is not None:
        _fail(error, "export")
    else:
        exchange_report.finish(f"Exported {path}", notes)


def _fail(error: Exception, what: str) -> None:
    if isinstance(error, CancelledError):
        exchange_report.finish(f"The {what} was cancelled")
        return
    if isinstance(error, ExchangeError | BuildError):
        problem = Problem(error.what, error.remedy)
    else:
        sentence = f"The {what} failed ({type(error).__name__}: {error})."
        problem = Problem(sentence, "Report this error and attach the file.")
    exchange_report.finish(str(problem), is_failure=True)
    show_failure(problem)


def _remove_folder(folder: Path | None) -> None:
    """Remove the media of an archive that was not imported, in a thread, because large files take long to remove."""
    if folder is not None:
        threading.Thread(target=shutil.rmtree, args=(folder, True), name="rewas-exchange-cleanup").start()


def _build(
    path: Path,
    found: ReadFile | None,
    error: Exception | None,
    activity: Activity,
    scene_name: str,
    *,
    into_new: bool,
) -> None:
    current = bpy.data.scenes.get(scene_name)
    if error is not None or found is None:
        _fail(error or CancelledError(), "import")
        return
    if current is None and not into_new:
        _remove_folder(found.extracted)
        what = f'The scene "{scene_name}" was removed during the import.'
        _fail(ExchangeError(what, "Import the timeline again."), "import")
        return
    target = prepare_target(found.scene, into_new=into_new, current=current)

    def finish(result: Any) -> None:
        if isinstance(result, CancelledError | BuildError):
            _remove_folder(found.extracted)
            _fail(result, "import")
        else:
            _show_imported(bpy.data.scenes[target.scene_name])
            push_undo(f"ReWaS: import {path.name}")
            exchange_report.finish(f"Imported {path.name}", (*found.notes, *result))

    pump.run_in_slices(_until_cancelled(build_scene(found.scene, target), activity), finish)


def _until_cancelled(work: Generator[None, None, Any], activity: Activity) -> Generator[None, None, Any]:
    """Run work in slices, and return an error as the result, because the pump would only print it."""
    slices = Slices(work)
    try:
        # Each step runs one slice, because its deadline has passed.
        while not slices.step(0.0):
            if activity.cancelled.is_set():
                slices.close()
                return CancelledError()
            yield
    except BuildError as problem:
        return problem
    finally:
        slices.close()
    return slices.result


def _apply(
    path: Path,
    found: ReadChanges | None,
    error: Exception | None,
    activity: Activity,
    scene_name: str,
    *,
    removes: bool,
) -> None:
    if error is not None or found is None:
        _fail(error or CancelledError(), "import")
        return

    def finish(result: Any) -> None:
        push_undo(f"ReWaS: import changes from {path.name}")
        if isinstance(result, CancelledError | BuildError):
            if bpy.data.scenes.get(scene_name) is not None:
                what = f"The import of changes from {path.name} was stopped before it was complete."
                result = ExchangeError(what, "Use Undo to remove the changes that were made.")
            _fail(result, "import")
            return
        count = len(result.details)
        changes = f"{count} change{'' if count == 1 else 's'}" if count else "no changes"
        exchange_report.finish(f"Imported {changes} from {path.name}", result.notes, details=result.details)

    pump.run_in_slices(_until_cancelled(apply_changes(found.changes, scene_name, removes=removes), activity), finish)


def _show_imported(scene: Any) -> None:
    """Show an imported scene, and note which one it replaces."""
    window = compat.active_window()
    before = None if window is None else compat.shown_scene(window)
    compat.show_scene(scene)
    _replaced.pop(scene.name, None)
    if before is not None and before != scene:
        _replaced[scene.name] = (window.workspace.name, before.name)


@bpy.app.handlers.persistent
def _show_replaced(*_: Any) -> None:
    """Show the scene before an import that was undone. From 5.0, Blender shows none if the shown scene is gone."""
    scenes = bpy.data.scenes
    for imported, (workspace_name, before) in reversed(_replaced.items()):
        workspace: Any = bpy.data.workspaces.get(workspace_name)
        shows_none = hasattr(workspace, "sequencer_scene") and workspace.sequencer_scene is None
        if shows_none and imported not in scenes and before in scenes:
            workspace.sequencer_scene = scenes[before]


@bpy.app.handlers.persistent
def _forget(*_: Any) -> None:
    exchange_report.clear()
    _replaced.clear()


def _draw_export(self: Any, context: Any) -> None:
    self.layout.operator("rewas.export_timeline", text="OpenTimelineIO with Sound (.otio, .otioz)")


def _draw_import(self: Any, context: Any) -> None:
    self.layout.operator("rewas.import_timeline", text="OpenTimelineIO with Sound (.otio, .otioz, .rpp)")
    self.layout.operator("rewas.import_sound_changes", text="Sound Changes (.otio, .otioz, .rpp)")


_MENUS = (("TOPBAR_MT_file_export", _draw_export), ("TOPBAR_MT_file_import", _draw_import))
CLASSES = (
    REWAS_OT_export_timeline,
    REWAS_OT_import_timeline,
    REWAS_OT_import_sound_changes,
    REWAS_OT_cancel_exchange,
    REWAS_OT_clear_exchange,
)


def register() -> None:
    for operator in CLASSES:
        bpy.utils.register_class(operator)
    for name, draw in _MENUS:
        getattr(bpy.types, name).append(draw)
    bpy.app.handlers.load_pre.append(_forget)
    bpy.app.handlers.undo_post.append(_show_replaced)


def unregister() -> None:
    _forget()
    bpy.app.handlers.undo_post.remove(_show_replaced)
    bpy.app.handlers.load_pre.remove(_forget)
    for name, draw in _MENUS:
        getattr(bpy.types, name).remove(draw)
    for operator in reversed(CLASSES):
        bpy.utils.unregister_class(operator)
