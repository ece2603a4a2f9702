"""Divides a clip whose speed changes into clips of constant speed, which is all that OpenTimelineIO can express.

Final Cut Pro and Premiere Pro store a variable speed as points: at which time of the clip which time of its media is
shown. Between two points that are joined by a straight line, the speed is constant.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import opentimelineio as otio

from rewas_server.otio.exact_times import exact_rate, exact_seconds, rational_time

MAX_PIECES = 16
"""A curve of more points is a ramp: each of its pieces would be too short for a sound."""

Point = tuple[Fraction, Fraction]
"""A time of the clip, and the time of its media that is shown there, in seconds."""


@dataclass(frozen=True)
class SpeedPiece:
    """A part of a clip with a constant speed, in seconds.

    Attributes:
        begin_s: From the first frame of the clip, as shown.
        duration_s: As shown.
        media_s: Time of the media at its beginning.
        speed: 1 normally, 0 for a freeze frame, below 0 backwards.
    """

    begin_s: Fraction
    duration_s: Fraction
    media_s: Fraction
    speed: Fraction

    @property
    def range_start_s(self) -> Fraction:
        """Start of its range in OTIO, which is the visible part of the media, whichever way it plays."""
        return self.media_s + min(Fraction(0), self.speed * self.duration_s)


def speed_pieces(points: Sequence[Point], begin_s: Fraction, end_s: Fraction) -> list[SpeedPiece]:
    """Return the parts of constant speed in a range of a clip, in order; none without two points at different times.

    Args:
        points: In any order. Before the first and after the last one, the speed continues.
        begin_s: First time of the clip that is shown.
        end_s: End of what is shown.
    """
    ordered = sorted(points)
    spans = [(first, last) for first, last in itertools.pairwise(ordered) if last[0] > first[0]]
    pieces: list[SpeedPiece] = []
    for number, (first, last) in enumerate(spans):
        from_s = begin_s if number == 0 else max(first[0], begin_s)
        to_s = end_s if number == len(spans) - 1 else min(last[0], end_s)
        if to_s <= from_s:
            continue
        speed = (last[1] - first[1]) / (last[0] - first[0])
        media_s = first[1] + (from_s - first[0]) * speed
        before = pieces[-1] if pieces else None
        if before is not None and _continues(before, media_s, speed):
            pieces[-1] = SpeedPiece(before.begin_s, before.duration_s + to_s - from_s, before.media_s, speed)
        else:
            pieces.append(SpeedPiece(from_s - begin_s, to_s - from_s, media_s, speed))
    return pieces


def cut_into_pieces(item: otio.core.Item, pieces: Sequence[SpeedPiece], name: str) -> list[otio.core.Item]:
    """Return a copy of an item for each piece, with its range and speed, and with the markers that lie in it.

    Args:
        item: With a source range as long as the pieces together. Its markers count from the start of that.
        pieces: Pieces of the item, in the time of its source range.
        name: Name of the time effects.
    """
    shown = item.source_range
    assert shown is not None
    rate = exact_rate(shown.duration.rate, "A clip", "duration")
    begin_s = exact_seconds(shown.start_time, "A clip", "start")
    copies = []
    for number, piece in enumerate(pieces):
        copy = item.deepcopy()
        copy.source_range = otio.opentime.TimeRange(
            rational_time(piece.range_start_s, rate), rational_time(piece.duration_s, rate)
        )
        if piece.speed == 0:
            copy.effects.append(otio.schema.FreezeFrame(name))
        elif piece.speed != 1:
            copy.effects.append(otio.schema.LinearTimeWarp(name, float(piece.speed)))
        markers = []
        for marker in copy.markers:
            marked = marker.marked_range
            offset_s = exact_seconds(marked.start_time, "A marker", "start") - begin_s - piece.begin_s
            # Markers before the first frame stay with the first piece.
            if (offset_s >= 0 or number == 0) and (offset_s < piece.duration_s or number == len(pieces) - 1):
                kept = marker.deepcopy()
                marker_rate = exact_rate(marked.start_time.rate, "A marker", "start")
                kept.marked_range = otio.opentime.TimeRange(
                    rational_time(piece.range_start_s + offset_s, marker_rate),
                    marked.duration,
                )
                markers.append(kept)
        copy.markers[:] = markers
        copies.append(copy)
    return copies


def _continues(before: SpeedPiece, media_s: Fraction, speed: Fraction) -> bool:
    return before.speed == speed and before.media_s + before.duration_s * speed == media_s
