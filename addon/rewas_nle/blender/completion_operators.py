# SPDX-License-Identifier: GPL-3.0-or-later
"""Generates what a take lacks since its strip was extended."""

from __future__ import annotations

from typing import Any

import bpy

from ..core.completing import plan_completion
from ..core.sound_settings import SoundSettings
from ..timeline.missing import FrameRange, missing_ranges
from ..timeline.strips import Refusal, SelectedClip
from . import compat
from .active_picture import active_picture
from .operators import generate_strips
from .setting_operators import poll_picture, selected_pictures
from .stem_strips import position_of
from .take_list import active_item, active_take


def missing_sound(picture: Any) -> tuple[FrameRange, ...]:
    """Return the ranges of a strip for which its active take has no sound. Empty if it has no take."""
    take = active_take(picture)
    return missing_ranges(position_of(picture), take) if take is not None else ()


class REWAS_OT_generate_missing_sound(bpy.types.Operator):
    """Generate only the sound that is missing since the selected strips were extended, and keep the rest"""

    bl_idname = "rewas.generate_missing_sound"
    bl_label = "Complete Sound"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        if not poll_picture(cls, context):
            return False
        if active_item(active_picture(context)) is None:
            cls.poll_message_set("Generate sound for this strip first")
            return False
        return True

    def execute(self, context: Any) -> compat.OperatorResult:
        active = active_picture(context)
        strips = [active, *(strip for strip in selected_pictures(context) if strip != active)]
        strips = [strip for strip in strips if missing_sound(strip)]
        if not strips:
            self.report({"INFO"}, "The sound of the selected strips is complete")
            return {"CANCELLED"}
        return generate_strips(self, compat.scene_of(context), strips, _plan)


def _plan(
    scene: Any, strip: Any, clip: SelectedClip, settings: SoundSettings
) -> tuple[SelectedClip, SoundSettings] | Refusal:
    take = active_take(strip)
    if take is None:
        return Refusal(f'The strip "{strip.name}" has no sound.', "Generate sound for it first.")
    return plan_completion(take, clip, settings)


def register() -> None:
    bpy.utils.register_class(REWAS_OT_generate_missing_sound)


def unregister() -> None:
    bpy.utils.unregister_class(REWAS_OT_generate_missing_sound)
