"""Agreement of curves on cases with known results."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_engine.evaluation.curve_agreement import Summary, agreement, best_lag, correlation, summary

RATE_HZ = 25
CURVE = np.sin(np.arange(128) / 5.0).astype(np.float32) - 5
curves = st.lists(st.floats(-11.5, 3.0, width=32), min_size=8, max_size=40).map(lambda row: np.array(row, np.float32))


def test_a_curve_agrees_with_itself() -> None:
    found = agreement(CURVE, CURVE, RATE_HZ)
    assert found.mae_nats == 0.0
    assert found.correlation == pytest.approx(1.0)
    assert found.best_correlation == pytest.approx(1.0)
    assert found.best_lag_s == 0.0


def test_an_upside_down_curve_disagrees() -> None:
    assert correlation(CURVE, -CURVE) == pytest.approx(-1.0)


def test_a_level_offset_changes_the_error_only() -> None:
    found = agreement(CURVE, CURVE - 1.5, RATE_HZ)
    assert found.mae_nats == pytest.approx(1.5, abs=1e-5)
    assert found.correlation == pytest.approx(1.0)


@pytest.mark.parametrize("frames", [-5, -2, 0, 3, 5])
def test_a_shifted_curve_is_found_at_its_lag(frames: int) -> None:
    rough = np.random.default_rng(0).standard_normal(140).astype(np.float32)
    found = agreement(rough[6:-6], np.roll(rough, frames)[6:-6], RATE_HZ)
    assert found.best_correlation == pytest.approx(1.0)
    assert found.best_lag_s == frames / RATE_HZ


def test_a_shift_beyond_the_lag_is_not_found() -> None:
    rough = np.random.default_rng(0).standard_normal(140).astype(np.float32)
    found = best_lag(rough[10:-10], np.roll(rough, 6)[10:-10], RATE_HZ)
    assert found is not None
    assert found[0] < 0.5


def test_a_constant_curve_has_no_correlation() -> None:
    flat = np.full(128, -11.5129, np.float32)
    for found in (agreement(CURVE, flat, RATE_HZ), agreement(flat, CURVE, RATE_HZ), agreement(flat, flat, RATE_HZ)):
        assert found.correlation is None
        assert found.best_correlation is None
        assert found.best_lag_s is None
    assert agreement(flat, flat, RATE_HZ).mae_nats == 0.0


@given(curves, st.integers(0, 2**32 - 1))
def test_correlations_are_bounded_and_symmetric(curve: np.ndarray, seed: int) -> None:
    other = np.random.default_rng(seed).standard_normal(curve.size).astype(np.float32)
    there, back = agreement(curve, other, RATE_HZ), agreement(other, curve, RATE_HZ)
    assert there.mae_nats == pytest.approx(back.mae_nats)
    if there.correlation is not None:
        assert abs(there.correlation) <= 1 + 1e-6
        assert there.correlation == pytest.approx(back.correlation)
        assert there.best_correlation is not None
        assert there.best_correlation >= there.correlation
        assert there.best_correlation == pytest.approx(back.best_correlation, abs=1e-6)


def test_the_worse_tenth_lies_on_the_worse_side() -> None:
    values = np.arange(101) / 100
    assert summary(values) == Summary(101, 0, pytest.approx(0.5), pytest.approx(0.5), pytest.approx(0.1))
    assert summary(values, errors=True).worse_tenth == pytest.approx(0.9)


def test_undefined_values_are_counted_or_replaced() -> None:
    assert summary([1.0, None, 0.5, None]) == Summary(4, 2, 0.75, 0.75, pytest.approx(0.55))
    assert summary([1.0, None], undefined_as=0.0) == Summary(2, 1, 0.5, 0.5, pytest.approx(0.1))
    assert summary([None]) == Summary(1, 1, None, None, None)
    assert summary([]) == Summary(0, 0, None, None, None)


@given(st.lists(st.floats(-1, 1), min_size=1), st.randoms(use_true_random=False))
def test_a_summary_does_not_depend_on_order_and_stays_within_its_values(values: list[float], dice: object) -> None:
    found = summary(values)
    shuffled = list(values)
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    again = summary(shuffled)
    assert again.mean == pytest.approx(found.mean)
    assert (again.median, again.worse_tenth) == (found.median, found.worse_tenth)
    assert min(values) <= found.worse_tenth <= found.median <= max(values)
