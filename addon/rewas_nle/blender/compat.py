# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's names from 4.2 to 5.x, in one place. Nothing else in the add-on asks for a version.

Frames are scene frames. "Content" is what a strip would show if its handles were not trimmed.
"""

from __future__ import annotations

from typing import Any

import bpy

# 4.4 renamed Sequence to Strip.
STRIP_TYPE: Any = getattr(bpy.types, "Strip", None) or bpy.types.Sequence

# 5.1 gave the frames of a strip new names; the old ones warn and leave with 6.0.
_HAS_HANDLES = "left_handle" in STRIP_TYPE.bl_rna.properties

# From 4.5 a path property has to say that // is welcome.
BLEND_RELATIVE = {"PATH_SUPPORTS_BLEND_RELATIVE"} if bpy.app.version >= (4, 5, 0) else set()


def scene_of(context: Any) -> Any:
    """The scene that the sequencer edits: the workspace's own from 5.0, else the window's."""
    return (
        getattr(context, "sequencer_scene", None)
        or getattr(context.workspace, "sequencer_scene", None)
        or context.scene
    )


def strips_of(holder: Any) -> Any:
    """The strips of a sequence editor or of a meta strip."""
    return holder.strips if hasattr(holder, "strips") else holder.sequences


def all_strips_of(editor: Any) -> Any:
    """Every strip of a sequence editor, those inside meta strips too."""
    return editor.strips_all if hasattr(editor, "strips_all") else editor.sequences_all


def edited_holder(editor: Any) -> Any:
    """What the user edits: the meta strip that is open, else the sequence editor."""
    return editor.meta_stack[-1] if len(editor.meta_stack) else editor


def holder_of(editor: Any, strip: Any) -> Any:
    """The meta strip that holds a strip, else the sequence editor."""
    return strip.parent_meta() or editor


def left_handle(strip: Any) -> int:
    """The first frame of a strip."""
    return int(strip.left_handle if _HAS_HANDLES else strip.frame_final_start)


def right_handle(strip: Any) -> int:
    """The frame after a strip's last one."""
    return int(strip.right_handle if _HAS_HANDLES else strip.frame_final_end)


def content_start(strip: Any) -> int:
    """The frame where a strip's content begins."""
    return round(strip.content_start if _HAS_HANDLES else strip.frame_start)


def content_end(strip: Any) -> int:
    """The frame after a strip's content."""
    # frame_duration is no help: on 4.2 it counts media frames even where Blender converts between rates.
    return round(strip.content_end if _HAS_HANDLES else strip.frame_final_end + strip.frame_offset_end)


def set_handles(strip: Any, start_frame: int, end_frame: int) -> None:
    """Trim a strip to a range of frames without moving its content."""
    if _HAS_HANDLES:
        strip.right_handle = end_frame
        strip.left_handle = start_frame
    else:
        strip.frame_final_end = end_frame
        strip.frame_final_start = start_frame


def trimmed_media_frames(strip: Any) -> tuple[int, int]:
    """Media frames that are cut off before and after a movie strip's content."""
    if hasattr(strip, "content_trim_start"):
        return strip.content_trim_start, strip.content_trim_end
    return strip.animation_offset_start, strip.animation_offset_end


def effect_input(strip: Any) -> Any:
    """The first strip that an effect strip works on; None for other strips."""
    return getattr(strip, "input_1", None)


def show_waveform(strip: Any) -> None:
    """Draw the waveform in the strip, where the version can."""
    if hasattr(strip, "show_waveform"):
        strip.show_waveform = True
