"""Camera work of a clip: viewpoint, shake, shots, and the artefacts of sensor and file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rewas_engine.world.motion import wander, wandering
from rewas_engine.world.painting import FloatArray

CUT_SHARE = 0.18
SHAKEN_SHARE = 0.35
MOVED_SHARE = 0.3
LEAST_SCALE = 0.72
"""Smallest scale of a distant object, below which its motion would be less than a pixel."""
_GREATEST_SCALE = 1.35
LEAST_CONTRAST = 0.5
"""Smallest contrast between black and white after the film artefacts."""

Course = tuple[FloatArray, FloatArray, FloatArray]


@dataclass(frozen=True)
class Shot:
    """One shot: the camera work between two cuts.

    Attributes:
        start_s: Start of the shot.
        place, scale, mirrored: Position, size and orientation of the object.
        pan: Heights per clip, [2].
        zooms: Zoom at the start and end of the clip.
        gain: Brightness relative to the rest of the clip.
    """

    start_s: float
    place: tuple[float, float]
    scale: float
    mirrored: bool
    pan: tuple[float, float]
    zooms: tuple[float, float]
    gain: float


@dataclass(frozen=True)
class Camera:
    """The shots of a clip, and the camera shake in frame heights."""

    shots: tuple[Shot, ...]
    shake: float
    courses: tuple[Course, Course]
    duration_s: float

    def looks_at(self, shot: Shot, times_s: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Centre of the frame, x and y, and the zoom: [F] each."""
        phase = times_s / self.duration_s - 0.5
        x = shot.pan[0] * phase + self.shake * wandering(times_s, self.courses[0])
        y = shot.pan[1] * phase + self.shake * wandering(times_s, self.courses[1])
        return x, y, shot.zooms[0] + (shot.zooms[1] - shot.zooms[0]) * (phase + 0.5)


def draw_camera(rng: np.random.Generator, duration_s: float, distance: float, *, fixed: bool, restless: bool) -> Camera:
    """Draw random camera work.

    Args:
        rng: Source of randomness.
        duration_s: Duration of the clip.
        distance: Distance of the sound source, 0 near to 1 far.
        fixed: Whether the camera does not move at all.
        restless: Whether the camera moves more, because the scene itself has no sound.
    """
    cuts_s: list[float] = []
    if not fixed and rng.random() < CUT_SHARE:
        cuts_s = sorted(rng.uniform(0.1 * duration_s, 0.9 * duration_s, int(rng.integers(1, 4))).tolist())
    base = (1.0 - 0.25 * distance) * rng.uniform(0.95, 1.2)
    if rng.random() < 0.2:
        base *= rng.uniform(1.15, 1.4)
    moved = not fixed and rng.random() < (0.7 if restless else MOVED_SHARE)
    shots = tuple(_shot(rng, start_s, base, moved, first=start_s == 0.0) for start_s in (0.0, *cuts_s))
    shaken = not fixed and rng.random() < (0.6 if restless else SHAKEN_SHARE)
    shake = float(np.exp(rng.uniform(np.log(0.003), np.log(0.03)))) if shaken else 0.0
    rate_hz = rng.uniform(0.6, 2.5)
    return Camera(shots, shake, (wander(rng, rate_hz), wander(rng, rate_hz)), duration_s)


def _shot(rng: np.random.Generator, start_s: float, base: float, moved: bool, *, first: bool) -> Shot:
    # Some objects are half outside the frame.
    reach_x, reach_y = (0.25, 0.1) if rng.random() < 0.15 else (0.1, 0.05)
    zoom = rng.uniform(0.9, 1.15) if moved and rng.random() < 0.5 else 1.0
    pan = rng.uniform(-0.25, 0.25, 2) * (1.0, 0.4) if moved else np.zeros(2)
    x, y = rng.uniform(-reach_x, reach_x), rng.uniform(-reach_y, reach_y)
    scale = float(np.clip(base * (1.0 if first else rng.uniform(0.7, 1.6)), LEAST_SCALE, _GREATEST_SCALE))
    return Shot(
        start_s=start_s,
        # A close camera is tilted down, to keep the point of contact in the frame.
        place=(float(x), float(y - 0.2 * max(scale - 1.0, 0.0))),
        scale=scale,
        mirrored=bool(rng.random() < 0.5),
        pan=(float(pan[0]), float(pan[1])),
        zooms=(float(zoom), float(2.0 - zoom)),
        gain=1.0 if first else float(rng.uniform(0.6, 1.4)),
    )


