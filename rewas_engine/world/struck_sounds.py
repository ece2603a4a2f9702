"""Sounds of struck objects. A body is drawn once per clip, then rendered with soft and hard strikes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from rewas_engine.world.classes import SAMPLE_RATE_HZ
from rewas_engine.world.grains import Grains
from rewas_engine.world.impact_sounds import IMPACT_BODIES
from rewas_engine.world.scene import MURMUR_STREAM, SOUND_STREAM, Scene, amplitude
from rewas_engine.world.struck_bodies import VARIANTS, Strikes, struck_body
from rewas_engine.world.synthesis import (
    band,
    decay_curve,
    decaying_modes,
    noise_burst,
    normalise_peak,
    place_grains,
    shaped_noise,
)

FloatArray = NDArray[np.floating[Any]]
STRIKE_PEAK = 0.8


def render_strikes(scene: Scene, samples: int, grains: Grains | None = None) -> FloatArray:
    """All strikes of a scene of a struck class, dry and near: [samples]. grains: recordings that it can use."""
    rng = scene.random(SOUND_STREAM)
    decay_scale = float(np.exp(rng.uniform(np.log(0.5), np.log(1.8))))
    recorded = grains.draw_strikes(scene) if grains is not None else None
    soft, hard = recorded or _BODIES[scene.class_name](rng, decay_scale)
    starts = np.round(scene.event_times_s * SAMPLE_RATE_HZ).astype(np.int64)
    gains = STRIKE_PEAK * amplitude(scene.event_strengths)
    hardness = np.clip(1.5 * scene.event_strengths - 0.5, 0.0, 1.0)
    strikes = place_grains(samples, starts, gains * (1 - hardness), soft) + place_grains(
        samples, starts, gains * hardness, hard
    )
    return strikes + _murmur(scene, samples, soft) if scene.floor > 0 else strikes


def _murmur(scene: Scene, samples: int, soft: list[FloatArray]) -> FloatArray:
    """A dense roll of soft strikes at the scene's floor: [samples]."""
    rng = scene.random(MURMUR_STREAM)
    gaps_s = rng.uniform(0.02, 0.04) * rng.uniform(0.6, 1.4, int(scene.duration_s / 0.012))
    starts = (np.cumsum(gaps_s) * SAMPLE_RATE_HZ).astype(np.int64)
    starts = np.concatenate([[0], starts[starts < samples]])
    gains = STRIKE_PEAK * float(amplitude(np.asarray(scene.floor))) * rng.uniform(0.7, 1.0, starts.size)
    return place_grains(samples, starts, gains, soft)


def _ball(rng: np.random.Generator, decay_scale: float) -> Strikes:
    base_hz = rng.uniform(75, 150)
    cavity_hz = rng.uniform(550, 950)
    frequencies = np.array([base_hz, 1.6 * base_hz, 2.3 * base_hz, cavity_hz, 1.9 * cavity_hz])
    decays = np.array([0.05, 0.04, 0.03, 0.035, 0.02]) * decay_scale
    return struck_body(
        rng,
        frequencies,
        decays,
        np.array([1.0, 0.5, 0.3, 0.2, 0.05]),
        lambda: noise_burst(rng, 0.02, 0.004, 150, 900),
        (0.1, 0.25),
    )


def _wood(rng: np.random.Generator, decay_scale: float) -> Strikes:
    base_hz = rng.uniform(380, 800)
    frequencies = base_hz * np.array([1.0, 1.9, 2.72, 3.9]) * rng.uniform(0.95, 1.05, 4)
    decays = np.array([0.035, 0.022, 0.015, 0.01]) * decay_scale
    return struck_body(
        rng,
        frequencies,
        decays,
        np.array([1.0, 0.6, 0.5, 0.25]),
        lambda: noise_burst(rng, 0.015, 0.003, 500, 2500),
        (0.15, 0.4),
    )


