"""Painters of further looks of sustained classes: surf, flames, flags, puddles, beacons and whole animals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rewas_engine.world.drawing import Canvas, below, box, capsule, ellipse, polygon
from rewas_engine.world.flow_painters import ripples, sample_field
from rewas_engine.world.motion import Drive, wander, wandering
from rewas_engine.world.painting import FloatArray, Paint
from rewas_engine.world.palette import (
    bright_colour,
    contrast_with,
    dark,
    grey,
    leaf_colour,
    light,
    water_colour,
    wood_colour,
)


def surf(rng: np.random.Generator, drive: Drive) -> Paint:
    """The edge of the sea from above. The louder it is, the farther foam runs up the sand."""
    sea, sand = water_colour(rng), np.array([0.8, 0.7, 0.5]) * np.float32(rng.uniform(0.6, 1.1))
    field, slope = ripples(rng, 1.0, 2.0), rng.uniform(-0.3, 0.3)
    bays, phase = rng.uniform(3, 7), rng.uniform(0, 6)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level = drive.level(times_s)[:, None, None].astype(np.float32)
        x, y = canvas.screen
        canvas.tint(sand, 1.0)
        edge = -0.3 + 0.55 * level + slope * x + 0.04 * np.sin(bays * x + phase + 3 * level)
        wet = np.clip((edge - y) * canvas.height, 0, 1)
        canvas.overlay(wet, sea)
        run = drive.travel(times_s)[:, None, None].astype(np.float32)
        foam = sample_field(field, 0.7 * x + 4, 1.2 * (y - edge) + 8 - 0.1 * run)
        canvas.overlay(wet * np.clip(4 * foam - 2.6 + 1.3 * level, 0, 1) * level, np.array([0.96, 0.98, 1.0]))
        canvas.overlay(np.clip(1 - np.abs(y - edge) / (0.01 + 0.05 * level), 0, 1), np.array([0.96, 0.98, 1.0]))

    return paint


def flames(rng: np.random.Generator, drive: Drive) -> Paint:
    """A fire that fills much of the frame. The louder it is, the higher and brighter the flames."""
    field, finer = ripples(rng, 1.5, 0.7), ripples(rng, 2.5, 1.2)
    wide, foot = rng.uniform(0.2, 0.7), rng.uniform(0.3, 0.5)
    log = wood_colour(rng) * np.float32(0.4)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level = drive.level(times_s)[:, None, None].astype(np.float32)
        t = times_s[:, None, None].astype(np.float32)
        x, y = canvas.screen
        canvas.tint((0.05, 0.03, 0.05), 0.5)
        canvas.tint((1.0, 0.5, 0.2), 0.35 * level[:, 0, 0] * (1 + 0.2 * np.sin(23 * times_s)))
        tongue = 0.65 * sample_field(field, 0.8 * x + 4, 0.5 * y + 0.9 * t + 4) + 0.35 * sample_field(
            finer, 1.2 * x + 4, 0.8 * y + 1.4 * t + 4
        )
        high = (foot - y) / (0.08 + 0.85 * level) + np.abs(x / wide) ** 2 * 0.7
        heat = np.clip((tongue + 0.35 - high) * 2.0, 0, 1) * (y < foot) * np.clip(6 * level, 0, 1)
        canvas.overlay(np.clip(2 * heat, 0, 1), np.array([0.9, 0.35, 0.08]))
        canvas.overlay(np.clip(2 * heat - 0.7, 0, 1), np.array([1.0, 0.85, 0.4]))
        canvas.paint(capsule(-wide, foot, wide, foot + 0.04, 0.05), log)

    return paint


def flag(rng: np.random.Generator, drive: Drive) -> Paint:
    """A flag or a cloth on a line: it hangs in still air, and flutters in the wind."""
    cloth, stripe, pole = bright_colour(rng), bright_colour(rng), grey(rng)
    parts, flutter_hz = 9, rng.uniform(2.0, 3.5)
    size = rng.uniform(0.5, 0.75)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level = drive.level(times_s)
        way = drive.travel(times_s)
        canvas.paint(capsule(-0.35, -0.42, -0.35, 0.6, 0.015), pole)
        x, y = np.full(times_s.size, -0.34), np.full(times_s.size, -0.38)
        for part in range(parts):
            hang = (1 - level) ** 1.5 * 1.45 * (0.4 + 0.6 * part / parts)
            wave = (
                0.6 * level * (part / parts) * np.sin(2 * np.pi * flutter_hz * (1.5 * way + 0.2 * times_s) - 0.9 * part)
            )
            angle = hang + wave
            next_x, next_y = x + size / parts * np.cos(angle), y + size / parts * np.sin(angle)
            tall = 0.3 * size + 0.12 * size * (1 - level)
            shade = 1.0 + 0.35 * np.sin(angle * 2)
            canvas.paint(
                polygon([(x, y), (next_x, next_y), (next_x, next_y + tall), (x, y + tall)]),
                np.clip((stripe if part % 3 == 1 else cloth)[None, :] * shade[:, None], 0, 1),
            )
            x, y = next_x, next_y

    return paint


def field_of_grass(rng: np.random.Generator, drive: Drive) -> Paint:
    """Grass or leaves that fill the frame, moved by the wind."""
    grass, field, finer = leaf_colour(rng), ripples(rng, 2.0, 0.6), ripples(rng, 0.5, 0.8)
    horizon, grain = rng.uniform(-0.6, 0.0), rng.uniform(0.6, 1.6)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level = drive.level(times_s)[:, None, None].astype(np.float32)
        way = drive.travel(times_s)[:, None, None].astype(np.float32)
        x, y = canvas.screen
        ground = np.clip((y - horizon) * canvas.height, 0, 1)
        canvas.overlay(ground + 0 * level, grass)
        gust = sample_field(finer, 0.6 * x + 8 - 0.6 * way, 0.6 * y + 8)
        bent = 0.12 * level * (gust - 0.3) + 0.02 * level * np.sin(5 * way * 2 * np.pi + 9 * x)
        blades = sample_field(field, grain * x + 4 + bent * (1.2 + y), 0.5 * grain * y + 4)
        canvas.overlay(ground * np.clip(2.2 * blades - 1.0, 0, 1) * 0.7, dark(dark(grass)))
        canvas.overlay(ground * np.clip(3 * gust - 1.8, 0, 1) * 0.6 * level, light(grass))

    return paint


def puddle(rng: np.random.Generator, drive: Drive) -> Paint:
    """Rain on water or on a window. The louder it is, the more rings and drops there are."""
    water, sheen, field = grey(rng, 0.15, 0.6), light(grey(rng, 0.5, 0.9)), ripples(rng)
    drops = np.stack(
        [rng.uniform(-0.85, 0.85, 34), rng.uniform(-0.5, 0.5, 34), rng.uniform(1.5, 4.0, 34), rng.random(34)], axis=1
    )
    flat = rng.uniform(0.35, 1.0)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level = drive.level(times_s)
        canvas.tint(water, 0.85)
        x, y = canvas.screen
        shift = times_s[:, None, None].astype(np.float32) * 0.4 * level[:, None, None].astype(np.float32)
        canvas.overlay(np.clip(sample_field(field, 2 * x + 8 + 0.01 * shift, 2 * y + 8) - 0.4, 0, 1) * 0.5, sheen)
        for number, (drop_x, drop_y, rate_hz, phase) in enumerate(drops):
            cycle = rate_hz * times_s + phase
            age, turn = cycle % 1.0, np.floor(cycle)
            at_x = drop_x + 0.25 * np.sin(7.3 * turn + number)
            falls = (np.abs(np.sin(12.9 * turn + 3.1 * number)) < level).astype(np.float32)
            size = 0.015 + 0.11 * age
            canvas.paint(ellipse(at_x, drop_y, size, flat * size), sheen, falls * (1 - age) * (0.4 + 0.6 * level))
            canvas.paint(ellipse(at_x, drop_y, 0.75 * size, 0.75 * flat * size), water, falls * (1 - age) * 0.8)

    return paint


def beacon(rng: np.random.Generator, drive: Drive) -> Paint:
    """A turning light, or a telephone that shakes and lights up."""
    lamp, case = bright_colour(rng, 0.95), grey(rng)
    telephone, turns_hz = bool(rng.random() < 0.5), rng.uniform(1.0, 2.5)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level = drive.level(times_s)
        if telephone:
            shake = 0.025 * drive.shaking(times_s, 8.0)
            turn = 0.15 * level * np.sin(2 * np.pi * 9 * times_s)
            canvas.paint(box(shake, 0, 0.17, 0.34, turn, 0.04), dark(case))
            shaded = 0.12 + level[:, None] * (light(lamp) - 0.12)
            canvas.paint(box(shake, 0, 0.145, 0.29, turn, 0.02), shaded)
            for ring in (0.28, 0.38):
                canvas.paint(capsule(ring, -0.3, ring, -0.1, 0.012), light(lamp), level)
            return
        angle = 2 * np.pi * turns_hz * times_s
        for beam in (0.0, np.pi):
            sweep = np.cos(angle + beam)
            canvas.paint(polygon(_beam(sweep)), light(lamp), 0.5 * level, 0.1)
        canvas.paint(box(0, 0.3, 0.24, 0.12, 0, 0.02), case)
        shaded = dark(dark(lamp)) + level[:, None] * (light(lamp) - dark(dark(lamp)))
        canvas.paint(box(0, 0.02, 0.17, 0.19, 0, 0.06), shaded)
        canvas.paint(ellipse(0.1 * np.cos(angle), 0.02, 0.06 + 0.06 * level, 0.12), light(light(lamp)), level, 0.05)

    return paint


def _beam(sweep: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
    """A beam of light towards the side it points to; its corners stay in clockwise order."""
    left, right = np.minimum(1.6 * sweep, 0.0), np.maximum(1.6 * sweep, 0.0)
    tall_left, tall_right = 0.04 - 0.25 * left, 0.04 + 0.25 * right
    return [
        (left, -0.03 - tall_left),
        (right, -0.03 - tall_right),
        (right, 0.03 + tall_right),
        (left, 0.03 + tall_left),
    ]


def whole_dog(rng: np.random.Generator, drive: Drive) -> Paint:
    """A standing dog from the side, whose head goes up and whose body jerks at every bark."""
    coat = np.clip(wood_colour(rng) * np.float32(rng.uniform(0.4, 1.4)), 0.12, 1)
    ground, size, wag = bright_colour(rng, 0.25), rng.uniform(0.95, 1.25), wander(rng, 2.0)
    ground = contrast_with(ground, coat, 0.25)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level = drive.level(times_s)
        canvas.paint(box(0, 1.36, 9, 1.0), ground)
        bark = drive.shaking(times_s, 6.0)
        x, y = 0.05 * level + 0.03 * bark, 0.1 - 0.07 * level - 0.02 * bark
        tail = 0.5 * wandering(times_s, wag)
        canvas.paint(capsule(x - 0.26 * size, y, x - 0.4 * size, y - 0.15 * size + 0.1 * tail, 0.025 * size), coat)
        for number, foot in enumerate((-0.22, -0.16, 0.12, 0.18)):
            canvas.paint(
                capsule(x + foot * size, y, foot * size, 0.36, 0.032 * size), coat if number % 2 else dark(coat)
            )
        canvas.paint(capsule(x - 0.2 * size, y, x + 0.16 * size, y - 0.02, 0.1 * size), coat)
        head_x, head_y = x + 0.26 * size + 0.02 * level, y - (0.16 + 0.14 * level) * size
        canvas.paint(capsule(x + 0.16 * size, y - 0.02, head_x, head_y, 0.08 * size), coat)
        canvas.paint(ellipse(head_x, head_y, 0.11 * size), coat)
        for side, opening in ((-1.0, 0.4), (1.0, 0.8)):
            turn = -0.5 * level + side * opening * (0.75 * level + 0.25 * bark)
            tip_x, tip_y = head_x + 0.23 * size * np.cos(turn), head_y + 0.23 * size * np.sin(turn) + 0.02 * side
            canvas.paint(capsule(head_x, head_y, tip_x, tip_y, 0.042 * size), coat if side < 0 else dark(coat))
        canvas.paint(
            capsule(head_x - 0.04, head_y - 0.05, head_x - 0.1 - 0.04 * level, head_y + 0.05 - 0.1 * level, 0.03),
            dark(coat),
        )

    return paint


def shaking_machine(rng: np.random.Generator, drive: Drive) -> Paint:
    """A motor with a wheel and a belt, or a washing machine, which turns and shakes in proportion to its loudness."""
    case, wheel, belt = bright_colour(rng, 0.4), grey(rng, 0.3, 0.8), grey(rng, 0.02, 0.25)
    washing, turns = bool(rng.random() < 0.5), rng.uniform(2.5, 4.5)
    shake_x, shake_y = wander(rng, 8.0), wander(rng, 8.0)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level, turn = drive.level(times_s), 2 * np.pi * turns * drive.travel(times_s)
        dx, dy = 0.035 * level * wandering(times_s, shake_x), 0.04 * level * wandering(times_s, shake_y)
        if washing:
            canvas.paint(box(dx, 0.05 + dy, 0.34, 0.4, 0, 0.02), light(case))
            canvas.paint(ellipse(dx, 0.1 + dy, 0.23), wheel)
            canvas.paint(ellipse(dx, 0.1 + dy, 0.19), belt)
            spokes, reach, centre = 3, 0.12, (dx, 0.1 + dy)
        else:
            canvas.paint(box(-0.1 + dx, 0.2 + dy, 0.34, 0.14, 0, 0.02), case)
            canvas.paint(capsule(-0.3 + dx, -0.2 + dy, 0.2 + dx, -0.28 + dy, 0.025), belt)
            canvas.paint(ellipse(-0.3 + dx, -0.05 + dy, 0.15), dark(wheel))
            canvas.paint(ellipse(0.2 + dx, -0.05 + dy, 0.23), wheel)
            spokes, reach, centre = 4, 0.17, (0.2 + dx, -0.05 + dy)
        for spoke in range(spokes):
            angle = turn + 2 * np.pi * spoke / spokes
            x, y = centre[0] + reach * np.cos(angle), centre[1] + reach * np.sin(angle)
            canvas.paint(ellipse(x, y, 0.055), light(case) if spoke else dark(case))

    return paint


def overhead_rotor(rng: np.random.Generator, drive: Drive) -> Paint:
    """A helicopter from below or approaching. It is larger the louder it is; its blades are a rotating cross."""
    hull, blade, bob = grey(rng, 0.05, 0.5), grey(rng, 0.0, 0.3), wander(rng, 0.5)
    turns, heading = rng.uniform(3.0, 6.0), rng.uniform(0, 2 * np.pi)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level = drive.level(times_s)
        size = 0.25 + 0.85 * level
        shake = 0.02 * drive.shaking(times_s, 9.0)
        x, y = 0.15 * wandering(times_s, bob) + shake, 0.1 * wandering(times_s + 7.0, bob) - 0.02 + shake
        cos, sin = np.cos(heading), np.sin(heading)
        canvas.paint(capsule(x, y, x - 0.4 * size * cos, y - 0.4 * size * sin, 0.025), hull)
        canvas.paint(capsule(x + 0.1 * size * cos, y + 0.1 * size * sin, x, y, 0.1 * size), hull)
        canvas.paint(ellipse(x, y, 0.42 * size), (0.8, 0.82, 0.85), 0.7 * level)
        turn = 2 * np.pi * turns * drive.travel(times_s) + 0.4
        for number in range(2):
            reach_x, reach_y = (
                0.42 * size * np.cos(turn + number * np.pi / 2),
                0.42 * size * np.sin(turn + number * np.pi / 2),
            )
            canvas.paint(capsule(x - reach_x, y - reach_y, x + reach_x, y + reach_y, 0.024), blade)

    return paint


def bird_in_a_tree(rng: np.random.Generator, drive: Drive) -> Paint:
    """A small bird among leaves that stretches and opens its beak; the leaves sway silently."""
    plumage, beak, leaf = bright_colour(rng), np.array([0.95, 0.7, 0.2]), leaf_colour(rng)
    leaves = np.stack([rng.uniform(-0.8, 0.8, 12), rng.uniform(-0.5, 0.5, 12), rng.uniform(0.05, 0.14, 12)], axis=1)
    sway, branch = wander(rng, 0.6), wood_colour(rng)
    plumage = contrast_with(plumage, leaf, 0.25)
    beak, belly = contrast_with(beak, plumage, 0.25), contrast_with(light(plumage), plumage, 0.2)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level = drive.level(times_s)
        moved = 0.03 * wandering(times_s, sway)
        for number, (x, y, size) in enumerate(leaves):
            canvas.paint(ellipse(x + moved * (1 + y), y, size, 0.6 * size), leaf if number % 2 else dark(leaf))
        canvas.paint(capsule(-1.5, 0.2, 1.5, 0.12 + 0.3 * moved, 0.02), branch)
        tilt = 0.2 * level
        canvas.paint(capsule(-0.14, 0.06, -0.42, 0.04 + 0.34 * level, 0.05), dark(plumage))
        canvas.paint(ellipse(0, 0.0, 0.2 + 0.04 * level, 0.17 + 0.04 * level), plumage)
        # A bird that sings loudly lifts its wings.
        song = drive.shaking(times_s, 7.0)
        canvas.paint(capsule(-0.02, 0.0, -0.22 - 0.06 * level, 0.06 - 0.32 * level - 0.14 * song, 0.05), dark(plumage))
        head_x, head_y = 0.13, -0.18 - 0.5 * tilt - 0.03 * song
        canvas.paint(ellipse(head_x, head_y, 0.12), plumage)
        canvas.paint(ellipse(head_x + 0.02, head_y + 0.12, 0.04 + 0.09 * level, 0.04 + 0.08 * level), belly)
        for side in (-1.0, 1.0):
            turn = -1.2 * tilt + side * (0.58 * level + 0.2 * song)
            canvas.paint(
                capsule(
                    head_x + 0.07, head_y, head_x + 0.07 + 0.25 * np.cos(turn), head_y + 0.25 * np.sin(turn), 0.035
                ),
                beak,
            )

    return paint


def swell(rng: np.random.Generator, drive: Drive) -> Paint:
    """Open water that breaks against a dark rock."""
    sea, rock = water_colour(rng), grey(rng, 0.05, 0.35)
    numbers, phases, spray = rng.uniform(4, 9, 3), rng.uniform(0, 6, 3), rng.uniform(-1, 1, (8, 2))

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        level = drive.level(times_s)
        way = drive.travel(times_s)[:, None, None]
        tall = level[:, None, None]
        canvas.paint(polygon([(0.1, 0.6), (0.2, -0.05), (0.42, -0.18), (0.75, 0.6)]), rock)
        for across, up in spray:
            age = (1.3 * times_s + 3 * up) % 1.0
            canvas.paint(
                ellipse(
                    0.16 + 0.25 * across * age, 0.1 - (0.7 + 0.3 * up) * level * age * (1.4 - age), 0.02 + 0.05 * age
                ),
                (0.95, 0.97, 1.0),
                level * (1 - age),
                0.03,
            )
        for layer in range(2):

            def surface(x: FloatArray, layer: int = layer) -> FloatArray:
                advance = phases[layer] - (2 + layer) * way
                return np.asarray(0.1 + 0.16 * layer - (0.01 + 0.09 * tall) * np.sin(numbers[layer] * x + advance))

            def beneath_the_foam(x: FloatArray, top: Callable[[FloatArray], FloatArray] = surface) -> FloatArray:
                return np.asarray(top(x) + 0.06 * tall)

            canvas.paint(below(surface, -0.2), (0.95, 0.97, 1.0), level)
            canvas.paint(below(beneath_the_foam, -0.2), np.clip(sea * (1.0 - 0.25 * layer), 0, 1))

    return paint
