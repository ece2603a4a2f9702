"""Render a scene as video: backdrop, camera, sound source and silent motion."""

from __future__ import annotations

from fractions import Fraction
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rewas_engine.errors import SettingsError
from rewas_engine.world.backdrops import draw_backdrop
from rewas_engine.world.camera import Film, Shot, draw_camera
from rewas_engine.world.classes import FRAME_RATE, FRAME_SIZE, STRUCK_CLASSES
from rewas_engine.world.drawing import LUMA, Canvas
from rewas_engine.world.figure_lighting import separate_from_backdrop, with_single_event
from rewas_engine.world.looks import STRUCK_PAINTERS, SUSTAINED_PAINTERS
from rewas_engine.world.motion import Drive, Strikes
from rewas_engine.world.painting import FloatArray, Paint
from rewas_engine.world.scene import VIDEO_STREAM, Scene
from rewas_engine.world.silent_motion import BYSTANDERS, LOOK_ALIKES, crossing

_PIXELS_AT_ONCE = 600_000
_ASPECTS, _ASPECT_CHANCES = (1.0, 4 / 3, 16 / 9), (0.25, 0.25, 0.5)
_BLURRED_SHARE = 0.2
AMBIENCE_SEEN_SHARE = 0.75
_CROSSED_SHARE = 0.1
_FILLS_THE_FRAME = ("rain", "wind", "sea_waves", "fire", "stream")
_NOTHING = np.empty(0)

_Painter = TypeVar("_Painter")


def render_video(
    scene: Scene,
    *,
    frame_rate: Fraction | float = FRAME_RATE,
    width: int = FRAME_SIZE,
    height: int = FRAME_SIZE,
    shutter_samples: int = 1,
) -> NDArray[np.uint8]:
    """Render the scene's frames: [frames, height, width, 3] uint8, RGB.

    Args:
        scene: The scene.
        frame_rate: Frames per second, exact if it is a Fraction. Frame i shows the time (i + 0.5) / frame_rate; a
            contact at t seconds is in frame floor(t * frame_rate).
        width: Pixels.
        height: Pixels.
        shutter_samples: Times averaged over the half frame for which the shutter is open; above 1, motion is blurred.

    Raises:
        SettingsError: A rate, size or number of samples is not positive.
    """
    return _render(scene, Fraction(frame_rate), (width, height), width / max(height, 1), shutter_samples, channels=3)


def render_brightness(
    scene: Scene, *, frame_rate: Fraction | float = FRAME_RATE, width: int = FRAME_SIZE, height: int = FRAME_SIZE
) -> NDArray[np.uint8]:
    """Render only the brightness [frames, height, width], for a video encoder, in a third of the time.

    Footage of any shape is scaled to the encoder's size, so the view is 1:1, 4:3 or 16:9 at random and squeezed into
    the requested size; in some clips motion is blurred. Times and errors as in `render_video`.
    """
    rng = scene.random(VIDEO_STREAM).spawn(_RANDOM_STREAMS)[-1]
    aspect = float(rng.choice(_ASPECTS, p=_ASPECT_CHANCES)) * width / max(height, 1)
    samples = 2 if rng.random() < _BLURRED_SHARE else 1
    return _render(scene, Fraction(frame_rate), (width, height), aspect, samples, channels=1)[..., 0]


def first_frames_of_shots(
    scene: Scene, *, frame_rate: Fraction | float = FRAME_RATE, width: int = FRAME_SIZE, height: int = FRAME_SIZE
) -> list[int]:
    """The first frame of each shot after the first, in a video rendered with the same rate and size."""
    rate = Fraction(frame_rate)
    middles_s = (np.arange(_frame_count(scene, rate)) + 0.5) / float(rate)
    stage = _Stage(scene, (width, height), width / max(height, 1), channels=1)
    return [first for _, first, _ in stage.shots_between(middles_s)][1:]


