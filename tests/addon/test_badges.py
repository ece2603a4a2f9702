"""Where badges and marks lie in the sequencer."""

from hypothesis import given
from hypothesis import strategies as st

from rewas_nle.timeline.badges import Box, FlaggedStrip, badge_box, box_triangles, mark_boxes
from rewas_nle.timeline.sequencer_view import SequencerView

VIEW = SequencerView(50, 450, 0, 8, 800, 400)
"""2 pixels for each frame, 50 for each channel."""


def test_marks_are_clipped_to_their_strip() -> None:
    strip = FlaggedStrip(60, 100, 2, ((50, 70), (90, 120), (10, 40)))
    first, second = mark_boxes(strip, VIEW)
    assert (first.left, first.right) == (20, 40)
    assert (second.left, second.right) == (80, 100)
    assert 100 < first.bottom < first.top < 150


@given(st.floats(-1e4, 1e4), st.floats(0.01, 1e4), st.floats(-1e4, 1e4), st.floats(0.01, 1e4))
def test_every_mark_is_visible_and_within_reach(start: float, length: float, mark: float, mark_length: float) -> None:
    strip = FlaggedStrip(start, start + length, 1, ((mark, mark + mark_length),))
    for box in mark_boxes(strip, VIEW):
        assert box.right - box.left >= 2
        assert box.right >= 0
        assert box.left <= 800


def test_a_badge_stays_in_sight_and_is_left_out_where_it_does_not_fit() -> None:
    long = FlaggedStrip(60, 1000, 1, ())
    badge = badge_box(long, VIEW, 10)
    assert badge is not None
    assert badge.right < 800
    assert badge.right - badge.left == 10
    assert badge_box(FlaggedStrip(60, 64, 1, ()), VIEW, 10) is None
    assert badge_box(FlaggedStrip(0, 49, 1, ()), VIEW, 10) is None


def test_rectangles_become_triangles() -> None:
    assert box_triangles([Box(0, 0, 2, 1)]) == [(0, 0), (2, 0), (2, 1), (0, 0), (2, 1), (0, 1)]
