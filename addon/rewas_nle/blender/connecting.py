# SPDX-License-Identifier: GPL-3.0-or-later
"""Connects pictures with their sounds through Blender's own operator, so that a click on one strip selects all of them.

The operator connects the selected strips. Around each operator that Python calls, Blender evaluates the whole scene,
which takes 10 ms with 500 strips. Therefore one macro selects and connects many groups of strips in turn.

From 5.0, Blender drags the handles of connected strips together, and stops where the content of any of them ends. A
sound with less content than its picture would make it impossible to lengthen the picture, so it is not connected. It
follows its picture all the same.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import bpy

from . import compat

MOST_GROUPS = 16

_waiting: dict[tuple[str, str], str] = {}
"""Names of the pictures that wait to be connected, by scene and identifier."""
_groups: deque[list[str]] = deque()
"""Names of the strips of each group that the macro has not connected yet."""
_selected: list[bool] = []
"""The selection before the macro, until it is restored."""


@dataclass
class _Group:
    """A picture, its generated sounds, those of them that it must not be connected with, and the sound of its file."""

    picture: Any
    stems: list[Any]
    apart: list[Any]
    own: list[Any]

    @property
    def names(self) -> list[str]:
        return [strip.name for strip in (self.picture, *self.stems, *self.own)]


def request(scene_name: str, strip_name: str, uid: str) -> None:
    """Connect a picture and its sounds soon."""
    if compat.HAS_CONNECTIONS:
        _waiting[scene_name, uid] = strip_name


def is_waiting() -> bool:
    """Return whether a picture waits to be connected."""
    return bool(_waiting)


def is_full() -> bool:
    """Return whether as many pictures wait as one macro can connect."""
    return len(_waiting) >= MOST_GROUPS


def forget() -> None:
    """Connect nothing, because another file was opened."""
    _waiting.clear()


def connect_next() -> None:
    """Connect up to MOST_GROUPS of the waiting pictures of one scene."""
    scene_name = next(iter(_waiting))[0]
    keys = [key for key in _waiting if key[0] == scene_name][:MOST_GROUPS]
    names = {uid: _waiting.pop((scene, uid)) for scene, uid in keys}
    scene = bpy.data.scenes.get(scene_name)
    if scene is None or scene.sequence_editor is None:
        return
    groups = _find_groups(scene, names)
    for group in groups:
        for stem in group.apart:
            stem.rewas.stem.is_connected = True
    groups = [group for group in groups if group.stems]
    if not groups:
        return
    everything = compat.strips_of(compat.edited_holder(scene.sequence_editor))
    _selected[:] = [False] * len(everything)
    everything.foreach_get("select", _selected)
    _groups.extend(group.names for group in groups)
    try:
        is_done = compat.run_in_sequencer(scene, lambda: bpy.ops.rewas.connect_strips())
    finally:
        _groups.clear()
        _restore_selection(everything)
    if is_done:
        for group in groups:
            for stem in group.stems:
                stem.rewas.stem.is_connected = True


def _restore_selection(strips: Any) -> None:
    if _selected:
        strips.foreach_set("select", _selected)
        _selected.clear()


def _find_groups(scene: Any, names: dict[str, str]) -> list[_Group]:
    """Return the groups of pictures, given by identifier and name, in the open meta strip or the timeline."""
    strips = compat.strips_of(compat.edited_holder(scene.sequence_editor))
    groups: dict[str, _Group] = {}
    by_file: dict[str, list[_Group]] = {}
    for uid, name in names.items():
        picture = strips.get(name)
        if picture is not None and picture.rewas.uid == uid:
            groups[uid] = _Group(picture, [], [], [])
            if picture.type == "MOVIE":
                by_file.setdefault(picture.filepath, []).append(groups[uid])
    # The type is quick to read; the properties of an add-on are not.
    for strip in [strip for strip in strips if strip.type == "SOUND"]:
        owner = strip.rewas.stem.owner
        if owner in groups:
            group = groups[owner]
            (group.apart if _would_stop(strip, group.picture) else group.stems).append(strip)
        elif not owner and strip.sound is not None:
            # Connecting replaces earlier connections, and Blender connects a movie with its own sound.
            for group in by_file.get(strip.sound.filepath, ()):
                if compat.content_start(strip) == compat.content_start(group.picture):
                    group.own.append(strip)
    return list(groups.values())


def _would_stop(stem: Any, picture: Any) -> bool:
    """Return whether a connected sound would stop the picture's handles, because it has less content."""
    return compat.STOPS_AT_CONTENT and not (
        compat.content_start(stem) <= compat.content_start(picture)
        and compat.content_end(picture) <= compat.content_end(stem)
    )


class REWAS_OT_select_next_group(bpy.types.Operator):
    """Select the next strips to connect"""

    bl_idname = "rewas.select_next_group"
    bl_label = "Select Next Group"
    bl_options = {"INTERNAL"}

    def execute(self, context: Any) -> compat.OperatorResult:
        strips = compat.strips_of(compat.edited_holder(compat.scene_of(context).sequence_editor))
        if not _groups:
            # Restore it before the macro ends, so that Blender does not evaluate the scene once more.
            _restore_selection(strips)
            return {"CANCELLED"}
        strips.foreach_set("select", [False] * len(strips))
        for name in _groups.popleft():
            strips[name].select = True
        return {"FINISHED"}


class REWAS_OT_connect_strips(bpy.types.Macro):
    """Connect groups of strips, and restore the selection"""

    bl_idname = "rewas.connect_strips"
    bl_label = "Connect Sounds with Their Pictures"
    bl_options = {"INTERNAL"}


def register() -> None:
    if not compat.HAS_CONNECTIONS:
        return
    bpy.utils.register_class(REWAS_OT_select_next_group)
    bpy.utils.register_class(REWAS_OT_connect_strips)  # type: ignore[arg-type]
    for _ in range(MOST_GROUPS):
        REWAS_OT_connect_strips.define("REWAS_OT_select_next_group")
        REWAS_OT_connect_strips.define("SEQUENCER_OT_connect").properties.toggle = False
    # The last one finds no group and restores the selection.
    REWAS_OT_connect_strips.define("REWAS_OT_select_next_group")


def unregister() -> None:
    forget()
    if compat.HAS_CONNECTIONS:
        bpy.utils.unregister_class(REWAS_OT_connect_strips)  # type: ignore[arg-type]
        bpy.utils.unregister_class(REWAS_OT_select_next_group)
