# SPDX-License-Identifier: GPL-3.0-or-later
"""Differences between Blender 4.2 and 5.x. Nothing else in the add-on checks the version.

Frames are scene frames. "Content" is what a strip would show with untrimmed handles.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import bpy

OperatorResult = set[Literal["RUNNING_MODAL", "CANCELLED", "FINISHED", "PASS_THROUGH", "INTERFACE"]]
"""What an operator returns to Blender."""

# 4.4 renamed Sequence to Strip.
STRIP_TYPE: Any = getattr(bpy.types, "Strip", None) or bpy.types.Sequence  # type: ignore[attr-defined]

# 5.1 renamed the frame properties of strips; the old names give warnings, and 6.0 removes them.
_HAS_HANDLES = "left_handle" in STRIP_TYPE.bl_rna.properties
_OLD_SPAN_NAMES = ("channel", "frame_final_start", "frame_final_end")

HAS_CONNECTIONS = bpy.app.version >= (4, 5, 0)
"""Whether strips can be connected, so that a click on one of them selects all."""

STOPS_AT_CONTENT = bpy.app.version >= (5, 0, 0)
"""Whether a handle, and those of connected strips, cannot be dragged beyond the content by default."""

# 5.0 moved the panels of a strip from the sidebar of the sequencer to the Properties editor.
_HAS_STRIP_PROPERTIES = bpy.app.version >= (5, 0, 0)
STRIP_PANEL_PLACE: tuple[Any, Any] = ("PROPERTIES", "WINDOW") if _HAS_STRIP_PROPERTIES else ("SEQUENCE_EDITOR", "UI")
"""Space and region of the panels of a strip."""
STRIP_PANEL_CONTEXT = "strip" if _HAS_STRIP_PROPERTIES else ""

# From 4.5 a path property must opt in to paths that begin with //.
BLEND_RELATIVE = {"PATH_SUPPORTS_BLEND_RELATIVE"} if bpy.app.version >= (4, 5, 0) else set()


def scene_of(context: Any) -> Any:
    """Return the scene that the sequencer edits: from 5.0 the workspace's own, otherwise the window's."""
    return (
        getattr(context, "sequencer_scene", None)
        or getattr(context.workspace, "sequencer_scene", None)
        or context.scene
    )


def strips_of(holder: Any) -> Any:
    """Return the strips of a sequence editor or meta strip."""
    return holder.strips if hasattr(holder, "strips") else holder.sequences


def all_strips_of(editor: Any) -> Any:
    """Return every strip of a sequence editor, including those inside meta strips."""
    return editor.strips_all if hasattr(editor, "strips_all") else editor.sequences_all


def edited_holder(editor: Any) -> Any:
    """Return what the user is editing: the open meta strip, or the sequence editor."""
    return editor.meta_stack[-1] if len(editor.meta_stack) else editor


def holder_of(editor: Any, strip: Any) -> Any:
    """Return the meta strip that contains a strip, or the sequence editor."""
    return strip.parent_meta() or editor


def left_handle(strip: Any) -> int:
    """The first frame of a strip."""
    return int(strip.left_handle if _HAS_HANDLES else strip.frame_final_start)


def right_handle(strip: Any) -> int:
    """The frame after a strip's last one."""
    return int(strip.right_handle if _HAS_HANDLES else strip.frame_final_end)


def read_spans(strips: Any) -> Iterator[tuple[int, int, int]]:
    """Yield channel, first frame and frame after the last of each strip, faster than with one strip at a time."""
    return zip(*read_columns(strips), strict=True)


def read_columns(strips: Any) -> tuple[array[int], array[int], array[int]]:
    """Return channels, first frames and frames after the last of all strips."""
    names = ("channel", "left_handle", "right_handle") if _HAS_HANDLES else _OLD_SPAN_NAMES
    columns = [array("i", bytes(4 * len(strips))) for _ in names]
    for name, column in zip(names, columns, strict=True):
        strips.foreach_get(name, column)
    return columns[0], columns[1], columns[2]


def read_content_starts(strips: Any) -> array[float]:
    """Return the frame where the content of each strip begins, faster than with one strip at a time."""
    starts = array("f", bytes(4 * len(strips)))
    strips.foreach_get("content_start" if _HAS_HANDLES else "frame_start", starts)
    return starts


def content_start(strip: Any) -> int:
    """The frame where a strip's content begins."""
    return round(float(strip.content_start if _HAS_HANDLES else strip.frame_start))


def content_end(strip: Any) -> int:
    """The frame after a strip's content."""
    # Not frame_duration: on 4.2 it counts media frames even where Blender converts between rates.
    return round(float(strip.content_end if _HAS_HANDLES else strip.frame_final_end + strip.frame_offset_end))


def set_handles(strip: Any, start_frame: int, end_frame: int) -> None:
    """Trim a strip to a range of frames without moving its content."""
    left, right = ("left_handle", "right_handle") if _HAS_HANDLES else ("frame_final_start", "frame_final_end")
    # A handle cannot pass the other one.
    if end_frame > getattr(strip, left):
        setattr(strip, right, end_frame)
        setattr(strip, left, start_frame)
    else:
        setattr(strip, left, start_frame)
        setattr(strip, right, end_frame)


