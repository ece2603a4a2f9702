"""Events of an energy curve: found at their times, separate, and none in steady sound."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rewas_engine import SILENCE_NATS, EnergyCurve, SettingsError, find_events, onset_strengths
from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig

nats = st.floats(-11.5, 4, width=32)
curves = st.builds(
    EnergyCurve,
    arrays.arrays(np.float32, st.integers(1, 200), elements=nats | st.just(np.float32(SILENCE_NATS))),
    st.sampled_from([Fraction(25), Fraction(100), Fraction(24_000, 1001)]),
)


def strikes(times_s: list[float], peaks: list[float], floor: float = SILENCE_NATS, rate_hz: int = 100) -> EnergyCurve:
    """Four seconds of a constant level with strikes that rise at once and fall by 20 nats per second."""
    curve_times_s = (np.arange(4 * rate_hz) + 0.5) / rate_hz
    values = np.full(curve_times_s.size, floor)
    for time_s, peak in zip(times_s, peaks, strict=True):
        after_s = curve_times_s - time_s
        values = np.maximum(values, np.where(after_s >= 0, peak - 20 * after_s, floor))
    return EnergyCurve(values, Fraction(rate_hz))


@pytest.mark.parametrize("floor", [SILENCE_NATS, -8.0])
@pytest.mark.parametrize("rate_hz", [25, 100])
def test_strikes_are_found_at_their_times(floor: float, rate_hz: int) -> None:
    times_s, peaks = [0.5, 1.24, 2.0, 3.4], [-3.0, -5.0, -2.0, -4.0]
    events = find_events(strikes(times_s, peaks, floor, rate_hz))
    assert [event.number for event in events] == [1, 2, 3, 4]
    np.testing.assert_allclose([event.time_s for event in events], times_s, atol=0.5 / rate_hz + 1e-6)
    np.testing.assert_allclose([event.peak_nats for event in events], peaks, atol=20 * 0.5 / rate_hz + 1e-4)
    for event in events:
        assert event.strength_nats == pytest.approx(event.peak_nats - floor, abs=1e-4)
        # Nine tenths of the way down at 20 nats a second.
        assert event.length_s == pytest.approx(0.9 * event.strength_nats / 20, abs=1.5 / rate_hz)


@pytest.mark.parametrize("background", [0.0, 0.003])
@pytest.mark.parametrize("decay_s", [0.001, 0.02, 0.1])
def test_the_onsets_of_a_sound_are_found_in_its_energy(background: float, decay_s: float) -> None:
    rng = np.random.default_rng(0)
    rate_hz, times_s = 16_000, [0.5137, 1.24, 2.0082, 3.4]
    sound = background * rng.standard_normal(4 * rate_hz)
    for time_s in times_s:
        after_s = np.arange(round(0.5 * rate_hz)) / rate_hz
        sound[round(time_s * rate_hz) :][: after_s.size] += (
            0.2 * rng.standard_normal(after_s.size) * np.exp(-after_s / decay_s)
        )
    energy = AudioFrontEnd(MelConfig()).measure_energy(sound.astype(np.float32))
    events = find_events(EnergyCurve(energy.values, energy.rate_hz))
    np.testing.assert_allclose([event.time_s for event in events], times_s, atol=0.01)


def test_events_at_the_start_and_end_of_the_clip_count() -> None:
    decaying = EnergyCurve(np.linspace(-2, -11, 100), Fraction(100))
    (event,) = find_events(decaying)
    assert (event.time_s, event.start_index, event.end_index) == (0, 0, 99)
    lasting = EnergyCurve(np.r_[np.full(50, SILENCE_NATS), np.full(50, -5)], Fraction(100))
    (event,) = find_events(lasting)
    assert event.time_s == pytest.approx(0.5, abs=0.01)
    assert event.length_s == pytest.approx(0.5, abs=0.01)
    assert (event.start_index, event.end_index) == (50, 100)


def test_a_slow_swell_begins_where_it_starts_to_rise() -> None:
    swell = EnergyCurve(np.r_[np.linspace(-11, -3, 200), np.linspace(-3, -11, 200)], Fraction(100))
    (event,) = find_events(swell)
    assert event.time_s == pytest.approx(0.4, abs=0.02)


@given(nats, st.integers(1, 100))
def test_a_steady_level_has_no_events(level: float, count: int) -> None:
    rng = np.random.default_rng(count)
    assert find_events(EnergyCurve(level + rng.uniform(-0.2, 0.2, count), Fraction(100))) == ()


@given(curves, st.floats(0.1, 5))
def test_events_are_ordered_separate_and_within_the_curve(curve: EnergyCurve, rise: float) -> None:
    events = find_events(curve, rise)
    end = 0
    for number, event in enumerate(events, start=1):
        assert event.number == number
        assert end <= event.start_index < event.end_index <= curve.values.size
        end = event.end_index
        assert event.start_index - 1 <= event.time_s * float(curve.rate_hz) <= event.end_index
        assert event.length_s > 0
        assert event.time_s + event.length_s <= float(curve.duration_s) + 1e-9
        assert event.strength_nats >= rise - 1e-5
        own = curve.values[event.start_index : event.end_index]
        assert event.peak_nats == pytest.approx(max(own.max(), SILENCE_NATS))
    assert [event.time_s for event in events] == sorted(event.time_s for event in events)


@given(curves, st.floats(0.1, 3), st.floats(0, 3))
def test_a_higher_threshold_finds_no_more_events(curve: EnergyCurve, rise: float, more: float) -> None:
    assert len(find_events(curve, rise + more)) <= len(find_events(curve, rise))


@pytest.mark.parametrize("rise", [0, -1, float("nan"), float("inf")])
def test_an_invalid_rise_is_refused(rise: float) -> None:
    with pytest.raises(SettingsError, match="minimum rise"):
        find_events(EnergyCurve(np.zeros(3), Fraction(25)), rise)


def test_onsets_are_at_event_starts_and_stronger_for_louder_events() -> None:
    onsets = onset_strengths(strikes([0.505, 2.005], [-3.0, -6.0]), rate_hz=Fraction(100), count=400)
    assert np.flatnonzero(onsets).tolist() == pytest.approx([50, 200], abs=1)
    first, second = onsets[onsets > 0]
    assert 0 < second < first <= 1
    assert not onset_strengths(strikes([], []), rate_hz=Fraction(100), count=400).any()


@given(curves, st.sampled_from([Fraction(25), Fraction(100)]), st.integers(1, 300))
def test_onsets_have_the_rate_of_the_control(curve: EnergyCurve, rate_hz: Fraction, count: int) -> None:
    onsets = onset_strengths(curve, rate_hz=rate_hz, count=count)
    assert onsets.shape == (count,)
    assert 0 <= onsets.min() <= onsets.max() <= 1
    assert np.count_nonzero(onsets) <= len(find_events(curve))
