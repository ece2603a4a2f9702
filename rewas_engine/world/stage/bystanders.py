"""Things that move and make no sound."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rewas_engine.world.motion import Strikes, Walk, wander, wandering
from rewas_engine.world.palette import bright_colour, grey, leaf_colour
from rewas_engine.world.stage.acts import FloatArray
from rewas_engine.world.stage.poses import compose, points, pose, rotate, turn
from rewas_engine.world.stage.props import Material, Prop, ball, metal, painted, plain, rod, wood
from rewas_engine.world.stage.skeleton import draw_person, embody, standing
from rewas_engine.world.stage.step_acts import walk_posture

Bystander = Callable[[np.random.Generator, FloatArray], Callable[[FloatArray], list[Prop]]]
"""Draws something that moves around a place [1, 3] on the floor, beside and behind what sounds."""


def balloon(rng: np.random.Generator, place: FloatArray) -> Callable[[FloatArray], list[Prop]]:
    """A balloon that drifts on its string."""
    skin, course_x, course_y = painted(rng), wander(rng, 0.25), wander(rng, 0.3)
    size = float(rng.uniform(0.25, 0.5))

    def props(times_s: FloatArray) -> list[Prop]:
        drift = points(0.4 * wandering(times_s, course_x), 0.3 * wandering(times_s, course_y), 1.7)
        at = place + drift + points(0.0, 0.0, 0.15 * wandering(times_s, course_y))
        return [
            Prop("ball", (size, size, 1.2 * size), skin, pose(at)),
            rod(
                0.01,
                plain(np.zeros(3) + 0.9),
                at - points(0.0, 0.0, 0.6 * size + 0.4),
                at - points(0.0, 0.0, 0.6 * size),
            ),
        ]

    return props


def passer_by(rng: np.random.Generator, place: FloatArray) -> Callable[[FloatArray], list[Prop]]:
    """Someone who walks through the background in soft shoes."""
    person, step_s, way = draw_person(rng), float(rng.uniform(0.45, 0.7)), float(rng.choice((0.0, np.pi)))
    steps_s = np.arange(-1.9, 30.0, step_s)
    walk = Walk(Strikes(steps_s, np.full(steps_s.size, 0.6)), 0.42)
    turned = turn((0, 0, 1), way + np.pi / 2)
    start = float(rng.uniform(-5.0, -2.5))

    def props(times_s: FloatArray) -> list[Prop]:
        placed = []
        for part in embody(person, walk_posture(person, walk, times_s, start, np.zeros(times_s.size))):
            # The walk leads along y, so turn it to cross the picture.
            at = place + rotate(turned, part.poses[:, :3])
            facing = compose(np.broadcast_to(turned, part.poses[:, 3:].shape), part.poses[:, 3:])
            placed.append(Prop(part.shape, part.size_m, part.material, pose(at, facing)))
        return placed

    return props


def gesturing(rng: np.random.Generator, place: FloatArray) -> Callable[[FloatArray], list[Prop]]:
    """Someone who waves or gestures and touches nothing."""
    person, rate_hz, wide = draw_person(rng), float(rng.uniform(0.6, 2.0)), float(rng.uniform(0.1, 0.3))
    lively, high = wander(rng, 0.3), float(rng.uniform(1.1, 1.7))

    def props(times_s: FloatArray) -> list[Prop]:
        swing = np.clip(0.5 + wandering(times_s, lively), 0, 1) * np.sin(2 * np.pi * rate_hz * times_s)
        hand = place + points(0.4 + wide * swing, 0.3, high + 0.1 * swing)
        other = place + points(-0.35 - 0.5 * wide * swing, 0.3, 1.1)
        return embody(person, standing(place, 0.0, 0.03 * swing, (other, hand), person, 0.1 * swing))

    return props


def plant(rng: np.random.Generator, place: FloatArray) -> Callable[[FloatArray], list[Prop]]:
    """A plant that sways in silent air."""
    leaf, pot, course = plain(leaf_colour(rng)), painted(rng), wander(rng, 0.7)
    stems = [(rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5), rng.uniform(0.5, 1.1)) for _ in range(6)]
    reach = float(rng.uniform(0.08, 0.3))

    def props(times_s: FloatArray) -> list[Prop]:
        sway = reach * wandering(times_s, course)
        foot = place + points(0.0, 0.0, 0.35)
        placed = [Prop("cylinder", (0.32, 0.32, 0.34), pot, pose(place + points(0.0, 0.0, 0.17)))]
        for x, y, tall in stems:
            top = foot + rotate(turn((0, 1, 0), x + sway), rotate(turn((1, 0, 0), y), points(0.0, 0.0, tall)))
            placed += [rod(0.03, leaf, np.broadcast_to(foot, top.shape), top), ball(0.2, leaf, top)]
        return placed

    return props


def curtain(rng: np.random.Generator, place: FloatArray) -> Callable[[FloatArray], list[Prop]]:
    """A curtain that moves in a draught."""
    cloth, course = painted(rng), wander(rng, 0.5)
    columns, rows, reach = 14, 6, float(rng.uniform(0.08, 0.3))
    u, v = np.meshgrid(np.linspace(-0.5, 0.5, columns), np.linspace(0, 1, rows), indexing="ij")

    def props(times_s: FloatArray) -> list[Prop]:
        blown = (reach * wandering(times_s, course))[:, None, None]
        fold = 0.06 * np.sin(22 * u[None] + 3 * times_s[:, None, None]) + blown * (1 - v[None])
        x, z = u[None] * 1.1, 0.2 + 2.0 * v[None]
        vertices = np.stack(np.broadcast_arrays(x, fold, z), axis=-1).reshape(times_s.size, -1, 3)
        rail = rod(0.03, metal(np.random.default_rng(5)), place + points(-0.65, 0, 2.22), place + points(0.65, 0, 2.22))
        return [Prop("sheet", (columns, rows), cloth, pose(place), vertices=vertices), rail]

    return props


def fan(rng: np.random.Generator, place: FloatArray) -> Callable[[FloatArray], list[Prop]]:
    """A wheel or a windmill that turns without a sound."""
    paint, post, count = painted(rng), metal(rng), int(rng.integers(2, 6))
    rate_hz, wanes, size = float(rng.uniform(0.2, 2.5)), wander(rng, 0.15), float(rng.uniform(0.3, 0.6))

    def props(times_s: FloatArray) -> list[Prop]:
        angle = 2 * np.pi * rate_hz * (times_s + wandering(times_s, wanes))
        hub = place + points(0.0, 0.1, 1.2)
        placed = [rod(0.05, post, place + points(0, 0, 0.03), place + points(0, 0, 1.2)), ball(0.12, post, hub)]
        for blade in range(count):
            tip = rotate(turn((0, 1, 0), angle + 2 * np.pi * blade / count), points(size, 0.0, 0.0))
            placed.append(rod(0.1, paint, np.broadcast_to(hub, tip.shape), hub + tip))
        return placed

    return props


def pendulum(rng: np.random.Generator, place: FloatArray) -> Callable[[FloatArray], list[Prop]]:
    """A lamp or a bag that swings from the ceiling."""
    shade, cord = painted(rng), plain(grey(rng, 0.05, 0.3))
    glow = Material(bright_colour(rng, 0.2), glow=2.5)
    rate_hz, reach, decay_s = float(rng.uniform(0.35, 0.7)), float(rng.uniform(0.1, 0.5)), float(rng.uniform(3.0, 20.0))
    lit = bool(rng.random() < 0.4)

    def props(times_s: FloatArray) -> list[Prop]:
        angle = reach * np.exp(-np.maximum(times_s, 0) / decay_s) * np.sin(2 * np.pi * rate_hz * times_s)
        top = place + points(0.0, 0.0, 2.9)
        end = top + rotate(turn((0, 1, 0), angle), points(0.0, 0.0, -1.2))
        return [
            rod(0.02, cord, np.broadcast_to(top, end.shape), end),
            Prop("cone", (0.36, 0.36, 0.3), shade, pose(end, turn((0, 1, 0), angle))),
            Prop(
                "ball", (0.14, 0.14, 0.14), glow if lit else shade, pose(end - points(0.0, 0.0, 0.16)), casts_light=lit
            ),
        ]

    return props


def screen(rng: np.random.Generator, place: FloatArray) -> Callable[[FloatArray], list[Prop]]:
    """A silent television, whose light changes."""
    frame, light = plain(grey(rng, 0.02, 0.1)), Material(bright_colour(rng, 0.5), glow=2.0)
    edges_s, levels = np.cumsum(rng.uniform(0.15, 1.6, 64)), rng.uniform(0.1, 1.0, 64)

    def props(times_s: FloatArray) -> list[Prop]:
        glows = levels[np.minimum(np.searchsorted(edges_s, times_s), 63)]
        at = place + points(0.0, 0.0, 1.1)
        return [
            Prop("box", (1.0, 0.06, 0.6), frame, pose(at)),
            Prop("box", (0.94, 0.02, 0.54), light, pose(at + points(0.0, 0.035, 0.0)), glows=glows, casts_light=True),
            Prop("box", (0.8, 0.3, 0.78), wood(np.random.default_rng(6)), pose(place + points(0.0, 0.0, 0.39))),
        ]

    return props


BYSTANDERS: tuple[Bystander, ...] = (balloon, passer_by, plant, curtain, fan, pendulum, screen, gesturing)
"""Things that may move in the background."""
LOOK_ALIKES: tuple[Bystander, ...] = (gesturing, fan, pendulum, balloon)
"""Things that may replace what sounds in a silent clip."""
