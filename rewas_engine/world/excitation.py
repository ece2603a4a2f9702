"""Excitation of a scene over time: patterns of events and envelopes, the same for every class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.world.classes import ENVELOPE_RATE_HZ

FloatArray = NDArray[np.floating[Any]]

EVENT_PATTERNS: tuple[str, ...] = (
    "single",
    "few",
    "regular",
    "irregular",
    "accelerating",
    "decelerating",
    "bursts",
    "roll",
)
ENVELOPE_PATTERNS: tuple[str, ...] = ("steady", "ramp", "swell", "pulses", "gated", "gusts")
PATTERNS: tuple[str, ...] = EVENT_PATTERNS + ENVELOPE_PATTERNS

WEAKEST = 0.3
"""Intensity of the weakest event; it is about 33 dB below the strongest."""
SHORTEST_GAP_S = 0.045
LONG_SILENCE_SHARE = 0.35


def excitation(
    rng: np.random.Generator, pattern: str, struck: bool, duration_s: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Event times [N], strengths [N] and envelope [T] of a pattern."""
    count = round(duration_s * ENVELOPE_RATE_HZ) + 1
    start_s, end_s = _active_span(rng, duration_s)
    if pattern in EVENT_PATTERNS:
        times_s = _separate(_EVENT_TIMES[pattern](rng, start_s, end_s))
        # Jitter can move the first or last event out of the span and the clip.
        times_s = times_s[(times_s >= start_s) & (times_s < end_s)]
        if times_s.size == 0:  # a span too short for the pattern still contains one event
            times_s = _single(rng, start_s, end_s)
        strengths = _strengths(rng, times_s)
        fall_s = draw_fall_s(rng) * (0.4 if pattern == "roll" else 1.0)
        return times_s, strengths, pulses_at(times_s, strengths, fall_s, count)
    grid_s = np.arange(count) / ENVELOPE_RATE_HZ
    envelope = _gate_outside(_ENVELOPES[pattern](rng, grid_s, start_s, end_s), grid_s, start_s, end_s)
    if envelope.max() < WEAKEST:
        envelope = _gate_outside(_steady(rng, grid_s, start_s, end_s), grid_s, start_s, end_s)
    if not struck:
        return np.empty(0), np.empty(0), envelope
    gap_s = float(np.exp(rng.uniform(np.log(SHORTEST_GAP_S), np.log(0.11))))
    jitter = rng.uniform(0.0, 0.35)
    times_s = np.cumsum(gap_s * (1 + jitter * rng.uniform(-1, 1, int(duration_s / gap_s) + 1)))
    strengths = np.interp(times_s, grid_s, envelope) * rng.uniform(0.93, 1.0, times_s.size)
    audible = (strengths > 0.1) & (times_s < duration_s - 0.02)
    if not audible.any():
        loudest = int(envelope[:-2].argmax())
        return grid_s[loudest : loudest + 1], envelope[loudest : loudest + 1], envelope
    return times_s[audible], strengths[audible], envelope


def _active_span(rng: np.random.Generator, duration_s: float) -> tuple[float, float]:
    """Start and end of the activity; in some clips the rest is silence."""
    if rng.random() >= LONG_SILENCE_SHARE:
        return 0.0, duration_s
    length_s = duration_s * rng.uniform(0.25, 0.7)
    start_s = rng.uniform(0.0, duration_s - length_s)
    return float(start_s), float(start_s + length_s)


def _separate(times_s: FloatArray) -> FloatArray:
    """Sort times, and drop those too close to the previous one."""
    kept: list[float] = []
    for time_s in np.sort(times_s):
        if not kept or time_s - kept[-1] >= SHORTEST_GAP_S:
            kept.append(float(time_s))
    return np.array(kept, dtype=np.float64)


def _single(rng: np.random.Generator, start_s: float, end_s: float) -> FloatArray:
    return rng.uniform(start_s + 0.05 * (end_s - start_s), start_s + 0.8 * (end_s - start_s), 1)


