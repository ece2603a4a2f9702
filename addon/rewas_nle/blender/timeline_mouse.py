# SPDX-License-Identifier: GPL-3.0-or-later
"""What is under the mouse in the timeline of a sequencer."""

from __future__ import annotations

from typing import Any

from ..timeline.selection import PICTURE_KINDS
from ..timeline.sequencer_view import SequencerView
from . import compat


def view_of(region: Any) -> SequencerView:
    """Return what a region of a sequencer shows."""
    view2d = region.view2d
    left_frame, bottom_channel = view2d.region_to_view(0, 0)
    right_frame, top_channel = view2d.region_to_view(region.width, region.height)
    return SequencerView(left_frame, right_frame, bottom_channel, top_channel, region.width, region.height)


def timeline_region(area: Any) -> Any:
    """Return the region with the timeline, even if a button in the sidebar was pressed, or None if there is none."""
    if area is None or area.type != "SEQUENCE_EDITOR" or area.spaces.active.view_type == "PREVIEW":
        return None
    return next(region for region in area.regions if region.type == "WINDOW")


def mouse_place(region: Any, event: Any) -> tuple[float, float]:
    """Return the frame and the channel under the mouse. Both may be fractions."""
    return view_of(region).from_pixel(event.mouse_x - region.x, event.mouse_y - region.y)


def picture_under(scene: Any, frame: float, channel: float) -> Any:
    """Return the picture strip at a place in the timeline, or None."""
    if scene.sequence_editor is None:
        return None
    strips = compat.strips_of(compat.edited_holder(scene.sequence_editor))
    for strip, (strip_channel, start, end) in zip(strips, compat.read_spans(strips), strict=True):
        if strip_channel == int(channel) and start <= frame < end and strip.type in PICTURE_KINDS:
            return strip
    return None


def make_active(scene: Any, strip: Any) -> None:
    """Make a strip the only selected one, as a click on it does."""
    for other in compat.strips_of(compat.edited_holder(scene.sequence_editor)):
        other.select = other == strip
    scene.sequence_editor.active_strip = strip
