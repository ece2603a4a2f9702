"""Energy curves as the lines of an SVG picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rewas_api.v1 import rewas_pb2

WIDTH, HEIGHT = 720, 150
LEFT, RIGHT, TOP, BOTTOM = 40, 8, 8, 22
MAX_POINTS = 400
SILENCE_NATS = -11.5
LOWEST_NATS, HIGHEST_NATS = -30.0, 30.0
"""Levels outside are drawn here."""
MIN_SPAN_NATS = 2.0
_TIME_STEPS_S = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)


@dataclass(frozen=True)
class Line:
    """One curve. kind: "requested", "produced" or "energy". points: for the attribute `points` of a polyline."""

    kind: str
    points: str


@dataclass(frozen=True)
class Tick:
    """A label on an axis. position: in units of the picture."""

    position: float
    text: str


@dataclass(frozen=True)
class EnergyPlot:
    """A picture of WIDTH x HEIGHT units, with the description that a screen reader speaks."""

    lines: tuple[Line, ...]
    times: tuple[Tick, ...]
    levels: tuple[Tick, ...]
    description: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def plot_energy(given: Mapping[str, rewas_pb2.EnergyCurve], description: str) -> EnergyPlot | None:
    """Return a picture of curves, by kind; None if there is none to draw. description: for a screen reader."""
    curves = {
        kind: _Curve(_thin(curve.values), len(curve.values) * curve.rate_hz.denominator / curve.rate_hz.numerator)
        for kind, curve in given.items()
        if curve.values and curve.rate_hz.numerator > 0 and curve.rate_hz.denominator > 0
    }
    if not curves:
        return None
    values = [value for curve in curves.values() for value in curve.values]
    low, high = min(values), max(values)
    if high - low < MIN_SPAN_NATS:
        low, high = (low + high - MIN_SPAN_NATS) / 2, (low + high + MIN_SPAN_NATS) / 2
    duration_s = max(curve.duration_s for curve in curves.values())
    scale = _Scale(duration_s, low, high)
    return EnergyPlot(
        tuple(Line(kind, scale.points(curve)) for kind, curve in curves.items()),
        tuple(Tick(scale.x(at_s), f"{at_s:g} s") for at_s in _time_ticks(duration_s)),
        tuple(Tick(scale.y(level), f"{level:g}") for level in _level_ticks(low, high)),
        description,
    )


@dataclass(frozen=True)
class _Curve:
    values: Sequence[float]
    duration_s: float


@dataclass(frozen=True)
class _Scale:
    duration_s: float
    low: float
    high: float

    def x(self, at_s: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * at_s / self.duration_s, 1)

    def y(self, level: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (self.high - level) / (self.high - self.low), 1)

    def points(self, curve: _Curve) -> str:
        step_s = curve.duration_s / len(curve.values)
        return " ".join(f"{self.x((index + 0.5) * step_s)},{self.y(value)}" for index, value in enumerate(curve.values))


def _thin(values: Sequence[float]) -> list[float]:
    """At most MAX_POINTS values: the highest of each group, so that no event is lost."""
    finite = [min(max(value, LOWEST_NATS), HIGHEST_NATS) if value == value else SILENCE_NATS for value in values]
    size = math.ceil(len(finite) / MAX_POINTS)
    return [max(finite[start : start + size]) for start in range(0, len(finite), size)]


def _time_ticks(duration_s: float) -> list[float]:
    step_s = next((step for step in _TIME_STEPS_S if duration_s / step <= 8), duration_s / 8)
    return [index * step_s for index in range(math.floor(duration_s / step_s + 1e-9) + 1)]


def _level_ticks(low: float, high: float) -> list[float]:
    step = next(step for step in (1, 2, 4, 8, 16, math.inf) if (high - low) / step <= 4)
    if math.isinf(step):
        return [round(low), round(high)]
    return [index * step for index in range(math.ceil(low / step), math.floor(high / step) + 1)]
