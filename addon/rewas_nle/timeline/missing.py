# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the ranges that have had no sound since a strip was extended, and the steps that complete its take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from .follow import Position
from .strips import SelectedClip
from .takes import Take


@dataclass(frozen=True)
class FrameRange:
    """Scene frames from the start of a strip's content, up to but not including end_frame."""

    start_frame: int
    end_frame: int


@dataclass(frozen=True)
class FillStep:
    """A range of one stem to generate, in seconds from the start of the clip."""

    role: str
    start_s: Fraction
    end_s: Fraction


def missing_ranges(picture: Position, take: Take) -> tuple[FrameRange, ...]:
    """Return the ranges of a strip for which a take has no sound: at the head, at the tail, or all of it."""
    start, end = picture.lead_in_frames, picture.lead_out_frames
    sound_start, sound_end = take.lead_in_frames, take.lead_in_frames + take.frames
    if sound_end <= start or end <= sound_start:
        return (FrameRange(start, end),)
    ranges = (FrameRange(start, sound_start), FrameRange(sound_end, end))
    return tuple(missing for missing in ranges if missing.start_frame < missing.end_frame)


def offset_s(take: Take, clip: SelectedClip) -> Fraction:
    """Return how many seconds after the start of a clip the sound of a take begins. Negative if it begins before."""
    return (take.lead_in_frames - (clip.start_frame - clip.content_start_frame)) / clip.rate


def fill_steps(take: Take, clip: SelectedClip) -> tuple[FillStep, ...]:
    """Return the steps that make the stems of a take as long as a clip, in the order in which to run them.

    The tail comes before the head: only a sound that reaches the end of the clip can get a new range before it. Returns
    no step if the take has sound for all of the clip, or for none of it.
    """
    start_s = max(offset_s(take, clip), Fraction(0))
    end_s = offset_s(take, clip) + take.frames / clip.rate
    duration_s = clip.frames / clip.rate
    if end_s <= 0 or start_s >= duration_s:
        return ()
    ranges = []
    if end_s < duration_s:
        ranges.append((end_s, clip.source_duration_s))
    if start_s > 0:
        ranges.append((Fraction(0), start_s))
    return tuple(FillStep(role, *range_s) for role in take.roles for range_s in ranges)


def prompt_of(take: Take, role: str) -> str:
    """Return the prompt of a stem: that of its layer, or of the primary sound."""
    layers = take.settings.get("layers")
    for layer in layers if isinstance(layers, list) else ():
        if isinstance(layer, Mapping) and layer.get("name") == role:
            return str(layer.get("prompt", ""))
    return take.prompt
