"""Events of drawn curves: what is found, and what isolating, muting, boosting and moving one does."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rewas_nle.timeline.energy_events import (
    EnergyEvent,
    boost_event,
    event_at,
    find_events,
    isolate_event,
    move_event,
    mute_event,
)
from rewas_nle.timeline.energy_keys import LOUDEST_DB, SILENCE_DB, EnergyKey, levels_at

TWO_STRIKES = tuple(
    EnergyKey(time_s, level_db)
    for time_s, level_db in ((0, -100), (1, -100), (1.02, -20), (1.5, -60), (2, -60), (2.05, -30), (3, -100), (4, -100))
)
AT = np.linspace(0, 4, 4001)


def levels(keys: tuple[EnergyKey, ...], at: np.ndarray = AT) -> np.ndarray:
    return np.asarray(levels_at(keys, at))


@st.composite
def curves(draw: st.DrawFn) -> tuple[EnergyKey, ...]:
    steps = draw(st.lists(st.floats(0.01, 1), min_size=2, max_size=30))
    values = draw(st.lists(st.floats(SILENCE_DB, 0), min_size=len(steps), max_size=len(steps)))
    return tuple(map(EnergyKey, np.cumsum(steps).tolist(), values))


def test_strikes_are_found_between_their_valleys() -> None:
    first, second = find_events(TWO_STRIKES)
    assert first == EnergyEvent(1, 1.02, 1.5, -100, -20, -60)
    assert second == EnergyEvent(2, 2.05, 3, -60, -30, -100)
    assert event_at((first, second), 1.2) is first
    assert event_at((first, second), 1.7) is None


def test_a_steady_sound_is_not_an_event() -> None:
    assert find_events([EnergyKey(0, -40), EnergyKey(1, -38), EnergyKey(2, -40)]) == ()
    assert find_events([EnergyKey(0, -40)]) == ()
    assert find_events([]) == ()


def test_an_event_may_be_cut_off_by_the_end_of_the_curve() -> None:
    (start,) = find_events([EnergyKey(0, -20), EnergyKey(1, -60)])
    assert start == EnergyEvent(0, 0, 1, -60, -20, -60)
    (end,) = find_events([EnergyKey(0, -70), EnergyKey(1, -20)])
    assert end == EnergyEvent(0, 1, 1, -70, -20, -70)


@given(curves())
def test_events_are_in_order_and_do_not_overlap(curve: tuple[EnergyKey, ...]) -> None:
    events = find_events(curve)
    for event in events:
        assert event.start_s <= event.peak_s <= event.end_s
        assert event.peak_db == pytest.approx(levels(curve, [event.peak_s])[0])
        inside = levels(curve, np.linspace(event.start_s, event.end_s, 500))
        assert event.peak_db >= inside.max() - 1e-9
    for before, after in pairwise(events):
        assert before.end_s <= after.start_s


@given(curves(), st.data())
def test_a_muted_event_is_gone_and_the_rest_is_as_it_was(curve: tuple[EnergyKey, ...], data: st.DataObject) -> None:
    events = find_events(curve)
    assume(events)
    event = data.draw(st.sampled_from(events))
    muted = mute_event(curve, event)
    at = np.linspace(0, 31, 2000)
    before, after = levels(curve, at), levels(muted, at)
    assert (after <= before + 1e-6).all()
    outside = (at < event.start_s) | (at > event.end_s)
    if event.start_s > curve[0].time_s and event.end_s < curve[-1].time_s:
        assert after[outside] == pytest.approx(before[outside], abs=1e-6)
    inside = np.linspace(event.start_s, event.end_s, 200)
    assert levels(muted, inside).max() <= max(event.start_db, event.end_db) + 1e-6


def test_muting_leaves_the_background() -> None:
    first, second = find_events(TWO_STRIKES)
    muted = levels(mute_event(TWO_STRIKES, first))
    assert muted[1250] == pytest.approx(-80, abs=0.1)
    assert muted[2050] == pytest.approx(-30)
    assert len(find_events(mute_event(TWO_STRIKES, second))) == 1


def test_isolating_silences_everything_else() -> None:
    first, _ = find_events(TWO_STRIKES)
    alone = isolate_event(TWO_STRIKES, first)
    assert levels(alone).max() == pytest.approx(-20)
    outside = (AT < 1) | (AT > 1.5)
    assert (levels(alone)[outside] == SILENCE_DB).all()
    (event,) = find_events(alone)
    assert event.peak_s == 1.02
    assert len(alone) < 8


@given(curves(), st.floats(-60, 60), st.data())
def test_boosting_moves_the_peak_and_never_goes_below_the_background(
    curve: tuple[EnergyKey, ...], change_db: float, data: st.DataObject
) -> None:
    events = find_events(curve)
    assume(events)
    event = data.draw(st.sampled_from(events))
    boosted, muted = boost_event(curve, event, change_db), mute_event(curve, event)
    at = np.linspace(0, 31, 2000)
    assert (levels(boosted, at) >= levels(muted, at) - 1e-6).all()
    beneath = levels(muted, [event.peak_s])[0]
    expected = max(min(event.peak_db + change_db, LOUDEST_DB), beneath)
    assert levels(boosted, [event.peak_s])[0] == pytest.approx(expected, abs=1e-6)


@given(curves(), st.floats(-40, 40), st.data())
def test_a_moved_event_keeps_its_peak_within_the_strip(
    curve: tuple[EnergyKey, ...], by_s: float, data: st.DataObject
) -> None:
    events = find_events(curve)
    assume(events)
    event = data.draw(st.sampled_from(events))
    start_s, end_s = curve[0].time_s, curve[-1].time_s
    moved = move_event(curve, event, by_s, start_s=start_s, end_s=end_s)
    peak_s = min(max(event.peak_s + by_s, start_s), end_s)
    assert levels(moved, [peak_s])[0] >= event.peak_db - 1e-3
    assert (moved[0].time_s, moved[-1].time_s) == pytest.approx((start_s, end_s))
    assert all(before.time_s < after.time_s for before, after in pairwise(moved))


def test_moving_leaves_the_background_behind() -> None:
    _, second = find_events(TWO_STRIKES)
    moved = move_event(TWO_STRIKES, second, 1.0, start_s=0, end_s=4)
    assert [event.peak_s for event in find_events(moved)] == pytest.approx([1.02, 3.05])
    assert levels(moved)[2050] < -60
    assert move_event(TWO_STRIKES, second, 0.0, start_s=0, end_s=4) == TWO_STRIKES
