"""Cloth, paper, air and liquids that have no drawn picture. Their loudness follows the intensity [samples]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from rewas_engine.world.classes import SAMPLE_RATE_HZ
from rewas_engine.world.synthesis import (
    band,
    decay_curve,
    noise_burst,
    normalise_deviation,
    normalise_peak,
    place_grains,
    poisson_starts,
    shaped_noise,
)

FloatArray = NDArray[np.floating[Any]]


def _cloth(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """Clothes that rub: soft noise without a sharp edge, in slow sweeps of an arm."""
    weave_hz = rng.uniform(1100, 1700)
    rub = shaped_noise(rng, intensity.size, band(weave_hz, 2.6 * weave_hz, 1.2))
    folds = shaped_noise(rng, intensity.size, band(150, 420, 2.0))
    sweep = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(1.2, 2.2) * np.arange(intensity.size) / SAMPLE_RATE_HZ)
    flutter = np.clip(1 + 0.45 * shaped_noise(rng, intensity.size, band(3, 25, 2.0)), 0.1, None)
    return normalise_deviation((rub * (0.25 + 0.75 * sweep) + 0.4 * folds * (1 - 0.6 * sweep)) * flutter)


def _paper(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """Paper being crumpled: a dense crackle of snaps of very different strength over a dry rustle."""
    snaps = [
        normalise_peak(noise_burst(rng, 0.01, rng.uniform(0.0006, 0.0025), rng.uniform(1200, 3200), 7800))
        for _ in range(14)
    ]
    bursts = np.clip(1 + 0.35 * shaped_noise(rng, intensity.size, band(2, 9, 2.0)), 0.3, None)
    starts = poisson_starts(rng, (120 + 260 * intensity) * bursts)
    crackle = place_grains(intensity.size, starts, np.minimum(rng.exponential(1.0, starts.size) ** 1.5, 6.0), snaps)
    rustle = shaped_noise(rng, intensity.size, band(2500, 7500, 1.5)) * bursts
    return np.asarray(0.9 * normalise_deviation(crackle) + 0.4 * rustle)


def _whoosh(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """Something fast through the air: a band of noise that sweeps up and down as it passes."""
    turn_s = rng.uniform(0.35, 0.7)
    place = np.arange(intensity.size) / SAMPLE_RATE_HZ / turn_s % 1.0
    near = np.sin(np.pi * place) ** 2
    low_hz = rng.uniform(220, 360)
    bands = [
        shaped_noise(rng, intensity.size, band(low_hz * 2**step, low_hz * 2 ** (step + 1), 2.0)) for step in range(4)
    ]
    centre = 3.2 * near
    swept = sum(
        (np.exp(-1.2 * (centre - step) ** 2) * noise for step, noise in enumerate(bands)),
        start=np.zeros(intensity.size),
    )
    return normalise_deviation(swept * (0.45 + 0.55 * near))


def _bubble_tones(rng: np.random.Generator, count: int, low_hz: float, high_hz: float) -> list[FloatArray]:
    """Bubbles: each is a short tone that rises while it fades."""
    tones = []
    for frequency_hz in np.exp(rng.uniform(np.log(low_hz), np.log(high_hz), count)):
        times_s = np.arange(int(0.09 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        tone = np.sin(2 * np.pi * frequency_hz * times_s * (1 + rng.uniform(2.0, 6.0) * times_s))
        tones.append(tone * decay_curve(times_s.size, min(0.03, 14.0 / frequency_hz)))
    return tones


def _pouring(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """A drink being poured: small bubbles over a hiss, and the pitch of the vessel rises while it fills."""
    grains = _bubble_tones(rng, 20, 900, 3200)
    starts = poisson_starts(rng, 110 + 120 * intensity)
    bubbles = place_grains(intensity.size, starts, 0.2 + rng.exponential(1.0, starts.size), grains)
    times_s = np.arange(intensity.size) / SAMPLE_RATE_HZ
    fill = times_s / rng.uniform(3.0, 5.0) % 1.0
    tone_hz = rng.uniform(520, 700) * (1 + 1.3 * fill)
    vessel = np.sin(2 * np.pi * np.cumsum(tone_hz) / SAMPLE_RATE_HZ) * np.clip(
        1 + 0.7 * shaped_noise(rng, intensity.size, band(4, 40, 2.0)), 0, None
    )
    splash = shaped_noise(rng, intensity.size, band(2600, 7000, 1.5))
    return np.asarray(0.8 * normalise_deviation(bubbles) + 0.45 * vessel + 0.35 * splash)


def _bubbles(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """Large bubbles under water: low, round, slow tones, and hardly any noise."""
    grains = _bubble_tones(rng, 14, 160, 620)
    starts = poisson_starts(rng, 9 + 16 * intensity)
    deep = place_grains(intensity.size, starts, 0.4 + rng.exponential(0.7, starts.size), grains)
    water = shaped_noise(rng, intensity.size, band(60, 240, 2.0))
    return np.asarray(normalise_deviation(deep) + 0.18 * uniform_filter1d(water, 8))


MATERIALS: dict[str, Callable[[np.random.Generator, FloatArray], FloatArray]] = {
    "cloth_rustle": _cloth,
    "paper_crumple": _paper,
    "whoosh": _whoosh,
    "pouring": _pouring,
    "bubbles": _bubbles,
}
