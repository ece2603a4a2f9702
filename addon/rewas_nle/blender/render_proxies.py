# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs in a second Blender, as a script: renders what strips show as small movies.

Its only argument is a JSON file with the tasks that core.proxies describes. It writes one JSON object per line.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bpy

SHORT_SIDE_PX = 240
_FEW_SAMPLES = 8
"""3D scenes are rendered for their motion, so a few samples are enough."""
_PROGRESS_INTERVAL_S = 0.2
_MEMORY_LIMIT_MB = 1024


def write_message(**message: Any) -> None:
    """Send a message to the first Blender."""
    sys.stdout.write(f"\nREWAS {json.dumps(message)}\n")
    sys.stdout.flush()


def strips_of(holder: Any) -> Any:
    """Return the strips of a sequence editor or meta strip."""
    return holder.strips if hasattr(holder, "strips") else holder.sequences


class ProxyRenderer:
    """Renders strips of one scene of a file that nobody else uses.

    Args:
        scene: The scene.
        first_frame: First frame of all tasks.
    """

    def __init__(self, scene: Any, first_frame: int) -> None:
        self.scene = scene
        # Blender renders no negative frames.
        self.moved_frames = max(-first_frame, 0)
        if self.moved_frames:
            _move_everything(scene, self.moved_frames)
        _prepare_output(scene)
        _reduce_scenes(scene.sequence_editor, scene, set())

    def render(self, task: dict[str, Any]) -> None:
        """Render the frames of one strip, with the effects that are applied to it and without the other strips."""
        editor = self.scene.sequence_editor
        holder = editor
        for name in task["metas"]:
            holder = strips_of(holder)[name]
            holder.mute = False
        editor.display_stack(holder if task["metas"] else None)
        strips = strips_of(holder)
        strip = strips[task["strip"]]
        _check_media(strip)
        shown = {task["strip"], *task["effects"]}
        muted = {other.name: other.mute for other in strips}
        channels = {channel.name: channel.mute for channel in holder.channels}
        for other in strips:
            other.mute = other.name not in shown
            if other.name in shown:
                holder.channels[other.channel].mute = False
        placed = _fill_frame(self.scene, strip) if task["is_whole"] else None
        try:
            self._render_frames(task)
        finally:
            for name, mute in muted.items():
                strips[name].mute = mute
            for channel in holder.channels:
                channel.mute = channels[channel.name]
            if placed is not None:
                for name, value in placed.items():
                    setattr(strip.transform, name, value)

    def _render_frames(self, task: dict[str, Any]) -> None:
        scene = self.scene
        scene.frame_start = task["first_frame"] + self.moved_frames
        scene.frame_end = scene.frame_start + task["frames"] - 1
        scene.render.filepath = task["path"]
        told_s = 0.0
        frames = 0

        def tell(*_: Any) -> None:
            nonlocal told_s, frames
            frames += 1
            if time.monotonic() - told_s > _PROGRESS_INTERVAL_S:
                told_s = time.monotonic()
                write_message(key=task["key"], frames=frames)

        write_message(key=task["key"], frames=0)
        bpy.app.handlers.render_write.append(tell)
        try:
            bpy.ops.render.render(animation=True, scene=scene.name)
        finally:
            bpy.app.handlers.render_write.remove(tell)
        if frames != task["frames"]:
            raise RuntimeError(f"{frames} of {task['frames']} frames were rendered")


