"""A scene made visible: background, camera, the thing that sounds, and things that move without a sound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.errors import SettingsError
from rewas_engine.training.world.classes import FRAME_RATE, FRAME_SIZE, STRUCK_CLASSES
from rewas_engine.training.world.drawing import Canvas, box, ellipse
from rewas_engine.training.world.motion import Drive, Strikes, wander, wandering
from rewas_engine.training.world.palette import bright_colour
from rewas_engine.training.world.scene import PICTURE_STREAM, Scene
from rewas_engine.training.world.struck_pictures import STRUCK_PAINTERS
from rewas_engine.training.world.sustained_pictures import SUSTAINED_PAINTERS

FloatArray = NDArray[np.floating[Any]]
Paint = Callable[[Canvas, FloatArray], None]

_PIXELS_AT_ONCE = 600_000
_MARGIN = 0.25
"""How far the background reaches beyond the picture on each side, in heights, for the camera to move over."""


def render_picture(
    scene: Scene,
    *,
    frame_rate: Fraction | float = FRAME_RATE,
    width: int = FRAME_SIZE,
    height: int = FRAME_SIZE,
    shutter_samples: int = 1,
) -> NDArray[np.uint8]:
    """The scene's picture: [frames, height, width, 3] uint8, RGB.

    frame_rate: frames per second, exact where it is a Fraction. Frame i shows the moment (i + 0.5) / frame_rate; a
        contact at t seconds lies in frame floor(t * frame_rate).
    shutter_samples: moments averaged over the half of a frame that the shutter is open; above 1 motion is blurred.

    Raises SettingsError for a rate, size or number of samples that is not positive.
    """
    rate = Fraction(frame_rate)
    if rate <= 0 or min(width, height, shutter_samples) < 1:
        raise SettingsError(
            f"A picture of {width} x {height} at {frame_rate} frames per second cannot be drawn.",
            "Give a size, a frame rate and a number of shutter samples above 0.",
        )
    frames = max(1, round(Fraction(scene.duration_s).limit_denominator(10_000) * rate))
    middles_s = (np.arange(frames) + 0.5) / float(rate)
    opening = (np.arange(shutter_samples) + 0.5) / shutter_samples - 0.5
    stage = _Stage(scene, width, height)
    picture = np.empty((frames, height, width, 3), dtype=np.uint8)
    at_once = max(1, _PIXELS_AT_ONCE // (width * height))
    for start in range(0, frames, at_once):
        times_s = middles_s[start : start + at_once]
        shots = [stage.shoot(times_s + 0.5 * shift / float(rate)) for shift in opening]
        mean = shots[0] if shutter_samples == 1 else np.mean(shots, axis=0)
        picture[start : start + at_once] = np.clip(mean * 255.0 + stage.grain(start, times_s.size), 0, 255)
    return picture


@dataclass(frozen=True)
class _Drifter:
    """Something that floats through the picture, touches nothing and makes no sound."""

    colour: NDArray[np.float32]
    size: float
    round: bool
    opacity: float
    course_x: tuple[FloatArray, FloatArray, FloatArray]
    course_y: tuple[FloatArray, FloatArray, FloatArray]
    middle: tuple[float, float]

    def paint(self, canvas: Canvas, times_s: FloatArray) -> None:
        x = self.middle[0] + 0.5 * wandering(times_s, self.course_x)
        y = self.middle[1] + 0.15 * wandering(times_s, self.course_y)
        shape = (
            ellipse(x, y, 1.3 * self.size, self.size) if self.round else box(x, y, self.size, self.size, 0.4 * times_s)
        )
        canvas.paint(shape, self.colour, self.opacity, 0.02)


class _Stage:
    """All that is drawn by lot once for a clip, and the shooting of frames."""

    def __init__(self, scene: Scene, width: int, height: int) -> None:
        rng = scene.random(PICTURE_STREAM)
        self._scene, self._width, self._height = scene, width, height
        self._scale = (1.0 - 0.5 * scene.distance) * rng.uniform(0.85, 1.05)
        self._place = (float(rng.uniform(-0.12, 0.12)), float(rng.uniform(-0.05, 0.05)))
        self._mirrored = bool(rng.random() < 0.5)
        moving = not scene.still
        self._shake = rng.uniform(0.003, 0.015) if moving and rng.random() < 0.25 else 0.0
        self._pan = rng.uniform(-0.2, 0.2, 2) * (1.0, 0.3) if moving and rng.random() < 0.2 else np.zeros(2)
        self._courses = (wander(rng, 2.0), wander(rng, 2.0))
        self._flicker = rng.uniform(0.01, 0.05) if moving and rng.random() < 0.15 else 0.0
        self._thing = _painter(scene, rng)
        busy = moving and (scene.silent_motion or rng.random() < 0.3)
        self._drifters = [_drifter(rng) for _ in range(int(rng.integers(1, 4)) if busy else 0)]
        self._grain_level = float(rng.uniform(1.0, 5.0)) if rng.random() < 0.4 else 0.0
        self._background = _background(rng, width, height)
        self._grain_tile = rng.standard_normal((height + 8, width + 8, 1)).astype(np.float32)
        self._grain_moves = moving

    def shoot(self, times_s: FloatArray) -> NDArray[np.float32]:
        """The frames at given times: [F, H, W, 3] in 0..1."""
        phase = times_s / self._scene.duration_s - 0.5
        camera_x = self._pan[0] * phase + self._shake * wandering(times_s, self._courses[0])
        camera_y = self._pan[1] * phase + self._shake * wandering(times_s, self._courses[1])
        canvas = Canvas(self._view(camera_x, camera_y), camera_x, camera_y)
        for drifter in self._drifters:
            drifter.paint(canvas, times_s)
        canvas.place(*self._place, float(self._scale), self._mirrored)
        self._thing(canvas, times_s)
        if self._flicker:
            canvas.pixels *= (1 + self._flicker * wandering(times_s, self._courses[0]))[:, None, None, None]
        return np.clip(canvas.pixels, 0, 1)

    def grain(self, first_frame: int, count: int) -> NDArray[np.float32] | float:
        """Noise of the camera's sensor for frames in a row, [F, H, W, 1] in levels of 0..255; 0.5 rounds."""
        if not self._grain_level:
            return 0.5
        tiles = []
        for frame in range(first_frame, first_frame + count):
            row, column = ((frame * 5) % 9, (frame * 7) % 8) if self._grain_moves else (0, 0)
            tiles.append(self._grain_tile[row : row + self._height, column : column + self._width])
        return self._grain_level * np.stack(tiles) + np.float32(0.5)

    def _view(self, camera_x: FloatArray, camera_y: FloatArray) -> NDArray[np.float32]:
        """The background as the camera sees it: [F, H, W, 3]."""
        view = np.empty((camera_x.size, self._height, self._width, 3), dtype=np.float32)
        margin = _MARGIN * self._height
        if not (self._shake or self._pan.any()):
            top = left = int(margin)
            view[:] = self._background[top : top + self._height, left : left + self._width]
            return view
        for frame, (x, y) in enumerate(zip(camera_x, camera_y, strict=True)):
            left, across = divmod(margin + x * self._height, 1.0)
            top, down = divmod(margin + y * self._height, 1.0)
            around = self._background[int(top) : int(top) + self._height + 1, int(left) : int(left) + self._width + 1]
            rows = around[:-1] + np.float32(down) * (around[1:] - around[:-1])
            view[frame] = rows[:, :-1] + np.float32(across) * (rows[:, 1:] - rows[:, :-1])
        return view


