"""What happens on the stage: things that move as the scene sounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.world.motion import Drive, Strikes
from rewas_engine.world.stage.poses import points
from rewas_engine.world.stage.props import Material, Prop

FloatArray = NDArray[np.floating[Any]]
BELOW_FLOOR_M = -9.0
"""Height of hidden grains."""


@dataclass(frozen=True, eq=False)
class Act:
    """One performance, around the origin of the floor.

    Attributes:
        props: Everything that takes part, at times [T] in seconds.
        focus: Where the camera looks: [T, 3] at times [T].
        radius_m: Radius around the focus that the camera must show.
        azimuths_rad: Directions with a good view: 0 from the front (+y), positive from the right (+x).
        elevations_rad: How far above the horizon the camera may be.
        ground: Material of the floor; None lets the room decide.
        outdoors: Whether it happens outdoors; None lets the room decide.
        motionless: Nothing moves although it sounds.
    """

    props: Callable[[FloatArray], list[Prop]]
    focus: Callable[[FloatArray], FloatArray]
    radius_m: float
    azimuths_rad: tuple[float, float] = (-0.9, 0.9)
    elevations_rad: tuple[float, float] = (0.05, 0.6)
    ground: Material | None = None
    outdoors: bool | None = None
    motionless: bool = False


StruckAct = Callable[[np.random.Generator, Strikes], Act]
SustainedAct = Callable[[np.random.Generator, Drive], Act]


def fixed(x: float, y: float, z: float) -> Callable[[FloatArray], FloatArray]:
    """A focus that stays where it is."""

    def focus(times_s: FloatArray) -> FloatArray:
        return np.broadcast_to(points(x, y, z), (times_s.size, 3))

    return focus


def thrown_up(
    rng: np.random.Generator, strikes: Strikes, where: Callable[[FloatArray], FloatArray], count: int, speed_m_s: float
) -> Callable[[FloatArray], FloatArray]:
    """Grains that each strike throws up, faster for a stronger one, and that fall back: vertices [T, count, 3].

    where: The place [T, 3] of the latest strike at times [T]; it must not move between strikes.
    """
    directions = rng.normal(0.0, 1.0, (count, 3)) * (0.6, 0.6, 0.3) + points(0.0, 0.0, 1.0)
    speeds = speed_m_s * rng.uniform(0.3, 1.0, (count, 1)) * directions

    def vertices(times_s: FloatArray) -> FloatArray:
        elapsed_s, strength = strikes.since(times_s)
        flight_s = np.minimum(elapsed_s, 2.0)[:, None, None]
        places = where(times_s)[:, None] + np.sqrt(strength)[:, None, None] * speeds * flight_s
        places[..., 2] -= 4.905 * flight_s[..., 0] ** 2
        gone = (places[..., 2] < where(times_s)[:, None, 2] - 0.05) | (strength <= 0)[:, None]
        places[..., 2] = np.where(gone, BELOW_FLOOR_M, places[..., 2])
        return places

    return vertices


def grains(diameter_m: float, material: Material, vertices: FloatArray, stretch: float = 1.0) -> Prop:
    """Many small balls at vertices [T, N, 3]; stretch: how much longer than wide they are."""
    return Prop("grains", (diameter_m, stretch), material, vertices=vertices)
