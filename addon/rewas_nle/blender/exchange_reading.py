# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the timeline of a scene for export, one strip per slice."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import bpy

from ..core.sound_work import clip_metadata
from ..timeline.exchange_values import as_mapping
from ..timeline.exchanged import (
    SOUND_KIND,
    Curve,
    ExchangedChannel,
    ExchangedMarker,
    ExchangedScene,
    ExchangedStrip,
    Original,
)
from ..timeline.placement import MAX_CHANNEL
from ..timeline.selection import PICTURE_KINDS, native_clip
from ..timeline.strips import Refusal, SelectedClip, StripSnapshot
from . import compat
from .sound_properties import read_settings
from .stem_strips import PROVENANCE_PROPERTY
from .strip_properties import custom_properties, read_group, read_properties
from .strip_reading import Surroundings, media_path, open_next_file, read_strip, scene_rate, survey_in_slices
from .take_list import absolute_path, active_item, stored_takes

ORIGINAL_PROPERTY = "rewas_otio"
"""ID property of strips and scenes with what Blender does not know of the file that they were imported from."""
CURVE_FLAGS = ("mute", "lock", "hide")
_STORED_APART = ("takes", "uid_name", "uid_scene")


def read_scene(scene_name: str) -> Generator[None, None, ExchangedScene | None]:
    """Return everything on the timeline of a scene, or None if the scene has been removed."""
    surroundings = yield from survey_in_slices(scene_name)
    curves = yield from _read_curves(scene_name)
    scene = bpy.data.scenes.get(scene_name)
    if scene is None:
        return None
    tree = [_names(strip) for strip in compat.strips_of(scene.sequence_editor)] if scene.sequence_editor else []
    yield
    reader = _Reader(scene_name, surroundings, curves)
    strips = []
    for branch in tree:
        strip = yield from reader.read(branch)
        if strip is not None:
            strips.append(strip)
    if scene_name not in bpy.data.scenes:
        return None
    scene = bpy.data.scenes[scene_name]
    stored = read_original_scene(scene)
    render = scene.render
    return ExchangedScene(
        name=scene.name,
        rate=scene_rate(scene),
        start_frame=scene.frame_start,
        end_frame=scene.frame_end,
        strips=tuple(strips),
        channels=_channels(scene.sequence_editor) if scene.sequence_editor is not None else (),
        markers=tuple(_markers(scene, stored.markers)),
        properties={
            "resolution_x": render.resolution_x,
            "resolution_y": render.resolution_y,
            "resolution_percentage": render.resolution_percentage,
        },
        original=stored.timeline,
        timecode_frame=stored.timecode_frame,
    )


_Branch = tuple[str, list[Any]]


def _names(strip: Any) -> _Branch:
    """Return the name of a strip with those of the strips inside it."""
    inner = compat.strips_of(strip) if strip.type == "META" else ()
    return strip.name, [_names(each) for each in inner]


