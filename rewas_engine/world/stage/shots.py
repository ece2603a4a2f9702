"""Cameras on the stage: where they stand, how they pan, shake and zoom, and the cuts between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewas_engine.world.camera import CUT_SHARE, MOVED_SHARE, SHAKEN_SHARE
from rewas_engine.world.motion import wander, wandering
from rewas_engine.world.stage.acts import Act, FloatArray
from rewas_engine.world.stage.poses import look_at, points

SENSOR_MM = 36.0
"""Width of the sensor for the longer side of the picture, as in Blender."""
_LENSES_MM = (24.0, 28.0, 35.0, 50.0, 70.0)
_FARTHEST_M = 14.0

Course = tuple[FloatArray, FloatArray, FloatArray]


@dataclass(frozen=True, eq=False)
class CameraShot:
    """One camera between two cuts.

    Attributes:
        start_s: Start of the shot.
        azimuth_rad, elevation_rad: Direction from the focus to the camera, as in Act.
        distance_m: Distance from the focus.
        lens_mm: Focal lengths at the start and end of the clip.
        pan_m: How far the camera turns away from the focus over the clip, [3] at the focus.
        travel_rad: How far the camera moves around the focus over the clip.
        aside_m: Where the focus is, relative to the middle of the picture: [3].
        roll_rad: Tilt of the horizon.
    """

    start_s: float
    azimuth_rad: float
    elevation_rad: float
    distance_m: float
    lens_mm: tuple[float, float]
    pan_m: FloatArray
    travel_rad: float
    aside_m: FloatArray
    roll_rad: float


@dataclass(frozen=True, eq=False)
class Shots:
    """The shots of a clip, and the shake of the hand that holds the camera.

    Attributes:
        shots: In order; the first starts at 0.
        shake_rad: Amplitude of the shake.
        courses: The shake sideways and up.
        duration_s: Duration of the clip.
        aspect: Width of the picture relative to its height.
    """

    shots: tuple[CameraShot, ...]
    shake_rad: float
    courses: tuple[Course, Course]
    duration_s: float
    aspect: float

    @property
    def reach_m(self) -> float:
        """Greatest distance of a camera from what it looks at."""
        return max(shot.distance_m for shot in self.shots)

    def numbers(self, times_s: FloatArray) -> NDArray[np.int64]:
        """Number of the shot at each time, [T]."""
        starts = np.array([shot.start_s for shot in self.shots])
        return np.searchsorted(starts, times_s, side="right").astype(np.int64) - 1

    def view(self, number: int, act: Act, times_s: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Poses [T, 7] of a shot's camera, and its focal lengths [T] in millimetres."""
        shot = self.shots[number]
        phase = times_s / self.duration_s - 0.5
        focus = act.focus(times_s) + shot.aside_m
        azimuth = shot.azimuth_rad + shot.travel_rad * phase
        flat = np.cos(shot.elevation_rad)
        eye = focus + shot.distance_m * points(
            flat * np.sin(azimuth), flat * np.cos(azimuth), np.full(times_s.size, np.sin(shot.elevation_rad))
        )
        eye[:, 2] = np.maximum(eye[:, 2], 0.12)
        shake_m = self.shake_rad * shot.distance_m
        aim = focus + phase[:, None] * shot.pan_m
        aim += shake_m * points(
            wandering(times_s, self.courses[0]) * np.cos(azimuth),
            -wandering(times_s, self.courses[0]) * np.sin(azimuth),
            wandering(times_s, self.courses[1]),
        )
        lens = shot.lens_mm[0] + (shot.lens_mm[1] - shot.lens_mm[0]) * (phase + 0.5)
        roll = shot.roll_rad + 0.4 * self.shake_rad * wandering(times_s, self.courses[1])
        return look_at(eye, aim, roll), lens


def draw_shots(
    rng: np.random.Generator, act: Act, duration_s: float, aspect: float, *, fixed: bool, restless: bool, far: float
) -> Shots:
    """Draw random camera work.

    Args:
        rng: Source of randomness.
        act: What is filmed.
        duration_s: Duration of the clip.
        aspect: Width of the picture relative to its height.
        fixed: The camera does not move at all.
        restless: The camera moves more, because the scene itself has no sound.
        far: Distance of the sound source, 0 near to 1 far.
    """
    cuts_s: list[float] = []
    if not fixed and rng.random() < CUT_SHARE:
        cuts_s = sorted(rng.uniform(0.1 * duration_s, 0.9 * duration_s, int(rng.integers(1, 4))).tolist())
    moved = not fixed and bool(rng.random() < (0.7 if restless else MOVED_SHARE))
    shaken = not fixed and bool(rng.random() < (0.6 if restless else SHAKEN_SHARE))
    shots = tuple(_draw_shot(rng, act, start_s, aspect, moved, far) for start_s in (0.0, *cuts_s))
    shake = float(np.exp(rng.uniform(np.log(0.002), np.log(0.025)))) if shaken else 0.0
    rate_hz = float(rng.uniform(0.6, 2.5))
    return Shots(shots, shake, (wander(rng, rate_hz), wander(rng, rate_hz)), duration_s, aspect)


def _draw_shot(
    rng: np.random.Generator, act: Act, start_s: float, aspect: float, moved: bool, far: float
) -> CameraShot:
    lens = float(rng.choice(_LENSES_MM))
    # The shorter side of the picture shows the radius of the act.
    half_side = SENSOR_MM / 2 / lens * min(aspect, 1 / aspect)
    margin = rng.uniform(0.8, 1.15) * (1.0 + 0.3 * far)
    distance = float(np.clip(act.radius_m * margin / half_side, 1.2 * act.radius_m, _FARTHEST_M))
    zoom = float(rng.uniform(0.85, 1.25)) if moved and rng.random() < 0.5 else 1.0
    pan = rng.uniform(-0.35, 0.35, 3) * (1.0, 1.0, 0.4) * act.radius_m if moved else np.zeros(3)
    return CameraShot(
        start_s=start_s,
        azimuth_rad=float(rng.uniform(*act.azimuths_rad)),
        elevation_rad=float(rng.uniform(*act.elevations_rad)),
        distance_m=distance,
        lens_mm=(lens / np.sqrt(zoom), lens * np.sqrt(zoom)),
        pan_m=pan,
        travel_rad=float(rng.uniform(-0.3, 0.3)) if moved and rng.random() < 0.4 else 0.0,
        aside_m=rng.uniform(-0.2, 0.2, 3) * (1.0, 1.0, 0.5) * act.radius_m,
        roll_rad=float(rng.normal(0, 0.03)) if rng.random() < 0.5 else 0.0,
    )
