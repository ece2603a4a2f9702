"""People who walk on gravel, boards and snow."""

from __future__ import annotations

from functools import partial

import numpy as np

from rewas_engine.world.motion import Strikes, Walk
from rewas_engine.world.palette import grey, wood_colour
from rewas_engine.world.stage.acts import Act, FloatArray, StruckAct, grains, thrown_up
from rewas_engine.world.stage.poses import points, turn
from rewas_engine.world.stage.props import Material, Prop, plain
from rewas_engine.world.stage.skeleton import SHIN_M, SOLE_M, THIGH_M, Person, Posture, draw_person, embody

_STRIDE_M = 0.42
_GRIT = {"gravel_steps": (18, 1.3, 0.022), "snow_steps": (22, 1.1, 0.03), "wood_floor_steps": (0, 0.0, 0.0)}
"""Number, speed in m/s and diameter in metres of what a step throws up."""


def ground_of(class_name: str, rng: np.random.Generator) -> Material:
    """The ground that sounds like a class of steps."""
    if class_name == "gravel_steps":
        colour = grey(rng, 0.3, 0.7) * np.array([1.05, 1.0, 0.9])
        return Material(colour, 0.55 * colour, "stones", float(rng.uniform(0.05, 0.12)), roughness=1.0)
    if class_name == "snow_steps":
        white = np.array([0.88, 0.91, 0.96]) * rng.uniform(0.85, 1.0)
        return Material(white, 0.86 * white, "stones", float(rng.uniform(0.4, 0.9)), roughness=1.0)
    colour = wood_colour(rng)
    return Material(colour, 0.7 * colour, "planks", float(rng.uniform(0.12, 0.22)), roughness=0.4)


def walk_posture(person: Person, walk: Walk, times_s: FloatArray, start_m: float, dip: FloatArray) -> Posture:
    """The posture of someone who walks along +y from start_m; dip: how deep the body sinks into a step, 0..1."""
    along_m = walk.body(times_s) + start_m
    soles = []
    for parity, side in enumerate((-1.0, 1.0)):
        way, height = walk.foot(parity, times_s)
        soles.append(points(side * 0.1, start_m + way, height))
    # The hips are as high as the legs allow, so that the knees are nearly straight.
    leg = 0.985 * (THIGH_M + SHIN_M) * person.size
    heights = [
        sole[:, 2] + SOLE_M * person.size + np.sqrt(np.maximum(leg**2 - (sole[:, 1] - along_m) ** 2, 0.25 * leg**2))
        for sole in soles
    ]
    hips = points(0.0, along_m, np.minimum(heights[0], heights[1]) + 0.03 * person.size - 0.03 * dip)
    apart = soles[0][:, 1] - soles[1][:, 1]
    # The arms swing opposite to the legs.
    hands = [
        hips + points(side * 0.27, side * 0.55 * apart + 0.05, -0.02 + 0.25 * np.abs(apart)) for side in (-1.0, 1.0)
    ]
    return Posture(hips, np.zeros(1), np.full(1, 0.05), (hands[0], hands[1]), (soles[0], soles[1]))


def walker(class_name: str, rng: np.random.Generator, strikes: Strikes) -> Act:
    """Someone who walks, or only the legs; without contact, someone who sits with dangling legs."""
    person, ground = draw_person(rng), ground_of(class_name, rng)
    walk = Walk(strikes, stride=_STRIDE_M * float(rng.uniform(0.8, 1.15)) * person.size)
    legs_only, dangle_hz = bool(rng.random() < 0.4), float(rng.uniform(0.5, 1.1))
    way = float(walk.body(np.array([1e6]))[0]) if strikes.touches and strikes.times_s.size else 0.0
    start = -0.5 * way
    count, speed, diameter = _GRIT[class_name]

    def landing(times_s: FloatArray) -> FloatArray:
        """Where the latest step landed."""
        latest = np.maximum(strikes.count(times_s) - 1, 0)
        landed_s = strikes.times_s[latest] if strikes.times_s.size else times_s
        feet = [walk.foot(parity, landed_s)[0] for parity in (0, 1)]
        parity = latest % 2
        return points(np.where(parity, 0.1, -0.1), start + np.where(parity, feet[1], feet[0]), 0.01)

    grit = thrown_up(rng, strikes, landing, count, speed) if count else None
    block = plain(grey(rng, 0.3, 0.8))

    def props(times_s: FloatArray) -> list[Prop]:
        if strikes.touches:
            posture = walk_posture(person, walk, times_s, start, strikes.flash(times_s, 0.09))
            body = embody(person, posture)
            return [*body, grains(diameter, ground, grit(times_s))] if grit is not None else body
        swings = [np.sin(2 * np.pi * dangle_hz * times_s + 2.2 * parity) for parity in (0, 1)]
        feet = [
            points(side * 0.1, 0.42 + 0.2 * swing, 0.16 + 0.08 * swing**2)
            for side, swing in zip((-1, 1), swings, strict=True)
        ]
        posture = Posture(points(0.0, 0.0, 0.75), np.zeros(1), np.full(1, 0.1), (None, None), (feet[0], feet[1]))
        seat = Prop(
            "box", (0.6, 0.5, 0.6), block, np.concatenate([points(0.0, -0.1, 0.3), turn((0, 0, 1), 0.0)], axis=1)
        )
        return [seat, *embody(person, posture)]

    follows = way > 2.2 or bool(rng.random() < 0.5)

    def focus(times_s: FloatArray) -> FloatArray:
        at = walk.body(times_s) + start if follows and strikes.touches else np.zeros(times_s.size)
        return points(0.0, at, 0.4 if legs_only else 0.9 * person.size)

    radius = (0.5 if legs_only else 1.05) + (0.0 if follows else 0.35 * way)
    azimuths = (1.0, 2.2) if rng.random() < 0.6 else (-0.5, 3.6)
    return Act(props, focus, radius, azimuths, (0.0, 0.45), ground, None if class_name == "wood_floor_steps" else True)


STEP_ACTS: dict[str, tuple[StruckAct, ...]] = {name: (partial(walker, name),) for name in _GRIT}
"""Acts of people who walk, by class."""
