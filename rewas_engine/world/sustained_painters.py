"""Painters of continuous sources, which move, glow or open according to the scene's envelope."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rewas_engine.world.drawing import Canvas, below, box, capsule, ellipse, polygon
from rewas_engine.world.motion import Drive, wander, wandering
from rewas_engine.world.painting import FloatArray, Paint, SustainedPainter
from rewas_engine.world.palette import bright_colour, contrast_with, dark, leaf_colour, light, water_colour, wood_colour


def _rain(rng: np.random.Generator, drive: Drive) -> Paint:
    ground, water = bright_colour(rng, 0.2), light(bright_colour(rng, 0.2))
    slant = rng.uniform(-0.25, 0.25)
    layers = [
        (rng.uniform(30, 60), rng.uniform(1.2, 2.2), rng.uniform(1.5, 3.0), rng.random(512), rng.random(512))
        for _ in range(2)
    ]
    puddles = np.stack(
        [rng.uniform(-0.8, 0.8, 8), rng.uniform(0.3, 0.48, 8), rng.uniform(2, 6, 8), rng.random(8)], axis=1
    )

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level = drive.level(times_s)
        canvas.tint((0.25, 0.28, 0.33), 0.45 * level)
        canvas.paint(box(0, 0.65, 3, 0.4), ground)
        for x, y, rate_hz, phase in puddles:
            cycle = (rate_hz * times_s + phase) % 1.0
            canvas.paint(ellipse(x, y, 0.02 + 0.06 * cycle, 0.008 + 0.02 * cycle), water, level * (1 - cycle))
        x, y = canvas.screen
        for per_height, periods, speed, phases, order in layers:
            column = np.floor((x + slant * y) * per_height).astype(np.int64) % 512
            fall = (periods * y + phases[column].astype(np.float32)) - np.float32(1.0) * (
                speed * times_s.astype(np.float32)[:, None, None]
            )
            streak = fall - np.floor(fall)
            falling = (order[column].astype(np.float32) < 0.75 * level.astype(np.float32)[:, None, None]) & (
                streak > 0.72
            )
            canvas.overlay(falling * ((streak - 0.72) * (0.8 / 0.28)), water)

    return paint


def _wind(rng: np.random.Generator, drive: Drive) -> Paint:
    trunk, crown, meadow = wood_colour(rng), leaf_colour(rng), leaf_colour(rng)
    blades = np.stack([np.linspace(-0.85, 0.85, 16), rng.uniform(0.1, 0.22, 16), rng.uniform(0, 6, 16)], axis=1)
    crowns = rng.uniform(-0.1, 0.1, (5, 2))
    leaves = np.stack([rng.random(7), rng.uniform(-0.4, 0.25, 7), rng.uniform(1.0, 2.0, 7)], axis=1)
    flutter = wander(rng, 2.5)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level, travel = drive.level(times_s), drive.travel(times_s)
        bend = 0.24 * level + 0.06 * level * wandering(times_s, flutter)
        canvas.paint(box(0, 0.72, 3, 0.36), meadow)
        canvas.paint(capsule(-0.12, 0.4, -0.12 + 0.4 * bend, -0.02, 0.035), trunk)
        for index, (x, y) in enumerate(crowns):
            shiver = 0.02 * level * np.sin(14 * times_s + index)
            canvas.paint(
                ellipse(-0.12 + x + bend + shiver, -0.16 + y + 0.15 * bend, 0.14, 0.12),
                crown if index % 2 else dark(crown),
            )
        for x, height, phase in blades:
            tip = height * (1.3 * level + 0.35 * level * np.sin(9 * times_s + phase + 8 * x))
            canvas.paint(
                capsule(x, 0.44, x + tip, 0.44 - height * np.sqrt(np.maximum(1 - 0.5 * level, 0.2)), 0.012),
                dark(meadow),
            )
        for start, y, speed in leaves:
            x = (start + 1.2 * speed * travel) % 1.0 * 2.4 - 1.2
            dip = 0.05 * np.sin(20 * travel + 9 * start)
            canvas.paint(ellipse(x, y + dip, 0.022, 0.012), crown, np.clip(3 * level, 0, 1))

    return paint


def _waves(rng: np.random.Generator, drive: Drive) -> Paint:
    sea, sand = water_colour(rng), np.array([0.8, 0.7, 0.5]) * rng.uniform(0.7, 1.1)
    numbers, phases = rng.uniform(5, 10, 3), rng.uniform(0, 6, 3)

    def crests(times_s: FloatArray, layer: int, thickness: float) -> Callable[[FloatArray], FloatArray]:
        """The surface of a layer of waves, lowered by a thickness to the lower edge of its foam."""
        level, travel = drive.level(times_s)[:, None, None], drive.travel(times_s)[:, None, None]
        height = (0.015 + 0.02 * layer) + 0.1 * level
        advance = phases[layer] - (0.6 + layer) * 3.0 * travel

        def surface(x: FloatArray) -> FloatArray:
            crest = 1 - np.abs(np.sin(0.5 * (numbers[layer] * x + advance)))
            return np.asarray(-0.05 + 0.12 * layer - height * (2 * crest - 0.6) + thickness * (0.35 + level))

        return surface

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level = drive.level(times_s)
        for layer in range(3):
            shade = np.clip(sea * (1.15 - 0.2 * layer), 0, 1)
            canvas.paint(below(crests(times_s, layer, 0.0), -0.4), (0.95, 0.97, 1.0), level)
            canvas.paint(below(crests(times_s, layer, 0.035), -0.4), shade)
        reach = 0.4 - 0.14 * level
        canvas.paint(box(0, 0.95, 3, 0.5), sand)
        canvas.paint(box(0, reach + 0.02, 3, 0.02), (0.95, 0.97, 1.0), 0.3 + 0.7 * level, 0.03)

    return paint


def _fire(rng: np.random.Generator, drive: Drive) -> Paint:
    log, stone = wood_colour(rng), bright_colour(rng, 0.1)
    tongues = [(x, rng.uniform(0.75, 1.1), wander(rng, 3.5), wander(rng, 2.5)) for x in (-0.17, 0.17, -0.09, 0.09, 0.0)]
    sparks = np.stack([rng.uniform(-0.15, 0.15, 6), rng.random(6), rng.uniform(0.8, 1.6, 6)], axis=1)
    layers = (((0.85, 0.25, 0.05), 1.0), ((1.0, 0.6, 0.1), 0.68), ((1.0, 0.92, 0.5), 0.36))

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level = drive.level(times_s)
        canvas.paint(ellipse(0, 0.1, 0.75), (1.0, 0.55, 0.2), 0.6 * level, 0.7)
        canvas.paint(ellipse(0, 0.4, 0.42, 0.09), stone)
        for colour, size in layers:
            for x, tall, flicker, sway in tongues:
                height = size * tall * 0.32 * level * (1 + 0.25 * wandering(times_s, flicker))
                lean = 0.12 * height * wandering(times_s, sway)
                width = size * (0.03 + 0.08 * level)
                visible = np.clip(8 * level, 0, 1)
                canvas.paint(
                    ellipse(x * size, 0.34 - 0.55 * height, width, 0.02 + 0.75 * height), colour, visible, 0.02
                )
                canvas.paint(
                    ellipse(x * size + lean, 0.34 - 1.25 * height, 0.5 * width, 0.01 + 0.6 * height),
                    colour,
                    0.8 * visible,
                    0.02,
                )
        canvas.paint(capsule(-0.25, 0.4, 0.2, 0.32, 0.045), log)
        canvas.paint(capsule(-0.2, 0.32, 0.26, 0.4, 0.045), dark(log))
        for x, phase, speed in sparks:
            rise = (phase + speed * times_s) % 1.0
            canvas.paint(
                ellipse(x * (1 + rise), 0.25 - 0.7 * rise, 0.012),
                (1.0, 0.8, 0.3),
                np.clip(2 * level - 0.6, 0, 1) * (1 - rise),
            )

    return paint


def _engine(rng: np.random.Generator, drive: Drive) -> Paint:
    block, pulley, pipe = bright_colour(rng), bright_colour(rng, 0.2), bright_colour(rng, 0.15)
    shake_x, shake_y = wander(rng, 9.0), wander(rng, 9.0)
    puffs = rng.random(5)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level, travel = drive.level(times_s), drive.travel(times_s)
        dx, dy = 0.045 * level * wandering(times_s, shake_x), 0.045 * level * wandering(times_s, shake_y)
        for phase in puffs:
            age = (phase + 1.4 * times_s) % 1.0
            canvas.paint(
                ellipse(-0.42 - 0.3 * age, -0.2 - 0.25 * age, 0.03 + 0.1 * age),
                (0.55, 0.55, 0.58),
                level * (1 - age),
                0.05,
            )
        canvas.paint(box(0, 0.42, 0.5, 0.04), dark(pipe))
        canvas.paint(capsule(-0.2 + dx, -0.05 + dy, -0.42, -0.18, 0.03), pipe)
        canvas.paint(box(dx, 0.12 + dy, 0.3, 0.24, 0, 0.03), block)
        for cylinder in range(4):
            x = -0.22 + 0.145 * cylinder
            stroke = 0.03 * np.clip(3 * level, 0, 1) * np.sin(2 * np.pi * 5 * travel + cylinder * np.pi / 2)
            canvas.paint(box(x + dx, -0.17 + stroke + dy, 0.05, 0.07, 0, 0.01), light(block))
        turn = 2 * np.pi * 5 * travel
        wheel_x, wheel_y = 0.16 + dx, 0.18 + dy
        canvas.paint(ellipse(wheel_x, wheel_y, 0.13), pulley)
        canvas.paint(
            capsule(wheel_x, wheel_y, wheel_x + 0.1 * np.cos(turn), wheel_y + 0.1 * np.sin(turn), 0.025), light(pulley)
        )
        canvas.paint(ellipse(wheel_x, wheel_y, 0.03), dark(pulley))
        needle = -2.4 + 2.6 * level
        canvas.paint(ellipse(-0.14 + dx, 0.14 + dy, 0.09), (0.95, 0.95, 0.92))
        canvas.paint(
            capsule(
                -0.14 + dx, 0.14 + dy, -0.14 + dx + 0.075 * np.cos(needle), 0.14 + dy + 0.075 * np.sin(needle), 0.01
            ),
            (0.8, 0.1, 0.1),
        )

    return paint


def _helicopter(rng: np.random.Generator, drive: Drive) -> Paint:
    hull, window = bright_colour(rng), light(bright_colour(rng, 0.3))
    bob, tilt_phase = wander(rng, 0.7), rng.uniform(0, 6)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level, travel = drive.level(times_s), drive.travel(times_s)
        x = 0.03 * level * np.sin(1.1 * times_s + tilt_phase)
        y = 0.12 - 0.16 * level + 0.03 * level * wandering(times_s, bob) + 0.02 * drive.shaking(times_s, 9.0)
        canvas.paint(capsule(x + 0.1, y - 0.02, x + 0.46, y - 0.08, 0.025), hull)
        canvas.paint(
            polygon([(x + 0.44, y - 0.2), (x + 0.5, y - 0.2), (x + 0.48, y - 0.04), (x + 0.42, y - 0.05)]), dark(hull)
        )
        canvas.paint(ellipse(x, y, 0.24, 0.14), hull)
        canvas.paint(ellipse(x - 0.11, y - 0.03, 0.1, 0.075), window)
        canvas.paint(capsule(x - 0.2, y + 0.2, x + 0.2, y + 0.2, 0.02), dark(hull))
        for leg in (-0.1, 0.1):
            canvas.paint(capsule(x + leg, y + 0.1, x + leg, y + 0.2, 0.01), dark(hull))
        canvas.paint(capsule(x, y - 0.12, x, y - 0.2, 0.015), dark(hull))
        canvas.paint(ellipse(x, y - 0.2, 0.46, 0.03), (0.85, 0.87, 0.9), 0.75 * level)
        turn = 2 * np.pi * 5.3 * travel
        for blade in (0.0, np.pi / 2):
            reach = 0.46 * np.cos(turn + blade)
            canvas.paint(capsule(x - reach, y - 0.2, x + reach, y - 0.2, 0.024), (0.15, 0.15, 0.17))
        rear = 2 * np.pi * 7.7 * travel
        canvas.paint(
            capsule(
                x + 0.48 - 0.08 * np.cos(rear),
                y - 0.12 - 0.08 * np.sin(rear),
                x + 0.48 + 0.08 * np.cos(rear),
                y - 0.12 + 0.08 * np.sin(rear),
                0.01,
            ),
            (0.15, 0.15, 0.17),
        )
        for dust in (-0.5, -0.2, 0.25, 0.55):
            blown = ellipse(dust + 0.2 * dust * np.sin(9 * times_s), 0.46, 0.16, 0.03 + 0.08 * level)
            canvas.paint(blown, (0.8, 0.75, 0.65), 0.8 * level, 0.05)

    return paint


def _dog(rng: np.random.Generator, drive: Drive) -> Paint:
    coat, collar = wood_colour(rng) * rng.uniform(0.5, 1.3), bright_colour(rng)
    coat = np.clip(coat, 0.12, 1)
    mouth = contrast_with((0.55, 0.1, 0.12), dark(coat), 0.2)
    ear = rng.uniform(0.1, 0.16)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level = drive.level(times_s)
        x, y = 0.06 * level, -0.02 - 0.18 * level
        canvas.paint(capsule(-0.35, 1.6, -0.1, 0.12, 0.19), dark(coat))
        canvas.paint(capsule(-0.24, 0.17, -0.02, 0.23, 0.03), collar)
        # Head and jaw keep moving while it barks.
        bark = drive.shaking(times_s, 6.0)
        x, y = x + 0.03 * bark, y - 0.03 * bark
        jaw = 0.85 * level + 0.35 * bark
        jaw_x, jaw_y = x + 0.12 + 0.22 * np.cos(jaw), y + 0.12 + 0.22 * np.sin(jaw)
        canvas.paint(
            polygon([(x + 0.06, y + 0.03), (x + 0.34, y + 0.1), (jaw_x, jaw_y), (x + 0.08, y + 0.16)]),
            mouth,
        )
        canvas.paint(capsule(x + 0.12, y + 0.12, jaw_x, jaw_y, 0.05), dark(coat))
        canvas.paint(ellipse(x, y, 0.21, 0.19), coat)
        canvas.paint(capsule(x + 0.1, y + 0.03, x + 0.34, y + 0.05, 0.07), coat)
        canvas.paint(ellipse(x + 0.4, y + 0.02, 0.04, 0.033), (0.08, 0.07, 0.08))
        canvas.paint(ellipse(x + 0.08, y - 0.07, 0.033), (0.98, 0.98, 0.98))
        canvas.paint(ellipse(x + 0.09, y - 0.07, 0.02), (0.08, 0.06, 0.05))
        canvas.paint(capsule(x - 0.1, y - 0.14, x - 0.17 - 0.08 * level, y + ear - 0.16 * level, 0.055), dark(coat))
        for tooth in (0.2, 0.27, 0.33):
            canvas.paint(box(x + tooth, y + 0.12, 0.018, 0.03), (1, 1, 1), np.clip(3 * level, 0, 1))

    return paint


def _alarm(rng: np.random.Generator, drive: Drive) -> Paint:
    lamp, case = bright_colour(rng, 0.95), bright_colour(rng, 0.15)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level = drive.level(times_s)
        # The case rattles and the lamp flickers in proportion to the alarm's loudness.
        rattle, lit = 0.035 * drive.shaking(times_s, 8.0), np.clip(level + 0.3 * drive.shaking(times_s, 6.0), 0, 1)
        glow = np.clip(0.15 + level, 0, 1)
        canvas.paint(ellipse(0, -0.08, 0.65), light(lamp), 0.55 * lit, 0.9)
        canvas.paint(box(rattle, 0.28, 0.28, 0.14, 0, 0.03), case)
        for slot in range(4):
            y = 0.2 + 0.05 * slot
            canvas.paint(capsule(rattle - 0.18, y, rattle + 0.18, y, 0.009), dark(case))
        shaded = dark(dark(lamp)) + lit[:, None] * (light(lamp) - dark(dark(lamp)))
        canvas.paint(ellipse(rattle, -0.05, 0.19, 0.21), shaded)
        canvas.paint(box(rattle, 0.09, 0.19, 0.06), shaded)
        canvas.paint(ellipse(rattle, -0.05, 0.1, 0.12), (1, 1, 1), 0.8 * lit, 0.08)
        canvas.paint(capsule(rattle - 0.1, -0.16, rattle - 0.12, -0.02, 0.014), (1, 1, 1), 0.35 + 0.4 * glow)
        for side in (-1.0, 1.0):
            for ring in (0.32, 0.42):
                canvas.paint(
                    capsule(side * ring, -0.05 - 0.3 * (ring - 0.2), side * ring, 0.3 * (ring - 0.2) - 0.05, 0.013),
                    light(lamp),
                    level,
                )

    return paint


def _bird(rng: np.random.Generator, drive: Drive) -> Paint:
    plumage, belly, beak = bright_colour(rng), light(bright_colour(rng)), np.array([0.95, 0.65, 0.15])
    throat = np.array([0.3, 0.08, 0.08])
    branch, belly = wood_colour(rng), contrast_with(belly, plumage, 0.25)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level = drive.level(times_s)
        song = drive.shaking(times_s, 7.0)
        lift = -0.08 * level - 0.04 * song
        canvas.paint(capsule(-2.7, 0.42, 2.7, 0.24, 0.025), branch)
        canvas.paint(capsule(-0.12, 0.12, -0.5, 0.1 + 0.4 * level, 0.05), dark(plumage))
        canvas.paint(ellipse(0, 0.1 + 0.5 * lift, 0.21 + 0.03 * level, 0.18 + 0.03 * level), plumage)
        canvas.paint(ellipse(0.07, 0.14 + 0.5 * lift, 0.13 + 0.07 * level, 0.12 + 0.05 * level), belly)
        canvas.paint(capsule(-0.02, 0.08, -0.24 - 0.06 * level, 0.14 - 0.34 * level - 0.14 * song, 0.06), dark(plumage))
        x, y = 0.14, -0.13 + lift
        gape = 0.16 * level + 0.06 * song
        canvas.paint(polygon([(x + 0.1, y), (x + 0.32, y - gape), (x + 0.32, y + gape), (x + 0.1, y + 0.03)]), throat)
        canvas.paint(polygon([(x + 0.07, y - 0.08), (x + 0.36, y - 0.01 - gape), (x + 0.1, y + 0.03)]), beak)
        canvas.paint(polygon([(x + 0.08, y - 0.01), (x + 0.34, y + 0.01 + gape), (x + 0.07, y + 0.09)]), dark(beak))
        canvas.paint(ellipse(x, y, 0.13, 0.125), plumage)
        canvas.paint(ellipse(x + 0.04, y + 0.11, 0.05 + 0.07 * level, 0.05 + 0.06 * level), belly)
        canvas.paint(ellipse(x + 0.04, y - 0.03, 0.026), (0.05, 0.05, 0.06))
        canvas.paint(ellipse(x + 0.048, y - 0.038, 0.009), (1, 1, 1))
        for leg in (-0.03, 0.05):
            canvas.paint(capsule(leg, 0.25, leg + 0.01, 0.33, 0.01), dark(beak))

    return paint


PLAIN_LOOKS: dict[str, SustainedPainter] = {
    "dog_bark": _dog,
    "rain": _rain,
    "wind": _wind,
    "sea_waves": _waves,
    "fire": _fire,
    "engine": _engine,
    "helicopter": _helicopter,
    "alarm_beep": _alarm,
    "bird_song": _bird,
}
