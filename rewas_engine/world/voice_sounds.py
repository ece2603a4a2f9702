"""Voices of people and animals that have no drawn picture. Their loudness follows the intensity [samples]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from rewas_engine.world.classes import SAMPLE_RATE_HZ
from rewas_engine.world.synthesis import (
    apply_filter,
    band,
    decay_curve,
    normalise_deviation,
    normalise_peak,
    place_grains,
    poisson_starts,
    resonances,
    shaped_noise,
)

FloatArray = NDArray[np.floating[Any]]


def _effort(intensity: FloatArray, lag_s: float = 0.03) -> FloatArray:
    return np.asarray(uniform_filter1d(intensity, int(lag_s * SAMPLE_RATE_HZ), mode="nearest"))


def _glottis(pitch_hz: FloatArray) -> FloatArray:
    """Pulses of a voice with this pitch [samples]: a sawtooth with a rounded edge."""
    cycles = np.cumsum(pitch_hz) / SAMPLE_RATE_HZ % 1.0
    return np.asarray((1 - cycles) ** 2.5 - 0.286)


def _wander(rng: np.random.Generator, samples: int, rate_hz: float) -> FloatArray:
    """A slow random curve with standard deviation 1."""
    return shaped_noise(rng, samples, band(0.2, rate_hz, 2.0))


def _formants(size: float, *centres_hz: float) -> Callable[[FloatArray], FloatArray]:
    centres = size * np.array(centres_hz)
    return resonances(centres, 0.09 * centres + 60, 1.0 / np.arange(1, centres.size + 1) ** 0.8)


def _speakers(rng: np.random.Generator, samples: int, count: int, low_hz: float, high_hz: float) -> FloatArray:
    """Several people who speak at once, in syllables of random vowels."""
    vowels = ((700, 1150, 2500), (480, 1750, 2500), (310, 2150, 2900), (500, 880, 2400), (350, 750, 2300))
    spoken = np.zeros((len(vowels), samples))
    for _ in range(count):
        pitch_hz = rng.uniform(low_hz, high_hz) * (1 + 0.08 * _wander(rng, samples, 3.0))
        source = _glottis(np.maximum(pitch_hz, 50)) + 0.05 * rng.standard_normal(samples)
        rate_hz = rng.uniform(3.5, 5.5)
        syllables = np.cumsum(np.full(samples, rate_hz) * (1 + 0.3 * _wander(rng, samples, 2.0))) / SAMPLE_RATE_HZ
        number = np.floor(syllables - syllables.min()).astype(np.int64)
        chosen = rng.integers(0, len(vowels), int(number.max()) + 1)
        speaks = (rng.random(int(number.max()) + 1) > 0.25).astype(float)[number]
        shape = np.sin(np.pi * (syllables % 1.0)) ** 0.7 * speaks
        spoken[chosen[number], np.arange(samples)] += source * shape
    size = rng.uniform(0.95, 1.15)
    return sum(
        (apply_filter(source, _formants(size, *vowel)) for source, vowel in zip(spoken, vowels, strict=True)),
        start=np.zeros(samples),
    )


def _chatter(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """A full restaurant: many voices, with a clink of cutlery now and then."""
    voices = normalise_deviation(_speakers(rng, intensity.size, 5, 95, 230))
    murmur = shaped_noise(rng, intensity.size, lambda f: band(180, 900, 2.0)(f))
    clinks = [
        normalise_peak(np.sin(2 * np.pi * hz * np.arange(800) / SAMPLE_RATE_HZ) * decay_curve(800, 0.012))
        for hz in rng.uniform(2500, 5200, 5)
    ]
    starts = poisson_starts(rng, 1.5 + 2.0 * intensity)
    cutlery = place_grains(intensity.size, starts, rng.uniform(0.2, 0.8, starts.size), clinks)
    return np.asarray(0.8 * voices + 0.45 * murmur + 0.5 * cutlery)


def _cheer(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """A crowd that cheers: open vowels of many voices that rise together, and whistles."""
    effort = _effort(intensity, 0.1)
    mix = np.zeros(intensity.size)
    for _ in range(6):
        pitch_hz = rng.uniform(180, 420) * (0.85 + 0.35 * effort) * (1 + 0.05 * _wander(rng, intensity.size, 2.0))
        mix += apply_filter(_glottis(pitch_hz), _formants(rng.uniform(0.95, 1.25), 750, 1250, 2600))
    roar = shaped_noise(rng, intensity.size, lambda f: _formants(1.1, 720, 1250, 2700)(f) * band(300, 4500, 1.5)(f))
    whistle_hz = rng.uniform(2300, 3200) * (1 + 0.12 * _wander(rng, intensity.size, 3.0))
    gate = (_wander(rng, intensity.size, 1.5) > 1.0).astype(float)
    whistle = np.sin(2 * np.pi * np.cumsum(whistle_hz) / SAMPLE_RATE_HZ) * uniform_filter1d(gate, 800)
    return np.asarray(0.6 * normalise_deviation(mix) + 0.75 * roar + 0.4 * whistle)


def _baby(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """A baby's cry: a high, strained voice whose pitch arches over each breath."""
    effort = _effort(intensity)
    breath = np.cumsum(np.full(intensity.size, rng.uniform(0.8, 1.2))) / SAMPLE_RATE_HZ % 1.0
    arch = np.sin(np.pi * np.clip(breath / 0.8, 0, 1)) ** 0.5
    tremor = 1 + 0.03 * np.sin(2 * np.pi * rng.uniform(7, 10) * np.arange(intensity.size) / SAMPLE_RATE_HZ)
    pitch_hz = rng.uniform(380, 480) * (0.8 + 0.25 * arch + 0.2 * effort) * tremor
    source = _glottis(pitch_hz) + 0.12 * rng.standard_normal(intensity.size) * effort
    voice = apply_filter(source, _formants(rng.uniform(1.35, 1.55), 800, 1500, 2700, 3500))
    return normalise_deviation(voice * (0.1 + 0.9 * arch))


