"""Where frames and channels lie in a sequencer's region."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_nle.timeline.sequencer_view import SequencerView


@given(st.floats(-1e5, 1e6), st.floats(1, 1e5), st.floats(1, 120), st.floats(0.5, 30), st.floats(0, 1), st.floats(0, 1))
def test_frames_and_pixels_convert_both_ways(
    left: float, frames: float, bottom: float, channels: float, x: float, y: float
) -> None:
    view = SequencerView(left, left + frames, bottom, bottom + channels, 1300, 400)
    frame, channel = view.from_pixel(*view.to_pixel(left + x * frames, bottom + y * channels))
    assert frame == pytest.approx(left + x * frames, abs=1e-6 * frames + 1e-9 * abs(left))
    assert channel == pytest.approx(bottom + y * channels, abs=1e-6)
    wide = view.widened(0.5)
    assert wide.px_per_frame == pytest.approx(view.px_per_frame)
    assert wide.right_frame - wide.left_frame == pytest.approx(2 * frames)
    assert wide.contains(view)
    assert not view.contains(wide)
    assert view.shows(left - 10, left + 0.1, bottom)
    assert not view.shows(left - 10, left, bottom)
    assert not view.shows(left, left + 1, bottom + channels)
