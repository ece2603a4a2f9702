"""Parts of real recordings that scenes can use instead of synthesis: strikes, and textures without a seam."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, maximum_filter1d, uniform_filter1d
from scipy.signal import butter, lfilter

from rewas_engine.world.classes import SAMPLE_RATE_HZ
from rewas_engine.world.scene import GRAIN_STREAM, Scene
from rewas_engine.world.struck_bodies import VARIANTS, Strikes
from rewas_engine.world.synthesis import FloatArray, normalise_peak

GRAIN_SHARE = 0.5
"""Share of the scenes that use recordings, among those of classes with recordings."""
MOST_STRIKES, LONGEST_STRIKE_S, SHORTEST_STRIKE_S = 8, 2.5, 0.01
"""Strikes taken from one recording."""
GAP_S = 0.06
"""Two strikes have at least this long a pause between them."""
GAP_DB, SOFTEST_STRIKE_DB, ONSET_DB = -32.0, -20.0, -20.0
"""Level of a pause, and of the softest strike, below the recording's peak; and of an onset below its strike's peak."""
ATTACK_RATIO, ATTACK_STEP_S, ATTACK_STEPS = 2.5, 0.005, 4
"""A further strike begins where the level rises this much from one step to the next, above that of the steps before."""
LONGEST_TEXTURE_S, SHORTEST_TEXTURE_S, SEAM_S = 8.0, 0.04, 0.1
SCATTERED_BELOW_S, SCATTERED_S, SCATTERED_PART_S = 1.5, 2.0, 0.2
"""Recordings below this length become textures of many of their parts, so that their repetition is not heard."""
SILENCE_DB = -40.0
LEVELLING_S, MOST_LEVELLING_DB = 0.1, 20.0
_FADE_IN = 8


@dataclass(frozen=True, eq=False)
class Grains:
    """Recordings that scenes can use.

    Attributes:
        strikes: Struck class -> for each recording, its strikes from `cut_strikes`.
        textures: Sustained class -> for each recording, its texture from `cut_texture`.
        share: Probability that a scene of such a class uses a recording.
    """

    strikes: Mapping[str, tuple[tuple[FloatArray, ...], ...]] = field(default_factory=dict)
    textures: Mapping[str, tuple[FloatArray, ...]] = field(default_factory=dict)
    share: float = GRAIN_SHARE

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes with recordings."""
        return (*self.strikes, *self.textures)

    def draw_strikes(self, scene: Scene) -> Strikes | None:
        """Soft and hard strikes from one recording, varied in pitch, length and brightness; None for synthesis."""
        recordings = self.strikes.get(scene.class_name, ())
        rng = scene.random(GRAIN_STREAM)
        if rng.random() >= self.share or not recordings:
            return None
        cuts = recordings[rng.integers(len(recordings))]
        pitch, length, brightness = _pitch(rng), rng.uniform(0.4, 1.0), rng.uniform(-0.5, 0.8)
        variants = []
        for number in rng.permutation(max(VARIANTS, len(cuts)))[:VARIANTS]:
            cut = _resample(cuts[number % len(cuts)], pitch * rng.uniform(0.98, 1.02))
            variants.append(_shorten(cut, length * rng.uniform(0.9, 1.0)))
        soft = [normalise_peak(_brighten(each, brightness - 0.45)) for each in variants]
        return soft, [normalise_peak(_brighten(each, brightness)) for each in variants]

    def draw_texture(self, scene: Scene, samples: int) -> FloatArray | None:
        """A steady sound from one recording, varied in place, pitch and brightness; None for synthesis.

        [samples], with a standard deviation of 1.
        """
        recordings = self.textures.get(scene.class_name, ())
        rng = scene.random(GRAIN_STREAM)
        if rng.random() >= self.share or not recordings:
            return None
        loop = recordings[rng.integers(len(recordings))]
        places = rng.uniform(0, loop.size) + _pitch(rng) * np.arange(samples)
        sound = map_coordinates(loop, places[None], order=3, mode="grid-wrap")
        sound = _brighten(sound, rng.uniform(-0.5, 0.8))
        return np.asarray(sound / (sound.std() + 1e-12))


def cut_strikes(sound: FloatArray) -> tuple[FloatArray, ...]:
    """Cut the strikes out of a recording: the loudest ones, each with its onset at sample 0 and a peak of 1.

    Args:
        sound: [samples], mono, SAMPLE_RATE_HZ.
    """
    sound = np.asarray(sound, np.float64) - np.mean(sound)
    peak = float(np.abs(sound).max(initial=0.0))
    if peak < 1e-6:
        return ()
    gap = int(GAP_S * SAMPLE_RATE_HZ)
    sounding = maximum_filter1d((np.abs(sound) >= peak * _ratio(GAP_DB)).astype(np.int8), gap | 1)
    edges = np.flatnonzero(np.diff(sounding, prepend=0, append=0))
    stretches = [part for first, last in edges.reshape(-1, 2) for part in _split_at_attacks(sound[first:last])]
    cuts = [_strike(stretch) for stretch in stretches]
    usable = [
        (loudness, cut)
        for loudness, cut in cuts
        if loudness >= peak * _ratio(SOFTEST_STRIKE_DB) and cut.size >= SHORTEST_STRIKE_S * SAMPLE_RATE_HZ
    ]
    usable.sort(key=lambda each: -each[0])
    return tuple(cut for _, cut in usable[:MOST_STRIKES])