def _cat(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """A meow: the mouth opens and closes, so that the vowel glides from i over a to u."""
    turn_s = rng.uniform(0.7, 1.1)
    place = np.arange(intensity.size) / SAMPLE_RATE_HZ / turn_s % 1.0
    effort = _effort(intensity)
    pitch_hz = rng.uniform(520, 760) * (0.75 + 0.3 * np.sin(np.pi * place) + 0.15 * effort)
    source = _glottis(pitch_hz) + 0.04 * rng.standard_normal(intensity.size)
    size = rng.uniform(1.1, 1.3)
    closed = apply_filter(source, _formants(size, 420, 2300, 3300))
    opened = apply_filter(source, _formants(size, 950, 1650, 3100))
    rounded = apply_filter(source, _formants(size, 450, 950, 2500))
    shares = [np.clip(1 - np.abs(place - centre) / 0.35, 0, 1) for centre in (0.1, 0.45, 0.85)]
    parts = (normalise_deviation(closed), normalise_deviation(opened), normalise_deviation(rounded))
    voice = sum((share * part for share, part in zip(shares, parts, strict=True)), start=np.zeros(intensity.size))
    return normalise_deviation(voice * np.sin(np.pi * place) ** 0.4)


def _crow(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """A crow's caw: a rough, nasal voice in separate cries."""
    effort = _effort(intensity)
    rough = 1 + 0.5 * np.sign(np.sin(2 * np.pi * np.cumsum(rng.uniform(55, 80) * (1 + 0.1 * effort)) / SAMPLE_RATE_HZ))
    pitch_hz = rng.uniform(300, 420) * (0.9 + 0.2 * effort) * (1 + 0.03 * _wander(rng, intensity.size, 40.0))
    source = (_glottis(pitch_hz) + 0.35 * rng.standard_normal(intensity.size)) * rough
    caw = np.arange(intensity.size) / SAMPLE_RATE_HZ / rng.uniform(0.45, 0.65) % 1.0
    cry = np.clip(caw / 0.08, 0, 1) * np.clip((0.72 - caw) / 0.15, 0, 1)
    voice = apply_filter(source, resonances(np.array([1150.0, 1800.0]), np.array([250.0, 300.0]), np.array([1.0, 0.8])))
    return normalise_deviation(voice * (0.4 + 0.6 * cry))


def _frog(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """A frog: croaks of fast pulses in two narrow bands."""
    pulse_hz, croak_hz = rng.uniform(28, 45), rng.uniform(1.6, 2.6)
    times_s = np.arange(intensity.size) / SAMPLE_RATE_HZ
    pulses = np.exp(-9.0 * (times_s * pulse_hz % 1.0))
    croak = times_s * croak_hz % 1.0
    shape = np.clip(croak / 0.1, 0, 1) * np.clip((0.55 - croak) / 0.1, 0, 1)
    throat_hz = rng.uniform(420, 620)
    tone = np.sin(2 * np.pi * throat_hz * times_s) + 0.7 * np.sin(2 * np.pi * 2.6 * throat_hz * times_s)
    wet = shaped_noise(rng, intensity.size, band(0.8 * throat_hz, 3.2 * throat_hz, 2.0))
    return normalise_deviation((tone + 0.35 * wet) * pulses * (0.4 + 0.6 * shape))


def _crickets(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """Crickets at night: each chirps three or four pulses of a high tone, over and over."""
    times_s = np.arange(intensity.size) / SAMPLE_RATE_HZ
    mix = np.zeros(intensity.size)
    for _ in range(4):
        tone_hz, chirp_hz = rng.uniform(4300, 5300), rng.uniform(2.4, 3.4)
        place = (times_s * chirp_hz + rng.random()) % 1.0
        pulse = np.sin(np.pi * np.clip(place / 0.4, 0, 1) * rng.integers(3, 5)) ** 2 * (place < 0.4)
        mix += rng.uniform(0.3, 1.0) * pulse * np.sin(2 * np.pi * tone_hz * times_s)
    return normalise_deviation(mix + 0.05 * np.sin(2 * np.pi * rng.uniform(3900, 4200) * times_s))


VOICES: dict[str, Callable[[np.random.Generator, FloatArray], FloatArray]] = {
    "chatter": _chatter,
    "crowd_cheer": _cheer,
    "baby_cry": _baby,
    "cat_meow": _cat,
    "crow": _crow,
    "frog": _frog,
    "crickets": _crickets,
}