def _prepare_output(scene: Any) -> None:
    render = scene.render
    render.use_sequencer = True
    render.use_compositing = False
    render.use_border = False
    render.use_stamp = False
    render.use_multiview = False
    render.use_file_extension = False
    render.use_overwrite = True
    render.use_placeholder = False
    render.frame_map_old = render.frame_map_new = 100
    scene.frame_step = 1
    percentage = min(max(round(100 * SHORT_SIDE_PX / min(render.resolution_x, render.resolution_y)), 1), 100)
    render.resolution_percentage = percentage
    # H.264 needs an even number of pixels.
    for name in ("resolution_x", "resolution_y"):
        pixels = max(getattr(render, name) * percentage // 100 // 2 * 2, 2)
        setattr(render, name, -(-pixels * 100 // percentage))
    settings = render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "VIDEO"
    settings.file_format = "FFMPEG"
    ffmpeg = render.ffmpeg
    ffmpeg.format = "MPEG4"
    ffmpeg.codec = "H264"
    ffmpeg.constant_rate_factor = "PERC_LOSSLESS"
    ffmpeg.ffmpeg_preset = "REALTIME"
    ffmpeg.gopsize = 12
    ffmpeg.use_autosplit = False
    ffmpeg.audio_codec = "NONE"


def _reduce_scenes(holder: Any, scene: Any, seen: set[str]) -> None:
    """Make 3D scenes small and quick to render."""
    for strip in strips_of(holder):
        if strip.type == "META":
            _reduce_scenes(strip, scene, seen)
        elif strip.type == "SCENE" and strip.scene is not None:
            if strip.scene_input == "SEQUENCER" and strip.scene.sequence_editor is not None:
                if strip.scene.name not in seen and strip.scene != scene:
                    seen.add(strip.scene.name)
                    _reduce_scenes(strip.scene.sequence_editor, strip.scene, seen)
            else:
                _reduce_scene(strip)


def _reduce_scene(strip: Any) -> None:
    render = strip.scene.render
    full = render.resolution_x * render.resolution_percentage // 100
    percentage = min(round(100 * SHORT_SIDE_PX / min(render.resolution_x, render.resolution_y)), 100)
    render.resolution_percentage = min(max(percentage, 1), render.resolution_percentage)
    # The picture keeps its position in the frame.
    factor = full / max(render.resolution_x * render.resolution_percentage // 100, 1)
    strip.transform.scale_x *= factor
    strip.transform.scale_y *= factor
    render.use_compositing = False
    if render.engine == "CYCLES":
        strip.scene.cycles.samples = min(strip.scene.cycles.samples, _FEW_SAMPLES)
        strip.scene.cycles.use_denoising = False
    else:
        strip.scene.eevee.taa_render_samples = min(strip.scene.eevee.taa_render_samples, _FEW_SAMPLES)


def _move_everything(scene: Any, frames: int) -> None:
    for strip in strips_of(scene.sequence_editor):
        if getattr(strip, "input_count", 0) == 0:
            if hasattr(strip, "content_start"):
                strip.content_start += frames
            else:
                strip.frame_start += frames
    action = scene.animation_data.action if scene.animation_data is not None else None
    for curve in _curves_of(action):
        for point in curve.keyframe_points:
            point.co_ui.x += frames
        curve.update()


def _curves_of(action: Any) -> Iterable[Any]:
    if action is None:
        return []
    if hasattr(action, "fcurves"):
        return list(action.fcurves)
    return [
        curve for layer in action.layers for strip in layer.strips for bag in strip.channelbags for curve in bag.fcurves
    ]


def _fill_frame(scene: Any, strip: Any) -> dict[str, Any] | None:
    """Let the picture fill the frame. Returns the earlier properties of its transform."""
    element = strip.elements[0] if getattr(strip, "elements", None) else None
    if element is None or not element.orig_width or not element.orig_height:
        return None
    transform = strip.transform
    before = {name: getattr(transform, name) for name in ("scale_x", "scale_y", "offset_x", "offset_y")}
    ratio = abs(transform.scale_y / transform.scale_x) if transform.scale_x else 1.0
    width, height = element.orig_width, element.orig_height * ratio
    scale = min(scene.render.resolution_x / width, scene.render.resolution_y / height)
    transform.scale_x, transform.scale_y = scale, scale * ratio
    transform.offset_x = transform.offset_y = 0.0
    return before


def _check_media(strip: Any) -> None:
    """Check that each movie can be read. Blender shows nothing for others, so their proxy would be empty."""
    if strip.type == "MOVIE" and not strip.fps > 0:
        raise RuntimeError(f"{bpy.path.abspath(strip.filepath)} cannot be read")
    if strip.type == "META":
        for child in strips_of(strip):
            if not child.mute:
                _check_media(child)


def main(tasks_file: str) -> None:
    """Render all tasks."""
    work = json.loads(Path(tasks_file).read_text(encoding="utf-8"))
    if hasattr(os, "nice"):
        os.nice(10)
    bpy.ops.wm.open_mainfile(filepath=work["blend"], load_ui=False, use_scripts=False)
    bpy.context.preferences.system.memory_cache_limit = _MEMORY_LIMIT_MB
    scene = bpy.data.scenes[work["scene"]]
    renderer = ProxyRenderer(scene, min(task["first_frame"] for task in work["tasks"]))
    for task in work["tasks"]:
        try:
            renderer.render(task)
        except Exception as error:
            traceback.print_exc()
            write_message(key=task["key"], problem=str(error) or type(error).__name__)
        else:
            write_message(key=task["key"], is_complete=True)


if __name__ == "__main__":
    code = 1
    try:
        main(sys.argv[-1])
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Blender's module may hang while the interpreter exits.
        os._exit(code)