class _Reader:
    def __init__(self, scene_name: str, surroundings: Surroundings, curves: Mapping[str, list[Curve]]) -> None:
        self._scene_name = scene_name
        self._surroundings = surroundings
        self._curves = curves

    def read(self, branch: _Branch) -> Generator[None, None, ExchangedStrip | None]:
        name, inner_branches = branch
        yield
        inner = []
        for each in inner_branches:
            read = yield from self.read(each)
            if read is not None:
                inner.append(read)
        while (found := self._find(name)) is not None and found[1].type == "MOVIE" and open_next_file(*found):
            # Blender has opened the file for a few milliseconds, so the rest comes later.
            yield
        found = self._find(name)
        return None if found is None else self._read(*found, tuple(inner))

    def _find(self, name: str) -> tuple[Any, Any] | None:
        # References become invalid with undo.
        scene = bpy.data.scenes.get(self._scene_name)
        if scene is None or scene.sequence_editor is None:
            return None
        strip = compat.all_strips_of(scene.sequence_editor).get(name)
        return None if strip is None else (scene, strip)

    def _read(self, scene: Any, strip: Any, inner: tuple[ExchangedStrip, ...]) -> ExchangedStrip:
        kind = strip.type
        snapshot = read_strip(scene, strip, self._surroundings)
        native = native_clip(snapshot, scene_rate(scene)) if kind in PICTURE_KINDS else None
        start_frame, content_start_frame = compat.left_handle(strip), compat.content_start(strip)
        item = active_item(strip)
        curves = self._curves.get(strip.name, ())
        animated = {curve.path for curve in curves}
        # The value of an animated property is only that of the current frame.
        rewas = _without(read_group(strip.rewas, _STORED_APART), animated, "rewas.")
        custom = custom_properties(strip, (ORIGINAL_PROPERTY, PROVENANCE_PROPERTY))
        keys = [key.timeline_frame - start_frame for key in getattr(strip, "retiming_keys", ())]
        properties = _without(read_properties(strip), animated) | {
            name: value for name, value in (("custom", custom), ("retiming", keys)) if value
        }
        return ExchangedStrip(
            name=strip.name,
            kind=kind,
            channel=strip.channel,
            start_frame=start_frame,
            end_frame=compat.right_handle(strip),
            content_start_frame=content_start_frame,
            content_frames=compat.content_end(strip) - content_start_frame,
            files=_files(strip),
            file_rate=snapshot.media_rate,
            file_frames=snapshot.media_frames,
            trimmed_frames=compat.trimmed_media_frames(strip),
            is_muted=strip.mute,
            is_complete=True,
            inputs=tuple(each.name for each in compat.effect_inputs(strip)),
            datablock=_datablock(strip),
            properties=properties,
            modifiers=tuple((each.name, each.type, read_properties(each)) for each in getattr(strip, "modifiers", ())),
            curves=tuple(_from_start(curve, start_frame) for curve in curves),
            native=native if isinstance(native, SelectedClip) else None,
            change=native.what if isinstance(native, Refusal) else "",
            time_scale=_time_scale(strip, animated),
            settings=_settings(scene, strip, native, snapshot),
            rewas=rewas,
            stored_takes=stored_takes(strip),
            last_take_number=strip.rewas.last_take_number,
            active_take=item.uid if item is not None else "",
            original=_original(strip),
            channels=_channels(strip) if kind == "META" else (),
            strips=inner,
        )


def _without(values: Mapping[str, Any], paths: set[str], prefix: str = "") -> dict[str, Any]:
    """Return properties without those at some paths."""
    kept = {
        name: _without(value, paths, f"{prefix}{name}.") if isinstance(value, dict) else value
        for name, value in values.items()
        if f"{prefix}{name}" not in paths
    }
    return {name: value for name, value in kept.items() if value != {}}


def _files(strip: Any) -> tuple[str, ...]:
    match strip.type:
        case "MOVIE":
            return (media_path(strip) if strip.filepath else "",)
        case "SOUND":
            return (media_path(strip) if strip.sound is not None and strip.sound.filepath else "",)
        case "IMAGE":
            folder = absolute_path(strip.directory)
            return tuple(str(folder / element.filename) for element in strip.elements)
        case "MOVIECLIP":
            clip = strip.clip
            return (str(absolute_path(clip.filepath)) if clip is not None else "",)
    return ()


def _datablock(strip: Any) -> str:
    name = {"SCENE": "scene", "MASK": "mask"}.get(strip.type)
    found = getattr(strip, name) if name is not None else None
    return str(found.name) if found is not None else ""


def _time_scale(strip: Any, animated: set[str]) -> Fraction | None:
    """Return how many times as fast a strip plays if that is constant and known."""
    if strip.type == "SPEED":
        is_constant = strip.speed_control == "MULTIPLY" and "speed_factor" not in animated
        return Fraction(strip.speed_factor).limit_denominator(100_000) if is_constant else None
    is_reversed = strip.type == "MOVIE" and strip.use_reverse_frames and not len(getattr(strip, "retiming_keys", ()))
    return Fraction(-1) if is_reversed else None


def _settings(scene: Any, strip: Any, native: Any, snapshot: StripSnapshot) -> Mapping[str, Any]:
    """Return the ReWaS metadata: what to generate for a clip, or where a stem comes from."""
    origin = strip.get(PROVENANCE_PROPERTY)
    if strip.type == SOUND_KIND and origin is not None:
        values: dict[str, Any] = origin.to_dict()
        return values | {"seed": int(values["seed"])} if "seed" in values else values
    if not isinstance(native, SelectedClip) or not snapshot.prompt.strip():
        return {}
    chosen = read_settings(scene, strip, native, "", draws_seed=False)
    return clip_metadata(native.prompt, None if isinstance(chosen, Refusal) else chosen)


