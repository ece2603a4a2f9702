"""Where it happens: rooms and open ground, with furniture, lamps, sun and sky."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from rewas_engine.world.palette import bright_colour, grey, leaf_colour
from rewas_engine.world.stage.acts import FloatArray
from rewas_engine.world.stage.poses import look_at, points, pose, turn
from rewas_engine.world.stage.props import Material, Prop, ball, box, painted, patterned, plain, rod, wood

OUTDOORS_SHARE = 0.4


@dataclass(frozen=True, eq=False)
class Light:
    """A lamp or the sun.

    Attributes:
        kind: "area" lamps are squares that shine along their own -z axis; "sun" shines from infinitely far.
        power_w: Power of a lamp in watts; strength of the sun in W/m².
        size_m: Side of an area lamp.
        colour: RGB [3].
        pose: [1, 7].
    """

    kind: Literal["area", "sun"]
    power_w: float
    size_m: float
    colour: FloatArray
    pose: FloatArray


@dataclass(frozen=True, eq=False)
class Room:
    """The surroundings of an act.

    Attributes:
        props: Floor, walls and furniture; none of it moves.
        lights: Lamps or the sun.
        sky: Colour [3] of the light from all around.
        sky_strength: Its strength.
        outdoors: Whether it is open ground.
    """

    props: tuple[Prop, ...]
    lights: tuple[Light, ...]
    sky: FloatArray
    sky_strength: float
    outdoors: bool


def draw_room(
    rng: np.random.Generator, reach_m: float, clear_m: float, ground: Material | None, outdoors: bool | None
) -> Room:
    """Draw random surroundings.

    Args:
        rng: Source of randomness.
        reach_m: Distance from the middle within which the cameras are; walls are beyond.
        clear_m: Distance from the middle within which there are no objects.
        ground: Material of the floor; None draws one.
        outdoors: Whether it is open ground; None draws it.
    """
    if outdoors is None:
        outdoors = bool(rng.random() < OUTDOORS_SHARE)
    half = reach_m + float(rng.uniform(0.4, 1.5))
    floor = ground if ground is not None else (_open_ground(rng) if outdoors else patterned(rng, 0.5))
    size = 60.0 if outdoors else 2 * half
    props = [box((size, size, 0.1), floor, pose(points(0.0, 0.0, -0.05)))]
    props += _scenery(rng, half, clear_m) if outdoors else [*_walls(rng, half), *_furniture(rng, half, clear_m)]
    lights, sky, strength = _daylight(rng) if outdoors else _lamps(rng, half)
    return Room(tuple(props), tuple(lights), sky, strength, outdoors)


def _open_ground(rng: np.random.Generator) -> Material:
    colour = leaf_colour(rng) * 0.8 if rng.random() < 0.5 else grey(rng, 0.25, 0.7)
    return Material(colour, colour * rng.uniform(0.7, 0.95), "stones", float(rng.uniform(0.2, 1.0)), roughness=1.0)


def _walls(rng: np.random.Generator, half: float) -> list[Prop]:
    wall, tall = patterned(rng, 0.6), max(3.0, 0.9 * half)
    trim = plain(grey(rng, 0.2, 0.9))
    props = []
    for side, x, y in ((0, 0.0, -half), (0, 0.0, half), (1, -half, 0.0), (1, half, 0.0)):
        turned = turn((0, 0, 1), side * np.pi / 2)
        props.append(box((2 * half, 0.1, tall), wall, pose(points(x, y, 0.5 * tall), turned)))
        props.append(box((2 * half, 0.14, 0.1), trim, pose(points(x, y, 0.05), turned)))
    if rng.random() < 0.5:
        view = Material(np.array([0.75, 0.85, 1.0]), glow=float(rng.uniform(0.8, 2.5)))
        props.append(box((1.2, 0.05, 1.1), view, pose(points(rng.uniform(-1, 1), -half + 0.05, 1.6))))
    for _ in range(int(rng.integers(0, 4))):
        picture = patterned(rng, 0.15)
        across, along = rng.uniform(-0.7, 0.7) * half, rng.uniform(0.3, 0.9)
        props.append(
            box((along, 0.06, 0.7 * along), picture, pose(points(across, -half + 0.07, rng.uniform(1.2, 2.0))))
        )
    return props


def _furniture(rng: np.random.Generator, half: float, clear_m: float) -> list[Prop]:
    """Cupboards, boxes and balls along the walls."""
    props: list[Prop] = []
    for _ in range(int(rng.integers(0, 6))):
        angle = rng.uniform(np.pi, 2 * np.pi) if rng.random() < 0.75 else rng.uniform(0, np.pi)
        distance = rng.uniform(clear_m + 0.6, max(half - 0.3, clear_m + 0.7))
        x, y = distance * np.cos(angle), distance * np.sin(angle)
        look = wood(rng) if rng.random() < 0.5 else painted(rng)
        # Furniture in front of the act must not hide it.
        tall = float(rng.uniform(0.2, 0.45) if y > 0 else rng.uniform(0.3, 2.0))
        if rng.random() < 0.2:
            props.append(ball(min(tall, 0.5), look, points(x, y, 0.5 * min(tall, 0.5))))
            continue
        wide, deep = float(rng.uniform(0.3, 1.2)), float(rng.uniform(0.3, 0.6))
        props.append(box((wide, deep, tall), look, pose(points(x, y, 0.5 * tall), turn((0, 0, 1), rng.uniform(0, 3)))))
    return props


def _scenery(rng: np.random.Generator, half: float, clear_m: float) -> list[Prop]:
    """Trees, houses and stones in the far background."""
    props: list[Prop] = []
    for _ in range(int(rng.integers(2, 9))):
        angle = rng.uniform(1.1 * np.pi, 1.9 * np.pi) if rng.random() < 0.6 else rng.uniform(0, 2 * np.pi)
        distance = half + rng.uniform(2.0, 12.0)
        x, y = distance * np.cos(angle), distance * np.sin(angle)
        if rng.random() < 0.6:
            tall = float(rng.uniform(1.5, 4.0))
            props.append(rod(0.2, wood(rng), points(x, y, 0.1), points(x, y, tall)))
            props.append(ball(float(rng.uniform(1.2, 2.5)), plain(leaf_colour(rng), 1.0), points(x, y, tall)))
        else:
            tall = float(rng.uniform(2.0, 6.0))
            house = patterned(rng, 0.8)
            props.append(box((float(rng.uniform(2, 6)), 3.0, tall), house, pose(points(x, y, 0.5 * tall))))
    for _ in range(int(rng.integers(0, 5))):
        angle, size = rng.uniform(0, 2 * np.pi), float(rng.uniform(0.1, 0.3))
        distance = clear_m + rng.uniform(0.3, 3.0)
        props.append(
            ball(
                size,
                plain(grey(rng, 0.2, 0.6), 1.0),
                points(distance * np.cos(angle), distance * np.sin(angle), 0.3 * size),
            )
        )
    return props


def _daylight(rng: np.random.Generator) -> tuple[list[Light], FloatArray, float]:
    """The sun, high or low, or only an overcast sky."""
    overcast = bool(rng.random() < 0.3)
    sky = np.array([0.55, 0.7, 1.0]) if not overcast else np.array([0.85, 0.88, 0.92])
    sky = np.clip(sky * rng.uniform(0.85, 1.1, 3), 0, 1)
    if overcast:
        return [], sky, float(rng.uniform(0.9, 1.5))
    angle, high = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.3)
    at = points(np.cos(angle) * np.cos(high), np.sin(angle) * np.cos(high), np.sin(high))
    warm = np.array([1.0, 0.78 + 0.2 * high / 1.3, 0.55 + 0.4 * high / 1.3])
    sun = Light("sun", float(rng.uniform(2.0, 5.0)), 0.0, warm, look_at(at * 20.0, points(0.0, 0.0, 0.0)))
    return [sun], sky, float(rng.uniform(0.5, 1.0))


def _lamps(rng: np.random.Generator, half: float) -> tuple[list[Light], FloatArray, float]:
    """One to three lamps on the ceiling, and some light from everywhere."""
    lights = []
    count = int(rng.integers(1, 4))
    for _ in range(count):
        x, y = rng.uniform(-0.6, 0.6, 2) * half
        tall = rng.uniform(2.3, 2.9)
        warmth = rng.uniform(0.0, 0.5)
        colour = np.array([1.0, 1.0 - 0.35 * warmth, 1.0 - 0.9 * warmth])
        power = float(rng.uniform(20.0, 50.0)) * half**1.4 / count
        lights.append(
            Light(
                "area",
                power,
                float(rng.uniform(0.2, 1.2)),
                colour,
                look_at(points(x, y, tall), points(0.3 * x, 0.3 * y, 0.6)),
            )
        )
    tint = 0.5 + 0.5 * bright_colour(rng, 0.4)
    return lights, tint, float(rng.uniform(0.2, 0.45))
