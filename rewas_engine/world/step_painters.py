"""Painters of steps on gravel, a wooden floor and snow, from the side or from the front."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from rewas_engine.world.drawing import Canvas, Shape, box, capsule, ellipse
from rewas_engine.world.motion import Strikes, Walk
from rewas_engine.world.painting import FloatArray, Paint, StruckPainter
from rewas_engine.world.palette import bright_colour, contrast_with, dark, grey, light, wood_colour
from rewas_engine.world.people import Person, arm, draw_person, leg, trunk
from rewas_engine.world.struck_painters import raised_dust

_FLOOR_Y = 0.36


@dataclass(frozen=True)
class _Ground:
    """The ground: its colour [3], how much dirt a step throws up, and its markings."""

    colour: FloatArray
    loose: float
    marks: str


def _ground(kind: str, rng: np.random.Generator) -> _Ground:
    if kind == "gravel":
        return _Ground(bright_colour(rng, 0.2), 1.0, "stones")
    if kind == "wood":
        return _Ground(wood_colour(rng), 0.0, "planks")
    return _Ground(np.array([0.86, 0.9, 0.95]) * np.float32(rng.uniform(0.75, 1.08)), 1.4, "drifts")


def _repeated(spacing: float, size: float, flatness: float, scroll: FloatArray, table: FloatArray) -> Shape:
    """Small ellipses over the whole ground, scattered by a table [64, 3] of offsets and sizes in 0..1."""
    shift = scroll.astype(np.float32)[:, None, None]

    def distance(grid_x: FloatArray, grid_y: FloatArray) -> FloatArray:
        x, y = (grid_x + shift) / spacing, (grid_y - _FLOOR_Y) / (flatness * spacing)
        column, row = np.floor(x), np.floor(y)
        which = (column.astype(np.int64) * 7 + row.astype(np.int64) * 13) % len(table)
        across = x - column - 0.3 - 0.4 * table[which, 0]
        down = y - row - 0.3 - 0.4 * table[which, 1]
        return np.asarray((np.sqrt(across * across + down * down) - 0.5 * table[which, 2]) * size)

    return Shape(distance, (-1e9, 1e9, _FLOOR_Y, 1e9))


def _planks(spacing: float, scroll: FloatArray) -> Shape:
    """Seams between planks, which converge towards the wall."""
    shift = scroll.astype(np.float32)[:, None, None]

    def distance(grid_x: FloatArray, grid_y: FloatArray) -> FloatArray:
        x = (grid_x + shift) / spacing
        return np.asarray(np.abs(x - np.round(x)) * spacing - 0.006 + 0 * grid_y)

    return Shape(distance, (-1e9, 1e9, _FLOOR_Y, 1e9))


def _lay(canvas: Canvas, ground: _Ground, scroll: FloatArray, table: FloatArray) -> None:
    canvas.paint(box(0, _FLOOR_Y + 1.0, 9, 1.0), ground.colour)
    if ground.marks == "planks":
        canvas.paint(_planks(0.23, scroll), dark(ground.colour), 0.8)
        canvas.paint(box(0, _FLOOR_Y - 0.02, 9, 0.02), light(ground.colour))
    else:
        spacing = 0.07 if ground.marks == "stones" else 0.3
        shade = dark(ground.colour) if ground.marks == "stones" else 0.88 * ground.colour
        canvas.paint(_repeated(spacing, spacing, 0.6, scroll, table), shade, 0.8, 0.0 if spacing < 0.1 else 0.08)


def _thrown_up(
    canvas: Canvas, ground: _Ground, strikes: Strikes, times_s: FloatArray, x: FloatArray, grit: FloatArray
) -> None:
    """Paint the dust and grit that a step throws up at x [F]."""
    flash = strikes.flash(times_s, 0.16)
    puff = light(ground.colour) if ground.marks == "planks" else contrast_with(light(ground.colour), ground.colour, 0.2)
    raised_dust(canvas, x, _FLOOR_Y + 0.02, (0.5 if ground.marks == "planks" else 1.0) * flash, puff)
    if not ground.loose:
        return
    elapsed_s, strength = strikes.since(times_s)
    fly_s = np.minimum(elapsed_s, 0.4)
    for across, up in grit:
        grit_x = x + (0.06 + 0.7 * fly_s * strength) * across
        grit_y = _FLOOR_Y + 0.02 - ground.loose * (0.9 + 0.5 * up) * strength * fly_s + 3.2 * fly_s**2
        canvas.paint(ellipse(grit_x, grit_y, 0.016 + 0.018 * ground.loose * strength), puff, np.minimum(3 * flash, 1))


def _shoe(canvas: Canvas, person: Person, x: FloatArray, y: FloatArray, pitch: FloatArray, size: float) -> None:
    canvas.paint(box(x + 0.3 * size, y - 0.35 * size, 0.85 * size, 0.42 * size, pitch, 0.25 * size), person.shoes)
    canvas.paint(box(x + 0.3 * size, y - 0.05 * size, 0.78 * size, 0.1 * size, pitch), dark(person.shoes))


def _from_the_side(kind: str, rng: np.random.Generator, strikes: Strikes) -> Paint:
    """Someone walks past: the whole figure, or the legs only; the camera follows or stands still."""
    ground, person = _ground(kind, rng), draw_person(rng)
    person = replace(person, shoes=contrast_with(person.shoes, ground.colour))
    whole, along = bool(rng.random() < 0.5), bool(rng.random() < 0.6)
    height = 0.31 if whole else 0.62
    walk = Walk(strikes, stride=0.5 * height * rng.uniform(0.7, 1.1))
    table, grit = rng.random((64, 3)), rng.uniform(-1, 1, (4, 2))
    feet, start, dangle_hz = strikes.alternate(), rng.uniform(0.3, 0.5), rng.uniform(0.5, 1.2)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        # The camera follows those who walk far; otherwise they would leave the frame before the clip ends.
        way = walk.body(np.array([1e6]))[0] if strikes.touches else 0.0
        follows = along or way > 1.2
        body = walk.body(times_s) if strikes.touches else np.zeros(times_s.size)
        camera = body if follows else np.full(times_s.size, start * way)
        _lay(canvas, ground, camera, table)
        x = body - camera
        places = []
        for parity in (0, 1):
            if strikes.touches:
                foot_x, foot_y = walk.foot(parity, times_s)
                foot_x = foot_x - camera
            else:  # seated, with feet swinging above the ground
                swing = np.sin(2 * np.pi * dangle_hz * times_s + 2.2 * parity)
                foot_x, foot_y = 0.18 * height + 0.3 * height * swing, 0.3 * height + 0.1 * height * swing**2
            places.append((foot_x, _FLOOR_Y - foot_y))
        bob = 0.12 * (places[0][1] + places[1][1] - 2 * _FLOOR_Y) + 0.16 * height * strikes.flash(times_s, 0.09)
        hip_y = _FLOOR_Y - height * (0.985 if strikes.touches else 1.05) + bob
        sway = 0.35 * np.clip((places[0][0] - places[1][0]) / height, -1, 1) * height
        neck = (x + 0.04 * height, hip_y - 0.8 * height)
        for far, side in ((True, 1), (False, 0)):
            foot_x, foot_y = places[side]
            leg(canvas, person, (x, hip_y), (foot_x, foot_y - 0.07 * height), height, far)
            _shoe(canvas, person, foot_x, foot_y, np.clip(3 * (_FLOOR_Y - foot_y), 0, 0.6), 0.14 * height)
            if whole:
                shoulder = (neck[0], neck[1] + 0.1 * height)
                swung = x + (sway if far else -sway)
                if far:
                    arm(canvas, person, shoulder, (swung, hip_y - 0.05 * height), 0.75 * height)
                    trunk(canvas, person, (x, hip_y), neck, 1.25 * height)
                else:
                    arm(canvas, person, shoulder, (swung, hip_y - 0.05 * height), 0.75 * height)
            elif not far:
                canvas.paint(capsule(x, hip_y - 1.0, x, hip_y, 0.13 * height * person.girth), person.shirt)
            _thrown_up(canvas, ground, feet[side], times_s, foot_x, grit)

    return paint


def _from_the_front(kind: str, rng: np.random.Generator, strikes: Strikes) -> Paint:
    """Two legs that step on the spot."""
    ground, person = _ground(kind, rng), draw_person(rng)
    person = replace(person, shoes=contrast_with(person.shoes, ground.colour))
    feet, side_of_foot = strikes.alternate(), rng.uniform(0.1, 0.15)
    table, grit = rng.random((64, 3)), rng.uniform(-1, 1, (5, 2))

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        _lay(canvas, ground, np.zeros(1), table)
        for side, foot in zip((-1.0, 1.0), feet, strict=True):
            lift = foot.lift(times_s, rest=0.0 if foot.touches else 0.2)
            x, y = side * side_of_foot + 0.08 * lift, 0.33 - 0.42 * lift
            knee_x, knee_y = side * 0.09 + 0.22 * lift, 0.0 - 0.24 * lift
            canvas.paint(capsule(side * 0.07, -2.0, side * 0.07, -0.35, 0.09), person.trousers)
            canvas.paint(capsule(side * 0.07, -0.35, knee_x, knee_y, 0.075), person.trousers)
            shade = dark(person.trousers) if side < 0 else person.trousers
            canvas.paint(capsule(knee_x, knee_y, x, y - 0.06, 0.06), shade)
            canvas.paint(box(x + 0.04, y, 0.105, 0.045, 0.5 * lift, 0.03), person.shoes)
            canvas.paint(box(x + 0.04, y + 0.04, 0.108, 0.014, 0.5 * lift), dark(person.shoes))
            _thrown_up(canvas, ground, foot, times_s, np.full(times_s.size, side * side_of_foot + 0.05), grit)

    return paint


def _walking_away(kind: str, rng: np.random.Generator, strikes: Strikes) -> Paint:
    """Someone seen from behind on a floor that extends to the horizon: the body rocks over each foot in turn."""
    ground, person = _ground(kind, rng), draw_person(rng)
    person = replace(person, shoes=contrast_with(person.shoes, ground.colour))
    feet, table, horizon = strikes.alternate(), rng.random((64, 3)), rng.uniform(-0.15, 0.1)
    way = grey(rng, 0.2, 0.8)
    person = replace(
        person, trousers=contrast_with(person.trousers, way, 0.25), shirt=contrast_with(person.shirt, way, 0.2)
    )

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        canvas.paint(box(0, horizon + 1, 9, 1), way)
        _lay(canvas, ground, np.zeros(1), table)
        lifts = [foot.lift(times_s, rest=0.0 if foot.touches else 0.2) for foot in feet]
        rock = 0.12 * (lifts[0] - lifts[1])
        rise = 0.06 * strikes.flash(times_s, 0.09) - 0.08 * np.maximum(lifts[0], lifts[1])
        for side, lift in zip((-1.0, 1.0), lifts, strict=True):
            foot_x, foot_y = side * 0.07 + 0.3 * rock, _FLOOR_Y - 0.24 * lift
            leg(canvas, person, (side * 0.05 + rock, 0.02 + rise), (foot_x, foot_y - 0.03), 0.38)
            canvas.paint(ellipse(foot_x, foot_y - 0.02, 0.06, 0.04), person.shoes)
            hand = (side * (0.17 + 0.05 * lift) + rock, 0.0 - 0.1 * lift + rise)
            arm(canvas, person, (side * 0.1 + rock, -0.22 + rise), hand, 0.3, -side)
        trunk(canvas, person, (rock, 0.02 + rise), (1.2 * rock, -0.28 + rise), 1.0)
        for foot, side in zip(feet, (-1.0, 1.0), strict=True):
            _thrown_up(canvas, ground, foot, times_s, np.full(times_s.size, side * 0.07), 0.7 * table[:3, :2] - 0.3)

    return paint


def _looks(kind: str) -> tuple[StruckPainter, ...]:
    return partial(_from_the_side, kind), partial(_from_the_front, kind), partial(_walking_away, kind)


STEP_PAINTERS: dict[str, tuple[StruckPainter, ...]] = {
    "gravel_steps": _looks("gravel"),
    "wood_floor_steps": _looks("wood"),
    "snow_steps": _looks("snow"),
}
