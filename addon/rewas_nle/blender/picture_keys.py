# SPDX-License-Identifier: GPL-3.0-or-later
"""Hashes everything that the picture of a strip depends on: the same hash means the same picture.

Frames are counted from the strip's first one, so that moving it changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import bpy

from . import compat
from .edit_counter import edit_state

_SIMPLE_TYPES = {"BOOLEAN", "INT", "FLOAT", "STRING", "ENUM"}
_WITHOUT_EFFECT = {
    "name", "select", "select_left_handle", "select_right_handle", "lock", "color_tag", "mute", "channel",
    "show_retiming_keys", "show_waveform", "show_expanded", "is_active", "use_proxy", "use_cache_raw",
    "use_cache_preprocessed", "use_cache_composite", "override_cache_settings", "volume", "pan", "filepath",
    "directory", "use_annotations", "fps",
}  # fmt: skip
"""Properties that do not change the picture or are read elsewhere, and `fps`, for which Blender opens the file."""
_FRAME_NAMES = ("frame_", "animation_offset_", "left_handle", "right_handle", "content_", "duration")
"""Prefixes of the names of properties that are read as frames from the strip's first one, or as trimmed frames."""


class PictureDescription:
    """Collects what a picture depends on.

    Args:
        scene: Scene of the strip.
        first_frame: Its first frame.
    """

    def __init__(self, scene: Any, first_frame: int) -> None:
        self.files: dict[str, None] = {}
        self._hash = hashlib.sha256()
        self._scene = scene
        self._first_frame = first_frame
        self._scenes: set[str] = set()

    def add(self, *values: Any) -> None:
        """Add values."""
        self._hash.update(repr(values).encode())

    def key(self) -> str:
        """Return the hash of everything that was added."""
        return self._hash.hexdigest()[:40]

    def add_scene_settings(self, scene: Any) -> None:
        """Add the settings of a scene that affect the pictures of its strips."""
        render, view = scene.render, scene.view_settings
        self.add(
            (render.resolution_x, render.resolution_y, render.pixel_aspect_x, render.pixel_aspect_y),
            (render.fps, render.fps_base),
            (view.view_transform, view.look, view.exposure, view.gamma, view.use_curve_mapping),
            scene.sequencer_colorspace_settings.name,
        )

    def add_strip(self, strip: Any) -> None:
        """Add everything about one strip, and what it shows."""
        self.add(
            strip.type, compat.left_handle(strip) - self._first_frame, compat.right_handle(strip) - self._first_frame
        )
        self.add(compat.content_start(strip) - self._first_frame, compat.content_end(strip) - self._first_frame)
        self.add(*_simple_values(strip))
        for name in ("transform", "crop"):
            part = getattr(strip, name, None)
            if part is not None:
                self.add(*_simple_values(part))
        for modifier in strip.modifiers:
            self._add_modifier(modifier)
        self.add(*compat.trimmed_media_frames(strip))
        self._add_source(strip)
        self._add_retiming(strip)

    def add_animation(self, names: set[str]) -> None:
        """Add the animation of the strips with these names."""
        for curve in compat.animation_curves(self._scene):
            found = compat.animated_strip(curve.data_path)
            if found is None or found[0] not in names:
                continue
            points = [0.0] * (2 * len(curve.keyframe_points))
            curve.keyframe_points.foreach_get("co", points)
            points[::2] = [frame - self._first_frame for frame in points[::2]]
            self.add(found, curve.array_index, curve.extrapolation, curve.mute, points)
            for point in curve.keyframe_points:
                self.add(point.interpolation, point.easing)
                if point.interpolation == "BEZIER":
                    self.add(*(tuple(handle - point.co for handle in (point.handle_left, point.handle_right))))

    def _add_modifier(self, modifier: Any) -> None:
        self.add(modifier.type, modifier.name, *_simple_values(modifier))
        if modifier.type == "COLOR_BALANCE":
            self.add(*_simple_values(modifier.color_balance))
        if modifier.input_mask_strip is not None:
            self.add(modifier.input_mask_strip.name)
        if modifier.input_mask_id is not None or modifier.type in ("CURVES", "HUE_CORRECT", "COMPOSITOR"):
            # Masks, curves and node groups are too large to describe.
            self.add(edit_state(self._scene.name))

    def _add_retiming(self, strip: Any) -> None:
        keys = getattr(strip, "retiming_keys", None)
        if keys is not None and len(keys):
            # Python can read where the keys are, but not which frames of the content they hold.
            self.add([key.timeline_frame - self._first_frame for key in keys], edit_state(self._scene.name))

    def _add_source(self, strip: Any) -> None:
        kind = strip.type
        space = getattr(strip, "colorspace_settings", None)
        if space is not None:
            self.add(space.name)
        if kind == "MOVIE":
            self._add_file(_absolute(strip.filepath))
        elif kind == "IMAGE":
            folder = Path(_absolute(strip.directory))
            for element in strip.elements:
                self._add_file(str(folder / element.filename))
        elif kind == "META":
            self._add_strips(strip)
        elif kind == "SCENE":
            self._add_scene(strip)
        elif kind == "MOVIECLIP" and strip.clip is not None:
            self._add_file(_absolute(strip.clip.filepath))
            self.add(edit_state(self._scene.name))
        elif kind == "MASK":
            self.add(edit_state(self._scene.name))
        elif kind == "TEXT":
            self.add(edit_state(self._scene.name) if strip.font is not None else "")
        for name in ("input_1", "input_2"):
            effect_input = getattr(strip, name, None)
            if effect_input is not None:
                self.add(name, effect_input.name)

    def _add_strips(self, holder: Any) -> None:
        names = set()
        for channel in holder.channels:
            if channel.mute:
                self.add("muted", channel.name)
        for strip in compat.strips_of(holder):
            if strip.type != "SOUND" and not strip.mute:
                names.add(strip.name)
                self.add(strip.name, strip.channel)
                self.add_strip(strip)
        self.add_animation(names)

    def _add_scene(self, strip: Any) -> None:
        shown = strip.scene
        if shown is None:
            return
        self.add(strip.scene_input, shown.name)
        if strip.scene_input == "CAMERA" or shown.sequence_editor is None:
            self.add(edit_state(shown.name), strip.scene_camera.name if strip.scene_camera is not None else "")
        elif shown.name not in self._scenes:
            self._scenes.add(shown.name)
            outer, self._scene = self._scene, shown
            outer_first, self._first_frame = self._first_frame, 0
            self.add(shown.frame_start, shown.frame_end)
            self.add_scene_settings(shown)
            self._add_strips(shown.sequence_editor)
            self._scene, self._first_frame = outer, outer_first

    def _add_file(self, path: str) -> None:
        self.files[path] = None
        self.add(path)


