"""Sounds of impacts and other short events that have no drawn picture: footsteps, breakage, falls, splashes and blasts.

Each function draws one body for a clip and returns its soft and hard strikes, peak 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from rewas_engine.world.classes import SAMPLE_RATE_HZ
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


def _variants(strike: Callable[[float], FloatArray]) -> Strikes:
    """Soft and hard strikes of a function of hardness, 0 or 1."""
    return (
        [normalise_peak(strike(0.0)) for _ in range(VARIANTS)],
        [normalise_peak(strike(1.0)) for _ in range(VARIANTS)],
    )


def _samples(duration_s: float) -> int:
    return int(duration_s * SAMPLE_RATE_HZ)


def _add(track: FloatArray, start_s: float, sound: FloatArray, gain: float = 1.0) -> None:
    """Add a sound to a track in place, cut at its end."""
    start = _samples(start_s)
    room = min(sound.size, track.size - start)
    if room > 0:
        track[start : start + room] += gain * sound[:room]


def _swept_tone(start_hz: float, end_hz: float, fall_s: float, decay_s: float) -> FloatArray:
    """A decaying sine that falls from one frequency to another."""
    times_s = np.arange(_samples(6 * decay_s)) / SAMPLE_RATE_HZ
    frequency_hz = end_hz + (start_hz - end_hz) * np.exp(-times_s / fall_s)
    phase = 2 * np.pi * np.cumsum(frequency_hz) / SAMPLE_RATE_HZ
    return np.sin(phase) * decay_curve(times_s.size, decay_s)


def _heels(rng: np.random.Generator, decay_scale: float) -> Strikes:
    """A small hard heel on stone: a bright, very short knock, and a quiet sole after it."""
    knock_hz = rng.uniform(1350, 2000)
    frequencies = knock_hz * np.array([0.42, 1.0, 1.63, 2.4]) * rng.uniform(0.96, 1.04, 4)
    soft, hard = struck_body(
        rng,
        frequencies,
        np.array([0.012, 0.014, 0.009, 0.006]) * decay_scale**0.5,
        np.array([0.6, 1.0, 0.7, 0.4]),
        lambda: noise_burst(rng, 0.01, 0.0015, 1800, 6500),
        (0.3, 0.6),
    )
    sole_s = rng.uniform(0.05, 0.09)

    def step(heel: FloatArray) -> FloatArray:
        track = np.zeros(_samples(sole_s + 0.06))
        _add(track, 0.0, heel)
        _add(track, sole_s, normalise_peak(noise_burst(rng, 0.03, 0.006, 900, 4200)), 0.22)
        return normalise_peak(track)

    return [step(heel) for heel in soft], [step(heel) for heel in hard]


def _keys(rng: np.random.Generator, decay_scale: float) -> Strikes:
    """A bunch of keys: many small, high, inharmonic clinks close together."""
    bunch = [
        normalise_peak(
            decaying_modes(
                rng.uniform(3000, 7600, 6), rng.uniform(0.012, 0.05, 6) * decay_scale, rng.uniform(0.3, 1.0, 6), 0.18
            )
        )
        for _ in range(7)
    ]

    def jingle(hardness: float) -> FloatArray:
        track = np.zeros(_samples(0.42))
        count = int(rng.integers(6, 11) + 5 * hardness)
        starts_s = np.concatenate([[0.0], rng.exponential(0.07, count)])
        for start_s in starts_s:
            _add(track, float(min(start_s, 0.38)), bunch[int(rng.integers(len(bunch)))], float(rng.uniform(0.3, 1.0)))
        return track

    return _variants(jingle)


def _sword(rng: np.random.Generator, decay_scale: float) -> Strikes:
    """Two blades: a dense, bright ring of close pairs of modes that beat, with a scraping attack."""
    base_hz = rng.uniform(1700, 2500)
    modes = base_hz * np.array([1.0, 1.39, 1.93, 2.31, 2.87, 3.05])
    frequencies = np.minimum(np.concatenate([modes, modes * rng.uniform(1.004, 1.012, modes.size)]), 7700)
    decays = 0.3 * decay_scale**0.7 * rng.uniform(0.7, 1.3, frequencies.size)
    scrape_s = rng.uniform(0.03, 0.07)

    def scrape() -> FloatArray:
        samples = _samples(scrape_s)
        grating = shaped_noise(rng, samples, band(3500, 7800, 3.0))
        teeth = 0.4 + 0.6 * (rng.random(samples // 40 + 1).repeat(40)[:samples] > 0.5)
        return np.asarray(grating * teeth * decay_curve(samples, 0.6 * scrape_s))

    return struck_body(rng, frequencies, decays, rng.uniform(0.5, 1.0, frequencies.size), scrape, (0.5, 0.9))


def _glass_break(rng: np.random.Generator, decay_scale: float) -> Strikes:
    """A crack, then splinters that fall and ring for half a second."""
    splinters = [
        normalise_peak(
            decaying_modes(rng.uniform(2600, 7700, 4), rng.uniform(0.008, 0.04, 4), rng.uniform(0.3, 1.0, 4), 0.15)
        )
        for _ in range(14)
    ]
    fall_s = rng.uniform(0.35, 0.6) * decay_scale**0.4

    def breakage(hardness: float) -> FloatArray:
        track = np.zeros(_samples(fall_s + 0.4))
        _add(track, 0.0, normalise_peak(noise_burst(rng, 0.08, 0.014, 1500, 7900)), 1.0)
        _add(track, 0.0, normalise_peak(noise_burst(rng, 0.06, 0.012, 250, 900)), 0.35 + 0.3 * hardness)
        count = int(25 + 30 * hardness)
        starts_s = 0.01 + rng.exponential(0.4 * fall_s, count)
        for start_s in starts_s:
            gain = float(rng.uniform(0.15, 0.6) * np.exp(-start_s / fall_s))
            _add(track, float(start_s), splinters[int(rng.integers(len(splinters)))], gain)
        return track

    return _variants(breakage)


def _splash(rng: np.random.Generator, decay_scale: float) -> Strikes:
    """Something falls into water: a slap, a plunge whose cavity rises in pitch, and drops that fall back."""
    plunge_hz = rng.uniform(180, 420)
    spread_s = rng.uniform(0.25, 0.45) * decay_scale**0.4
    drops = []
    for frequency_hz in rng.uniform(900, 3200, 10):
        times_s = np.arange(_samples(0.03)) / SAMPLE_RATE_HZ
        drops.append(np.sin(2 * np.pi * frequency_hz * times_s * (1 + 6 * times_s)) * decay_curve(times_s.size, 0.008))

    def splash(hardness: float) -> FloatArray:
        track = np.zeros(_samples(spread_s + 0.6))
        samples = _samples(spread_s)
        spray = shaped_noise(rng, samples, band(700, 4500 + 2500 * hardness, 1.5)) * decay_curve(
            samples, 0.35 * spread_s
        )
        _add(track, 0.0, normalise_peak(spray), 0.9)
        times_s = np.arange(_samples(0.16)) / SAMPLE_RATE_HZ
        cavity = np.sin(2 * np.pi * plunge_hz * times_s * (1 + 3.5 * times_s)) * decay_curve(times_s.size, 0.045)
        _add(track, 0.05, cavity, 0.5 + 0.3 * hardness)
        for start_s in 0.12 + rng.exponential(0.14, int(10 + 14 * hardness)):
            _add(track, float(start_s), drops[int(rng.integers(len(drops)))], float(rng.uniform(0.05, 0.25)))
        return track

    return _variants(splash)


def _punch(rng: np.random.Generator, decay_scale: float) -> Strikes:
    """A fist on a body, as films make it: a low thump under a short, dull smack."""
    thump_hz, smack_hz = rng.uniform(85, 130), rng.uniform(500, 900)

    def punch(hardness: float) -> FloatArray:
        track = np.zeros(_samples(0.22))
        _add(track, 0.0, _swept_tone(1.8 * thump_hz, thump_hz, 0.02, 0.03 * decay_scale**0.5), 0.9)
        smack = normalise_peak(noise_burst(rng, 0.05, 0.009, smack_hz, 2.2 * smack_hz * (1 + hardness)))
        _add(track, 0.0, smack, 0.7 + 0.3 * hardness)
        _add(track, 0.011, smack, 0.35)
        return track

    return _variants(punch)


def _thunder(rng: np.random.Generator, decay_scale: float) -> Strikes:
    """A tearing crack, then a rumble that rolls for seconds in irregular surges."""
    roll_s = rng.uniform(0.7, 1.2) * decay_scale**0.4
    rumble_hz = rng.uniform(70, 120)

    def clap(hardness: float) -> FloatArray:
        samples = _samples(min(3.2, 3.2 * roll_s))
        surges = np.repeat(rng.uniform(0.15, 1.0, samples // 3200 + 1), 3200)[:samples]
        rumble = shaped_noise(rng, samples, band(35, rumble_hz, 2.0)) * uniform_filter1d(surges, 2400)
        track = np.asarray(rumble * decay_curve(samples, roll_s))
        tear = shaped_noise(rng, samples, band(200, 1200 + 3000 * hardness, 1.2)) * decay_curve(samples, 0.12)
        grain = np.repeat(rng.random(samples // 240 + 1) ** 2, 240)[:samples]
        return np.asarray(track + (0.4 + 0.6 * hardness) * tear * (0.3 + grain))

    return _variants(clap)


def _explosion(rng: np.random.Generator, decay_scale: float) -> Strikes:
    """A blast with a very low, falling thump and debris after it."""
    blast_s = rng.uniform(0.22, 0.4) * decay_scale**0.5
    low_hz = rng.uniform(38, 60)

    def blast(hardness: float) -> FloatArray:
        samples = _samples(min(2.6, 6 * blast_s))
        track = np.zeros(samples)
        _add(track, 0.0, _swept_tone(4 * low_hz, low_hz, 0.08, 0.9 * blast_s), 1.3)
        body = shaped_noise(rng, samples, band(60, 700 + 800 * hardness, 1.2)) * decay_curve(samples, blast_s)
        track += 0.55 * body
        front = shaped_noise(rng, samples, band(100, 7000, 1.0)) * decay_curve(samples, 0.025)
        track += (0.35 + 0.35 * hardness) * front
        for start_s in 0.25 + rng.exponential(0.3, 12):
            _add(track, float(start_s), normalise_peak(noise_burst(rng, 0.03, 0.006, 400, 3000)), 0.12)
        return track

    return _variants(blast)


def _hoof(rng: np.random.Generator, decay_scale: float) -> Strikes:
    """A hoof on firm ground: a hollow clop with two resonances."""
    clop_hz = rng.uniform(560, 820)
    return struck_body(
        rng,
        clop_hz * np.array([0.28, 1.0, 1.31, 2.2]),
        np.array([0.03, 0.02, 0.018, 0.01]) * decay_scale**0.6,
        np.array([0.7, 1.0, 0.8, 0.25]),
        lambda: noise_burst(rng, 0.04, 0.01, 200, 1400),
        (0.25, 0.45),
    )


def _drip(rng: np.random.Generator, decay_scale: float) -> Strikes:
    """A drop that falls into water: a tick, then one bubble that rises in pitch."""
    bubble_hz = rng.uniform(1100, 2100)

    def drop(hardness: float) -> FloatArray:
        track = np.zeros(_samples(0.16))
        _add(track, 0.0, normalise_peak(noise_burst(rng, 0.004, 0.0008, 2500, 7500)), 0.25 + 0.2 * hardness)
        times_s = np.arange(_samples(0.12)) / SAMPLE_RATE_HZ
        rise = 1 + rng.uniform(5, 8) * times_s
        tone = np.sin(2 * np.pi * bubble_hz * rng.uniform(0.95, 1.05) * times_s * rise)
        _add(track, 0.008, tone * decay_curve(times_s.size, 0.018 * decay_scale**0.6), 1.0)
        return track

    return _variants(drop)


def _body_fall(rng: np.random.Generator, decay_scale: float) -> Strikes:
    """A body drops to the floor: two or three soft, low thuds close together, with cloth."""
    thud_hz = rng.uniform(55, 85)

    def fall(hardness: float) -> FloatArray:
        track = np.zeros(_samples(0.75))
        for start_s, gain in zip((0.0, rng.uniform(0.07, 0.12), rng.uniform(0.18, 0.28)), (1.0, 0.7, 0.4), strict=True):
            thud = noise_burst(rng, 0.25, 0.045 * decay_scale**0.4, thud_hz, 2.4 * thud_hz * (1 + hardness))
            _add(track, float(start_s), normalise_peak(thud), gain)
            _add(track, float(start_s), normalise_peak(noise_burst(rng, 0.16, 0.05, 300, 1600)), 0.18 * gain)
        return track

    return _variants(fall)


def _heartbeat(rng: np.random.Generator, decay_scale: float) -> Strikes:
    """Two soft beats, the second one higher and quieter, with nothing above 200 Hz."""
    beat_hz = rng.uniform(42, 62)
    gap_s = rng.uniform(0.16, 0.24)

    def beat(hardness: float) -> FloatArray:
        track = np.zeros(_samples(gap_s + 0.25))
        decay_s = 0.028 * decay_scale**0.3
        _add(track, 0.0, _swept_tone(1.5 * beat_hz, beat_hz, 0.03, decay_s), 1.0)
        _add(track, gap_s, _swept_tone(1.9 * beat_hz, 1.3 * beat_hz, 0.03, 0.8 * decay_s), 0.5 + 0.2 * hardness)
        return track

    return _variants(beat)


def _coins(rng: np.random.Generator, decay_scale: float) -> Strikes:
    """Coins that drop on a table: clear high rings that bounce faster and faster."""
    ring_hz = rng.uniform(3400, 5200)
    coin = normalise_peak(
        decaying_modes(
            np.minimum(ring_hz * np.array([1.0, 1.27, 1.43, 1.8]), 7800),
            np.array([0.09, 0.07, 0.05, 0.03]) * decay_scale**0.7,
            np.array([1.0, 0.6, 0.5, 0.3]),
            0.45,
        )
    )

    def drop(hardness: float) -> FloatArray:
        track = np.zeros(_samples(0.85))
        start_s, gap_s, gain = 0.0, float(rng.uniform(0.13, 0.2)), 1.0
        while start_s < 0.5 and gap_s > 0.012:
            _add(track, start_s, coin, gain * float(rng.uniform(0.8, 1.0)))
            _add(
                track, start_s, normalise_peak(noise_burst(rng, 0.008, 0.0015, 1500, 7000)), 0.3 * gain * (1 + hardness)
            )
            start_s, gap_s, gain = start_s + gap_s, 0.62 * gap_s, 0.6 * gain
        return track

    return _variants(drop)


def _arrow(rng: np.random.Generator, decay_scale: float) -> Strikes:
    """A bow string that twangs, and the arrow that hisses away."""
    string_hz = rng.uniform(150, 230)

    def shot(hardness: float) -> FloatArray:
        track = np.zeros(_samples(0.5))
        harmonics = np.arange(1, 8)
        twang = decaying_modes(
            string_hz * harmonics * (1 + 0.002 * harmonics**2),
            0.06 * decay_scale**0.5 / harmonics**0.5,
            1.0 / harmonics,
            0.35,
        )
        _add(track, 0.0, normalise_peak(twang), 1.0)
        _add(track, 0.0, normalise_peak(noise_burst(rng, 0.01, 0.002, 800, 4000)), 0.4)
        samples = _samples(0.22)
        hiss = shaped_noise(rng, samples, band(3800, 7600, 2.0)) * np.hanning(samples)
        _add(track, 0.03, normalise_peak(hiss), 0.25 + 0.25 * hardness)
        return track

    return _variants(shot)


def _ding(rng: np.random.Generator, decay_scale: float) -> Strikes:
    """The chime of a lift: a pure tone with a long decay, sometimes followed by a lower one."""
    tone_hz = rng.uniform(1250, 1750)
    has_second = rng.random() < 0.5
    decays = np.array([0.45, 0.3, 0.12]) * decay_scale**0.5

    def ding(hardness: float) -> FloatArray:
        tone = normalise_peak(
            decaying_modes(tone_hz * np.array([1.0, 2.0, 3.01]), decays, np.array([1.0, 0.12, 0.05]), 1.6)
        )
        track = np.zeros(_samples(2.0))
        _add(track, 0.0, tone, 1.0)
        if has_second:
            steps = np.arange(_samples(1.6)) / SAMPLE_RATE_HZ
            lower = np.sin(2 * np.pi * 0.8 * tone_hz * steps) * decay_curve(steps.size, float(decays[0]))
            _add(track, 0.35, lower, 0.8)
        _add(track, 0.0, normalise_peak(noise_burst(rng, 0.004, 0.0008, 2000, 6000)), 0.04 + 0.06 * hardness)
        return track

    return _variants(ding)


def _chains(rng: np.random.Generator, decay_scale: float) -> Strikes:
    """Heavy links that fall on each other: a rattle of dull, mid-frequency clanks."""
    links = [
        normalise_peak(
            decaying_modes(
                rng.uniform(900, 3600, 5), rng.uniform(0.01, 0.03, 5) * decay_scale, rng.uniform(0.4, 1.0, 5), 0.16
            )
        )
        for _ in range(8)
    ]

    def rattle(hardness: float) -> FloatArray:
        count = int(rng.integers(9, 15) + 6 * hardness)
        starts_s = np.concatenate([[0.0], np.sort(rng.uniform(0.0, 0.3, count))])
        gains = rng.uniform(0.25, 0.9, starts_s.size)
        gains[0] = 1.0
        order = [links[int(index)] for index in rng.integers(0, len(links), starts_s.size)]
        return place_grains(_samples(0.5), (starts_s * SAMPLE_RATE_HZ).astype(np.int64), gains, order)

    return _variants(rattle)


IMPACT_BODIES: dict[str, Callable[[np.random.Generator, float], Strikes]] = {
    "heel_steps": _heels,
    "keys_jingle": _keys,
    "sword_clash": _sword,
    "glass_break": _glass_break,
    "water_splash": _splash,
    "punch": _punch,
    "thunder": _thunder,
    "explosion": _explosion,
    "horse_hooves": _hoof,
    "water_drip": _drip,
    "body_fall": _body_fall,
    "heartbeat": _heartbeat,
    "coins": _coins,
    "bow_and_arrow": _arrow,
    "lift_chime": _ding,
    "chains": _chains,
}
