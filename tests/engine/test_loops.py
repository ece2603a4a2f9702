"""Circular sounds cut to another length: no step at the join, constant power, and no other change."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_engine import EnergyCurve, SettingsError
from rewas_engine.generation.loops import check_loop_join, shorten_loop

RATE_HZ, FADE = 16_000, 320


def circular_noise(samples: int, seed: int) -> np.ndarray:
    """Circular noise without its highest octave, so that it has no large steps."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(0, 0.1, samples))
    spectrum[len(spectrum) // 2 :] = 0
    return np.fft.irfft(spectrum, samples).astype(np.float32)


@given(st.integers(8000, 20_000), st.integers(0, 640), st.integers(0, 100))
def test_the_end_continues_with_the_start(length: int, left_out: int, seed: int) -> None:
    circle = circular_noise(length, seed)
    loop = shorten_loop(circle, length - left_out, FADE)
    assert loop.shape == (length - left_out,)
    original = np.abs(np.diff(circle, append=circle[:1]))[length - left_out - 1]
    assert abs(float(loop[0] - loop[-1])) == pytest.approx(float(original), abs=0.02 * float(np.abs(circle).max()))
    over = max(FADE, left_out)
    assert np.array_equal(loop[over:], circle[over : length - left_out])


@given(st.integers(8000, 20_000), st.integers(0, 100))
def test_a_complete_circle_is_not_changed(length: int, seed: int) -> None:
    circle = circular_noise(length, seed)
    np.testing.assert_allclose(shorten_loop(circle, length, FADE), circle, atol=1e-6)


@pytest.mark.parametrize("left_out", [1, 3, 40, 639])
def test_the_fade_keeps_the_power(left_out: int) -> None:
    powers = []
    for seed in range(60):
        circle = circular_noise(16_000, seed)
        powers.append(np.square(shorten_loop(circle, 16_000 - left_out, FADE)[:FADE]).mean() / np.square(circle).mean())
    assert np.mean(powers) == pytest.approx(1, abs=0.1)


def test_removing_one_sample_gives_no_jump() -> None:
    circle = np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    # Half a period less: without a fade, the end would meet the start with inverted sign.
    loop = shorten_loop(circle, RATE_HZ - 18, FADE)
    steps = np.abs(np.diff(np.concatenate([loop, loop])))
    assert steps.max() <= 1.1 * np.abs(np.diff(circle)).max()


def test_silence_stays_silence() -> None:
    assert not shorten_loop(np.zeros(1000, np.float32), 900, FADE).any()


def test_an_energy_with_a_break_at_the_join_is_refused() -> None:
    def joined(first: float, last: float, count: int = 300) -> None:
        check_loop_join(EnergyCurve(np.linspace(first, last, count).astype(np.float32), 100))

    with pytest.raises(SettingsError, match=r"ends at -3\.\d nats and begins at -11\.\d, so the loop would break off"):
        joined(-11.5, -3)
    # A strike after silence rises by the same amount.
    joined(-3, -11.5)
    joined(-4, -3.1)
    joined(-5, -5, 2)
