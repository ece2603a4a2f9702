# SPDX-License-Identifier: GPL-3.0-or-later
"""A range of a take to regenerate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from .strips import Refusal, SelectedClip
from .takes import Take


@dataclass(frozen=True)
class MarkedRange:
    """Scene frames that the user has marked, up to but not including end_frame."""

    start_frame: int
    end_frame: int


def range_between_markers(frames: Iterable[int], current_frame: int) -> MarkedRange | None:
    """Return the range between the two markers around the current frame, or None if it is not between two markers."""
    ordered = sorted(set(frames))
    before = [frame for frame in ordered if frame <= current_frame]
    after = [frame for frame in ordered if frame > current_frame]
    return MarkedRange(before[-1], after[0]) if before and after else None


def clip_of_take(clip: SelectedClip, take: Take) -> SelectedClip | Refusal:
    """Return the clip that a take was generated for: the strip may have been trimmed since.

    clip: what the strip shows now. A proxy shows one range of its strip, so the strip must still show that range.
    """
    if take.media != clip.source_path or take.scene_rate != clip.rate:
        return Refusal(
            f'The media or the frame rate of the strip "{clip.name}" has changed since {take.label} was generated.',
            "Generate a new take.",
        )
    if clip.proxy is not None:
        if (take.lead_in_frames, take.frames) == (clip.start_frame - clip.content_start_frame, clip.frames):
            return clip
        return Refusal(
            f'The strip "{clip.name}" {clip.proxy.reason} and has been trimmed since {take.label} was generated.',
            "Generate a new take.",
        )
    return replace(
        clip,
        start_frame=clip.content_start_frame + take.lead_in_frames,
        frames=take.frames,
        source_start_s=take.source_start_s,
        source_duration_s=take.source_duration_s,
    )


def seconds_in_clip(marked: MarkedRange, clip: SelectedClip) -> tuple[Fraction, Fraction] | None:
    """Return the start and end of a range, in seconds from the start of a clip. None if it is outside the clip."""
    start_s = max((marked.start_frame - clip.start_frame) / clip.rate, Fraction(0))
    end_s = min((marked.end_frame - clip.start_frame) / clip.rate, clip.source_duration_s)
    return (start_s, end_s) if start_s < end_s else None