def cut_texture(sound: FloatArray) -> FloatArray | None:
    """Make a texture of a recording: steady, and without a seam when it repeats. None if it is too short.

    Args:
        sound: [samples], mono, SAMPLE_RATE_HZ.
    """
    sound = np.asarray(sound, np.float64) - np.mean(sound)
    audible = np.flatnonzero(np.abs(sound) > max(1e-6, float(np.abs(sound).max(initial=0.0)) * _ratio(SILENCE_DB)))
    if audible.size == 0:
        return None
    seam = int(SEAM_S * SAMPLE_RATE_HZ)
    sound = sound[audible[0] : audible[-1] + 1][: int(LONGEST_TEXTURE_S * SAMPLE_RATE_HZ) + seam]
    if sound.size < SHORTEST_TEXTURE_S * SAMPLE_RATE_HZ:
        return None
    level = np.sqrt(uniform_filter1d(sound**2, int(LEVELLING_S * SAMPLE_RATE_HZ), mode="nearest").clip(0))
    sound = sound / np.maximum(level, level.max() * _ratio(-MOST_LEVELLING_DB))
    if sound.size < SCATTERED_BELOW_S * SAMPLE_RATE_HZ:
        loop = _scatter(sound)
    else:
        phase = np.linspace(0, np.pi / 2, seam, endpoint=False)
        loop = sound[:-seam].copy()
        loop[:seam] = loop[:seam] * np.sin(phase) + sound[-seam:] * np.cos(phase)
    return np.asarray(loop / (loop.std() + 1e-12), np.float32)


def _split_at_attacks(stretch: FloatArray) -> list[FloatArray]:
    """Split a stretch without pauses where another strike begins."""
    step = int(ATTACK_STEP_S * SAMPLE_RATE_HZ)
    levels = np.abs(stretch[: stretch.size // step * step]).reshape(-1, step).max(axis=1)
    if levels.size == 0:
        return [stretch]
    least = levels.max() * _ratio(SOFTEST_STRIKE_DB) * ATTACK_RATIO
    begin = int(np.argmax(levels >= levels.max() * _ratio(ONSET_DB)))
    bounds = [0]
    for number in range(begin + int(GAP_S / ATTACK_STEP_S), levels.size):
        is_far = number * step - max(bounds[-1], begin * step) >= GAP_S * SAMPLE_RATE_HZ
        before = levels[max(number - ATTACK_STEPS, 0) : number].max()
        if is_far and levels[number] >= max(least, ATTACK_RATIO * before):
            bounds.append(number * step)
    return np.split(stretch, bounds[1:])


def _scatter(sound: FloatArray) -> FloatArray:
    """Overlap many parts of a short sound in a circle: [samples]."""
    part = min(int(SCATTERED_PART_S * SAMPLE_RATE_HZ), sound.size // 2) // 2 * 2
    count = int(SCATTERED_S * SAMPLE_RATE_HZ) // (part // 2)
    circle = np.zeros(count * (part // 2))
    window = np.sin(np.pi * (np.arange(part) + 0.5) / part)
    # The same for every training, so that a texture depends only on its recording.
    starts = np.random.default_rng(0).integers(0, sound.size - part, count, endpoint=True)
    for number, start in enumerate(starts):
        places = (number * (part // 2) + np.arange(part)) % circle.size
        circle[places] += window * sound[start : start + part]
    return circle


def _strike(stretch: FloatArray) -> tuple[float, FloatArray]:
    """The peak of a strike, and the strike from its onset on."""
    peak = float(np.abs(stretch).max())
    onset = int(np.argmax(np.abs(stretch) >= peak * _ratio(ONSET_DB)))
    cut = stretch[onset : onset + int(LONGEST_STRIKE_S * SAMPLE_RATE_HZ)] / peak
    fade = np.ones(cut.size)
    # The first sample is not silent, so that the onset is exact.
    fade[:_FADE_IN] = (np.arange(1, _FADE_IN + 1) / _FADE_IN)[: cut.size]
    return peak, np.asarray(cut * fade * _fade_out(cut.size), np.float32)


def _resample(cut: FloatArray, ratio: float) -> FloatArray:
    """Play a strike faster or slower; its first sample stays."""
    places = np.arange(0, cut.size - 1, ratio)
    return np.asarray(map_coordinates(np.asarray(cut, np.float64), places[None], order=3, mode="constant"))


def _shorten(cut: FloatArray, length: float) -> FloatArray:
    """Keep a share of a strike's length, and fade it out."""
    kept = cut[: max(int(SHORTEST_STRIKE_S * SAMPLE_RATE_HZ) // 2, int(length * cut.size))]
    return np.asarray(kept * _fade_out(kept.size))


def _fade_out(samples: int) -> FloatArray:
    fade = np.ones(samples)
    tail = max(1, samples // 4)
    fade[-tail:] = 0.5 + 0.5 * np.cos(np.linspace(0, np.pi, tail))
    return fade


def _brighten(sound: FloatArray, amount: float) -> FloatArray:
    """Change the part above 1.5 kHz: -0.95 removes most of it, 1 doubles it. The filter is causal: onsets stay."""
    numerator, denominator = butter(1, 1500.0, fs=SAMPLE_RATE_HZ)
    low: NDArray[Any] = lfilter(numerator, denominator, sound)
    return np.asarray(sound + amount * (sound - low))


def _pitch(rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(-0.18, 0.18)))


def _ratio(level_db: float) -> float:
    return float(10 ** (level_db / 20))
