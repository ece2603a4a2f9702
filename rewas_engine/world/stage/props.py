"""Things on the stage: a shape with a material, and its pose at every exposure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rewas_engine.world.palette import bright_colour, grey, wood_colour
from rewas_engine.world.stage.poses import along, points, pose

FloatArray = NDArray[np.floating[Any]]
Shape = Literal["box", "ball", "cylinder", "cone", "capsule", "sheet", "grains"]
Pattern = Literal["plain", "checks", "stripes", "planks", "bricks", "grain", "stones"]
AT_REST = pose(points(0.0, 0.0, 0.0))


@dataclass(frozen=True, eq=False)
class Material:
    """Appearance of an object.

    Attributes:
        colour, second_colour: RGB [3] in 0..1; the second one is used by patterns.
        pattern: How the two colours alternate.
        pattern_m: Period of the pattern in metres.
        roughness: 0 mirror to 1 matt.
        metallic: Whether it reflects like metal.
        clear: Whether light passes through it, as through glass and water.
        glow: Light that it emits, relative to a white wall in a well-lit room.
    """

    colour: FloatArray
    second_colour: FloatArray | None = None
    pattern: Pattern = "plain"
    pattern_m: float = 0.3
    roughness: float = 0.7
    metallic: bool = False
    clear: bool = False
    glow: float = 0.0


@dataclass(frozen=True, eq=False)
class Prop:
    """A thing on the stage.

    Attributes:
        shape: A box, ball (ellipsoid), cylinder, cone or capsule, whose own axis is z; a sheet, which is a grid of
            points; or grains, which are many small balls.
        size_m: Full sizes along x, y and z; for a capsule diameter, diameter and length between the centres of its
            caps; for a sheet columns and rows; for grains their diameter and how much longer than wide they are.
        material: What it looks like.
        poses: [T, 7].
        vertices: Points of a sheet or grains, [T, N, 3], relative to the pose; grains below the floor are not seen.
        glows: [T] factors of the material's glow, if it varies.
        casts_light: Whether its glow lights the stage by a lamp at the same place.
    """

    shape: Shape
    size_m: tuple[float, ...]
    material: Material
    poses: FloatArray = field(default_factory=lambda: AT_REST)
    vertices: FloatArray | None = None
    glows: FloatArray | None = None
    casts_light: bool = False


def box(size_m: tuple[float, float, float], material: Material, poses: FloatArray) -> Prop:
    """A box."""
    return Prop("box", size_m, material, poses)


def ball(diameter_m: float, material: Material, place: FloatArray) -> Prop:
    """A ball at places [T, 3]."""
    return Prop("ball", (diameter_m,) * 3, material, pose(place))


def rod(diameter_m: float, material: Material, start: FloatArray, end: FloatArray) -> Prop:
    """A capsule from start to end [T, 3]; the distance between them must not change."""
    length = float(np.sqrt(((end - start) ** 2).sum(axis=1)).max())
    return Prop("capsule", (diameter_m, diameter_m, length), material, along(start, end))


def plain(colour: FloatArray, roughness: float = 0.7) -> Material:
    """A material of one colour."""
    return Material(colour, roughness=roughness)


def metal(rng: np.random.Generator) -> Material:
    """Steel, brass or painted metal."""
    colours = ((0.6, 0.6, 0.62), (0.75, 0.58, 0.25), (0.72, 0.42, 0.3), (0.25, 0.26, 0.28))
    colour = np.array(colours[int(rng.integers(len(colours)))]) * rng.uniform(0.8, 1.2)
    return Material(np.clip(colour, 0, 1), roughness=float(rng.uniform(0.2, 0.5)), metallic=True)


def wood(rng: np.random.Generator, pattern_m: float = 0.12) -> Material:
    """Wood with its grain."""
    colour = wood_colour(rng)
    return Material(colour, 0.72 * colour, "grain", pattern_m, roughness=float(rng.uniform(0.4, 0.8)))


def glass(rng: np.random.Generator) -> Material:
    """Clear or tinted glass."""
    tint = 0.75 + 0.25 * bright_colour(rng, 0.6)
    return Material(tint, roughness=0.05, clear=True)


def painted(rng: np.random.Generator) -> Material:
    """Paint, plastic or cloth of a random colour."""
    return Material(bright_colour(rng, 0.6), roughness=float(rng.uniform(0.3, 0.9)))


def patterned(rng: np.random.Generator, pattern_m: float) -> Material:
    """A wall or floor: plain, or with a random pattern."""
    colour = grey(rng, 0.2, 0.85) if rng.random() < 0.5 else bright_colour(rng, 0.3)
    patterns: tuple[Pattern, ...] = ("plain", "plain", "checks", "stripes", "bricks", "grain")
    pattern = patterns[int(rng.integers(len(patterns)))]
    second = np.clip(colour * rng.uniform(0.55, 0.85), 0, 1)
    return Material(colour, second, pattern, pattern_m * float(rng.uniform(0.6, 1.6)), roughness=0.8)
