"""Motion of objects: tools that make contact at the time of a strike, and motion that follows the envelope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.world.classes import ENVELOPE_RATE_HZ
from rewas_engine.world.scene import Scene

FloatArray = NDArray[np.floating[Any]]

_SMOOTH, _FALLING, _RISING = 0, 1, 2
REST = 0.2
MISSED_BY = 0.4


class Strikes:
    """Motion of an object that strikes at given times with given strengths, 0..1.

    Methods return one value per frame, [F]."""

    def __init__(self, times_s: FloatArray, strengths: FloatArray, *, touches: bool = True) -> None:
        """touches: Whether the object makes contact. If not, it swings and nothing reacts."""
        self.times_s, self.strengths, self.touches = times_s, strengths, touches

    def alternate(self) -> tuple[Strikes, Strikes]:
        """Divide the strikes between two hands or feet in turn."""
        return (
            Strikes(self.times_s[::2], self.strengths[::2], touches=self.touches),
            Strikes(self.times_s[1::2], self.strengths[1::2], touches=self.touches),
        )

    def lift(self, times_s: FloatArray, rest: float = REST) -> FloatArray:
        """Height of a tool above its target: 0 at contact, 1 raised for the strongest strike. [F]"""
        if self.times_s.size == 0:
            return np.full(times_s.shape, rest)
        gaps_s = np.diff(self.times_s)
        before_s = np.concatenate([[2.0], gaps_s])
        after_s = np.concatenate([gaps_s, [2.0]])
        prepare_s, recoil_s = np.minimum(0.36, 0.62 * before_s), np.minimum(0.2, 0.38 * after_s)
        # Faint strikes of a roll start close to the target; otherwise they would look like strong ones.
        raised = (0.1 + 0.9 * self.strengths) * np.minimum(1.0, 0.55 + before_s / 0.5)
        resting = np.minimum(rest * np.minimum(1.0, after_s / 0.2), np.maximum(raised, rest * (after_s > 0.3)))
        rested_before = np.concatenate([[rest], resting[:-1]])
        keys_s = np.stack(
            [self.times_s - prepare_s, self.times_s - 0.4 * prepare_s, self.times_s, self.times_s + recoil_s], axis=1
        )
        heights = np.stack([rested_before, raised, np.zeros_like(raised), resting], axis=1)
        return self._course(
            times_s, keys_s.ravel(), heights.ravel(), np.tile([_SMOOTH, _SMOOTH, _FALLING, _RISING], raised.size)
        )

    def bounce(self, times_s: FloatArray) -> FloatArray:
        """Height of a bouncing ball above the ground: it falls from higher up for a harder strike. [F]"""
        if self.times_s.size == 0:
            return np.full(times_s.shape, 0.6)
        gaps_s = np.diff(self.times_s)
        drop_s = np.minimum(0.34, 0.5 * np.concatenate([[2.0], gaps_s]))
        rise_s = np.minimum(0.34, 0.5 * np.concatenate([gaps_s, [2.0]]))
        top = (0.1 + 0.9 * self.strengths) * np.minimum(1.0, 0.25 + drop_s / 0.3)
        top_after = np.concatenate([top[1:], top[-1:]])
        keys_s = np.stack([self.times_s - drop_s, self.times_s, self.times_s + rise_s], axis=1)
        heights = np.stack([top, np.zeros_like(top), top_after], axis=1)
        return self._course(times_s, keys_s.ravel(), heights.ravel(), np.tile([_SMOOTH, _FALLING, _RISING], top.size))

    def since(self, times_s: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Seconds since the last strike (large before the first) and that strike's strength: [F], [F]."""
        if self._sets_off_nothing:
            return np.full(times_s.shape, 1e3), np.zeros(times_s.shape)
        last, known = self._latest(times_s), self.count(times_s) > 0
        return np.where(known, times_s - self.times_s[last], 1e3), np.where(known, self.strengths[last], 0.0)

    def flash(self, times_s: FloatArray, fall_s: float = 0.08) -> FloatArray:
        """A reaction that rises to each strike's strength and decays to 1/e in fall_s. [F]

        A faint strike does not cut off the reaction to a strong one before it.
        """
        if self._sets_off_nothing:
            return np.zeros(times_s.shape)
        elapsed_s, _ = self.since(times_s)
        grown = self.times_s / fall_s
        left = np.exp(np.maximum.accumulate(np.log(np.maximum(self.strengths, 1e-6)) + grown) - grown)
        return np.asarray(left[self._latest(times_s)] * np.exp(-np.minimum(elapsed_s / fall_s, 30.0)))

    def recoil(self, times_s: FloatArray, fall_s: float = 0.07) -> FloatArray:
        """Recoil of the struck object: immediate, proportional to the last strike, and back within fall_s. [F]

        Each strike of a roll shows its own strength, even a faint one after a strong one.
        """
        elapsed_s, strength = self.since(times_s)
        return np.asarray(strength * np.exp(-np.minimum(elapsed_s / fall_s, 30.0)))

    def trembling(self, times_s: FloatArray, rate_hz: float = 9.0, fall_s: float = 0.15) -> FloatArray:
        """Vibration in -1..1 that strikes excite; a roll sustains it at an amplitude that follows its strength. [F]"""
        if self._sets_off_nothing:
            return np.zeros(times_s.shape)
        # A vibration that restarted at every strike would appear frozen during a dense roll.
        begins = np.diff(self.times_s, prepend=-1e3) > 0.25
        start_s = np.maximum.accumulate(np.where(begins, self.times_s, -1e3))
        swung_s = times_s - start_s[self._latest(times_s)]
        return self.flash(times_s, fall_s) * np.cos(2 * np.pi * rate_hz * swung_s)

    def swinging(self, times_s: FloatArray, rate_hz: float, fall_s: float) -> FloatArray:
        """Deflection of a hanging object pushed by every strike: pushes add up, and each decays in fall_s. [F]"""
        if self._sets_off_nothing:
            return np.zeros(times_s.shape)
        elapsed_s = np.maximum(times_s[None, :] - self.times_s[:, None], 0.0)
        pushed = np.exp(-elapsed_s / fall_s) * np.sin(2 * np.pi * rate_hz * elapsed_s)
        return np.asarray(np.tanh(self.strengths @ pushed))

    def aim(self, times_s: FloatArray, places: FloatArray) -> FloatArray:
        """Aim of a tool that visits places [P, 2] in turn: [F, 2].

        It is at a place when it strikes there, and travels in between.
        """
        if self.times_s.size == 0:
            return np.repeat(places[:1], times_s.size, axis=0)
        struck = np.searchsorted(self.times_s, times_s, side="right")
        start_s = np.concatenate([[-1.0], self.times_s])[struck] + 0.02
        end_s = np.concatenate([self.times_s, [1e3]])[struck] - 0.03
        share = np.clip((times_s - start_s) / np.maximum(np.minimum(end_s - start_s, 0.35), 0.02), 0, 1)
        share = np.where(struck < self.times_s.size, share**2 * (3 - 2 * share), 0.0)[:, None]
        done, coming = places[np.maximum(struck - 1, 0) % len(places)], places[struck % len(places)]
        return np.asarray(np.where(struck[:, None] == 0, coming, done + (coming - done) * share))

    def count(self, times_s: FloatArray) -> NDArray[np.int64]:
        """Number of strikes so far, [F]."""
        return np.searchsorted(self.times_s, times_s, side="right").astype(np.int64)

    def _latest(self, times_s: FloatArray) -> NDArray[np.int64]:
        """Index of the last strike so far, or of the first one before it: [F]."""
        return np.maximum(self.count(times_s) - 1, 0)

    @property
    def _sets_off_nothing(self) -> bool:
        return self.times_s.size == 0 or not self.touches

    def _course(
        self, times_s: FloatArray, keys_s: FloatArray, heights: FloatArray, easing: NDArray[np.int64]
    ) -> FloatArray:
        """Interpolate heights between key times; easing sets how each key is reached."""
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
        self._course = _passages(scene.envelope)

    def level(self, times_s: FloatArray) -> FloatArray:
        """Intensity in 0..1, [F]."""
        return self._scene.intensity_at(times_s)

    def shaking(self, times_s: FloatArray, rate_hz: float = 7.0) -> FloatArray:
        """Oscillation in -1..1 while there is sound, with an amplitude that follows its loudness. [F]

        Whatever sounds must move: a mouth held open would look like a silent one.
        """
        return self.level(times_s) * np.sin(2 * np.pi * rate_hz * times_s)

    def travel(self, times_s: FloatArray) -> FloatArray:
        """Intensity integrated from the clip's start: the distance that something driven by it has moved. [F]"""
        return np.interp(times_s, np.arange(self._travel.size) / ENVELOPE_RATE_HZ, self._travel)

    def passing(self, times_s: FloatArray) -> FloatArray:
        """Position of something that passes at each peak of the envelope: -1 approaching, 0 at the peak, 1 gone. [F]"""
        return np.interp(times_s, np.arange(self._course.size) / ENVELOPE_RATE_HZ, self._course)


