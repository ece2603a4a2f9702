"""How things move: tools that swing and touch at the moment of a strike, and motion that follows the envelope."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.training.world.classes import ENVELOPE_RATE_HZ
from rewas_engine.training.world.scene import Scene

FloatArray = NDArray[np.floating[Any]]

_SMOOTH, _FALLING, _RISING = 0, 1, 2
REST = 0.3
MISSED_BY = 0.4


class Strikes:
    """Motion of something that strikes at given moments with given strengths (intensities in 0..1)."""

    def __init__(self, times_s: FloatArray, strengths: FloatArray, *, touches: bool = True) -> None:
        """touches: False swings without ever reaching what it would hit, and nothing reacts."""
        self.times_s, self.strengths, self.touches = times_s, strengths, touches

    def alternate(self) -> tuple[Strikes, Strikes]:
        """The strikes dealt out to two hands or feet in turn."""
        return (
            Strikes(self.times_s[::2], self.strengths[::2], touches=self.touches),
            Strikes(self.times_s[1::2], self.strengths[1::2], touches=self.touches),
        )

    def lift(self, times_s: FloatArray, rest: float = REST) -> FloatArray:
        """Height of a tool over what it hits: 0 touching .. 1 raised for the strongest strike. [F]"""
        if self.times_s.size == 0:
            return np.full(times_s.shape, rest)
        gaps_s = np.diff(self.times_s)
        before_s = np.concatenate([[2.0], gaps_s])
        after_s = np.concatenate([gaps_s, [2.0]])
        prepare_s, recoil_s = np.minimum(0.36, 0.62 * before_s), np.minimum(0.2, 0.38 * after_s)
        raised = rest + (0.35 + 0.65 * self.strengths - rest) * np.minimum(1.0, 0.25 + before_s / 0.35)
        resting = rest * np.minimum(1.0, after_s / 0.2)
        rested_before = np.concatenate([[rest], resting[:-1]])
        keys_s = np.stack(
            [self.times_s - prepare_s, self.times_s - 0.4 * prepare_s, self.times_s, self.times_s + recoil_s], axis=1
        )
        heights = np.stack([rested_before, raised, np.zeros_like(raised), resting], axis=1)
        return self._course(
            times_s, keys_s.ravel(), heights.ravel(), np.tile([_SMOOTH, _SMOOTH, _FALLING, _RISING], raised.size)
        )

    def bounce(self, times_s: FloatArray) -> FloatArray:
        """Height of a bouncing ball over the ground: it falls from higher to strike harder. [F]"""
        if self.times_s.size == 0:
            return np.full(times_s.shape, 0.6)
        gaps_s = np.diff(self.times_s)
        drop_s = np.minimum(0.34, 0.5 * np.concatenate([[2.0], gaps_s]))
        rise_s = np.minimum(0.34, 0.5 * np.concatenate([gaps_s, [2.0]]))
        top = (0.15 + 0.85 * self.strengths) * np.minimum(1.0, drop_s / 0.25)
        top_after = np.concatenate([top[1:], top[-1:]])
        keys_s = np.stack([self.times_s - drop_s, self.times_s, self.times_s + rise_s], axis=1)
        heights = np.stack([top, np.zeros_like(top), top_after], axis=1)
        return self._course(times_s, keys_s.ravel(), heights.ravel(), np.tile([_SMOOTH, _FALLING, _RISING], top.size))

    def since(self, times_s: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Seconds since the last strike (large before the first) and that strike's strength: [F], [F]."""
        if self.times_s.size == 0 or not self.touches:
            return np.full(times_s.shape, 1e3), np.zeros(times_s.shape)
        last = np.searchsorted(self.times_s, times_s, side="right") - 1
        known = last >= 0
        elapsed_s = np.where(known, times_s - self.times_s[np.maximum(last, 0)], 1e3)
        return elapsed_s, np.where(known, self.strengths[np.maximum(last, 0)], 0.0)

    def flash(self, times_s: FloatArray, fall_s: float = 0.08) -> FloatArray:
        """A reaction that starts at each strike with its strength and dies away in fall_s (to 1/e). [F]"""
        elapsed_s, strength = self.since(times_s)
        return np.asarray(strength * np.exp(-np.minimum(elapsed_s / fall_s, 30.0)))

    def trembling(self, times_s: FloatArray, rate_hz: float = 9.0, fall_s: float = 0.15) -> FloatArray:
        """A swing to and fro that each strike sets off, in -1..1. [F]"""
        elapsed_s, _ = self.since(times_s)
        return self.flash(times_s, fall_s) * np.cos(2 * np.pi * rate_hz * np.minimum(elapsed_s, 10.0))

    def count(self, times_s: FloatArray) -> NDArray[np.int64]:
        """Strikes so far, [F]."""
        return np.searchsorted(self.times_s, times_s, side="right").astype(np.int64)

    def _course(
        self, times_s: FloatArray, keys_s: FloatArray, heights: FloatArray, easing: NDArray[np.int64]
    ) -> FloatArray:
        """The height between key moments; easing says how each key is reached."""
        if not self.touches:
            heights, easing = MISSED_BY + (1 - MISSED_BY) * heights, np.zeros_like(easing)
        following = np.clip(np.searchsorted(keys_s, times_s, side="right"), 1, keys_s.size - 1)
        start_s, end_s = keys_s[following - 1], keys_s[following]
        share = np.clip((times_s - start_s) / np.maximum(end_s - start_s, 1e-6), 0.0, 1.0)
        eased = np.choose(easing[following], [share**2 * (3 - 2 * share), share**2, 1 - (1 - share) ** 2])
        return np.asarray(heights[following - 1] + (heights[following] - heights[following - 1]) * eased)


class Drive:
    """Motion that follows the scene's envelope."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._travel = np.concatenate([[0.0], np.cumsum(scene.envelope)[:-1]]) / ENVELOPE_RATE_HZ

    def level(self, times_s: FloatArray) -> FloatArray:
        """Intensity in 0..1, [F]."""
        return self._scene.intensity_at(times_s)

    def travel(self, times_s: FloatArray) -> FloatArray:
        """The intensity integrated from the clip's start: how far something has moved that is driven by it. [F]"""
        return np.interp(times_s, np.arange(self._travel.size) / ENVELOPE_RATE_HZ, self._travel)


def wander(rng: np.random.Generator, rate_hz: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Draws a smooth random motion for `wandering`: rates in Hz, phases and weights of a few sines."""
    return rate_hz * rng.uniform(0.4, 1.6, 4), rng.uniform(0, 2 * np.pi, 4), rng.dirichlet(np.ones(4))


def wandering(times_s: FloatArray, course: tuple[FloatArray, FloatArray, FloatArray]) -> FloatArray:
    """A smooth random motion in -1..1, [F]."""
    rates_hz, phases, weights = course
    return np.sin(2 * np.pi * rates_hz * times_s[:, None] + phases) @ weights