class Film:
    """Artefacts of sensor and file: exposure, flicker, soft focus, ghosting, grain and compression blocks."""

    def __init__(self, rng: np.random.Generator, height: int, width: int, *, fixed: bool) -> None:
        self._fixed = fixed
        self._gain, self._black = rng.uniform(0.75, 1.2), 0.0
        if rng.random() < 0.25:  # low contrast, as in haze
            self._gain = max(LEAST_CONTRAST, self._gain * rng.uniform(0.5, 0.85))
            self._black = rng.uniform(0.0, 0.35)
        self._flicker = 0.0 if fixed or rng.random() < 0.8 else rng.uniform(0.01, 0.08)
        self._flicker_course = wander(rng, float(rng.choice((0.3, 3.0, 9.0))))
        self._soft = bool(rng.random() < 0.3)
        self._grain = float(rng.uniform(1.0, 6.0)) if rng.random() < 0.45 else 0.0
        self._grain_tile = rng.standard_normal((height + 8, width + 8, 1)).astype(np.float32)
        self._blocks = float(rng.uniform(0.5, 3.0)) if not fixed and rng.random() < 0.35 else 0.0
        self._group_s, self._block_seed = rng.uniform(0.4, 2.0), int(rng.integers(2**31))
        self._pulse = rng.uniform(-1.5, 1.5)

    def develop(self, pixels: FloatArray, times_s: FloatArray, first_frame: int, gain: float) -> FloatArray:
        """Convert pixels [F, H, W, C] in 0..1 to levels 0..255, with all artefacts, before rounding."""
        if self._soft:
            blurred = pixels.copy()
            blurred[:, 1:-1] = 0.5 * pixels[:, 1:-1] + 0.25 * (pixels[:, :-2] + pixels[:, 2:])
            pixels[:, :, 1:-1] = 0.5 * blurred[:, :, 1:-1] + 0.25 * (blurred[:, :, :-2] + blurred[:, :, 2:])
        exposure = np.full(times_s.size, 255.0 * np.clip(self._gain * gain, LEAST_CONTRAST, 1.25), dtype=np.float32)
        if self._flicker:
            exposure *= 1 + self._flicker * wandering(times_s, self._flicker_course).astype(np.float32)
        levels = np.clip(pixels, 0, 1) * exposure[:, None, None, None] + np.float32(255 * self._black)
        if self._grain:
            levels += self._grain * self._grains(first_frame, times_s.size)
        if self._blocks:
            self._encode(levels, times_s)
        return levels

    def _grains(self, first_frame: int, count: int) -> FloatArray:
        height, width, _ = self._grain_tile.shape
        tiles = []
        for frame in range(first_frame, first_frame + count):
            row, column = (0, 0) if self._fixed else ((frame * 5) % 9, (frame * 7) % 8)
            tiles.append(self._grain_tile[row : row + height - 8, column : column + width - 8])
        return np.stack(tiles)

    def _encode(self, levels: FloatArray, times_s: FloatArray) -> None:
        """Add block errors that last for a group of frames and change with the next, as at encoder key frames."""
        _, height, width, _ = levels.shape
        side = max(2, height // 16)
        groups = np.floor(times_s / self._group_s).astype(np.int64)
        for group in np.unique(groups):
            own = np.flatnonzero(groups == group)
            rng = np.random.default_rng([self._block_seed, int(group)])
            coarse = rng.standard_normal((-(-height // side), -(-width // side), 1)).astype(np.float32)
            blocks = np.repeat(np.repeat(coarse, side, axis=0), side, axis=1)[:height, :width]
            age = (times_s[own] / self._group_s - group).astype(np.float32)[:, None, None, None]
            levels[own] += self._blocks * blocks + self._pulse * age
