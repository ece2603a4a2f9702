# SPDX-License-Identifier: GPL-3.0-or-later
"""Times within a clip at which its sound starts afresh."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from .strips import SelectedClip

MIN_SHOT_S = Fraction(1, 5)
"""The contract needs this much between two cuts, and between a cut and either end of the clip."""


def cuts_at_frames(frames: Iterable[int], clip: SelectedClip) -> tuple[Fraction, ...]:
    """Return the times of scene frames within a clip, in seconds from its start.

    Of frames that are too close together, the first counts.
    """
    cuts_s: list[Fraction] = []
    for frame in sorted(set(frames)):
        cut_s = (frame - clip.start_frame) / clip.rate
        last_s = cuts_s[-1] if cuts_s else Fraction(0)
        if cut_s >= last_s + MIN_SHOT_S and cut_s <= clip.source_duration_s - MIN_SHOT_S:
            cuts_s.append(cut_s)
    return tuple(cuts_s)