def describe_picture(scene: Any, strips: list[Any]) -> tuple[str, tuple[str, ...]]:
    """Return the hash of a strip's picture, and the absolute paths of the files that it shows.

    `strips`: the strip, then the effects that are applied to it, in order.
    """
    description = PictureDescription(scene, compat.left_handle(strips[0]))
    description.add(bpy.app.version)
    description.add_scene_settings(scene)
    for strip in strips:
        description.add_strip(strip)
    description.add_animation({strip.name for strip in strips})
    return description.key(), tuple(description.files)


def _absolute(path: str) -> str:
    return str(bpy.path.abspath(path))


def _simple_values(item: Any) -> Iterator[Any]:
    for name, is_array in _simple_properties(item.bl_rna.identifier):
        value = getattr(item, name)
        yield tuple(value) if is_array else value


@cache
def _simple_properties(type_name: str) -> tuple[tuple[str, bool], ...]:
    found = []
    for declared in getattr(bpy.types, type_name).bl_rna.properties:
        name = declared.identifier
        if declared.type in _SIMPLE_TYPES and name not in _WITHOUT_EFFECT and not name.startswith(_FRAME_NAMES):
            is_array = getattr(declared, "is_array", False) or getattr(declared, "is_enum_flag", False)
            found.append((name, is_array))
    return tuple(found)
