"""Energy curves: validation, resampling, smoothing, and agreement of two curves."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rewas_engine import SILENCE_NATS, EnergyCurve, SettingsError
from rewas_engine.curves.energy import energy_agreement

nats = st.floats(-11.5, 4, width=32)
curves = arrays.arrays(np.float32, st.integers(1, 300), elements=nats)
rates = st.sampled_from([Fraction(25), Fraction(100), Fraction(24_000, 1001), Fraction(175, 8), Fraction(1)])


@pytest.mark.parametrize(
    ("values", "rate_hz", "message"),
    [
        ([], 25, "empty"),
        ([[1.0, 2.0]], 25, "empty|one row"),
        ([-5.0], 0, "rate is 0"),
        ([-5.0], -25, "rate is -25"),
        ([-5.0], float("nan"), "rate"),
        ([-5.0], "fast", "rate"),
        ([-5.0, float("nan")], 25, "Value 1 .* nan"),
        ([float("-inf"), 0.0], 25, "Value 0 .* -inf"),
        ([-5.0, -4.0, 5.5], 25, "Value 2 .* 5.5 nats"),
        (["loud"], 25, "numbers"),
    ],
)
def test_invalid_curves_are_refused(values, rate_hz, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        EnergyCurve(values, rate_hz)


def test_a_curve_keeps_a_read_only_copy() -> None:
    values = np.full(4, -3.0, np.float32)
    curve = EnergyCurve(values, Fraction(25))
    values[0] = 1
    assert curve.values[0] == -3
    with pytest.raises(ValueError, match="read-only"):
        curve.values[0] = 1


@given(curves, rates)
def test_values_are_at_the_centres_of_their_intervals(values, rate_hz: Fraction) -> None:
    curve = EnergyCurve(values, rate_hz)
    assert curve.duration_s == Fraction(len(values)) / rate_hz
    assert curve.times_s()[0] == pytest.approx(float(1 / rate_hz / 2))
    assert curve.times_s()[-1] == pytest.approx(float(curve.duration_s - 1 / rate_hz / 2))


@given(curves, rates)
def test_resampling_at_the_same_rate_changes_nothing(values, rate_hz: Fraction) -> None:
    np.testing.assert_allclose(EnergyCurve(values, rate_hz).resample(rate_hz, len(values)), values, atol=1e-5)


@given(curves, rates, st.integers(1, 500))
def test_resampled_values_stay_between_the_extremes(values, rate_hz: Fraction, count: int) -> None:
    read = EnergyCurve(values, rate_hz).resample(100, count)
    assert read.shape == (count,)
    assert read.dtype == np.float32
    assert values.min() - 1e-5 <= read.min() <= read.max() <= values.max() + 1e-5


def test_resampling_is_linear_and_constant_beyond_the_ends() -> None:
    curve = EnergyCurve(np.array([-8, -4], np.float32), Fraction(1))
    np.testing.assert_allclose(curve.resample(4, 10), [-8, -8, -7.5, -6.5, -5.5, -4.5, -4, -4, -4, -4])


def test_scaling_multiplies_the_height_above_silence() -> None:
    curve = EnergyCurve(np.array([SILENCE_NATS, -1.5129], np.float32), Fraction(25), "picture")
    np.testing.assert_allclose(curve.scale(0).values, SILENCE_NATS, atol=1e-5)
    np.testing.assert_allclose(curve.scale(0.5).values, [SILENCE_NATS, -6.5129], atol=1e-3)
    np.testing.assert_allclose(curve.scale(1).values, curve.values, atol=1e-5)
    assert curve.scale(0.5).source == "picture"


@pytest.mark.parametrize("factor", [-0.1, float("nan"), 2.0, float("inf")])
def test_invalid_scale_factors_are_refused(factor: float) -> None:
    with pytest.raises(SettingsError):
        EnergyCurve(np.array([-1.0], np.float32), Fraction(25)).scale(factor)


def test_smoothing_keeps_a_parabola_and_lowers_a_spike() -> None:
    times = np.arange(40, dtype=np.float32)
    parabola = EnergyCurve(-4 - (times - 20) ** 2 / 100, Fraction(25))
    np.testing.assert_allclose(parabola.smooth().values, parabola.values, atol=1e-4)
    spike = np.full(40, -8, np.float32)
    spike[20] = 0
    # The centre weight of Savitzky-Golay (9, 2) is 59/231.
    assert EnergyCurve(spike, Fraction(25)).smooth().values[20] == pytest.approx(-8 + 8 * 59 / 231, abs=1e-4)


@given(curves, rates)
def test_smoothing_works_at_every_length(values, rate_hz: Fraction) -> None:
    values = np.minimum(values, 0)
    smoothed = EnergyCurve(values, rate_hz).smooth()
    assert smoothed.values.size == values.size
    assert smoothed.rate_hz == rate_hz


def test_smoothing_a_loud_edge_gives_a_valid_curve() -> None:
    values = np.full(40, SILENCE_NATS, np.float32)
    values[20:] = 4.9
    smoothed = EnergyCurve(values, Fraction(25)).smooth().values
    assert smoothed.max() <= 5
    assert smoothed[0] == pytest.approx(SILENCE_NATS, abs=1e-3)


def test_agreement_of_a_curve_with_itself_is_perfect() -> None:
    curve = np.sin(np.arange(100, dtype=np.float32) / 9)
    assert energy_agreement(curve, curve) == (0.0, pytest.approx(1.0))


def test_a_level_offset_changes_the_error_but_not_the_correlation() -> None:
    curve = np.sin(np.arange(100, dtype=np.float32) / 9)
    mae_nats, correlation = energy_agreement(curve, curve - 2)
    assert mae_nats == pytest.approx(2, abs=1e-5)
    assert correlation == pytest.approx(1, abs=1e-5)


def test_agreement_of_opposite_and_of_late_curves_is_low() -> None:
    curve = np.sin(np.arange(100, dtype=np.float32) * 2 * np.pi / 50)
    assert energy_agreement(curve, -curve)[1] == pytest.approx(-1)
    assert energy_agreement(curve, np.roll(curve, 12))[1] == pytest.approx(np.cos(2 * np.pi * 12 / 50), abs=0.01)


@pytest.mark.parametrize("level", [SILENCE_NATS, -3.0])
def test_a_constant_curve_has_no_correlation(level: float) -> None:
    curve = np.sin(np.arange(100, dtype=np.float32))
    constant = np.full(100, level, np.float32)
    assert energy_agreement(constant, curve)[1] is None
    assert energy_agreement(curve, constant)[1] is None
    assert energy_agreement(constant, constant) == (0.0, None)
    assert energy_agreement(curve[:1], curve[:1]) == (0.0, None)
