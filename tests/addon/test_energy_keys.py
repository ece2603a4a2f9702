"""The keys of a drawn energy: they stay near the curve that they replace, and keep its ends and its silence."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_nle.timeline.energy_keys import (
    LOUDEST_DB,
    MIN_GAP_S,
    SILENCE_DB,
    SILENCE_NATS,
    EnergyKey,
    cut_keys,
    decimate,
    keys_from_curve,
    level_at,
    levels_at,
    normalise_keys,
    shift_keys,
)
from rewas_nle.timeline.takes import EnergyCurve

levels = st.one_of(st.just(SILENCE_DB), st.floats(SILENCE_DB, LOUDEST_DB))
curves = st.lists(levels, min_size=1, max_size=200)
key_lists = st.lists(st.tuples(st.floats(-50, 50), st.floats(-200, 100)), min_size=1, max_size=30).map(normalise_keys)


@given(curves, st.floats(0, 20))
def test_the_lines_between_keys_pass_each_sample_within_the_tolerance(curve: list[float], tolerance_db: float) -> None:
    times_s = [(index + 0.5) / 62.5 for index in range(len(curve))]
    keys = decimate(times_s, curve, tolerance_db)
    assert (keys[0], keys[-1]) == ((times_s[0], curve[0]), (times_s[-1], curve[-1]))
    between = np.asarray(levels_at(keys, times_s))
    assert np.abs(between - curve).max() <= tolerance_db + 1e-9
    silent = np.asarray(curve) == SILENCE_DB
    assert (between[silent] == SILENCE_DB).all()
    assert (between[~silent] > SILENCE_DB).all() or min(np.asarray(curve)[~silent]) < SILENCE_DB + 1e-9
    assert set(keys) <= {*zip(times_s, curve, strict=True)}


def test_a_straight_line_needs_two_keys_and_a_strike_few() -> None:
    times_s = [index / 62.5 for index in range(625)]
    assert len(decimate(times_s, [time_s - 40 for time_s in times_s])) == 2
    strike = [-80.0 if time_s < 3 else max(-80.0, -20 - 6 * (time_s - 3)) for time_s in times_s]
    assert len(decimate(times_s, strike)) <= 6


def test_a_curve_of_the_contract_becomes_keys_at_the_centres_of_its_samples() -> None:
    curve = EnergyCurve(Fraction(4), (SILENCE_NATS, SILENCE_NATS, 0.0))
    assert keys_from_curve(curve, Fraction(10)) == (
        pytest.approx((10.125, -100)),
        pytest.approx((10.375, -100)),
        pytest.approx((10.625, 0)),
    )
    assert keys_from_curve(curve, Fraction(0))[1].level_db == SILENCE_DB
    assert keys_from_curve(EnergyCurve(Fraction(4), ()), Fraction(0)) == ()


@given(key_lists)
def test_keys_are_in_order_and_within_limits(keys: tuple[EnergyKey, ...]) -> None:
    assert all(after.time_s - before.time_s >= MIN_GAP_S for before, after in itertools.pairwise(keys))
    assert all(SILENCE_DB <= key.level_db <= LOUDEST_DB for key in keys)
    assert normalise_keys(reversed(keys)) == keys


def test_of_keys_at_one_time_the_last_counts() -> None:
    assert normalise_keys([(1, -10), (0, -20), (1, -30)]) == ((0, -20), (1, -30))


@given(key_lists, st.fractions(-60, 60), st.fractions(Fraction(1, 100), 60), st.floats(0, 1))
def test_a_range_has_the_same_levels_and_a_key_at_either_end(
    keys: tuple[EnergyKey, ...], start_s: Fraction, duration_s: Fraction, share: float
) -> None:
    cut = cut_keys(keys, start_s, duration_s)
    assert cut[0].time_s == 0
    assert cut[-1].time_s == pytest.approx(float(duration_s), abs=1e-9)
    assert all(after.time_s > before.time_s for before, after in itertools.pairwise(cut))
    inner = [float(start_s) + key.time_s for key in cut[1:-1]]
    assert [level_at(keys, time_s) for time_s in inner] == pytest.approx([key.level_db for key in cut[1:-1]], abs=1e-3)
    if len(cut) > 2:
        time_s = cut[1].time_s + share * (cut[-2].time_s - cut[1].time_s)
        assert level_at(cut, time_s) == pytest.approx(level_at(keys, float(start_s) + time_s), abs=0.5)


def test_a_curve_without_keys_has_no_level() -> None:
    assert shift_keys((EnergyKey(1.0, -5.0),), 2.0) == ((3.0, -5.0),)
    with pytest.raises(ValueError, match="without keys"):
        level_at((), 1.0)