def set_content_start(strip: Any, frame: int) -> None:
    """Move a strip, with its handles, so that its content begins at a frame."""
    if _HAS_HANDLES:
        strip.content_start = frame
    else:
        strip.frame_start = frame


def trimmed_media_frames(strip: Any) -> tuple[int, int]:
    """Return how many frames of a strip's media are trimmed off before and after its content."""
    if hasattr(strip, "content_trim_start"):
        return strip.content_trim_start, strip.content_trim_end
    return getattr(strip, "animation_offset_start", 0), getattr(strip, "animation_offset_end", 0)


def trim_media(strip: Any, head_frames: int, tail_frames: int) -> None:
    """Trim frames off a strip's media, before and after its content."""
    names = ("content_trim_start", "content_trim_end")
    if not hasattr(strip, names[0]):
        names = ("animation_offset_start", "animation_offset_end")
    for name, frames in zip(names, (head_frames, tail_frames), strict=True):
        if hasattr(strip, name) and getattr(strip, name) != frames:
            setattr(strip, name, frames)


def new_effect(
    strips: Any, name: str, kind: str, channel: int, start_frame: int, end_frame: int, inputs: Sequence[Any]
) -> Any:
    """Add an effect of up to two strips. Raises TypeError or RuntimeError if this Blender cannot."""
    parameters = strips.bl_rna.functions["new_effect"].parameters
    prefix = "input" if "input1" in parameters else "seq"
    length = {"length": end_frame - start_frame} if "length" in parameters else {"frame_end": end_frame}
    sources = {f"{prefix}{number}": strip for number, strip in enumerate(inputs, start=1)}
    return strips.new_effect(name=name, type=kind, channel=channel, frame_start=start_frame, **length, **sources)


def new_modifier(scene: Any, strip: Any, name: str, kind: str) -> Any:
    """Add a modifier to a strip. Raises TypeError or RuntimeError if this Blender cannot."""
    workspace = bpy.context.workspace
    # Blender 5.0 crashes if no sequencer shows a scene.
    if getattr(workspace, "sequencer_scene", scene) is not None:
        return strip.modifiers.new(name, kind)
    workspace.sequencer_scene = scene
    try:
        return strip.modifiers.new(name, kind)
    finally:
        workspace.sequencer_scene = None


def effect_inputs(strip: Any) -> list[Any]:
    """Return the strips that an effect uses, none for other strips."""
    found = [getattr(strip, f"input_{number}", None) for number in (1, 2, 3)]
    return [each for each in found if each is not None]


def shown_scene(window: Any) -> Any:
    """Return the scene that the sequencers of a window show, or None."""
    return window.workspace.sequencer_scene if hasattr(window.workspace, "sequencer_scene") else window.scene


def active_window() -> Any:
    """Return the window that the user works in, or None if there is no window."""
    return bpy.context.window or next(iter(bpy.context.window_manager.windows), None)


def show_scene(scene: Any) -> None:
    """Let every sequencer of the active window show a scene."""
    window = active_window()
    if window is None:
        return
    if hasattr(window.workspace, "sequencer_scene"):
        window.workspace.sequencer_scene = scene
    else:
        window.scene = scene


def effect_input(strip: Any) -> Any:
    """Return the first input of an effect strip, or None for other strips."""
    return getattr(strip, "input_1", None)


def sound_duration_s(path: Path) -> Fraction | None:
    """Return the duration of a sound file, or None if this Blender cannot read it."""
    try:
        import aud
    except ImportError:  # the Python module of 4.2
        return None
    try:
        sound = aud.Sound(str(path))  # type: ignore[call-arg]
        return Fraction(sound.length, round(sound.specs[0]))
    except (aud.error, ValueError, ZeroDivisionError):
        return None


def has_one_input(strip: Any) -> bool:
    """Return whether a strip is an effect of exactly one other strip."""
    return getattr(strip, "input_count", 0) == 1


_STRIP_PATH = re.compile(r'sequence_editor\.(?:strips|sequences)_all\["((?:[^"\\]|\\.)*)"\]\.(.+)', re.DOTALL)


def animated_strip(data_path: str) -> tuple[str, str] | None:
    """Return the name of the strip that an F-curve animates and the path of its property, or None."""
    match = _STRIP_PATH.fullmatch(data_path)
    return None if match is None else (re.sub(r"\\(.)", r"\1", match[1]), match[2])


def animation_curves(scene: Any, position: int = 0, count: int | None = None) -> list[Any]:
    """Return the F-curves of a scene, which include those of its strips. All of them, or `count` from a position."""
    holder = _curve_holder(scene)
    if holder is None:
        return []
    return list(holder.fcurves if count is None else holder.fcurves[position : position + count])


def find_curve(scene: Any, data_path: str, index: int = 0) -> Any:
    """Return the F-curve of a scene that animates a property, or None. index: in an array property."""
    holder = _curve_holder(scene)
    return None if holder is None else holder.fcurves.find(data_path, index=index)


