"""Drawing an energy curve by hand."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_nle.timeline.energy_keys import TOLERANCE_DB, EnergyKey, levels_at
from rewas_nle.timeline.pen import Stroke, paint

SILENT = (EnergyKey(0.0, -100.0), EnergyKey(10.0, -100.0))
MOVES = st.lists(st.tuples(st.floats(0, 10), st.floats(-100, 0), st.booleans()), max_size=12)


def test_a_stroke_has_no_gaps_and_follows_the_mouse() -> None:
    stroke = Stroke(0.1, 2.05, -50)
    stroke.move(4.05, -30)
    times, levels = np.array(stroke.points()).T
    assert np.diff(times) == pytest.approx(0.1)
    assert (times[0], times[-1]) == pytest.approx((2.05, 4.05))
    assert levels == pytest.approx(np.interp(times, [2.05, 4.05], [-50, -30]), abs=0.2)


def test_moving_back_draws_over_the_line() -> None:
    stroke = Stroke(0.1, 1.05, -50)
    stroke.move(3.05, -50)
    stroke.move(2.05, -10)
    times, levels = np.array(stroke.points()).T
    assert np.interp(1.5, times, levels) == pytest.approx(-50)
    assert np.interp(2.45, times, levels) == pytest.approx(-26, abs=1)


def test_a_straight_line_begins_where_shift_was_pressed() -> None:
    stroke = Stroke(0.1, 1.05, -50)
    stroke.move(2.05, -40)
    stroke.move(2.55, 0, is_straight=True)
    stroke.move(4.05, -20, is_straight=True)
    times, levels = np.array(stroke.points()).T
    assert np.interp(1.55, times, levels) == pytest.approx(-45, abs=0.5)
    assert np.interp(3.05, times, levels) == pytest.approx(-30, abs=0.5)
    stroke.move(5.05, -20)
    assert np.interp(4.5, *np.array(stroke.points()).T) == pytest.approx(-20, abs=0.5)


@given(st.floats(0, 10), st.floats(-100, 0), MOVES)
def test_the_curve_changes_only_beneath_the_line(
    time_s: float, level_db: float, moves: list[tuple[float, float, bool]]
) -> None:
    stroke = Stroke(0.05, time_s, level_db)
    for to_s, to_db, is_straight in moves:
        stroke.move(to_s, to_db, is_straight=is_straight)
    times, levels = np.array(stroke.points()).T
    old = (EnergyKey(0.0, -80.0), EnergyKey(4.0, -10.0), EnergyKey(10.0, -60.0))
    painted = paint(old, stroke.points(), start_s=0.0, end_s=10.0)
    assert all(before.time_s < after.time_s for before, after in pairwise(painted))
    at = np.linspace(0, 10, 997)
    outside = (at < times[0] - 0.006) | (at > times[-1] + 0.006)
    assert levels_at(painted, at[outside]) == pytest.approx(levels_at(old, at[outside]), abs=1e-6)
    inside = times[(times > 0.0) & (times < 10.0)]
    expected = np.interp(inside, times, levels)
    if len(inside) > 1:
        assert np.abs(np.asarray(levels_at(painted, inside)) - np.clip(expected, -100, 20)).max() <= TOLERANCE_DB + 1e-6


def test_a_line_is_cut_off_at_the_ends_of_the_strip() -> None:
    stroke = Stroke(0.1, -3.0, -20)
    stroke.move(30.0, -20)
    painted = paint(SILENT, stroke.points(), start_s=2.0, end_s=5.0)
    assert levels_at(painted, [1.9, 2.0, 3.0, 5.0, 5.1]) == pytest.approx([-100, -20, -20, -20, -100])
    assert len(painted) <= 6


def test_a_smooth_line_has_few_keys_and_stays_between_silence_and_the_top() -> None:
    stroke = Stroke(0.01, 1.0, -100)
    for step in range(200):
        stroke.move(1 + step / 50, -50 + 50 * np.sin(step / 20))
    painted = paint(SILENT, stroke.points(), start_s=0.0, end_s=10.0)
    assert len(painted) < 60
    assert all(-100 <= key.level_db <= 20 for key in painted)
