"""Motion without sound: clouds and passers-by, close objects, and motions that resemble strikes."""

from __future__ import annotations

import numpy as np

from rewas_engine.world.drawing import Canvas, box, capsule, ellipse
from rewas_engine.world.motion import wander, wandering
from rewas_engine.world.painting import FloatArray, Paint
from rewas_engine.world.palette import bright_colour, dark, grey, leaf_colour, light
from rewas_engine.world.people import arm, draw_person, leg, trunk


def drifting(rng: np.random.Generator) -> Paint:
    """An object that floats through the frame without touching anything."""
    colour, size, opacity = bright_colour(rng, 0.5), rng.uniform(0.04, 0.14), rng.uniform(0.4, 1.0)
    is_round, middle = bool(rng.random() < 0.6), (rng.uniform(-0.3, 0.3), rng.uniform(-0.4, 0.3))
    course_x, course_y = wander(rng, 0.25), wander(rng, 0.3)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        x = middle[0] + 0.5 * wandering(times_s, course_x)
        y = middle[1] + 0.15 * wandering(times_s, course_y)
        shape = ellipse(x, y, 1.3 * size, size) if is_round else box(x, y, size, size, 0.4 * times_s)
        canvas.paint(shape, colour, opacity, 0.02)

    return paint


def clouds(rng: np.random.Generator) -> Paint:
    """Two or three soft patches that move slowly."""
    patches = [
        (rng.uniform(-0.9, 0.9), rng.uniform(-0.45, 0.0), rng.uniform(0.1, 0.35), rng.uniform(-0.08, 0.08))
        for _ in range(int(rng.integers(2, 4)))
    ]
    colour, opacity = light(grey(rng)), rng.uniform(0.2, 0.7)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        for x, y, size, speed in patches:
            canvas.paint(ellipse(x + speed * times_s, y, size, 0.4 * size), colour, opacity, 0.15)

    return paint


def passer_by(rng: np.random.Generator) -> Paint:
    """Someone who walks silently through the background."""
    person, size, speed = draw_person(rng), rng.uniform(0.4, 1.0), rng.uniform(0.1, 0.45) * rng.choice((-1.0, 1.0))
    start, y, step_hz = rng.uniform(-1.2, 1.2), rng.uniform(0.0, 0.25), rng.uniform(0.7, 1.1)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        x = start - np.sign(speed) * 0.6 + speed * times_s
        turn = 2 * np.pi * step_hz * times_s
        for side in (0.0, np.pi):
            foot_x = x + 0.11 * size * np.sin(turn + side)
            foot_y = y + (0.3 - 0.05 * np.maximum(np.cos(turn + side), 0)) * size
            leg(canvas, person, (x, y), (foot_x, foot_y), 0.32 * size, far=side > 0)
        trunk(canvas, person, (x, y), (x, y - 0.24 * size), size)

    return paint


def swaying(rng: np.random.Generator) -> Paint:
    """A plant or a curtain that sways in silent air."""
    colour, x0 = leaf_colour(rng), rng.uniform(-0.7, 0.7)
    parts = [(rng.uniform(-0.2, 0.2), rng.uniform(0.2, 0.5), rng.uniform(0.02, 0.06)) for _ in range(5)]
    course, reach = wander(rng, 0.7), rng.uniform(0.04, 0.15)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        sway = reach * wandering(times_s, course)
        for number, (lean, tall, thick) in enumerate(parts):
            tip_x = x0 + lean + sway * (1 + tall)
            canvas.paint(
                capsule(x0 + 0.3 * lean, 0.55, tip_x, 0.5 - tall, thick), colour if number % 2 else dark(colour)
            )

    return paint


def waving(rng: np.random.Generator) -> Paint:
    """Someone who waves or gestures without touching anything."""
    person, rate_hz, wide = draw_person(rng), rng.uniform(0.6, 2.2), rng.uniform(0.08, 0.25)
    both, high, bursts = bool(rng.random() < 0.5), rng.uniform(-0.3, 0.1), wander(rng, 0.3)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        lively = np.clip(0.5 + wandering(times_s, bursts), 0, 1)
        trunk(canvas, person, (0.0, 0.5), (0.0, -0.12), 1.4)
        for side in (-1.0, 1.0) if both else (1.0,):
            swing = lively * np.sin(2 * np.pi * rate_hz * times_s + 0.6 * side)
            hand = (side * (0.26 + wide * swing), high + 0.12 * lively * np.cos(2 * np.pi * 0.7 * rate_hz * times_s))
            arm(canvas, person, (side * 0.13, 0.0), hand, 0.45, -side)

    return paint


def turning(rng: np.random.Generator) -> Paint:
    """A wheel, a fan or a windmill that turns silently."""
    colour, count, rate_hz = bright_colour(rng, 0.4), int(rng.integers(2, 7)), rng.uniform(0.2, 3.0)
    size, wanes = rng.uniform(0.2, 0.42), wander(rng, 0.15)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        turn = 2 * np.pi * rate_hz * (times_s + wandering(times_s, wanes))
        canvas.paint(ellipse(0, 0, 1.1 * size), dark(dark(colour)), 0.6)
        for blade in range(count):
            angle = turn + 2 * np.pi * blade / count
            canvas.paint(capsule(0, 0, size * np.cos(angle), size * np.sin(angle), 0.18 * size / count + 0.02), colour)
        canvas.paint(ellipse(0, 0, 0.15 * size), dark(colour))

    return paint


def hanging(rng: np.random.Generator) -> Paint:
    """A lamp, a swing or a bag that swings without hitting anything."""
    colour, length, size = bright_colour(rng, 0.5), rng.uniform(0.4, 0.8), rng.uniform(0.06, 0.15)
    rate_hz, reach, decay_s = rng.uniform(0.4, 0.9), rng.uniform(0.15, 0.7), rng.uniform(2.0, 20.0)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        angle = reach * np.exp(-np.maximum(times_s, 0) / decay_s) * np.sin(2 * np.pi * rate_hz * times_s)
        x, y = length * np.sin(angle), -0.5 + length * np.cos(angle)
        canvas.paint(capsule(0, -0.5, x, y, 0.01), grey(np.random.default_rng(0)))
        canvas.paint(ellipse(x, y, size, 1.4 * size), colour)

    return paint


def crossing(rng: np.random.Generator, duration_s: float) -> Paint:
    """An object close to the camera that passes and briefly hides the scene."""
    colour, wide = dark(grey(rng, 0.0, 0.6)), rng.uniform(0.08, 0.35)
    start_s, lasting_s, side = rng.uniform(0, duration_s), rng.uniform(0.4, 2.0), rng.choice((-1.0, 1.0))
    is_post = bool(rng.random() < 0.5)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        x = side * (2 * np.clip((times_s - start_s) / lasting_s, -0.2, 1.2) - 1) * (0.5 * canvas.aspect + wide)
        if is_post:
            canvas.paint(box(x, 0, wide, 2.0), colour, 1.0, 0.04)
        else:
            canvas.paint(ellipse(x, -0.05, 0.7 * wide, 0.8 * wide), colour, 1.0, 0.04)
            canvas.paint(capsule(x, 0.35, x, 1.5, wide), colour, 1.0, 0.04)

    return paint


BYSTANDERS = (drifting, clouds, passer_by, swaying)
LOOK_ALIKES = (waving, turning, hanging)
