"""People drawn with a few strokes, with enough of a body to move convincingly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewas_engine.world.drawing import Canvas, capsule, ellipse
from rewas_engine.world.palette import bright_colour, dark, grey, skin_colour

FloatArray = NDArray[np.floating[Any]]
Point = tuple[ArrayLike, ArrayLike]


@dataclass(frozen=True)
class Person:
    """Appearance of a person: colours [3], and girth as a factor."""

    skin: FloatArray
    hair: FloatArray
    shirt: FloatArray
    sleeve: FloatArray
    trousers: FloatArray
    shoes: FloatArray
    girth: float


def draw_person(rng: np.random.Generator) -> Person:
    """Draw a random person."""
    skin, shirt = skin_colour(rng), bright_colour(rng, 0.5)
    return Person(
        skin=skin,
        hair=grey(rng, 0.03, 0.6),
        shirt=shirt,
        sleeve=shirt if rng.random() < 0.6 else skin,
        trousers=bright_colour(rng, 0.35) * np.float32(rng.uniform(0.3, 1.0)),
        shoes=grey(rng, 0.05, 0.8),
        girth=float(rng.uniform(0.8, 1.3)),
    )


def limb(
    canvas: Canvas,
    root: Point,
    tip: Point,
    reach: float,
    thickness: float,
    upper: FloatArray,
    lower: FloatArray,
    bend: float = 1.0,
) -> None:
    """Paint an arm or a leg from root to tip, with length reach, bent to one side (bend 1) or the other (-1)."""
    (x0, y0), (x1, y1) = ((np.asarray(x), np.asarray(y)) for x, y in (root, tip))
    across_x, across_y = x1 - x0, y1 - y0
    distance = np.maximum(np.hypot(across_x, across_y), 1e-4)
    bulge = bend * np.sqrt(np.maximum((0.5 * reach) ** 2 - (0.5 * distance) ** 2, 0.0)) / distance
    joint_x, joint_y = 0.5 * (x0 + x1) - bulge * across_y, 0.5 * (y0 + y1) + bulge * across_x
    canvas.paint(capsule(x0, y0, joint_x, joint_y, thickness), upper)
    canvas.paint(capsule(joint_x, joint_y, x1, y1, 0.85 * thickness), lower)


def trunk(canvas: Canvas, person: Person, hip: Point, neck: Point, size: float = 1.0) -> None:
    """Paint a torso from the hips to the neck, with a head; at size 1 the head is an eighth of the frame height."""
    (hip_x, hip_y), (neck_x, neck_y) = hip, neck
    canvas.paint(
        capsule(hip_x, hip_y, neck_x, np.asarray(neck_y) + 0.05 * size, 0.085 * size * person.girth), person.shirt
    )
    head_y = np.asarray(neck_y) - 0.1 * size
    canvas.paint(ellipse(neck_x, head_y, 0.055 * size, 0.07 * size), person.skin)
    canvas.paint(ellipse(neck_x, head_y - 0.03 * size, 0.058 * size, 0.05 * size), person.hair)
    canvas.paint(ellipse(neck_x, head_y + 0.015 * size, 0.045 * size, 0.045 * size), person.skin)


def arm(canvas: Canvas, person: Person, shoulder: Point, hand: Point, reach: float, bend: float = 1.0) -> None:
    """Paint an arm with a fist."""
    limb(canvas, shoulder, hand, reach, 0.11 * reach, person.sleeve, person.skin, bend)
    canvas.paint(ellipse(hand[0], hand[1], 0.13 * reach), person.skin)


def leg(canvas: Canvas, person: Person, hip: Point, foot: Point, reach: float, far: bool = False) -> None:
    """Paint a leg with the knee bent to the right; the far leg is shaded."""
    cloth = dark(person.trousers) if far else person.trousers
    limb(canvas, hip, foot, reach, 0.085 * reach * person.girth, cloth, cloth, -1.0)
