# SPDX-License-Identifier: GPL-3.0-or-later
"""Differences between Blender 4.2 and 5.x. Nothing else in the add-on checks the version.

Frames are scene frames. "Content" is what a strip would show with untrimmed handles.
"""

from __future__ import annotations

from typing import Any, Literal

import bpy

OperatorResult = set[Literal["RUNNING_MODAL", "CANCELLED", "FINISHED", "PASS_THROUGH", "INTERFACE"]]
"""What an operator returns to Blender."""

# 4.4 renamed Sequence to Strip.
STRIP_TYPE: Any = getattr(bpy.types, "Strip", None) or bpy.types.Sequence  # type: ignore[attr-defined]

# 5.1 renamed the frame properties of strips; the old names give warnings, and 6.0 removes them.
_HAS_HANDLES = "left_handle" in STRIP_TYPE.bl_rna.properties

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
    """Return what the user edits: the open meta strip, or the sequence editor."""
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


def content_start(strip: Any) -> int:
    """The frame where a strip's content begins."""
    return round(float(strip.content_start if _HAS_HANDLES else strip.frame_start))


def content_end(strip: Any) -> int:
    """The frame after a strip's content."""
    # Not frame_duration: on 4.2 it counts media frames even where Blender converts between rates.
    return round(float(strip.content_end if _HAS_HANDLES else strip.frame_final_end + strip.frame_offset_end))


def set_handles(strip: Any, start_frame: int, end_frame: int) -> None:
    """Trim a strip to a range of frames without moving its content."""
    if _HAS_HANDLES:
        strip.right_handle = end_frame
        strip.left_handle = start_frame
    else:
        strip.frame_final_end = end_frame
        strip.frame_final_start = start_frame


def trimmed_media_frames(strip: Any) -> tuple[int, int]:
    """Return how many media frames are trimmed off before and after a movie strip's content."""
    if hasattr(strip, "content_trim_start"):
        return strip.content_trim_start, strip.content_trim_end
    return strip.animation_offset_start, strip.animation_offset_end


def effect_input(strip: Any) -> Any:
    """Return the first input of an effect strip, or None for other strips."""
    return getattr(strip, "input_1", None)


def show_waveform(strip: Any) -> None:
    """Show the waveform in the strip if this Blender can."""
    if hasattr(strip, "show_waveform"):
        strip.show_waveform = True
