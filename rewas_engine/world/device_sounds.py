"""Machines and devices that have no drawn picture. Their loudness follows the intensity [samples] of the scene."""

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
    noise_burst,
    normalise_deviation,
    normalise_peak,
    place_grains,
    resonances,
    shaped_noise,
)

FloatArray = NDArray[np.floating[Any]]


def _times_s(intensity: FloatArray) -> FloatArray:
    return np.arange(intensity.size) / SAMPLE_RATE_HZ


def _load(intensity: FloatArray, lag_s: float) -> FloatArray:
    """Speed of a motor, which lags behind the intensity."""
    return np.asarray(uniform_filter1d(intensity, int(lag_s * SAMPLE_RATE_HZ), mode="nearest"))


def _harmonics(frequency_hz: FloatArray, gains: FloatArray) -> FloatArray:
    """Sum of harmonics with gains [H] of a frequency [samples]; those above 7.6 kHz are left out."""
    phase = 2 * np.pi * np.cumsum(frequency_hz) / SAMPLE_RATE_HZ
    tone = np.zeros(frequency_hz.size)
    for number, gain in enumerate(gains, start=1):
        if number * frequency_hz.max() < 7600:
            tone += gain * np.sin(number * phase)
    return tone


def _phone(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """A telephone with two gongs that a clapper strikes 20 times a second, in rings of a second."""
    times_s = _times_s(intensity)
    gongs = np.zeros(intensity.size)
    for gong_hz in rng.uniform(1150, 1500) * np.array([1.0, 1.19]):
        for ratio, gain in ((1.0, 1.0), (2.76, 0.5), (4.1, 0.2)):
            if ratio * gong_hz < 7600:
                gongs += gain * np.sin(2 * np.pi * ratio * gong_hz * times_s + rng.uniform(0, 6))
    strokes = np.exp(-3.0 * (times_s * rng.uniform(18, 23) % 1.0))
    ring_s = rng.uniform(1.2, 1.8)
    ring = ((times_s / ring_s) % 1.0 < 0.62).astype(float)
    return normalise_deviation(gongs * (0.3 + 0.7 * strokes) * (0.45 + 0.55 * uniform_filter1d(ring, 400)))


def _siren(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """A wailing siren, which glides up and down, or a two-tone horn."""
    times_s = _times_s(intensity)
    if rng.random() < 0.6:
        glide = 0.5 - 0.5 * np.cos(2 * np.pi * rng.uniform(0.25, 0.7) * times_s + rng.uniform(0, 6))
        pitch_hz = rng.uniform(520, 680) * (1 + rng.uniform(0.9, 1.3) * glide)
    else:
        step = (times_s * rng.uniform(0.9, 1.4) % 1.0 < 0.5).astype(float)
        pitch_hz = rng.uniform(400, 480) * (1 + 0.34 * uniform_filter1d(step, 160))
    tone = _harmonics(pitch_hz, np.array([1.0, 0.7, 0.5, 0.35, 0.25, 0.15]))
    horn = apply_filter(tone, resonances(np.array([1100.0, 2300.0]), np.array([700.0, 900.0]), np.array([1.0, 0.6])))
    return normalise_deviation(horn)


def _train(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """A train that passes: a low roll, and wheels that cross the rail joints in pairs."""
    times_s = _times_s(intensity)
    roll = shaped_noise(rng, intensity.size, band(60, 260, 2.0))
    steel = shaped_noise(rng, intensity.size, band(1800, 4200, 2.0))
    joints_hz = rng.uniform(1.4, 2.2)
    starts: list[int] = []
    for bogie in np.arange(rng.random() / joints_hz, times_s[-1], 1 / joints_hz):
        starts += [int((bogie + offset) * SAMPLE_RATE_HZ) for offset in (0.0, 0.13)]
    clack = normalise_peak(noise_burst(rng, 0.12, 0.025, 160, 900)) + 0.0
    inside = np.array([start for start in starts if start < intensity.size], np.int64)
    wheels = place_grains(intensity.size, inside, rng.uniform(0.7, 1.0, inside.size), [clack])
    return np.asarray(0.8 * roll + 0.2 * steel + 5.0 * wheels / (np.abs(wheels).max() + 1e-9) * 0.6)


def _drill(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """An electric drill: a whine of gears that rises with the speed, and a rattle."""
    speed = _load(intensity, 0.08)
    pitch_hz = rng.uniform(260, 380) * (0.6 + 0.6 * speed) * (1 + 0.01 * rng.standard_normal())
    gears = _harmonics(pitch_hz, np.array([0.5, 0.7, 1.0, 0.7, 0.9, 0.4, 0.5, 0.3, 0.25, 0.2]))
    rattle = shaped_noise(rng, intensity.size, band(1500, 6000, 1.5))
    chop = 0.6 + 0.4 * np.sign(np.sin(2 * np.pi * np.cumsum(0.25 * pitch_hz) / SAMPLE_RATE_HZ))
    return np.asarray(0.75 * normalise_deviation(gears) + 0.5 * rattle * chop)


def _saw(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """A handsaw in wood: rough teeth that move to and fro, with a deeper push than pull."""
    stroke = _times_s(intensity) * rng.uniform(1.3, 2.3) % 1.0
    push, pull = np.sin(np.pi * np.clip(stroke / 0.55, 0, 1)), np.sin(np.pi * np.clip((stroke - 0.55) / 0.45, 0, 1))
    teeth_hz = rng.uniform(110, 170)
    teeth = 0.35 + 0.65 * np.abs(np.sin(np.pi * np.cumsum(teeth_hz * (0.4 + push + pull)) / SAMPLE_RATE_HZ)) ** 3
    wood_hz = rng.uniform(700, 1000)
    deep = shaped_noise(rng, intensity.size, band(wood_hz, 2.2 * wood_hz, 2.0))
    high = shaped_noise(rng, intensity.size, band(1.5 * wood_hz, 3.6 * wood_hz, 2.0))
    return normalise_deviation((deep * push**0.7 + 0.7 * high * pull**0.7) * teeth)


def _shaver(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """An electric shaver: a steady buzz at twice the mains frequency, with a bright edge."""
    buzz_hz = rng.choice([100.0, 120.0]) * (1 + 0.02 * _load(intensity, 0.1))
    buzz = _harmonics(buzz_hz, 1.0 / np.arange(1, 40) ** 0.55)
    bright = apply_filter(buzz, resonances(np.array([1900.0, 3300.0]), np.array([700.0, 900.0]), np.array([1.0, 0.8])))
    foil = shaped_noise(rng, intensity.size, band(3500, 7000, 2.0))
    return np.asarray(0.7 * normalise_deviation(buzz) + 0.6 * normalise_deviation(bright) + 0.12 * foil)


def _vacuum(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """A vacuum cleaner: rushing air with the whistle of the turbine in it."""
    turbine_hz = rng.uniform(620, 820) * (0.85 + 0.2 * _load(intensity, 0.3))
    turbine = _harmonics(turbine_hz, np.array([1.0, 0.5, 0.25, 0.1]))
    air = shaped_noise(rng, intensity.size, band(250, 5000, 0.8))
    hum = _harmonics(np.full(intensity.size, 100.0), np.array([1.0, 0.6, 0.4]))
    return np.asarray(0.85 * air + 0.35 * normalise_deviation(turbine) + 0.3 * normalise_deviation(hum))


def _steam(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """Steam from a valve: a bright, even hiss that sharpens with the pressure."""
    pressure = np.clip(_load(intensity, 0.05), 0, 1)
    soft = shaped_noise(rng, intensity.size, band(3000, 6000, 2.0))
    sharp = shaped_noise(rng, intensity.size, band(5200, 7900, 3.0))
    whistle = shaped_noise(rng, intensity.size, band(4600, 4800, 12.0))
    return np.asarray(soft * np.sqrt(1 - 0.6 * pressure) + sharp * np.sqrt(0.6 * pressure) + 0.15 * whistle)


def _zipper(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """A zip: teeth that click faster and higher as the slider speeds up, in pulls of half a second."""
    pull = _times_s(intensity) / rng.uniform(0.45, 0.7) % 1.0
    speed = np.sin(np.pi * np.clip(pull / 0.85, 0, 1)) ** 0.6
    teeth_hz = rng.uniform(90, 150) * (0.35 + speed)
    place = np.cumsum(teeth_hz) / SAMPLE_RATE_HZ % 1.0
    clicks = np.exp(-7.0 * place)
    brass = shaped_noise(rng, intensity.size, band(2600, 6500, 2.0))
    body = apply_filter(brass, resonances(np.array([3400.0, 5200.0]), np.array([500.0, 700.0]), np.array([1.0, 0.8])))
    return normalise_deviation(normalise_deviation(body) * clicks * (0.45 + 0.55 * speed))


def _creak(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """A chair or a hinge that creaks: wood that sticks and slips, whose pitch wanders."""
    turn = _times_s(intensity) / rng.uniform(0.8, 1.3) % 1.0
    strain = np.sin(np.pi * turn)
    wander = 1 + 0.12 * shaped_noise(rng, intensity.size, band(0.5, 6.0, 2.0))
    slip_hz = np.maximum(rng.uniform(45, 85) * (0.6 + 0.9 * strain) * wander, 15.0)
    cycles = np.cumsum(slip_hz) / SAMPLE_RATE_HZ
    slips = np.flatnonzero(np.diff(np.floor(cycles), prepend=0.0) > 0)
    impulses = np.zeros(intensity.size)
    impulses[slips] = rng.uniform(0.5, 1.0, slips.size)
    wood = rng.uniform(0.85, 1.2) * np.array([430.0, 820.0, 1500.0, 2350.0])
    body = apply_filter(impulses, resonances(wood, 0.06 * wood, np.array([0.7, 1.0, 0.8, 0.4])))
    return normalise_deviation(body * (0.45 + 0.55 * strain))


DEVICES: dict[str, Callable[[np.random.Generator, FloatArray], FloatArray]] = {
    "phone_ring": _phone,
    "siren": _siren,
    "train": _train,
    "drill": _drill,
    "hand_saw": _saw,
    "shaver": _shaver,
    "vacuum_cleaner": _vacuum,
    "steam": _steam,
    "zipper": _zipper,
    "chair_creak": _creak,
}