def _metal(rng: np.random.Generator, decay_scale: float) -> Strikes:
    frequencies = np.sort(rng.uniform(450, 7200, 16))
    frequencies[:2] = rng.uniform(350, 700, 2)
    decays = 0.22 * decay_scale * (frequencies / 1000.0) ** -0.3 * rng.uniform(0.6, 1.4, frequencies.size)
    return struck_body(
        rng,
        frequencies,
        decays,
        rng.uniform(0.4, 1.0, frequencies.size),
        lambda: noise_burst(rng, 0.03, 0.006, 800, 7500),
        (0.15, 0.5),
    )


def _glass(rng: np.random.Generator, decay_scale: float) -> Strikes:
    base_hz = rng.uniform(2300, 3200)
    frequencies = base_hz * np.array([1.0, 1.55, 2.2, 2.45]) * rng.uniform(0.97, 1.03, 4)
    decays = np.array([0.2, 0.15, 0.1, 0.08]) * decay_scale
    return struck_body(
        rng,
        frequencies,
        decays,
        np.array([1.0, 0.8, 0.5, 0.4]),
        lambda: noise_burst(rng, 0.008, 0.0015, 4500, 7800),
        (0.1, 0.3),
    )


def _bell(rng: np.random.Generator, decay_scale: float) -> Strikes:
    strike_hz = rng.uniform(300, 700)
    frequencies = strike_hz * np.array([0.5, 1.0, 1.2, 1.5, 2.0, 2.67, 3.0, 4.0])
    # Half of the bells are damped by hand; otherwise the ring alone would identify a bell.
    ring_s = float(rng.uniform(0.6, 1.0) if rng.random() < 0.5 else rng.uniform(0.12, 0.35))
    decays = ring_s * decay_scale**0.5 * np.array([1.3, 1.0, 0.9, 0.7, 0.6, 0.4, 0.4, 0.3])
    return struck_body(
        rng,
        frequencies,
        decays,
        np.array([0.5, 1.0, 0.8, 0.5, 0.7, 0.3, 0.3, 0.2]),
        lambda: noise_burst(rng, 0.02, 0.004, 600, 3000),
        (0.03, 0.1),
    )


def _clock(rng: np.random.Generator, decay_scale: float) -> Strikes:
    base_hz = rng.uniform(4300, 5600)
    frequencies = base_hz * np.array([1.0, 1.35, 0.32])
    return struck_body(
        rng,
        frequencies,
        np.array([0.008, 0.006, 0.012]) * decay_scale,
        np.array([1.0, 0.7, 0.25]),
        lambda: noise_burst(rng, 0.006, 0.001, 3000, 7500),
        (0.1, 0.2),
    )


def _drum(rng: np.random.Generator, decay_scale: float) -> Strikes:
    base_hz = rng.uniform(120, 220)
    frequencies = base_hz * np.array([1.0, 1.59, 2.14, 2.3, 2.65])
    decays = np.array([0.09, 0.07, 0.05, 0.05, 0.04]) * decay_scale
    snare_s = 0.07 * decay_scale
    return struck_body(
        rng,
        frequencies,
        decays,
        np.array([1.0, 0.6, 0.4, 0.3, 0.3]),
        lambda: noise_burst(rng, 6 * snare_s, snare_s, 1500, 7800),
        (0.3, 0.6),
    )


def _clap(rng: np.random.Generator, decay_scale: float) -> Strikes:
    centre_hz = rng.uniform(1000, 1700)

    def clap(hardness: float) -> FloatArray:
        samples = int(0.25 * decay_scale * SAMPLE_RATE_HZ)
        noise = shaped_noise(rng, samples, band(0.75 * centre_hz, 1.35 * centre_hz * (0.8 + 0.4 * hardness), 3.0))
        track = noise * decay_curve(samples, 0.028 * decay_scale)
        for echo_s in rng.uniform(0.004, 0.014, 2):
            shift = int(echo_s * SAMPLE_RATE_HZ)
            track[shift:] += 0.7 * noise[:-shift] * decay_curve(samples - shift, 0.02 * decay_scale)
        return normalise_peak(track)

    return [clap(0.0) for _ in range(VARIANTS)], [clap(1.0) for _ in range(VARIANTS)]