def ensure_curve(scene: Any, data_path: str, index: int = 0) -> Any:
    """Return the F-curve of a scene that animates a property, which is created if there is none."""
    curve = find_curve(scene, data_path, index)
    if curve is not None:
        return curve
    animation = scene.animation_data or scene.animation_data_create()
    if animation.action is None:
        animation.action = bpy.data.actions.new(f"{scene.name}Action")
    action = animation.action
    if hasattr(action, "fcurve_ensure_for_datablock"):
        return action.fcurve_ensure_for_datablock(scene, data_path, index=index)
    return action.fcurves.new(data_path, index=index)


def remove_curve(scene: Any, curve: Any) -> None:
    """Remove an F-curve of a scene."""
    _curve_holder(scene).fcurves.remove(curve)


def _curve_holder(scene: Any) -> Any:
    """Return what holds the F-curves of a scene, or None: before 4.4 its action, later a part of that."""
    animation = scene.animation_data
    action = animation.action if animation is not None else None
    if action is None or not hasattr(action, "layers"):
        return action
    for layer in action.layers:
        for strip in layer.strips:
            for bag in strip.channelbags:
                if bag.slot == animation.action_slot:
                    return bag
    return None


def complete_view_layers() -> None:
    """Let Blender fill the view layers of scenes that it has not shown yet: 5.2 crashes if it copies an empty one."""
    for scene in bpy.data.scenes:
        for layer in scene.view_layers:
            layer.objects.active  # noqa: B018


def show_waveform(strip: Any) -> None:
    """Show the waveform in the strip if this Blender can."""
    if hasattr(strip, "show_waveform"):
        strip.show_waveform = True


def update_length(strip: Any) -> None:
    """Adapt the length of a sound strip's content after its sound has changed. Its handles may move.

    Blender can do this only for strips of the open meta strip or, if none is open, of the timeline. Elsewhere the sound
    plays correctly, but the strip is drawn with the old length.
    """
    _run_on(strip.id_data, [strip], lambda: bpy.ops.sequencer.reload(adjust_length=True))


def holder_for_connecting(scene: Any) -> str | None:
    """Return the name of the meta strip whose strips can be connected now, "" for the timeline, or None for neither."""
    if not HAS_CONNECTIONS or scene.sequence_editor is None or not _windows_for(scene):
        return None
    holder = edited_holder(scene.sequence_editor)
    return "" if holder == scene.sequence_editor else str(holder.name)


def _windows_for(scene: Any) -> list[Any]:
    """Return the windows in which an operator can work on a scene's strips: any from 5.0, only its own before that."""
    return [
        window
        for window in bpy.context.window_manager.windows
        if window.scene == scene or hasattr(window.workspace, "sequencer_scene")
    ]


def _run_on(scene: Any, strips: Sequence[Any], run: Callable[[], object]) -> bool:
    """Run an operator on strips as if they were selected. Returns False if that is not possible now."""
    holder = edited_holder(scene.sequence_editor)
    if any(holder_of(scene.sequence_editor, strip) != holder for strip in strips):
        return False
    everything = strips_of(holder)
    selected = [False] * len(everything)
    everything.foreach_get("select", selected)
    everything.foreach_set("select", [False] * len(everything))
    try:
        for strip in strips:
            strip.select = True
        return run_in_sequencer(scene, run)
    finally:
        everything.foreach_set("select", selected)


def run_in_sequencer(scene: Any, run: Callable[[], object]) -> bool:
    """Run an operator in a window whose sequencer edits a scene. Returns False if there is no such window."""
    windows = _windows_for(scene)
    if not windows:
        return False
    with _in_window(windows[0]), _sequencer_scene(windows[0].workspace, scene):
        run()
    return True


def push_undo(message: str) -> None:
    """Push an undo step."""
    for window in bpy.context.window_manager.windows[:1]:
        with _in_window(window):
            bpy.ops.ed.undo_push(message=message)


@contextmanager
def _in_window(window: Any) -> Iterator[None]:
    """Let operators run as if the user called them in this window.

    `temp_override` alone is not enough. An operator lets other Python threads run, and under an override it looks for
    members of the context in a Python dictionary. With Python 3.11, up to Blender 5.0, it does not wait for its turn to
    do so, which corrupts memory. When the outer of two overrides is left first, the dictionaries are gone, but the
    window stays.
    """
    outer, inner = bpy.context.temp_override(), bpy.context.temp_override(window=window)
    outer.__enter__()
    try:
        inner.__enter__()
    finally:
        outer.__exit__(None, None, None)
    try:
        yield
    finally:
        outer.__enter__()
        inner.__exit__(None, None, None)
        outer.__exit__(None, None, None)


@contextmanager
def _sequencer_scene(workspace: Any, scene: Any) -> Iterator[None]:
    """Let a workspace edit the strips of a scene. Before 5.0 it edits those of the window's scene."""
    before = getattr(workspace, "sequencer_scene", scene)
    if before == scene:
        yield
        return
    workspace.sequencer_scene = scene
    try:
        yield
    finally:
        workspace.sequencer_scene = before
