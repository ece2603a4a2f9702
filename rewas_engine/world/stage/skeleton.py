"""People made of capsules. Hands and feet are placed; elbows and knees follow by inverse kinematics."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.world.palette import bright_colour, grey, skin_colour
from rewas_engine.world.stage.poses import compose, cross, points, pose, rotate, turn, unit
from rewas_engine.world.stage.props import Material, Prop, Shape, ball, plain, rod

FloatArray = NDArray[np.floating[Any]]
FOREARM_M, UPPER_ARM_M = 0.27, 0.3
SHIN_M, THIGH_M = 0.43, 0.44
HIP_HEIGHT_M, TRUNK_M, SOLE_M = 0.955, 0.5, 0.07
_HALF_SHOULDERS_M, _HALF_HIPS_M = 0.19, 0.1


def bend(
    root: FloatArray, target: FloatArray, upper_m: float, lower_m: float, towards: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Joint and tip [T, 3] of a limb of two bones from root that reaches for target, bent towards a direction.

    Both bones keep their lengths. The limb points at a target that is out of reach, and is pushed away
    from one that is too close.
    """
    root, target = np.broadcast_arrays(root, target)
    way = target - root
    distance = np.sqrt((way * way).sum(axis=1, keepdims=True))
    reach = np.clip(distance, abs(upper_m - lower_m) + 1e-4, upper_m + lower_m - 1e-4)
    direction = unit(way)
    side = towards - (towards * direction).sum(axis=1, keepdims=True) * direction
    # A limb along the direction it bends to bends forwards.
    side = np.where(
        (side * side).sum(axis=1, keepdims=True) > 1e-6, side, cross(direction, np.array([[1.0, 0.0, 0.0]]))
    )
    side = unit(side)
    forward = (upper_m**2 - lower_m**2 + reach**2) / (2 * reach)
    out = np.sqrt(np.maximum(upper_m**2 - forward**2, 0.0))
    return root + forward * direction + out * side, root + reach * direction


@dataclass(frozen=True, eq=False)
class Person:
    """Colours [3], size relative to 1.72 m, and girth."""

    skin: FloatArray
    hair: FloatArray
    shirt: FloatArray
    sleeve: FloatArray
    trousers: FloatArray
    shoes: FloatArray
    size: float
    girth: float


def draw_person(rng: np.random.Generator) -> Person:
    """Draw a random person."""
    skin, shirt = skin_colour(rng), bright_colour(rng, 0.55)
    return Person(
        skin=skin,
        hair=grey(rng, 0.03, 0.5),
        shirt=shirt,
        sleeve=shirt if rng.random() < 0.6 else skin,
        trousers=bright_colour(rng, 0.4) * rng.uniform(0.3, 1.0),
        shoes=grey(rng, 0.05, 0.8),
        size=float(rng.uniform(0.92, 1.08)),
        girth=float(rng.uniform(0.85, 1.3)),
    )


@dataclass(frozen=True, eq=False)
class Posture:
    """Where the parts of a person are. A person faces +y at yaw 0, with the right hand at +x.

    Attributes:
        hips: [T, 3] middle of the hips.
        yaw_rad, lean_rad: [T] turn to the left, and bow forwards.
        hands: Left and right hand, [T, 3] each; None lets the arm hang.
        feet: Left and right sole, [T, 3] each; None leaves the legs out, as behind a table.
        nod_rad: [T] bow of the head.
    """

    hips: FloatArray
    yaw_rad: FloatArray
    lean_rad: FloatArray
    hands: tuple[FloatArray | None, FloatArray | None] = (None, None)
    feet: tuple[FloatArray, FloatArray] | None = None
    nod_rad: FloatArray | float = 0.0


def standing(
    place: FloatArray,
    yaw_rad: float,
    lean_rad: FloatArray,
    hands: tuple[FloatArray | None, FloatArray | None],
    person: Person,
    nod_rad: FloatArray | float = 0.0,
) -> Posture:
    """The posture of someone who stands at place [1 or T, 3], with both soles on the ground."""
    yaw = turn((0, 0, 1), yaw_rad)
    feet = tuple(place + rotate(yaw, points(side * 0.13, 0.0, 0.0)) for side in (-1.0, 1.0))
    hips = place + points(0.0, 0.0, 0.985 * HIP_HEIGHT_M * person.size)
    return Posture(hips, np.full(1, yaw_rad), np.atleast_1d(lean_rad), hands, (feet[0], feet[1]), nod_rad)