def _gravel(rng: np.random.Generator, decay_scale: float) -> Strikes:
    low_hz, high_hz = rng.uniform(1600, 2200), rng.uniform(4500, 6000)
    duration_s = 0.17 * decay_scale**0.6
    samples = int(duration_s * SAMPLE_RATE_HZ)

    def step(hardness: float) -> FloatArray:
        count = int(rng.uniform(30, 60))
        # The heel lands at once, the sole follows.
        arrivals_s = np.concatenate(
            [[0.0, 0.001, 0.003], rng.exponential(0.015, count // 2), rng.normal(0.55 * duration_s, 0.02, count // 2)]
        )
        starts = (np.clip(arrivals_s, 0.0, duration_s - 0.012) * SAMPLE_RATE_HZ).astype(np.int64)
        stones = [noise_burst(rng, 0.01, 0.0018, low_hz, high_hz * (0.8 + 0.3 * hardness)) for _ in range(8)]
        gains = rng.uniform(0.2, 1.0, starts.size) * np.where(starts > 0.04 * SAMPLE_RATE_HZ, 0.6, 1.0)
        gains[:3] = 1.0
        return normalise_peak(place_grains(samples, starts, gains, stones))

    return [step(0.0) for _ in range(VARIANTS)], [step(1.0) for _ in range(VARIANTS)]


def _key(rng: np.random.Generator, decay_scale: float) -> Strikes:
    thock_hz, click_hz = rng.uniform(220, 330), rng.uniform(2300, 3300)

    def press(hardness: float) -> FloatArray:
        samples = int(0.12 * SAMPLE_RATE_HZ)
        track = np.zeros(samples)
        thock = decaying_modes(
            np.array([thock_hz, 2.1 * thock_hz]), np.array([0.014, 0.01]) * decay_scale, np.array([1.0, 0.4]), 0.1
        )
        track[: thock.size] += 0.9 * normalise_peak(thock)
        click = noise_burst(rng, 0.02, 0.0035, 0.8 * click_hz, 1.25 * click_hz)
        track[: click.size] += (0.5 + 0.4 * hardness) * normalise_peak(click)
        release = int(rng.uniform(0.03, 0.05) * SAMPLE_RATE_HZ)
        track[release : release + click.size] += 0.25 * normalise_peak(click)
        return normalise_peak(track)

    return [press(0.0) for _ in range(VARIANTS)], [press(1.0) for _ in range(VARIANTS)]


def _floor_step(rng: np.random.Generator, decay_scale: float) -> Strikes:
    """A hard heel that makes hollow boards boom, followed by the sole."""
    base_hz = rng.uniform(165, 235)
    frequencies = base_hz * np.array([1.0, 1.45, 2.1, 3.1]) * rng.uniform(0.97, 1.03, 4)
    heels_soft, heels_hard = struck_body(
        rng,
        frequencies,
        np.array([0.05, 0.04, 0.03, 0.02]) * decay_scale,
        np.array([1.0, 0.8, 0.5, 0.3]),
        lambda: noise_burst(rng, 0.02, 0.004, 1300, 2600),
        (0.25, 0.4),
    )
    sole_s = rng.uniform(0.07, 0.11)

    def step(heel: FloatArray) -> FloatArray:
        sole = int(sole_s * SAMPLE_RATE_HZ)
        scuff = normalise_peak(noise_burst(rng, 0.05, 0.012, 500, 1600)) * 0.3
        track = np.zeros(max(heel.size, sole + scuff.size))
        track[: heel.size] = heel
        track[sole : sole + scuff.size] += scuff
        return normalise_peak(track)

    return [step(heel) for heel in heels_soft], [step(heel) for heel in heels_hard]


def _snow_step(rng: np.random.Generator, decay_scale: float) -> Strikes:
    """Compressed snow: a dull crunch of many grains with a squeak in it."""
    low_hz, squeak_hz = rng.uniform(280, 360), rng.uniform(900, 1250)
    samples = int(0.24 * decay_scale**0.4 * SAMPLE_RATE_HZ)

    def step(hardness: float) -> FloatArray:
        crunch = shaped_noise(rng, samples, band(low_hz, 750, 3.0))
        squeak = shaped_noise(rng, samples, band(0.93 * squeak_hz, 1.07 * squeak_hz, 8.0))
        grainy = np.repeat(rng.uniform(0.1, 1.0, samples // 96 + 1) ** 2, 96)[:samples]
        course = decay_curve(samples, 0.09 * decay_scale**0.4)
        return normalise_peak((crunch + (0.6 + 0.4 * hardness) * squeak) * uniform_filter1d(grainy, 32) * course)

    return [step(0.0) for _ in range(VARIANTS)], [step(1.0) for _ in range(VARIANTS)]


def _door(rng: np.random.Generator, decay_scale: float) -> Strikes:
    """The door booms in its frame, and the latch closes shortly after."""
    boom_hz, latch_hz = rng.uniform(60, 85), rng.uniform(1500, 2100)
    latch_s = rng.uniform(0.045, 0.075)
    latch = decaying_modes(
        latch_hz * np.array([1.0, 1.5, 2.3]), np.array([0.014, 0.012, 0.01]), np.array([1.0, 0.8, 0.5]), 0.08
    )

    def slam(hardness: float) -> FloatArray:
        samples = int(0.6 * decay_scale**0.5 * SAMPLE_RATE_HZ)
        boom = normalise_peak(
            shaped_noise(rng, samples, band(boom_hz, 2.6 * boom_hz, 3.0)) * decay_curve(samples, 0.1 * decay_scale)
        )
        slap = normalise_peak(noise_burst(rng, 0.1, 0.018, 250, 700 + 300 * hardness)) * (0.6 + 0.3 * hardness)
        boom[: slap.size] += slap
        start = int(latch_s * SAMPLE_RATE_HZ)
        boom[start : start + latch.size] += 0.35 * normalise_peak(latch)
        return normalise_peak(boom)

    return [slam(0.0) for _ in range(VARIANTS)], [slam(1.0) for _ in range(VARIANTS)]


def _hammer(rng: np.random.Generator, decay_scale: float) -> Strikes:
    """A nail that pings while the board under it thuds."""
    board_hz, nail_hz = rng.uniform(260, 360), rng.uniform(3500, 4300)
    frequencies = np.array([board_hz, 2.2 * board_hz, nail_hz, 1.13 * nail_hz, 1.62 * nail_hz])
    decays = np.array([0.03, 0.02, 0.045, 0.04, 0.03]) * decay_scale
    return struck_body(
        rng,
        frequencies,
        decays,
        np.array([1.0, 0.5, 0.9, 0.7, 0.5]),
        lambda: noise_burst(rng, 0.02, 0.003, 900, 7000),
        (0.3, 0.5),
    )


def _gun(rng: np.random.Generator, decay_scale: float) -> Strikes:
    """A broadband crack, then a tail that becomes duller."""
    tail_s = 0.11 * decay_scale
    body_hz = rng.uniform(180, 260)

    def shot(hardness: float) -> FloatArray:
        samples = int(min(0.9, 7 * tail_s) * SAMPLE_RATE_HZ)
        track = 1.3 * shaped_noise(rng, samples, band(60, 7900, 1.5)) * decay_curve(samples, 0.016)
        track += 0.5 * shaped_noise(rng, samples, band(300, 2600, 1.5)) * decay_curve(samples, 0.35 * tail_s)
        track += (
            0.5
            * shaped_noise(rng, samples, band(55, body_hz * (1 + 0.5 * hardness), 2.0))
            * decay_curve(samples, tail_s)
        )
        track[0] = np.copysign(np.abs(track).max(), track[0])  # the blast front
        return normalise_peak(track)

    return [shot(0.0) for _ in range(VARIANTS)], [shot(1.0) for _ in range(VARIANTS)]


_BODIES: dict[str, Callable[[np.random.Generator, float], Strikes]] = {
    "ball_bounce": _ball,
    "wood_knock": _wood,
    "metal_hit": _metal,
    "glass_clink": _glass,
    "gravel_steps": _gravel,
    "drum_hit": _drum,
    "hand_clap": _clap,
    "typing": _key,
    "bell": _bell,
    "clock_tick": _clock,
    "wood_floor_steps": _floor_step,
    "snow_steps": _snow_step,
    "door": _door,
    "hammer": _hammer,
    "gunshot": _gun,
    **IMPACT_BODIES,
}
