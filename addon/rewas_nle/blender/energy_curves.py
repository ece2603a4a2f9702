# SPDX-License-Identifier: GPL-3.0-or-later
"""The drawn energy of a strip as an F-curve, which the Graph Editor shows and edits.

F-curves lie at frames of the scene, but the energy belongs to the picture. Blender moves the F-curves of a strip along
with it in some operators and not in others. So each strip has a second F-curve, whose only key lies where the picture
of the strip began when the keys were written. Whatever Blender does to one, it does to the other, and the distance
between them never changes. This second curve is locked and hidden.

Both are muted: nothing needs their values during playback, and evaluating 500 of them takes 8 ms per frame in Blender
5.0.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import bpy

from ..timeline.energy_keys import EnergyKey, normalise_keys
from . import compat
from .strip_reading import picture_start, scene_rate

_LEVEL = ".rewas_energy_db"
_LAYER_LEVEL = '"].energy_db'
_ORIGIN = ".rewas_energy_origin"
_LINEAR = 1
"""Blender's number for straight lines between keys."""
_STEP_FRAMES = 0.5
"""Where a curve is not a straight line, it is sampled at this interval."""
_MOST_STEPS = 20_000
_CURVES_IN_A_SLICE = 50
_MOVED_FRAMES = 1e-3

_revision = 0


def revision() -> int:
    """Return a number that rises whenever a curve may have changed."""
    return _revision


def has_keys(scene: Any, strip: Any, layer: str = "") -> bool:
    """Return whether the energy of a strip is drawn. layer: name of a layer, or "" for the primary sound."""
    return _has_points(_level_curve(scene, strip, layer))


def keys_revision(scene: Any, strip: Any) -> Hashable:
    """Return a value that changes with the drawn energy of a strip, or None if it has none."""
    curve = _level_curve(scene, strip)
    if not _has_points(curve):
        return None
    shapes = _read_shapes(curve)
    # The position of the first key in the content does not change when both are moved.
    first_frame = curve.keyframe_points[0].co.x - _content_origin(scene, strip)
    values = _read_column(curve, "co")
    first = values[0]
    values[0::2] = array("f", [frame - first for frame in values[0::2]])
    return (
        scene_rate(scene),
        first_frame,
        values.tobytes(),
        shapes.tobytes(),
        curve.extrapolation,
        len(curve.modifiers),
    )


def read_keys(scene: Any, strip: Any, layer: str = "") -> tuple[EnergyKey, ...]:
    """Return the drawn energy of a strip or of one of its layers: the keys, or no keys if nothing is drawn.

    Where the user has given the curve another shape than straight lines, there are more keys than in the Graph Editor.
    """
    curve = _level_curve(scene, strip, layer)
    if not _has_points(curve):
        return ()
    origin, rate_hz = _content_origin(scene, strip), float(scene_rate(scene))
    return normalise_keys([((frame - origin) / rate_hz, level_db) for frame, level_db in _read_points(strip, curve)])


def write_keys(scene: Any, strip: Any, keys: Iterable[tuple[float, float]], layer: str = "") -> None:
    """Replace the drawn energy of a strip or of one of its layers, whose sound then follows it.

    keys: pairs of seconds from the start of the strip's content and decibels, at least one.
    """
    ordered = normalise_keys(keys)
    if not ordered:
        raise ValueError("a drawn energy needs at least one key")
    # The strip's other curves have the same origin.
    _follow(scene, strip)
    if not has_keys(scene, strip, layer):
        _forget_estimate(strip, layer)
    origin, rate_hz = compat.content_start(strip), float(scene_rate(scene))
    points = [(origin + key.time_s * rate_hz, key.level_db) for key in ordered]
    curve = compat.ensure_curve(scene, _level_path(strip, layer))
    curve.mute = True
    _write_points(curve, points)
    _write_origin(scene, strip, picture_start(scene, strip))
    if layer:
        strip.rewas.settings.layers[layer].energy = "DRAWN"
    else:
        strip.rewas.settings.energy_source = "DRAWN"
    _count_change()