def _few(rng: np.random.Generator, start_s: float, end_s: float) -> FloatArray:
    return _draw_between(rng, start_s + 0.05, end_s - 0.1, int(rng.integers(2, 5)))


def _regular(rng: np.random.Generator, start_s: float, end_s: float) -> FloatArray:
    period_s = _log_uniform(rng, 0.16, 1.2)
    times_s = np.arange(start_s + rng.uniform(0.02, min(period_s, end_s - start_s)), end_s - 0.03, period_s)
    return times_s + rng.uniform(-0.04, 0.04, times_s.size) * period_s * rng.integers(0, 2)


def _irregular(rng: np.random.Generator, start_s: float, end_s: float) -> FloatArray:
    count = max(2, int(rng.uniform(1.2, 5.0) * (end_s - start_s)))
    return _draw_between(rng, start_s + 0.02, end_s - 0.03, count)


def _accelerating(rng: np.random.Generator, start_s: float, end_s: float) -> FloatArray:
    first_gap_s, ratio = rng.uniform(0.4, 0.9), rng.uniform(0.72, 0.92)
    gaps_s = np.maximum(first_gap_s * ratio ** np.arange(40), SHORTEST_GAP_S * 1.05)
    times_s = start_s + rng.uniform(0.03, 0.3) + np.concatenate([[0.0], np.cumsum(gaps_s)])
    return times_s[times_s < end_s - 0.03]


def _decelerating(rng: np.random.Generator, start_s: float, end_s: float) -> FloatArray:
    return start_s + end_s - _accelerating(rng, start_s, end_s)


def _bursts(rng: np.random.Generator, start_s: float, end_s: float) -> FloatArray:
    times_s: list[FloatArray] = []
    cursor_s = start_s + rng.uniform(0.02, 0.5)
    while cursor_s < end_s - 0.1:
        gap_s = rng.uniform(0.08, 0.22)
        times_s.append(cursor_s + gap_s * np.arange(rng.integers(2, 6)))
        cursor_s = float(times_s[-1][-1]) + rng.uniform(0.4, 1.4)
    together = np.concatenate(times_s) if times_s else np.array([start_s + 0.02])
    return together[together < end_s - 0.03]


def _roll(rng: np.random.Generator, start_s: float, end_s: float) -> FloatArray:
    gap_s = _log_uniform(rng, 0.055, 0.13)
    times_s = np.arange(start_s + 0.02, end_s - 0.03, gap_s)
    return times_s + rng.uniform(-0.1, 0.1, times_s.size) * gap_s


_EVENT_TIMES: dict[str, Callable[[np.random.Generator, float, float], FloatArray]] = {
    "single": _single,
    "few": _few,
    "regular": _regular,
    "irregular": _irregular,
    "accelerating": _accelerating,
    "decelerating": _decelerating,
    "bursts": _bursts,
    "roll": _roll,
}


def _strengths(rng: np.random.Generator, times_s: FloatArray) -> FloatArray:
    """Intensities in WEAKEST..1: constant, random, growing, fading or accented."""
    count = times_s.size
    low, high = WEAKEST, 1.0
    course = rng.integers(0, 5)
    if course == 0:
        return np.full(count, rng.uniform(0.55, high))
    if course == 1:
        return rng.uniform(low, high, count)
    if course == 2:
        return np.linspace(rng.uniform(low, 0.6), rng.uniform(0.75, high), count)
    if course == 3:
        return np.linspace(rng.uniform(0.75, high), rng.uniform(low, 0.6), count)
    accents = np.arange(count) % int(rng.integers(2, 5)) == 0
    return np.where(accents, rng.uniform(0.85, high), rng.uniform(low, 0.7))


def draw_fall_s(rng: np.random.Generator) -> float:
    """Draw the time, in seconds, over which the envelope falls after an event."""
    return _log_uniform(rng, 0.15, 1.2)


