"""Loudness and true peak, compared with pyloudnorm and with signals whose values are known."""

from fractions import Fraction

import numpy as np
import pyloudnorm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewas_engine.media.audio import fade_ends
from rewas_engine.media.loudness import (
    _STANDARD_PHASES,
    _Oversampler,
    integrated_loudness_lufs,
    limit_true_peak,
    true_peak_of,
)
from rewas_engine.media.stem import Stem
from rewas_engine.requests.gains import apply_gains
from rewas_engine.requests.regeneration import Regenerate


def tone(frequency_hz: float, level_db: float, *, rate_hz: int = 48_000, duration_s: float = 5.0) -> np.ndarray:
    times_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    return (10 ** (level_db / 20) * np.sin(2 * np.pi * frequency_hz * times_s + 0.7)).astype(np.float32)[None]


def test_the_calibration_signal_of_the_standard_has_its_loudness() -> None:
    # EBU Tech 3341, case 1: a stereo sine of 1000 Hz at -23 dBFS has -23 LUFS.
    stereo = np.repeat(tone(1000, -23), 2, axis=0)
    assert integrated_loudness_lufs(stereo, 48_000) == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize("channels", [6, 8, 16])
def test_sounds_with_more_channels_than_the_meter_takes(channels: int) -> None:
    one = tone(1000, -23)
    expected = integrated_loudness_lufs(one, 48_000) + 10 * np.log10(channels)
    assert integrated_loudness_lufs(np.repeat(one, channels, axis=0), 48_000) == pytest.approx(expected, abs=0.01)
    assert integrated_loudness_lufs(np.zeros((channels, 48_000), np.float32), 48_000) is None


@given(st.integers(0, 1000), st.floats(0.5, 20), st.floats(-60, -1))
@settings(max_examples=20)
def test_it_agrees_with_pyloudnorm(seed: int, duration_s: float, level_db: float) -> None:
    rng = np.random.default_rng(seed)
    sound = (
        rng.standard_normal(round(16_000 * duration_s))
        * np.repeat(rng.random(20), -(-16_000 * 20 // 20))[: round(16_000 * duration_s)]
    )
    sound *= 10 ** (level_db / 20) / np.abs(sound).max()
    theirs = pyloudnorm.Meter(16_000).integrated_loudness(sound)
    ours = integrated_loudness_lufs(sound[None].astype(np.float32), 16_000)
    assert (ours is None and theirs < -69) or ours == pytest.approx(theirs, abs=0.05)


def test_long_sounds_are_measured_in_pieces() -> None:
    rng = np.random.default_rng(3)
    sound = 0.1 * rng.standard_normal(8000 * 150)
    sound[8000 * 70 :] *= 0.5
    whole = pyloudnorm.Meter(8000).integrated_loudness(sound)
    assert integrated_loudness_lufs(sound[None], 8000) == pytest.approx(whole, abs=0.05)


def test_silence_has_no_loudness_and_a_short_sound_has_one() -> None:
    assert integrated_loudness_lufs(np.zeros((1, 48_000), np.float32), 48_000) is None
    short = integrated_loudness_lufs(tone(1000, -20, duration_s=0.1), 48_000)
    assert short == pytest.approx(-23, abs=1)


@pytest.mark.parametrize("count", [1, 5, 50])
def test_no_place_between_two_parts_is_left_out(count: int) -> None:
    for seed in range(20):
        sound = np.random.default_rng(seed).standard_normal((100, 1)).astype(np.float32)
        whole, parted = (_Oversampler(_STANDARD_PHASES.T.ravel(), len(_STANDARD_PHASES)) for _ in range(2))
        peak = max(whole.peak(sound), whole.last_peak())
        parts = [parted.peak(sound[at : at + count]) for at in range(0, 100, count)]
        assert max(*parts, parted.last_peak()) == pytest.approx(peak, rel=1e-6)


def test_the_true_peak_lies_between_the_samples() -> None:
    # EBU Tech 3341, case 15: a quarter of the sample rate, with samples at 45 degrees.
    samples = np.tile(np.array([0.5, 0.5, -0.5, -0.5], np.float32), 4000)[None]
    samples[:, :200] *= np.linspace(0, 1, 200)
    samples[:, -200:] *= np.linspace(1, 0, 200)
    assert np.abs(samples).max() == 0.5
    assert 20 * np.log10(true_peak_of(samples, 48_000)) == pytest.approx(20 * np.log10(0.5 * 2**0.5), abs=0.1)


@given(st.integers(0, 1000), st.floats(0.1, 20))
@settings(max_examples=20)
def test_a_limited_sound_stays_below_the_ceiling(seed: int, gain: float) -> None:
    rng = np.random.default_rng(seed)
    limited = limit_true_peak((gain * rng.standard_normal((1, 4000))).astype(np.float32), 16_000)
    assert 20 * np.log10(true_peak_of(limited, 16_000)) <= -1.0


@given(st.integers(0, 10**6), st.floats(0.3, 20), st.integers(1, 3), st.sampled_from([16_000, 44_100, 48_000]))
@settings(max_examples=30, deadline=None)
def test_limiting_a_limited_take_again_changes_no_sample(seed: int, gain: float, count: int, rate_hz: int) -> None:
    rng = np.random.default_rng(seed)
    stems = {
        str(number): Stem(str(number), (gain * rng.standard_normal((1, 4000))).astype(np.float32), rate_hz)
        for number in range(count)
    }
    once = apply_gains(stems, dict.fromkeys(stems, 0.0))
    again = apply_gains(once, dict.fromkeys(stems, 0.0))
    for role, stem in once.items():
        assert np.array_equal(again[role].waveform, stem.waveform)
        assert np.array_equal(limit_true_peak(stem.waveform, rate_hz), stem.waveform)


@given(st.integers(0, 10**6), st.floats(1, 20))
@settings(max_examples=30, deadline=None)
def test_a_loud_new_range_changes_no_kept_sample(seed: int, gain: float) -> None:
    rng, rate_hz = np.random.default_rng(seed), 48_000
    loud, new = (Stem("primary", gain * rng.standard_normal((1, rate_hz)).astype(np.float32), rate_hz) for _ in "ab")
    kept = apply_gains({"primary": loud}, {"primary": 0.0})["primary"]
    spliced = Regenerate(kept, Fraction(1, 2), 1).splice(limit_true_peak(new.waveform, rate_hz), Fraction(1))
    delivered = apply_gains({"primary": Stem("primary", spliced, rate_hz)}, {"primary": 0.0})["primary"]
    before_crossfade = rate_hz * 45 // 100
    assert np.array_equal(delivered.waveform[:, :before_crossfade], kept.waveform[:, :before_crossfade])


def test_ends_that_cut_a_sound_are_faded_and_others_stay() -> None:
    running = tone(200, -6, duration_s=0.5)
    faded = running.copy()
    fade_ends(faded, 48_000)
    assert np.abs(faded[0, [0, -1]]).max() < 1e-3
    assert np.array_equal(faded[0, 240:-240], running[0, 240:-240])
    strike = running * np.exp(-np.arange(running.shape[1]) / 1000).astype(np.float32)
    strike[0, 0] = 0
    kept = strike.copy()
    fade_ends(kept, 48_000)
    assert np.array_equal(kept, strike)