def remove_keys(scene: Any, strip: Any, layer: str = "") -> None:
    """Remove the drawn energy of a strip or of one of its layers."""
    curve = _level_curve(scene, strip, layer)
    if curve is not None:
        compat.remove_curve(scene, curve)
    _forget_estimate(strip, layer)
    _follow(scene, strip)
    _count_change()


def remove_layer_keys(scene: Any, strip: Any, kept: Collection[str] = ()) -> None:
    """Remove the drawn energies of all layers of a strip, before other layers replace them. kept: names of layers."""
    for layer in strip.rewas.settings.layers:
        if layer.name not in kept:
            remove_keys(scene, strip, layer.name)


def rename_layer(scene: Any, layer: Any, role: str) -> None:
    """Rename a layer, which may belong to any strip. Its curve stays with it."""
    old, pointer = layer.name, layer.as_pointer()
    layer.name = role
    if scene.sequence_editor is None:
        return
    for strip in compat.all_strips_of(scene.sequence_editor):
        if any(other.as_pointer() == pointer for other in strip.rewas.settings.layers):
            curve = compat.find_curve(scene, _level_path(strip, old))
            if curve is not None:
                curve.data_path = _level_path(strip, role)
            return


def note_estimate(owner: Any, prompt: str | None) -> None:
    """Store the prompt for which the drawn curve of a RewasSoundSettings or a RewasLayer was estimated.

    prompt: The prompt, "" for none. None for a curve that does not depend on a prompt.
    """
    owner.estimate.is_for_prompt, owner.estimate.prompt = prompt is not None, prompt or ""


def follow_pictures() -> Iterator[None]:
    """Move the drawn energy of every strip to where its picture is now. Pauses often."""
    for scene_name in [scene.name for scene in bpy.data.scenes if scene.library is None]:
        drawn: set[str] = set()
        placed: set[str] = set()
        moved: set[str] = set()
        position = 0
        while curves := _slice_of_curves(scene_name, position):
            position += len(curves)
            _sort_curves(bpy.data.scenes[scene_name], curves, drawn, placed, moved)
            # Blender may free them during the pause.
            curves.clear()
            yield
        for name in sorted(moved | (drawn ^ placed)):
            scene = bpy.data.scenes.get(scene_name)
            if scene is None or scene.sequence_editor is None:
                break
            strip = compat.all_strips_of(scene.sequence_editor).get(name)
            if strip is not None:
                _follow(scene, strip)
            yield


def _slice_of_curves(scene_name: str, position: int) -> list[Any]:
    scene = bpy.data.scenes.get(scene_name)
    if scene is None or scene.sequence_editor is None:
        return []
    return compat.animation_curves(scene, position, _CURVES_IN_A_SLICE)


def _sort_curves(scene: Any, curves: list[Any], drawn: set[str], placed: set[str], moved: set[str]) -> None:
    """Add the names of strips to sets: those with keys, those with an origin, and those whose origin is outdated."""
    strips = compat.all_strips_of(scene.sequence_editor)
    for curve in curves:
        path = curve.data_path
        animated = compat.animated_strip(path) if path.endswith((_LEVEL, _ORIGIN, _LAYER_LEVEL)) else None
        if animated is None or not _has_points(curve):
            continue
        name = animated[0]
        if not path.endswith(_ORIGIN):
            drawn.add(name)
            continue
        placed.add(name)
        strip = strips.get(name)
        if strip is not None and abs(curve.keyframe_points[0].co.x - picture_start(scene, strip)) >= _MOVED_FRAMES:
            moved.add(name)


def _follow(scene: Any, strip: Any) -> None:
    layers = [layer.name for layer in strip.rewas.settings.layers]
    curves = [curve for layer in ("", *layers) if _has_points(curve := _level_curve(scene, strip, layer))]
    origin = compat.find_curve(scene, strip.path_from_id() + _ORIGIN)
    if not curves:
        # The user has removed the curves in the Graph Editor.
        if origin is not None:
            compat.remove_curve(scene, origin)
        return
    start = picture_start(scene, strip)
    moved = start - origin.keyframe_points[0].co.x if _has_points(origin) else 0.0
    if _has_points(origin) and abs(moved) < _MOVED_FRAMES:
        return
    for curve in curves if moved else ():
        _move_points(curve, moved)
    _write_origin(scene, strip, start)
    _count_change()


