"""The media of a clip that has been read: its files, and a media reference that names them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import opentimelineio as otio

from rewas_server.otio.clips import ClipSource


def media_files(source: ClipSource) -> list[Path]:
    """Return the files that a clip with linked media shows: one, or the existing pictures of a sequence."""
    path = Path(source.target_url)
    if source.sequence is None:
        return [path]
    shown_s = (Fraction(0), source.sequence.duration_s) if source.duration_s is None else source.covered_s
    return [picture for picture in source.sequence.paths(path.parent, *shown_s) if picture.is_file()]


def reference_for(source: ClipSource, available_range: otio.opentime.TimeRange) -> otio.core.MediaReference:
    """Return a media reference for what a clip shows, a file or an image sequence.

    available_range: of the media. For a sequence, its start is that of the first picture.
    """
    sequence = source.sequence
    if sequence is None:
        return otio.schema.ExternalReference(target_url=source.target_url, available_range=available_range)
    rate = float(sequence.picture_rate * sequence.step)
    length = otio.opentime.RationalTime(sequence.count * sequence.step, rate)
    return otio.schema.ImageSequenceReference(
        target_url_base=source.target_url.removesuffix(sequence.pattern),
        name_prefix=sequence.prefix,
        name_suffix=sequence.suffix,
        start_frame=sequence.start_number,
        frame_step=sequence.step,
        rate=rate,
        frame_zero_padding=sequence.digits,
        missing_frame_policy=getattr(otio.schema.ImageSequenceReference.MissingFramePolicy, sequence.missing),
        available_range=otio.opentime.TimeRange(available_range.start_time, length),
    )
