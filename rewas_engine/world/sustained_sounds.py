"""Continuous sounds: weather, water, fire, machines and voices. Their loudness follows the scene's envelope."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from rewas_engine.world.classes import SAMPLE_RATE_HZ
from rewas_engine.world.device_sounds import DEVICES
from rewas_engine.world.grains import Grains
from rewas_engine.world.material_sounds import MATERIALS
from rewas_engine.world.scene import SOUND_STREAM, Scene, amplitude
from rewas_engine.world.synthesis import (
    apply_filter,
    band,
    decay_curve,
    noise_burst,
    normalise_deviation,
    normalise_peak,
    place_grains,
    poisson_starts,
    resonances,
    shaped_noise,
)
from rewas_engine.world.voice_sounds import VOICES

FloatArray = NDArray[np.floating[Any]]
RMS_AT_FULL_INTENSITY = 0.16
SAMPLES_PER_STEP = 160
"""Step size of slow modulations."""
BREATH_DB = -46.0
"""Broadband noise added to every sustained sound, so that even a pure tone changes the whole spectrum a little."""


def render_sustained(scene: Scene, samples: int, grains: Grains | None = None) -> FloatArray:
    """The sound of a scene of a sustained class, dry and near: [samples]. grains: recordings that it can use."""
    rng = scene.random(SOUND_STREAM)
    intensity = scene.intensity_at(np.arange(samples) / SAMPLE_RATE_HZ)
    # 6 ms of smoothing for the corners of the envelope, which would click.
    intensity = uniform_filter1d(intensity, int(0.006 * SAMPLE_RATE_HZ), mode="nearest", origin=0)
    recorded = grains.draw_texture(scene, samples) if grains is not None else None
    source = _SOURCES[scene.class_name](rng, intensity) if recorded is None else recorded
    breath = shaped_noise(rng, samples, band(80, 7800, 2.0)) * 10 ** (BREATH_DB / 20)
    return RMS_AT_FULL_INTENSITY * amplitude(intensity) * (source + breath)


def _rain(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    hiss = shaped_noise(rng, intensity.size, band(rng.uniform(2500, 3800), 7900, 1.5))
    drops = []
    for frequency_hz in rng.uniform(2500, 6000, 6):
        times_s = np.arange(int(0.012 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        drops.append(np.sin(2 * np.pi * frequency_hz * times_s * (1 + 8 * times_s)) * decay_curve(times_s.size, 0.003))
    starts = poisson_starts(rng, 25 + rng.uniform(40, 120) * intensity)
    patter = place_grains(intensity.size, starts, rng.exponential(1.0, starts.size), drops)
    return 0.9 * hiss + 1.2 * patter


def _wind(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    low_hz = rng.uniform(180, 300)
    rumble = shaped_noise(rng, intensity.size, band(90, low_hz, 3.0))
    howl = shaped_noise(rng, intensity.size, band(1.5 * low_hz, 2.3 * low_hz, 5.0))
    slow = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.3, 0.8) * np.arange(intensity.size) / SAMPLE_RATE_HZ)
    share = np.clip(intensity, 0, 1) * (0.6 + 0.4 * slow)
    return rumble * np.sqrt(1 - 0.7 * share) + howl * np.sqrt(share)


def _waves(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    low_hz = rng.uniform(150, 250)

    def pink(frequency_hz: FloatArray) -> FloatArray:
        return np.asarray(np.sqrt(low_hz / np.maximum(frequency_hz, low_hz)) * np.minimum(frequency_hz / low_hz, 1.0))

    body = shaped_noise(rng, intensity.size, lambda f: pink(f) * band(60, 2600, 2.0)(f))
    foam = shaped_noise(rng, intensity.size, lambda f: pink(f) * band(900, 5000, 2.0)(f))
    share = 0.15 + 0.35 * intensity
    return np.asarray(body * np.sqrt(1 - share) + foam * np.sqrt(share))


def _fire(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    roar = shaped_noise(rng, intensity.size, band(50, rng.uniform(130, 200), 2.0))
    snaps = [
        normalise_peak(noise_burst(rng, 0.012, rng.uniform(0.0006, 0.002), rng.uniform(900, 2500), 7600))
        for _ in range(6)
    ]
    starts = poisson_starts(rng, 20 + 50 * intensity)
    crackle = place_grains(intensity.size, starts, np.minimum(rng.exponential(2.0, starts.size), 5.0), snaps)
    return 0.9 * roar + crackle


def _engine(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    idle_hz = rng.uniform(28, 45)
    # Revolutions lag behind the throttle by about 60 ms.
    throttle = uniform_filter1d(intensity, int(0.06 * SAMPLE_RATE_HZ), mode="nearest")
    cycles = np.cumsum(idle_hz * (1 + rng.uniform(1.0, 1.8) * throttle)) / SAMPLE_RATE_HZ
    fires = np.flatnonzero(np.diff(np.floor(cycles), prepend=0.0) > 0)
    impulses = np.zeros(intensity.size)
    cylinders = rng.uniform(0.75, 1.0, 4)
    impulses[fires] = cylinders[np.arange(fires.size) % 4] * rng.uniform(0.9, 1.1, fires.size)
    centres = np.array([rng.uniform(110, 170), rng.uniform(320, 450), rng.uniform(750, 1000)])
    body = apply_filter(impulses, resonances(centres, np.array([70.0, 120.0, 250.0]), np.array([1.0, 0.5, 0.2])))
    hiss = shaped_noise(rng, intensity.size, band(400, 1600, 2.0))
    return np.asarray(normalise_deviation(body) + 0.08 * hiss)


def _helicopter(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    blades_hz = rng.uniform(11, 19) * (0.9 + 0.15 * intensity)
    phase = np.cumsum(blades_hz) / SAMPLE_RATE_HZ % 1.0
    beat = np.exp(-5.0 * phase) * np.minimum(phase / 0.06, 1.0)
    thump = shaped_noise(rng, intensity.size, band(55, 140, 3.0))
    chop = shaped_noise(rng, intensity.size, band(500, 2200, 2.0))
    whine_hz = rng.uniform(5200, 6800)
    whine = np.sin(2 * np.pi * np.cumsum(whine_hz * (0.97 + 0.03 * intensity)) / SAMPLE_RATE_HZ)
    return 2.0 * beat * (thump + 0.45 * chop) + 0.12 * whine


def _dog(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """Harmonics through a muzzle; the pitch rises with the intensity, as in a bark."""
    effort = uniform_filter1d(intensity, int(0.02 * SAMPLE_RATE_HZ), mode="nearest")
    roughness = shaped_noise(rng, intensity.size, band(5, 60, 2.0))
    pitch_hz = rng.uniform(240, 420) * (0.65 + 0.5 * effort) * (1 + 0.03 * roughness)
    cycles = np.cumsum(pitch_hz) / SAMPLE_RATE_HZ % 1.0
    glottis = (1 - cycles) ** 3 - 0.25
    size = rng.uniform(0.85, 1.2)
    muzzle = resonances(
        size * np.array([650.0, 1350.0, 2500.0]), np.array([180.0, 220.0, 350.0]), np.array([1, 0.8, 0.35])
    )
    voice = apply_filter(glottis + 0.08 * rng.standard_normal(intensity.size), muzzle)
    return normalise_deviation(voice)


def _alarm(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    pitch_hz = rng.uniform(950, 1500)
    times_s = np.arange(intensity.size) / SAMPLE_RATE_HZ
    harmonics = np.array([1, 3, 5])
    gains = np.array([1.0, 0.45, 0.25]) * rng.uniform(0.7, 1.2, 3)
    tone = np.zeros(intensity.size)
    for harmonic, gain in zip(harmonics, gains, strict=True):
        if harmonic * pitch_hz < 7600:
            tone += gain * np.sin(2 * np.pi * harmonic * pitch_hz * times_s)
    return normalise_deviation(tone)


def _bird(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """A whistle that sweeps with the intensity and trills: 2.6 to 6.5 kHz."""
    base_hz = rng.uniform(3300, 4300)
    times_s = np.arange(intensity.size) / SAMPLE_RATE_HZ
    trill = np.sin(2 * np.pi * rng.uniform(9, 24) * times_s + rng.uniform(0, 6))
    pitch_hz = base_hz * (0.9 + 0.25 * intensity + rng.uniform(0.1, 0.22) * trill)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
    flutter = 0.75 + 0.25 * trill
    return 1.4 * flutter * np.sin(phase)


def _stream(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """Bubbles, each a short rising tone, over soft noise."""
    rush = shaped_noise(rng, intensity.size, band(350, 900, 2.0))
    bubbles = []
    for frequency_hz in np.exp(rng.uniform(np.log(450), np.log(1700), 16)):
        times_s = np.arange(int(0.07 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        tone = np.sin(2 * np.pi * frequency_hz * times_s * (1 + rng.uniform(1.0, 5.0) * times_s))
        bubbles.append(tone * decay_curve(times_s.size, 18.0 / frequency_hz))
    starts = poisson_starts(rng, 45 + 50 * intensity)
    gurgle = place_grains(intensity.size, starts, 0.3 + rng.exponential(1.0, starts.size), bubbles)
    return 0.35 * rush + 1.3 * gurgle


def _car(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """Tyres that hiss brighter the closer they are, over a hum whose pitch drops as the car passes."""
    slow = uniform_filter1d(intensity, int(0.15 * SAMPLE_RATE_HZ), mode="nearest")
    approach = np.tanh(2.0 * np.gradient(slow[::SAMPLES_PER_STEP], SAMPLES_PER_STEP / SAMPLE_RATE_HZ))
    approach = np.interp(np.arange(intensity.size), np.arange(0, intensity.size, SAMPLES_PER_STEP), approach)
    road_hz = rng.uniform(1000, 1350)
    far_off = shaped_noise(rng, intensity.size, band(0.65 * road_hz, 0.95 * road_hz, 4.0))
    close = shaped_noise(rng, intensity.size, band(0.95 * road_hz, 1.55 * road_hz, 4.0))
    share = np.clip(0.2 + 0.5 * slow + 0.25 * approach, 0.05, 0.95)
    tyres = far_off * np.sqrt(1 - share) + close * np.sqrt(share)
    cycles = np.cumsum(rng.uniform(85, 115) * (1 + 0.12 * approach)) / SAMPLE_RATE_HZ
    orders, levels = np.array([1, 2, 3]), np.array([1.0, 0.6, 0.4])
    hum = levels @ np.sin(2 * np.pi * orders[:, None] * cycles)
    return np.asarray(0.9 * tyres + 0.35 * hum)


def _applause(rng: np.random.Generator, intensity: FloatArray) -> FloatArray:
    """Very many different pairs of hands, in a hall that emphasises the middle frequencies."""
    claps = [
        normalise_peak(noise_burst(rng, 0.05, rng.uniform(0.006, 0.011), 0.8 * centre_hz, 1.25 * centre_hz))
        for centre_hz in rng.uniform(1400, 3000, 16)
    ]
    starts = poisson_starts(rng, 90 + 100 * intensity)
    hands = place_grains(intensity.size, starts, rng.uniform(0.3, 1.0, starts.size), claps)
    crowd = shaped_noise(rng, intensity.size, band(1400, 2800, 3.0))
    return np.asarray(0.9 * hands / (hands.std() + 1e-9) + 0.5 * crowd)


_SOURCES: dict[str, Callable[[np.random.Generator, FloatArray], FloatArray]] = {
    "dog_bark": _dog,
    "rain": _rain,
    "wind": _wind,
    "sea_waves": _waves,
    "fire": _fire,
    "engine": _engine,
    "helicopter": _helicopter,
    "alarm_beep": _alarm,
    "bird_song": _bird,
    "stream": _stream,
    "car_passing": _car,
    "applause": _applause,
    **VOICES,
    **DEVICES,
    **MATERIALS,
}