def _level_path(strip: Any, layer: str) -> str:
    path = strip.path_from_id()
    return f'{path}.rewas.settings.layers["{layer}{_LAYER_LEVEL}' if layer else f"{path}{_LEVEL}"


def _forget_estimate(strip: Any, layer: str) -> None:
    settings = strip.rewas.settings
    if layer in settings.layers or not layer:
        note_estimate(settings.layers[layer] if layer else settings, None)


def _level_curve(scene: Any, strip: Any, layer: str = "") -> Any:
    return compat.find_curve(scene, _level_path(strip, layer))


def _has_points(curve: Any) -> bool:
    return curve is not None and len(curve.keyframe_points) > 0


def _content_origin(scene: Any, strip: Any) -> float:
    """Return the frame where the content of a strip begins in the time of its keys."""
    content_start = compat.content_start(strip)
    curve = compat.find_curve(scene, strip.path_from_id() + _ORIGIN)
    if not _has_points(curve):
        # The user has inserted the keys.
        return content_start
    return float(curve.keyframe_points[0].co.x) + content_start - picture_start(scene, strip)


def _write_origin(scene: Any, strip: Any, frame: float) -> None:
    curve = compat.ensure_curve(scene, strip.path_from_id() + _ORIGIN)
    curve.lock = curve.hide = curve.mute = True
    curve.select = False
    _write_points(curve, [(frame, 0.0)])


def _write_points(curve: Any, table: Sequence[tuple[float, float]]) -> None:
    """Give a curve new keys. table: frames and values."""
    points = curve.keyframe_points
    points.clear()
    points.add(len(table))
    points.foreach_set("co", array("f", chain.from_iterable(table)))
    points.foreach_set("interpolation", array("i", [_LINEAR]) * len(table))
    curve.update()


def _move_points(curve: Any, frames: float) -> None:
    for name in ("co", "handle_left", "handle_right"):
        values = _read_column(curve, name)
        values[0::2] = array("f", [frame + frames for frame in values[0::2]])
        curve.keyframe_points.foreach_set(name, values)
    curve.update()


def _read_column(curve: Any, name: str) -> array[float]:
    """Return pairs of frame and value, one after the other."""
    values = array("f", bytes(8 * len(curve.keyframe_points)))
    curve.keyframe_points.foreach_get(name, values)
    return values


def _read_shapes(curve: Any) -> array[int]:
    shapes = array("i", bytes(4 * len(curve.keyframe_points)))
    curve.keyframe_points.foreach_get("interpolation", shapes)
    return shapes


def _read_points(strip: Any, curve: Any) -> list[tuple[float, float]]:
    """Return frames of the scene and levels in decibels, such that straight lines between them match the curve."""
    values = _read_column(curve, "co")
    frames = values[0::2].tolist()
    shapes = _read_shapes(curve)
    start, end = frames[0], frames[-1]
    is_extended = curve.extrapolation != "CONSTANT" or any(not modifier.mute for modifier in curve.modifiers)
    if is_extended:
        start, end = min(start, compat.content_start(strip)), max(end, compat.content_end(strip))
    elif all(shape == _LINEAR for shape in shapes[:-1]):
        return list(zip(frames, values[1::2], strict=True))
    step = max(_STEP_FRAMES, (end - start) / _MOST_STEPS)
    between = {start + index * step for index in range(math.floor((end - start) / step) + 1)} | {end}
    if not is_extended:
        # Straight lines need no further keys.
        between = {frame for frame in between if shapes[bisect_right(frames, frame) - 1] != _LINEAR}
    return [(frame, curve.evaluate(frame)) for frame in sorted({*frames, *between})]


def _count_change() -> None:
    global _revision
    _revision += 1


@bpy.app.handlers.persistent
def _after_change(*_: Any) -> None:
    _count_change()


_HANDLERS = ("depsgraph_update_post", "undo_post", "redo_post", "load_post")


def register() -> None:
    for name in _HANDLERS:
        getattr(bpy.app.handlers, name).append(_after_change)


def unregister() -> None:
    for name in _HANDLERS:
        handlers = getattr(bpy.app.handlers, name)
        if _after_change in handlers:
            handlers.remove(_after_change)