def _channels(holder: Any) -> tuple[ExchangedChannel, ...]:
    """Return the channels that have strips or differ from new ones."""
    used = {strip.channel for strip in compat.strips_of(holder)}
    found = []
    for number in range(1, min(len(holder.channels), MAX_CHANNEL + 1)):
        channel = holder.channels[number]
        name = channel.name
        if number in used or channel.mute or channel.lock or name != f"Channel {number}":
            found.append(ExchangedChannel(number, name, channel.mute, channel.lock))
    return tuple(found)


def _markers(scene: Any, stored: Sequence[Mapping[str, Any]]) -> list[ExchangedMarker]:
    """Return the markers. Those that were imported are found again by their names and frames."""
    left = list(stored)
    found = []
    for marker in scene.timeline_markers:
        named = [each for each in left if each["name"] == marker.name]
        nearest = min(named, key=lambda each: abs(each["frame"] - marker.frame), default=None)
        if nearest is None:
            found.append(ExchangedMarker(marker.name, marker.frame))
            continue
        left.remove(nearest)
        found.append(ExchangedMarker(marker.name, marker.frame, nearest["owner"], nearest["original"]))
    return found


@dataclass(frozen=True)
class OriginalScene:
    """What Blender does not know of the timeline that a scene was imported from.

    timeline: values of the timeline. markers: of each marker, its name, frame, owner and values. timecode_frame: the
    frame of the timecode that the timeline begins with.
    """

    timeline: Mapping[str, Any]
    markers: tuple[Mapping[str, Any], ...]
    timecode_frame: int


def read_original_scene(scene: Any) -> OriginalScene:
    """Return what is stored in a scene. Parts that are damaged are left out."""
    stored = _stored(scene)
    markers, frame = stored.get("markers"), stored.get("timecode_frame")
    return OriginalScene(
        timeline=as_mapping(stored.get("timeline")),
        markers=tuple(filter(_is_marker, markers)) if isinstance(markers, list) else (),
        timecode_frame=frame if isinstance(frame, int) else 0,
    )


def _is_marker(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(name), str) for name in ("name", "owner"))
        and isinstance(value.get("frame"), int)
        and isinstance(value.get("original"), dict)
    )


def _stored(owner: Any) -> dict[str, Any]:
    try:
        values = json.loads(owner.get(ORIGINAL_PROPERTY, "{}"))
    except (TypeError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _original(strip: Any) -> Original | None:
    stored = _stored(strip)
    try:
        stored["before"], stored["after"] = tuple(stored["before"]), tuple(stored["after"])
        return Original(**stored)
    except (KeyError, TypeError):
        return None


def _key(point: Any) -> tuple[Any, ...]:
    left, right = point.handle_left, point.handle_right
    types = (point.handle_left_type, point.handle_right_type)
    return (*point.co, point.interpolation, *left, *right, *types)


def _read_curves(scene_name: str) -> Generator[None, None, dict[str, list[Curve]]]:
    """Return the F-curves of each strip by its name."""
    found: dict[str, list[Curve]] = defaultdict(list)
    scene = bpy.data.scenes.get(scene_name)
    count = len(compat.animation_curves(scene)) if scene is not None else 0
    for number in range(count):
        yield
        scene = bpy.data.scenes.get(scene_name)
        curves: list[Any] = compat.animation_curves(scene) if scene is not None else []
        if number >= len(curves):
            break
        animated = compat.animated_strip(curves[number].data_path)
        if animated is not None:
            found[animated[0]].append(_read_curve(curves[number], animated[1]))
    return found


def _read_curve(curve: Any, path: str) -> Curve:
    """Return an F-curve at frames of the scene."""
    flags = tuple(flag for flag in CURVE_FLAGS if getattr(curve, flag))
    keys: Any = tuple(_key(point) for point in curve.keyframe_points)
    return Curve(path, curve.array_index, keys, curve.extrapolation, flags)


def _from_start(curve: Curve, start_frame: int) -> Curve:
    """Return a curve at frames from the start of its strip."""
    return replace(curve, keys=tuple(_relative(key, start_frame) for key in curve.keys))


def _relative(key: tuple[Any, ...], start_frame: int) -> Any:
    frame, value, interpolation, left_frame, left, right_frame, right, *types = key
    frames = [float(each) - start_frame for each in (frame, left_frame, right_frame)]
    return (frames[0], value, interpolation, frames[1], left, frames[2], right, *types)