def _frame_count(scene: Scene, rate: Fraction) -> int:
    return max(1, round(Fraction(scene.duration_s).limit_denominator(10_000) * rate))


def _render(
    scene: Scene, rate: Fraction, size: tuple[int, int], aspect: float, shutter_samples: int, channels: int
) -> NDArray[np.uint8]:
    if rate <= 0 or min(*size, shutter_samples) < 1:
        raise SettingsError(
            f"A video of {size[0]} x {size[1]} pixels at {float(rate):g} frames per second cannot be rendered.",
            "Use a size, a frame rate and a number of shutter samples above 0.",
        )
    frames = _frame_count(scene, rate)
    middles_s = (np.arange(frames) + 0.5) / float(rate)
    opening = (np.arange(shutter_samples) + 0.5) / shutter_samples - 0.5
    stage = _Stage(scene, size, aspect, channels)
    video = np.empty((frames, size[1], size[0], channels), dtype=np.uint8)
    at_once = max(1, _PIXELS_AT_ONCE // (size[0] * size[1]))
    for shot, first, last in stage.shots_between(middles_s):
        for start in range(first, last, at_once):
            times_s = middles_s[start : min(start + at_once, last)]
            exposures = [stage.shoot(shot, times_s + 0.5 * shift / float(rate)) for shift in opening]
            mean = exposures[0] if shutter_samples == 1 else np.mean(exposures, axis=0)
            levels = stage.film.develop(mean, times_s, start, shot.gain)
            video[start : start + times_s.size] = np.clip(levels + 0.5, 0, 255)
    return video


_RANDOM_STREAMS = 8
"""Number of independent random generators per clip, one for each part of it."""


class _Stage:
    """Renders frames, and holds everything that is drawn randomly once per clip."""

    def __init__(self, scene: Scene, size: tuple[int, int], aspect: float, channels: int) -> None:
        # Each part has its own generator, so that drawing more numbers for one never changes another.
        generators = scene.random(VIDEO_STREAM).spawn(_RANDOM_STREAMS)
        for_camera, for_thing, for_backdrop, for_film, for_others, for_ambience, for_crossing, _ = generators
        self._size, self._aspect, self._channels = size, aspect, channels
        self._camera = draw_camera(
            for_camera, scene.duration_s, scene.distance, fixed=scene.still, restless=scene.silent_motion
        )
        self._backdrops = {
            shot: draw_backdrop(rng, size[1], aspect)
            for shot, rng in zip(self._camera.shots, for_backdrop.spawn(len(self._camera.shots)), strict=True)
        }
        self.film = Film(for_film, size[1], size[0], fixed=scene.still)
        self._thing = _thing(scene, for_thing)
        if self._thing is not None and not scene.off_screen and scene.class_name not in _FILLS_THE_FRAME:
            self._light_apart(scene)
        self._ambience = _ambience(scene, for_ambience)
        moves_anyway = scene.silent_motion or scene.off_screen
        busy = not scene.still and (for_others.random() < (0.8 if moves_anyway else 0.3))
        count = int(for_others.integers(1, 4)) if busy else 0
        self._others = [BYSTANDERS[int(for_others.integers(len(BYSTANDERS)))](for_others) for _ in range(count)]
        crossed = not scene.still and for_crossing.random() < _CROSSED_SHARE
        self._crossing = crossing(for_crossing, scene.duration_s) if crossed else None

    def _light_apart(self, scene: Scene) -> None:
        """Light the backdrops so that the object stands out."""
        for_thing = scene.random(VIDEO_STREAM).spawn(_RANDOM_STREAMS)[1]
        thing = _thing(with_single_event(scene), for_thing)
        assert thing is not None
        for shot, backdrop in self._backdrops.items():
            self._backdrops[shot] = separate_from_backdrop(backdrop, shot, thing, self._aspect)

    def shots_between(self, middles_s: FloatArray) -> list[tuple[Shot, int, int]]:
        """Return the shots with their first frame and the frame after their last."""
        shots = self._camera.shots
        starts = [0, *(int(np.searchsorted(middles_s, shot.start_s)) for shot in shots[1:]), middles_s.size]
        return [
            (shot, first, last)
            for shot, first, last in zip(shots, starts[:-1], starts[1:], strict=True)
            if last > first
        ]

    def shoot(self, shot: Shot, times_s: FloatArray) -> FloatArray:
        """Render the frames at given times: [F, H, W, C], within 0..1 except for rounding."""
        x, y, zoom = self._camera.looks_at(shot, times_s)
        canvas = Canvas(self._view(shot, x, y, zoom), x, y, zoom, self._aspect)
        if self._ambience is not None:
            canvas.place(0.5 * shot.place[0], -0.04, 0.8 * max(shot.scale, 0.7), shot.mirrored)
            self._ambience(canvas, times_s)
        canvas.place(0.0, 0.0, 1.0)
        for other in self._others:
            other(canvas, times_s)
        if self._thing is not None:
            canvas.place(*shot.place, shot.scale, shot.mirrored)
            self._thing(canvas, times_s)
        if self._crossing is not None:
            canvas.place(0.0, 0.0, 1.0)
            self._crossing(canvas, times_s)
        return canvas.pixels

    def _view(self, shot: Shot, x: FloatArray, y: FloatArray, zoom: FloatArray) -> FloatArray:
        """The backdrop as seen by the camera: [F, H, W, C]."""
        backdrop = self._backdrops[shot]
        low, high = backdrop.colours
        if self._channels == 1:
            low, high = (low @ LUMA)[None], (high @ LUMA)[None]
        shares = backdrop.view(x, y, zoom, self._size, self._aspect)[..., None]
        seen = (low + shares * (high - low)).astype(np.float32)
        return seen if len(seen) == x.size else np.repeat(seen, x.size, axis=0)


def _thing(scene: Scene, rng: np.random.Generator) -> Paint | None:
    """Choose the painter of the scene's object, or of its replacement.

    In silent motion, tools miss their targets, or something turns or waves; off screen, another object at rest can be
    visible.
    """
    fate = rng.random()
    if scene.off_screen and not scene.is_silent:
        other = str(rng.choice(STRUCK_CLASSES))
        if fate < 0.4:
            return _one_of(STRUCK_PAINTERS[other], rng)(rng, Strikes(_NOTHING, _NOTHING))
        return LOOK_ALIKES[int(rng.integers(len(LOOK_ALIKES)))](rng) if fate < 0.65 else None
    if scene.silent_motion and fate < 0.45:
        return LOOK_ALIKES[int(rng.integers(len(LOOK_ALIKES)))](rng)
    if scene.class_name not in STRUCK_CLASSES:
        return _one_of(SUSTAINED_PAINTERS[scene.class_name], rng)(rng, Drive(scene))
    painter = _one_of(STRUCK_PAINTERS[scene.class_name], rng)
    if not scene.silent_motion:
        return painter(rng, Strikes(scene.event_times_s, scene.event_strengths))
    swings_s = np.arange(rng.uniform(0.3, 1.0), scene.duration_s, rng.uniform(0.4, 1.5))
    return painter(rng, Strikes(swings_s, rng.uniform(0.3, 0.9, swings_s.size), touches=False))


def _ambience(scene: Scene, rng: np.random.Generator) -> Paint | None:
    """Choose the painter of the ambience behind everything, or None if there is none in the frame."""
    if scene.ambience is None or rng.random() > AMBIENCE_SEEN_SHARE:
        return None
    return _one_of(SUSTAINED_PAINTERS[scene.ambience.class_name], rng)(rng, Drive(scene.ambience))


def _one_of(painters: tuple[_Painter, ...], rng: np.random.Generator) -> _Painter:
    return painters[int(rng.integers(len(painters)))]