def embody(person: Person, posture: Posture) -> list[Prop]:
    """The body of a person in a posture."""
    posture = _leaned_in(person, posture)
    size, thick = person.size, 0.5 + 0.5 * person.girth
    skin, shirt, trousers = plain(person.skin), plain(person.shirt, 0.9), plain(person.trousers, 0.9)
    yaw = turn((0, 0, 1), posture.yaw_rad)
    lean = compose(yaw, turn((-1, 0, 0), posture.lean_rad))
    neck = posture.hips + rotate(lean, points(0.0, 0.0, TRUNK_M * size))
    head_turn = compose(lean, turn((-1, 0, 0), posture.nod_rad))
    head = neck + rotate(head_turn, points(0.0, 0.02 * size, 0.17 * size))
    chest = posture.hips + rotate(lean, points(0.0, 0.0, 0.33 * size))
    body = [
        _part("ball", (0.36 * size * thick, 0.24 * size * thick, 0.6 * size), shirt, chest, lean),
        _part("ball", (0.34 * size * thick, 0.25 * size * thick, 0.26 * size), trousers, posture.hips, yaw),
        rod(0.1 * size, skin, *_both(neck, head)),
        _part("ball", (0.17 * size, 0.2 * size, 0.24 * size), skin, head, head_turn),
        _part(
            "ball",
            (0.185 * size, 0.2 * size, 0.2 * size),
            plain(person.hair, 0.9),
            head + rotate(head_turn, points(0.0, -0.025 * size, 0.04 * size)),
            head_turn,
        ),
    ]
    for side, hand in zip((-1.0, 1.0), posture.hands, strict=True):
        shoulder = posture.hips + rotate(lean, _shoulder(side, size))
        hanging = shoulder + rotate(yaw, points(side * 0.06, 0.06, -0.54 * size))
        outwards = rotate(lean, points(side * 0.6, -0.5, -0.5))
        elbow, wrist = bend(shoulder, hanging if hand is None else hand, UPPER_ARM_M * size, FOREARM_M * size, outwards)
        body += [
            rod(0.1 * size * thick, shirt, *_both(shoulder, elbow)),
            rod(0.075 * size * thick, plain(person.sleeve, 0.9), *_both(elbow, wrist)),
            ball(0.1 * size, skin, wrist),
        ]
    if posture.feet is not None:
        for side, foot in zip((-1.0, 1.0), posture.feet, strict=True):
            hip = posture.hips + rotate(yaw, points(side * _HALF_HIPS_M * size, 0.0, -0.03 * size))
            above_sole = foot + points(0.0, 0.0, SOLE_M * size)
            knee, ankle = bend(hip, above_sole, THIGH_M * size, SHIN_M * size, rotate(yaw, points(0.0, 1.0, 0.1)))
            shoe = ankle + rotate(yaw, points(0.0, 0.07 * size, -0.03 * size))
            body += [
                rod(0.15 * size * thick, trousers, *_both(hip, knee)),
                rod(0.11 * size * thick, trousers, *_both(knee, ankle)),
                _part("ball", (0.1 * size, 0.28 * size, 0.1 * size), plain(person.shoes, 0.5), shoe, yaw),
            ]
    return body


def _leaned_in(person: Person, posture: Posture) -> Posture:
    """The posture with the hips moved towards the hands by as much as the arms are too short."""
    hips, reach = posture.hips, 0.98 * (UPPER_ARM_M + FOREARM_M) * person.size
    lean = compose(turn((0, 0, 1), posture.yaw_rad), turn((-1, 0, 0), posture.lean_rad))
    for _ in range(3):
        for side, hand in zip((-1.0, 1.0), posture.hands, strict=True):
            if hand is None:
                continue
            way = hand - hips - rotate(lean, _shoulder(side, person.size))
            missing = np.maximum(np.sqrt((way * way).sum(axis=1, keepdims=True)) - reach, 0.0)
            flat = way * np.array([1.0, 1.0, 0.0])
            hips = hips + missing * flat / np.maximum(np.sqrt((flat * flat).sum(axis=1, keepdims=True)), 0.05)
    return replace(posture, hips=hips)


def _shoulder(side: float, size: float) -> FloatArray:
    """The left (-1) or right (1) shoulder, from the hips."""
    return points(side * _HALF_SHOULDERS_M * size, 0.0, (TRUNK_M - 0.05) * size)


def _both(start: FloatArray, end: FloatArray) -> tuple[FloatArray, FloatArray]:
    start, end = np.broadcast_arrays(start, end)
    return start, end


def _part(
    shape: Shape, size_m: tuple[float, float, float], material: Material, place: FloatArray, rotation: FloatArray
) -> Prop:
    return Prop(shape, size_m, material, pose(place, rotation))