def _painter(scene: Scene, rng: np.random.Generator) -> Paint:
    """What paints the scene's thing. In silent motion tools swing past what they would hit."""
    if scene.class_name not in STRUCK_CLASSES:
        return SUSTAINED_PAINTERS[scene.class_name](rng, Drive(scene))
    if not scene.silent_motion:
        return STRUCK_PAINTERS[scene.class_name](rng, Strikes(scene.event_times_s, scene.event_strengths))
    swings_s = np.arange(rng.uniform(0.3, 1.0), scene.duration_s, rng.uniform(0.6, 1.5))
    missing = Strikes(swings_s, rng.uniform(0.3, 0.8, swings_s.size), touches=False)
    return STRUCK_PAINTERS[scene.class_name](rng, missing)


def _drifter(rng: np.random.Generator) -> _Drifter:
    return _Drifter(
        colour=bright_colour(rng, 0.5),
        size=float(rng.uniform(0.04, 0.12)),
        round=bool(rng.random() < 0.6),
        opacity=float(rng.uniform(0.4, 1.0)),
        course_x=wander(rng, 0.25),
        course_y=wander(rng, 0.3),
        middle=(float(rng.uniform(-0.3, 0.3)), float(rng.uniform(-0.4, 0.3))),
    )


def _background(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float32]:
    """A gradient of two colours under soft stripes or clouds, with margins: [H + margins, W + margins, 3] in 0..1."""
    margin = int(np.ceil(_MARGIN * height)) + 2
    rows, columns = height + 2 * margin, width + 2 * margin
    y = ((np.arange(rows) - margin) / height - 0.5)[:, None]
    x = ((np.arange(columns) - margin - width / 2) / height)[None, :]
    saturation = rng.uniform(0.1, 0.6)
    high, low = bright_colour(rng, saturation), bright_colour(rng, saturation)
    share = np.clip(y + 0.5, 0, 1)[..., None]
    backdrop = high + (low - high) * share + np.zeros((1, columns, 1))
    texture = np.zeros((rows, columns))
    for _ in range(int(rng.integers(0, 5))):
        frequency_x, frequency_y = rng.normal(0, 8, 2)
        texture += np.sin(2 * np.pi * rng.uniform(0.3, 1.0) * (frequency_x * x + frequency_y * y) + rng.uniform(0, 6))
    if rng.random() < 0.3:
        texture += 2.0 * ((np.floor(x * rng.uniform(3, 9)) + np.floor(y * rng.uniform(3, 9))) % 2)
    return np.clip(backdrop * (1 + rng.uniform(0.02, 0.12) * texture[..., None]), 0, 1).astype(np.float32)