def _passages(envelope: FloatArray) -> FloatArray:
    """Positions of something that passes at every peak, sampled like `envelope`. Peaks are separated by silence, a dip
    or 3 s.
    """
    course = np.full(envelope.shape, -1.0)
    start, longest = 0, 3 * ENVELOPE_RATE_HZ
    while start < envelope.size:
        if envelope[start] < 0.02:
            start += 1
            continue
        end, highest, lowest_since = start, 0.0, 0.0
        for end in range(start, min(start + longest, envelope.size)):
            level = envelope[end]
            if level >= highest:
                highest, lowest_since = level, level
            lowest_since = min(lowest_since, level)
            if level < 0.02 or level > lowest_since + 0.2:
                break
        else:
            end += 1
        end = max(end, start + 1)
        peak = start + int(np.argmax(envelope[start:end] - 1e-4 * np.abs(np.arange(end - start) - 0.5 * (end - start))))
        steps = np.arange(start, end) - peak
        course[start:end] = np.where(steps < 0, steps / max(peak - start, 1), steps / max(end - 1 - peak, 1))
        start = end
    return course


def wander(rng: np.random.Generator, rate_hz: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Draw a smooth random motion for `wandering`: rates in Hz, phases and weights of a few sines."""
    return rate_hz * rng.uniform(0.4, 1.6, 4), rng.uniform(0, 2 * np.pi, 4), rng.dirichlet(np.ones(4))


def wandering(times_s: FloatArray, course: tuple[FloatArray, FloatArray, FloatArray]) -> FloatArray:
    """A smooth random motion in -1..1, [F]."""
    rates_hz, phases, weights = course
    return np.sin(2 * np.pi * rates_hz * times_s[:, None] + phases) @ weights


@dataclass(frozen=True)
class Walk:
    """Two feet that step alternately at the strikes, seen from the side; a heavy step is long and high.

    Lengths are in frame heights.
    """

    strikes: Strikes
    stride: float

    def body(self, times_s: FloatArray) -> FloatArray:
        """Distance that the body has moved. [F]"""
        return np.asarray(self._lengths() @ self._eased(times_s))

    def foot(self, parity: int, times_s: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Distance that one of the feet has moved, and its height above the ground: [F], [F]."""
        shares = self._shares(times_s)[parity::2]
        eased = shares**2 * (3 - 2 * shares)
        x = self._spread()[0] * (parity - 0.5) + 2 * self._lengths()[parity::2] @ eased
        arcs = (0.1 + 0.9 * self.strikes.strengths[parity::2, None]) * np.sin(np.pi * shares)
        return np.asarray(x), np.asarray(0.8 * self.stride * arcs.sum(axis=0))

    def _spread(self) -> FloatArray:
        """Distance between the feet before the first step and after each: [N + 1]."""
        strengths = self.strikes.strengths
        return self.stride * (0.4 + 0.6 * np.concatenate([strengths[:1] if strengths.size else [0.5], strengths]))

    def _lengths(self) -> FloatArray:
        """Distance that each step moves the body: [N]."""
        spread = self._spread()
        return np.asarray(0.5 * (spread[1:] + spread[:-1]))

    def _eased(self, times_s: FloatArray) -> FloatArray:
        shares = self._shares(times_s)
        return np.asarray(shares**2 * (3 - 2 * shares))

    def _shares(self, times_s: FloatArray) -> FloatArray:
        """Completed share of each step, 0..1: [N, F]."""
        ends_s = self.strikes.times_s
        lasting_s = np.minimum(0.42, 0.95 * np.diff(ends_s, prepend=-2.0))[:, None]
        return np.asarray(np.clip((times_s[None, :] - ends_s[:, None]) / lasting_s + 1, 0.0, 1.0))
