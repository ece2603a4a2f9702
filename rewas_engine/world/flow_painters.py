"""Painters of flowing and passing sources: streams, cars and a clapping crowd."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rewas_engine.world.drawing import Canvas, Shape, box, capsule, ellipse, polygon
from rewas_engine.world.motion import Drive, wander, wandering
from rewas_engine.world.painting import FloatArray, Paint, SustainedPainter
from rewas_engine.world.palette import bright_colour, contrast_with, dark, grey, leaf_colour, light, water_colour
from rewas_engine.world.people import Person, arm, draw_person, trunk

_CELLS = 128


def ripples(rng: np.random.Generator, across: float = 1.0, along: float = 1.0) -> FloatArray:
    """A seamless field of smooth noise, [128, 128] in 0..1, with features stretched across or along."""
    rows, columns = (np.fft.fftfreq(_CELLS)[:, None] * along, np.fft.fftfreq(_CELLS)[None, :] * across)
    spectrum = np.exp(-((rows**2 + columns**2) * 400)) * np.exp(2j * np.pi * rng.random((_CELLS, _CELLS)))
    field = np.fft.ifft2(spectrum).real
    return ((np.argsort(np.argsort(field.ravel())) / field.size).reshape(field.shape)).astype(np.float32)


def sample_field(field: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
    """Sample the field at x, y in units of its period."""
    column = (x * _CELLS).astype(np.int32) & (_CELLS - 1)
    row = (y * _CELLS).astype(np.int32) & (_CELLS - 1)
    return np.asarray(field[row, column])


def _cover(canvas: Canvas, cover: FloatArray, shape: Shape, colour: FloatArray) -> None:
    """Paint a colour over a shape through a mask [F, H, W], in screen coordinates."""
    x, y = canvas.screen
    inside = np.clip(0.5 - shape.distance(x, y) * canvas.height, 0, 1)
    canvas.overlay(cover * inside, colour)


def brook(rng: np.random.Generator, drive: Drive) -> Paint:
    """Water that runs past stones. Highlights drift with it, faster and brighter the louder it is."""
    water, bank, stone = water_colour(rng), leaf_colour(rng), grey(rng, 0.2, 0.7)
    field, finer = ripples(rng, 0.6, 2.0), ripples(rng, 1.0, 1.5)
    down = bool(rng.random() < 0.5)
    stones = np.stack([rng.uniform(-0.5, 0.5, 5), rng.uniform(-0.05, 0.4, 5), rng.uniform(0.03, 0.1, 5)], axis=1)
    shore, speed = rng.uniform(-0.3, -0.05), rng.uniform(0.5, 1.0)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level = drive.level(times_s)[:, None, None].astype(np.float32)
        run = (speed * drive.travel(times_s))[:, None, None].astype(np.float32) + 4
        x, y = canvas.screen
        canvas.paint(box(0, shore - 0.4, 9, 0.4), bank)
        water_body = polygon([(-9, shore), (9, shore), (9, 9), (-9, 9)])
        canvas.paint(water_body, water)
        depth = 1.4 / (y - shore + 0.35)
        u, v = (x * depth * 0.5, depth - run) if down else (x * depth * 0.5 + 4 - run, depth)
        lights = np.clip(3.5 * sample_field(field, u + 4, v + 8) - 2.6 + 0.8 * level, 0, 1)
        shades = sample_field(finer, 1.7 * u + 8, 1.7 * v + 8)
        _cover(canvas, lights * (0.15 + 0.85 * level), water_body, light(light(water)))
        _cover(canvas, np.clip(2.5 * shades - 1.7, 0, 1) * 0.5 * level, water_body, dark(water))
        for stone_x, stone_y, size in stones:
            foam = size * (1.1 + 0.4 * level[:, 0, 0] * (1 + 0.3 * np.sin(9 * times_s + 40 * stone_x)))
            canvas.paint(
                ellipse(stone_x + 0.02, stone_y + 0.4 * size, foam, 0.5 * foam), (0.95, 0.97, 1), level[:, 0, 0], 0.02
            )
            canvas.paint(ellipse(stone_x, stone_y, size, 0.7 * size), stone)

    return paint


def falling_water(rng: np.random.Generator, drive: Drive) -> Paint:
    """A waterfall, or a jet from a pipe. It is broader and faster the louder it is, with a splash where it lands."""
    water, rock, field = light(water_colour(rng)), grey(rng, 0.1, 0.5), ripples(rng, 2.5, 0.5)
    x0, wide, pool = rng.uniform(-0.2, 0.2), rng.uniform(0.05, 0.3), rng.uniform(0.2, 0.36)
    drops = np.stack([rng.uniform(-1, 1, 10), rng.uniform(0.4, 1, 10), rng.random(10)], axis=1)
    speed = rng.uniform(1.2, 2.0)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level = drive.level(times_s)
        canvas.paint(box(x0, -0.4, 1.6 * wide + 0.05, 0.12), rock)
        half = wide * (0.1 + 0.9 * level)
        canvas.paint(box(0, pool + 1, 9, 1), dark(water))
        x, y = canvas.screen
        run = (speed * drive.travel(times_s) + 0.0)[:, None, None].astype(np.float32)
        fall = box(x0, 0.5 * (pool - 0.36), half, 0.5 * (pool + 0.36))
        canvas.paint(fall, 0.75 * water, np.clip(4 * level, 0, 1), 0.02)
        streaks = sample_field(field, 1.5 * x + 4, 0.6 * y - run + 64)
        _cover(
            canvas,
            np.clip(3 * streaks - 1.2, 0, 1) * np.clip(4 * level, 0, 1)[:, None, None],
            fall,
            light(light(water)),
        )
        for ring in (1.2, 1.8, 2.5):
            size = (wide + 0.05) * ring * (0.6 + 0.4 * level) + 0.02 * np.sin(12 * times_s + 3 * ring)
            canvas.paint(ellipse(x0, pool + 0.02, size, 0.2 * size), light(water), 0.5 * level / ring, 0.03)
        for across, up, phase in drops:
            age = (2.2 * times_s + phase) % 1.0
            canvas.paint(
                ellipse(x0 + (wide + 0.15 * age * level) * across, pool - 0.5 * up * level * age * (1 - age), 0.014),
                light(light(water)),
                np.clip(3 * level, 0, 1) * (1 - age),
            )

    return paint


def _wheel(canvas: Canvas, x: FloatArray, y: FloatArray, radius: float, turn: FloatArray) -> None:
    canvas.paint(ellipse(x, y, radius), (0.06, 0.06, 0.07))
    canvas.paint(ellipse(x, y, 0.6 * radius), (0.6, 0.6, 0.62))
    reach_x, reach_y = 0.6 * radius * np.cos(turn), 0.6 * radius * np.sin(turn)
    canvas.paint(capsule(x - reach_x, y - reach_y, x + reach_x, y + reach_y, 0.2 * radius), (0.15, 0.15, 0.16))


def _car_from_the_side(
    canvas: Canvas, x: FloatArray, y: FloatArray, size: float, body: FloatArray, turn: FloatArray
) -> None:
    canvas.paint(ellipse(x, y + 0.1 * size, 0.34 * size, 0.02), (0, 0, 0), 0.4, 0.03)
    canvas.paint(
        polygon(
            [
                (x - 0.2 * size, y - 0.06 * size),
                (x - 0.12 * size, y - 0.17 * size),
                (x + 0.08 * size, y - 0.17 * size),
                (x + 0.19 * size, y - 0.06 * size),
            ]
        ),
        light(body),
    )
    canvas.paint(box(x - 0.02 * size, y - 0.11 * size, 0.12 * size, 0.035 * size), (0.15, 0.2, 0.25))
    canvas.paint(box(x, y, 0.34 * size, 0.07 * size, 0, 0.03 * size), body)
    canvas.paint(ellipse(x + 0.32 * size, y - 0.02 * size, 0.02 * size), (1, 1, 0.8))
    for axle in (-0.2, 0.2):
        _wheel(canvas, x + axle * size, y + 0.06 * size, 0.065 * size, turn)


def passing_by(rng: np.random.Generator, drive: Drive) -> Paint:
    """A car that drives past: in the middle at its loudest, and out of the frame in silence."""
    body, road, size = bright_colour(rng, 0.7), grey(rng, 0.15, 0.5), rng.uniform(0.7, 1.6)
    side = rng.choice((-1.0, 1.0))

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        canvas.paint(box(0, 1.15, 9, 1.0), road)
        for dash in np.arange(-2.0, 2.0, 0.4):
            canvas.paint(box(dash, 0.4, 0.09, 0.008), light(road))
        level, course = drive.level(times_s), drive.passing(times_s)
        x = side * course * (0.55 * canvas.aspect + 0.4 * size)
        shown = (level > 0.02).astype(np.float32)
        turn = 4.0 * x / (0.065 * size)
        y = 0.26 + 0.02 * drive.shaking(times_s, 6.0)
        hidden = np.where(shown > 0, 0.0, 9.0)
        _car_from_the_side(canvas, x + hidden, y, float(size), body, turn)
        for trail in (0.4, 0.55, 0.7):
            canvas.paint(
                ellipse(x - side * trail * size, 0.33, 0.1 * size, 0.03), light(road), 0.35 * level * shown, 0.06
            )

    return paint


def coming_closer(rng: np.random.Generator, drive: Drive) -> Paint:
    """A car on a road towards the camera: its size follows its loudness."""
    body, road, meadow = bright_colour(rng, 0.7), grey(rng, 0.2, 0.5), leaf_colour(rng)
    horizon, lamps, lane = rng.uniform(-0.2, 0.0), rng.uniform(0.2, 1.0), rng.uniform(-0.25, 0.25)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level = drive.level(times_s)
        canvas.paint(box(0, horizon + 1, 9, 1), meadow)
        canvas.paint(polygon([(-0.03, horizon), (0.03, horizon), (0.8, 0.6), (-0.8, 0.6)]), road)
        near = 0.02 + 0.98 * level**1.2
        x, y = lane * near, horizon + 0.05 + (0.3 - horizon) * near
        size = 0.03 + 0.32 * near
        x, y = x + 0.025 * drive.shaking(times_s, 5.0), y + 0.035 * drive.shaking(times_s, 7.0)
        seen = np.clip(8 * level, 0, 1)
        canvas.paint(ellipse(x, y + 0.55 * size, 1.1 * size, 0.12 * size), (0, 0, 0), 0.5 * seen, 0.03)
        canvas.paint(box(x, y - 0.45 * size, 0.62 * size, 0.4 * size), light(body), seen)
        canvas.paint(box(x, y - 0.42 * size, 0.52 * size, 0.26 * size), (0.12, 0.16, 0.2), seen)
        canvas.paint(box(x, y + 0.15 * size, 0.85 * size, 0.35 * size), body, seen)
        for side in (-1.0, 1.0):
            canvas.paint(box(x + side * 0.6 * size, y + 0.5 * size, 0.14 * size, 0.14 * size), (0.05, 0.05, 0.05), seen)
            canvas.paint(ellipse(x + side * 0.62 * size, y + 0.12 * size, 0.13 * size), (1, 1, 0.85), seen)
            canvas.paint(
                ellipse(x + side * 0.62 * size, y + 0.12 * size, 0.5 * size), (1, 1, 0.85), 0.4 * lamps * seen, 0.15
            )

    return paint


def tracking_shot(rng: np.random.Generator, drive: Drive) -> Paint:
    """The camera drives alongside: the car stays in place, wheels and roadside move as fast as it is loud."""
    body, road, posts = bright_colour(rng, 0.7), grey(rng, 0.15, 0.5), grey(rng)
    size, y0 = rng.uniform(0.9, 1.5), rng.uniform(0.1, 0.22)
    heights, bob = rng.uniform(0.1, 0.5, 12), wander(rng, 5.0)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level, way = drive.level(times_s), 2.5 * drive.travel(times_s)
        for number, tall in enumerate(heights):
            x = 2.4 - ((0.4 * number + 0.6 * way) % 4.8)
            canvas.paint(
                box(x, y0 - 0.5 * tall, 0.05 + 0.1 * (number % 3), 0.5 * tall + 0.05),
                posts if number % 2 else dark(posts),
            )
        canvas.paint(box(0, y0 + 1.05, 9, 1.0), road)
        for dash in range(6):
            canvas.paint(box(1.5 - ((0.5 * dash + way) % 3.0), 0.42, 0.12, 0.012), light(road))
        y = y0 + 0.03 * level * wandering(times_s, bob)
        _car_from_the_side(canvas, np.zeros(1), y, float(size), body, 10 * way / size)

    return paint


def crowd(rng: np.random.Generator, drive: Drive) -> Paint:
    """Rows of people who clap, each at a different rate. The louder it is, the more people clap, and the wider."""
    rows = int(rng.integers(1, 4))
    size = (1.3, 0.95, 0.75)[rows - 1] * rng.uniform(0.85, 1.1)
    people = []
    for row in range(rows):
        count = int(rng.integers(3, 6))
        for place in range(count):
            x = (place + 0.5) / count * 1.6 - 0.8 + rng.uniform(-0.06, 0.06)
            y = 0.25 - 0.27 * (rows - 1 - row) * size + rng.uniform(-0.03, 0.03)
            people.append(
                (
                    x,
                    y,
                    draw_person(rng),
                    rng.uniform(2.6, 4.6),
                    rng.random(),
                    rng.uniform(0.0, 0.3),
                    rng.uniform(0.05, 0.2),
                )
            )

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level = drive.level(times_s)
        for x, y, person, rate_hz, phase, threshold, high in people:
            eager = np.clip(3 * (level - threshold) + 0.35 * (level > threshold), 0, 1) * (0.4 + 0.6 * level)
            gap = np.abs(np.sin(np.pi * (rate_hz * times_s + phase)))
            bob = 0.035 * size * eager * gap
            palm = contrast_with(light(person.skin), person.shirt, 0.25)
            trunk(canvas, person, (x, y + 0.35 * size), (x, y - bob), size)
            hand_y = y + (0.2 - 0.5 * high * eager) * size
            for side in (-1.0, 1.0):
                hand_x = x + side * size * (0.012 + 0.18 * eager * gap)
                canvas.paint(
                    capsule(x + side * 0.09 * size, y + 0.1 * size, hand_x, hand_y, 0.032 * size), person.sleeve
                )
                canvas.paint(ellipse(hand_x, hand_y - 0.02 * size, 0.05 * size), palm)

    return paint


def raised_hands(rng: np.random.Generator, drive: Drive) -> Paint:
    """Hands above dark heads in front of a lit stage, seen from the audience."""
    stage = light(bright_colour(rng))
    hands = np.stack(
        [rng.uniform(-0.8, 0.8, 7), rng.uniform(-0.1, 0.25, 7), rng.uniform(2.6, 4.6, 7), rng.random(7)], axis=1
    )
    skin, glow = draw_person(rng).skin * np.float32(rng.uniform(0.15, 0.8)), rng.uniform(0.3, 1.0)
    skin = contrast_with(skin, glow * stage)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level = drive.level(times_s)
        canvas.paint(ellipse(0, -0.35, 0.9, 0.45), stage, glow, 0.4)
        for x, y, rate_hz, phase in hands:
            up = y - 0.22 * level
            gap = (0.015 + 0.14 * level) * np.abs(np.sin(np.pi * (rate_hz * times_s + phase)))
            for side in (-1.0, 1.0):
                canvas.paint(capsule(x + side * (gap + 0.02), up, x + side * 0.1, up + 0.6, 0.04), dark(skin))
                canvas.paint(capsule(x + side * gap, up, x + side * (0.4 * gap), up - 0.1, 0.045), skin)
            canvas.paint(ellipse(x, 0.46 + 0.01 * level * np.sin(9 * times_s + phase), 0.12, 0.15), 0.3 * skin)

    return paint


def _with_plain_hands(person: Person) -> Person:
    return replace(person, skin=contrast_with(person.skin, person.shirt, 0.25))


def ovation(rng: np.random.Generator, drive: Drive) -> Paint:
    """Two or three people close to the camera who clap."""
    people = [
        (x, _with_plain_hands(draw_person(rng)), rng.uniform(2.8, 4.5), rng.random())
        for x in (-0.42, 0.05, 0.5)[: int(rng.integers(2, 4))]
    ]

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level = drive.level(times_s)
        for x, person, rate_hz, phase in people:
            gap = np.abs(np.sin(np.pi * (rate_hz * times_s + phase)))
            trunk(canvas, person, (x, 0.6), (x, -0.1 - 0.04 * level * gap), 1.4)
            for side in (-1.0, 1.0):
                hand = (x + side * (0.02 + 0.24 * level * gap), 0.2 - 0.05 * level)
                arm(canvas, person, (x + side * 0.13, 0.02), hand, 0.42, -side)

    return paint


STREAM_PAINTERS: tuple[SustainedPainter, ...] = (brook, falling_water)
CAR_PAINTERS: tuple[SustainedPainter, ...] = (passing_by, coming_closer, tracking_shot)
APPLAUSE_PAINTERS: tuple[SustainedPainter, ...] = (crowd, raised_hands, ovation)