def pulses_at(times_s: FloatArray, strengths: FloatArray, fall_s: float, count: int) -> FloatArray:
    """Envelope [count] that jumps up at each event and falls over fall_s seconds."""
    since_s = np.arange(count)[None, :] / ENVELOPE_RATE_HZ - times_s[:, None]
    pulses = np.where(since_s >= -0.005, strengths[:, None] * (1.0 - np.maximum(since_s, 0.0) / fall_s), 0.0)
    return np.asarray(np.max(pulses, axis=0, initial=0.0))


def _steady(rng: np.random.Generator, grid_s: FloatArray, start_s: float, end_s: float) -> FloatArray:
    return np.full(grid_s.size, rng.uniform(0.5, 1.0))


def _ramp(rng: np.random.Generator, grid_s: FloatArray, start_s: float, end_s: float) -> FloatArray:
    low, high = rng.uniform(0.1, 0.4), rng.uniform(0.75, 1.0)
    ends = (low, high) if rng.random() < 0.5 else (high, low)
    return np.interp(grid_s, (start_s, end_s), ends)


def _swell(rng: np.random.Generator, grid_s: FloatArray, start_s: float, end_s: float) -> FloatArray:
    period_s = rng.uniform(0.8, 2.0) * (end_s - start_s) / rng.integers(1, 4)
    wave = 0.5 - 0.5 * np.cos(2 * np.pi * ((grid_s - start_s) / period_s + rng.uniform(0, 0.3)))
    low, high = rng.uniform(0.0, 0.35), rng.uniform(0.75, 1.0)
    return low + (high - low) * wave ** rng.uniform(0.7, 2.0)


def _pulses(rng: np.random.Generator, grid_s: FloatArray, start_s: float, end_s: float) -> FloatArray:
    period_s = _log_uniform(rng, 0.25, 1.3)
    phase = ((grid_s - start_s) / period_s + rng.random()) % 1.0
    return np.asarray(rng.uniform(0.7, 1.0) * np.clip(1.0 - phase / rng.uniform(0.3, 0.95), 0.0, 1.0))


def _gated(rng: np.random.Generator, grid_s: FloatArray, start_s: float, end_s: float) -> FloatArray:
    envelope = np.zeros(grid_s.size)
    cursor_s = start_s + rng.uniform(0.0, 0.4)
    while cursor_s < end_s:
        length_s = _log_uniform(rng, 0.1, 1.2)
        envelope[(grid_s >= cursor_s) & (grid_s < cursor_s + length_s)] = rng.uniform(WEAKEST + 0.1, 1.0)
        cursor_s += length_s + _log_uniform(rng, 0.1, 1.0)
    return envelope


def _gusts(rng: np.random.Generator, grid_s: FloatArray, start_s: float, end_s: float) -> FloatArray:
    knots_s = np.arange(0.0, grid_s[-1] + 1.0, rng.uniform(0.2, 0.6))
    heights = np.clip(rng.normal(0.5, 0.35, knots_s.size), 0.0, 1.0)
    return np.interp(grid_s, knots_s, heights)


_ENVELOPES: dict[str, Callable[[np.random.Generator, FloatArray, float, float], FloatArray]] = {
    "steady": _steady,
    "ramp": _ramp,
    "swell": _swell,
    "pulses": _pulses,
    "gated": _gated,
    "gusts": _gusts,
}


def _gate_outside(envelope: FloatArray, grid_s: FloatArray, start_s: float, end_s: float) -> FloatArray:
    return np.where((grid_s >= start_s) & (grid_s <= end_s), np.clip(envelope, 0.0, 1.0), 0.0)


def _draw_between(rng: np.random.Generator, low: float, high: float, count: int) -> FloatArray:
    """Draw times between two bounds; if the span is too short, all are at the lower bound."""
    return rng.uniform(low, max(low, high), count)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
