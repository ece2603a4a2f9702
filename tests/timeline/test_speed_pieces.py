"""Clips whose speed changes are cut into clips of constant speed, which together show the same media."""

from __future__ import annotations

from fractions import Fraction

import opentimelineio as otio
from hypothesis import given
from hypothesis import strategies as st

from rewas_server.otio.clips import read_clip_source
from rewas_server.otio.speed_pieces import SpeedPiece, cut_into_pieces, speed_pieces

RATE = 24
TIMES = st.integers(0, 2000).map(lambda frames: Fraction(frames, RATE))


def media_at(points: list[tuple[Fraction, Fraction]], time_s: Fraction) -> Fraction:
    """Return the value of a piecewise linear function, which continues at both ends."""
    ordered = sorted(points)
    index = next((i for i in range(1, len(ordered) - 1) if time_s < ordered[i][0]), len(ordered) - 1)
    (x0, y0), (x1, y1) = ordered[index - 1], ordered[index]
    return y0 + (time_s - x0) * (y1 - y0) / (x1 - x0)


@given(st.dictionaries(TIMES, TIMES, min_size=2, max_size=8), TIMES, st.integers(1, 200), st.data())
def test_the_pieces_show_what_the_map_says(points, begin_s: Fraction, frames: int, data) -> None:
    end_s = begin_s + Fraction(frames, RATE)
    found = speed_pieces(list(points.items()), begin_s, end_s)
    assert sum(piece.duration_s for piece in found) == end_s - begin_s
    assert [piece.begin_s for piece in found] == [
        sum((each.duration_s for each in found[:number]), Fraction(0)) for number in range(len(found))
    ]
    piece = data.draw(st.sampled_from(found))
    inside_s = piece.duration_s * data.draw(st.fractions(0, 1, max_denominator=50))
    shown_s = begin_s + piece.begin_s + inside_s
    assert piece.media_s + inside_s * piece.speed == media_at(list(points.items()), shown_s)


def test_a_map_of_one_point_has_no_pieces() -> None:
    assert speed_pieces([(Fraction(1), Fraction(2))], Fraction(0), Fraction(1)) == []
    assert speed_pieces([(Fraction(1), Fraction(2)), (Fraction(1), Fraction(3))], Fraction(0), Fraction(1)) == []


def test_items_are_cut_with_their_markers_and_effects() -> None:
    shown = otio.opentime.TimeRange(otio.opentime.RationalTime(48, RATE), otio.opentime.RationalTime(72, RATE))
    clip = otio.schema.Clip("a", otio.schema.ExternalReference("a.mov"), shown)
    clip.effects.append(otio.schema.Effect("blur"))
    for frame in (48, 71, 72, 119):
        marked = otio.opentime.TimeRange(otio.opentime.RationalTime(frame, RATE))
        clip.markers.append(otio.schema.Marker(str(frame), marked))
    pieces = [
        SpeedPiece(Fraction(0), Fraction(1), Fraction(10), Fraction(2)),
        SpeedPiece(Fraction(1), Fraction(1), Fraction(12), Fraction(0)),
        SpeedPiece(Fraction(2), Fraction(1), Fraction(12), Fraction(-1)),
    ]
    cut = cut_into_pieces(clip, pieces, "timeMap")
    sources = [read_clip_source(piece) for piece in cut]
    assert [(each.start_s, each.duration_s, each.speed) for each in sources] == [(10, 1, 2), (12, 1, 0), (12, 1, -1)]
    assert [[marker.name for marker in piece.markers] for piece in cut] == [["48", "71"], ["72"], ["119"]]
    assert cut[2].markers[0].marked_range.start_time.value == 11 * RATE + 23
    assert all(len(piece.effects) == 2 for piece in cut)
