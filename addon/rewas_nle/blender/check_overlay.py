# SPDX-License-Identifier: GPL-3.0-or-later
"""A badge on each strip whose prompt may contradict its picture, and marks where they disagree.

The colour tag of a strip is left to the user.
"""

from __future__ import annotations

import time
from typing import Any

import blf
import bpy
import gpu
from gpu_extras.batch import batch_for_shader

from ..timeline.badges import Box, FlaggedStrip, badge_box, box_triangles, mark_boxes
from . import compat
from .check_results import frame_of, is_flagged
from .timeline_mouse import view_of

_COLOURS = {"conflict": (0.9, 0.25, 0.2, 0.95), "unsure": (0.95, 0.7, 0.2, 0.95)}
_BADGE_POINTS = 13.0
_SEARCH_INTERVAL_S = 1.0
_candidates: list[str] = []
_searched = ("", float("-inf"))
_handle: Any = None


def _draw() -> None:
    context = bpy.context
    space: Any = context.space_data
    scene = compat.shown_scene(context.window)
    if space is None or not space.show_overlays or scene is None or scene.sequence_editor is None:
        return
    holder = compat.edited_holder(scene.sequence_editor)
    strips = _flagged_strips(scene, holder)
    if not strips:
        return
    view = view_of(context.region)
    size_px = _BADGE_POINTS * context.preferences.system.ui_scale
    boxes: dict[str, list[Box]] = {verdict: [] for verdict in _COLOURS}
    badges: list[Box] = []
    for strip in strips:
        check = strip.rewas.check
        marks = tuple(
            (frame_of(scene, strip, mark.start_s), frame_of(scene, strip, mark.end_s)) for mark in check.marks
        )
        flagged = FlaggedStrip(compat.left_handle(strip), compat.right_handle(strip), strip.channel, marks)
        where = boxes[check.verdict]
        where += mark_boxes(flagged, view)
        badge = badge_box(flagged, view, size_px)
        if badge is not None:
            where.append(badge)
            badges.append(badge)
    _fill(boxes)
    for badge in badges:
        _write(badge, size_px)


def _flagged_strips(scene: Any, holder: Any) -> list[Any]:
    """Return the strips with a badge. All strips are searched once a second, so that each redraw is fast."""
    global _candidates, _searched
    now_s = time.monotonic()
    if _searched[0] != scene.name or now_s - _searched[1] > _SEARCH_INTERVAL_S:
        _candidates = [strip.name for strip in compat.all_strips_of(scene.sequence_editor) if is_flagged(strip)]
        _searched = (scene.name, now_s)
    strips = compat.strips_of(holder)
    found = (strips.get(name) for name in _candidates)
    return [strip for strip in found if strip is not None and is_flagged(strip)]


def _fill(boxes: dict[str, list[Box]]) -> None:
    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    gpu.state.blend_set("ALPHA")
    for verdict, found in boxes.items():
        if found:
            batch = batch_for_shader(shader, "TRIS", {"pos": box_triangles(found)})
            shader.uniform_float("color", _COLOURS[verdict])
            batch.draw(shader)
    gpu.state.blend_set("NONE")


def _write(badge: Box, size_px: float) -> None:
    blf.size(0, size_px * 0.85)
    blf.color(0, 1.0, 1.0, 1.0, 1.0)
    width, height = blf.dimensions(0, "!")
    blf.position(0, (badge.left + badge.right - width) / 2, (badge.bottom + badge.top - height) / 2, 0)
    blf.draw(0, "!")


def register() -> None:
    global _handle
    if not bpy.app.background:
        space: Any = bpy.types.SpaceSequenceEditor
        _handle = space.draw_handler_add(_draw, (), "WINDOW", "POST_PIXEL")


def unregister() -> None:
    global _handle
    if _handle is not None:
        space: Any = bpy.types.SpaceSequenceEditor
        space.draw_handler_remove(_handle, "WINDOW")
        _handle = None
