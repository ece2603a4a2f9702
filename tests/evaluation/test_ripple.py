"""Ripple of the power within hops: none in noise and tones, high in pulses, independent of the level."""

import numpy as np
import pytest

from rewas_engine.curves.energy import FloatArray
from rewas_engine.evaluation.vocoding import hop_ripple, mean_ripple

HOP = 160


def noise(hops: int = 1000, seed: int = 0) -> FloatArray:
    return (0.1 * np.random.default_rng(seed).standard_normal(hops * HOP)).astype(np.float32)


def test_noise_has_no_more_ripple_than_chance() -> None:
    # The power of Gaussian noise has a standard deviation of √2 times its mean; over 1000 hops that is 0.045.
    assert hop_ripple(noise(), HOP) == pytest.approx((2 / 1000) ** 0.5, rel=0.2)


def test_one_pulse_per_hop_has_maximal_ripple() -> None:
    pulses = np.zeros(500 * HOP, np.float32)
    pulses[52::HOP] = 0.5
    assert hop_ripple(pulses, HOP) == pytest.approx((HOP - 1) ** 0.5)


def test_half_of_each_hop_silent_has_a_ripple_of_one() -> None:
    halves = (noise(4000).reshape(-1, HOP) * (np.arange(HOP) < HOP // 2)).reshape(-1)
    assert hop_ripple(halves, HOP) == pytest.approx(1.0, abs=0.03)


def test_a_tone_between_the_hops_has_no_ripple() -> None:
    tone = np.sin(2 * np.pi * 443.7 / 16_000 * np.arange(16_000 * 5)).astype(np.float32)
    ripple = hop_ripple(tone, HOP)
    assert ripple is not None
    assert ripple < 0.02


def test_neither_level_nor_a_single_strike_matters() -> None:
    sound = noise()
    assert hop_ripple(0.01 * sound, HOP) == pytest.approx(hop_ripple(sound, HOP), rel=1e-4)
    struck = sound.copy()
    struck[400 * HOP + 10] = 50.0
    assert hop_ripple(struck, HOP) == pytest.approx(hop_ripple(sound, HOP), abs=0.15)


def test_silent_or_short_sounds_have_no_ripple() -> None:
    assert hop_ripple(np.zeros(100 * HOP, np.float32), HOP) is None
    assert hop_ripple(noise(8), HOP) is None
    assert mean_ripple([np.zeros(100 * HOP, np.float32), noise()], HOP) == hop_ripple(noise(), HOP)
    assert mean_ripple([], HOP) == 0
