# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts clips to OpenTimelineIO.

rewas_api is imported inside the functions: it is a wheel of the extension, and if it cannot be loaded, the add-on must
be able to report that.
"""

from __future__ import annotations

from fractions import Fraction

from .otio_json import (
    DEFAULT_MEDIA_KEY,
    Clip,
    ExternalReference,
    RationalTime,
    TimeRange,
)
from .strips import SelectedClip


def rational_time(seconds: Fraction, *rates: Fraction) -> RationalTime:
    """Return the time at the first rate that gives a whole number of frames, or at the first rate."""
    rate = next((rate for rate in rates if (seconds * rate).denominator == 1), rates[0])
    return RationalTime(float(seconds * rate), float(rate))


def clip_to_otio(clip: SelectedClip) -> Clip:
    """Return the clip with its source range, media reference, available range and prompt."""
    from rewas_api.clip_settings import ClipSettings, write_clip_settings

    media = ExternalReference(
        target_url=clip.path,
        available_range=TimeRange(
            rational_time(Fraction(0), clip.media_rate),
            RationalTime(clip.media_frames, float(clip.media_rate)),
        ),
    )
    otio_clip = Clip(
        name=clip.name,
        media_references={DEFAULT_MEDIA_KEY: media},
        source_range=TimeRange(
            rational_time(clip.source_start_s, clip.media_rate, clip.rate),
            rational_time(clip.source_duration_s, clip.media_rate, clip.rate),
        ),
    )
    otio_clip.enabled = not clip.muted
    if clip.prompt:
        write_clip_settings(otio_clip, ClipSettings(prompt=clip.prompt))
    return otio_clip
