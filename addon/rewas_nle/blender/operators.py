# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators. Each collects its inputs and makes one call."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import bpy

from . import compat, energy_estimates, picture_queue, pump, questions
from .generating import (
    GenerateCount,
    Plan,
    StripName,
    has_selection,
    prepare_again,
    refused_strips,
    selected_names,
    start_jobs,
)
from .preferences import chosen_server
from .shared_session import session
from .status_bar import clear_failure

_PUMP_PAUSE_S = 0.02
_reported: set[str] = set()
"""Keys of the failed jobs that were already reported to a script."""


class REWAS_OT_generate(bpy.types.Operator):
    """Generate sound for the selected strips and place it below them. You can keep working in the meantime"""

    bl_idname = "rewas.generate"
    bl_label = "Generate Sound"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        editor = compat.scene_of(context).sequence_editor
        if editor is None:
            cls.poll_message_set("Add a movie strip first")
            return False
        if not has_selection(compat.scene_of(context)):
            cls.poll_message_set("Select the strips to generate sound for")
            return False
        return True

    def execute(self, context: Any) -> compat.OperatorResult:
        return _generate(self, selected_names(compat.scene_of(context)))


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
        stopped = [key for key in keys if picture_queue.cancel_picture(key) or current.cancel(key)]
        if not stopped:
            self.report({"INFO"}, "No job is running")
            return {"CANCELLED"}
        return {"FINISHED"}


class REWAS_OT_retry(bpy.types.Operator):
    """Run this failed job again, or move a waiting job to the server in the preferences"""

    bl_idname = "rewas.retry"
    bl_label = "Retry"
    bl_options = {"INTERNAL"}

    key: bpy.props.StringProperty(
        name="Job", description="The job to run again. Leave empty to retry all", options={"HIDDEN", "SKIP_SAVE"}
    )

    def execute(self, context: Any) -> compat.OperatorResult:
        current = session()
        keys = [self.key] if self.key else [key for key, job in current.board.jobs.items() if job.can_retry]
        refused = {key: refused_strips.pop(key) for key in keys if key in refused_strips}
        records = [current.book.get(key) for key in keys if key not in refused]
        to_render = [record for record in records if record is not None and record.needs_picture]
        keys = [key for key in keys if key not in {record.key for record in to_render}]
        retried = [key for key in keys if current.retry(key, chosen_server())]
        for record in to_render:
            current.prepare(replace(record, problem=None, server=chosen_server().address))
        if to_render:
            retried += [record.key for record in to_render]
            pump.run_in_slices(prepare_again(to_render))
        pump.wake_timer()
        if refused:
            current.board = current.board.without_jobs(refused)
            return _generate(self, list(refused.values()))
        if not retried:
            self.report({"INFO"}, "No job has failed")
            return {"CANCELLED"}
        return {"FINISHED"}


class REWAS_OT_clear_finished(bpy.types.Operator):
    """Remove finished jobs from this list. Their sound stays on the timeline"""

    bl_idname = "rewas.clear_finished"
    bl_label = "Clear Finished"
    bl_options = {"INTERNAL"}

    def execute(self, context: Any) -> compat.OperatorResult:
        session().clear_finished()
        refused_strips.clear()
        clear_failure()
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


class REWAS_OT_generate_missing(bpy.types.Operator):
    """Generate sound for every strip of this scene that has a prompt and no sound yet"""

    bl_idname = "rewas.generate_missing"
    bl_label = "Generate All Missing"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        editor = compat.scene_of(context).sequence_editor
        if editor is None or not len(compat.strips_of(editor)):
            cls.poll_message_set("Add a movie strip first")
            return False
        return True

    def execute(self, context: Any) -> compat.OperatorResult:
        scene = compat.scene_of(context)
        strips = [
            strip
            for strip in compat.all_strips_of(scene.sequence_editor)
            if strip.rewas.prompt.strip() and not len(strip.rewas.takes) and not strip.rewas.stem.owner
        ]
        if not strips:
            self.report({"INFO"}, "Every strip with a prompt has sound")
            return {"CANCELLED"}
        return generate_strips(self, scene, strips)


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
        while session().is_busy or questions.is_asking() or energy_estimates.is_waiting():
            if time.monotonic() > deadline_s:
                self.report({"ERROR"}, _unfinished_report(self.timeout_s))
                return {"CANCELLED"}
            time.sleep(_PUMP_PAUSE_S)
            pump.pump()
        failed = {key: job for key, job in session().board.jobs.items() if job.problem and key not in _reported}
        _reported.update(failed)
        problems = dict.fromkeys([*(str(job.problem) for job in failed.values()), *map(str, questions.take_failures())])
        if problems:
            self.report({"ERROR"}, "\n".join(problems))
            return {"CANCELLED"}
        return {"FINISHED"}


def generate_strips(
    operator: Any, scene: Any, strips: Sequence[Any], plan: Plan | None = None
) -> compat.OperatorResult:
    """Start jobs for strips. plan: changes what is generated, if that is not all of their sound."""
    return _generate(operator, [StripName(scene.name, strip.name) for strip in strips], plan)


def _generate(operator: Any, names: list[StripName], plan: Plan | None = None) -> compat.OperatorResult:
    """Start jobs for strips, and report their number when all strips have been read."""

    def report(count: GenerateCount) -> None:
        if count.refusals:
            # An ERROR would open a pop-up, and the panel shows each refusal. Scripts need the exception.
            kind = "ERROR" if bpy.app.background and not count.started else "WARNING"
            operator.report({kind}, "\n".join(map(str, count.refusals)))
        if not count.started and not count.refusals:
            operator.report({"WARNING"}, "No picture strip is selected. Select movie, image, scene or meta strips")
        if count.started:
            clips = "1 clip" if count.started == 1 else f"{count.started} clips"
            operator.report({"INFO"}, f"Generating sound for {clips}. The ReWaS tab shows the progress")

    if bpy.app.background:
        pump.run_in_slices(start_jobs(names, plan), report)
    else:
        pump.run_in_slices(start_jobs(names, plan))
    pump.wake_timer()
    return {"FINISHED"}


def _unfinished_report(timeout_s: float) -> str:
    unfinished = [job for job in session().board.jobs.values() if not job.is_finished]
    away = next((job.server_problem for job in unfinished if job.server_problem is not None), None)
    reason = f" {away}" if away is not None else " Wait longer or cancel it."
    return f"A job is still running after {timeout_s:g} s.{reason}"


CLASSES = (
    REWAS_OT_generate,
    REWAS_OT_cancel,
    REWAS_OT_retry,
    REWAS_OT_clear_finished,
    REWAS_OT_check_server,
    REWAS_OT_generate_missing,
    REWAS_OT_wait,
)


def register() -> None:
    for operator in CLASSES:
        bpy.utils.register_class(operator)


def unregister() -> None:
    for operator in reversed(CLASSES):
        bpy.utils.unregister_class(operator)
