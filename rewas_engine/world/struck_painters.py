"""Painters of struck objects in close-up. Tools make contact at the events, and swing wider for harder strikes."""

from __future__ import annotations

import numpy as np

from rewas_engine.world.drawing import Canvas, Shape, box, capsule, ellipse, polygon
from rewas_engine.world.motion import Strikes
from rewas_engine.world.painting import FloatArray, Paint, StruckPainter
from rewas_engine.world.palette import bright_colour, contrast_with, dark, light, skin_colour, wood_colour


def _ball(rng: np.random.Generator, strikes: Strikes) -> Paint:
    colour, floor, radius = bright_colour(rng), bright_colour(rng, 0.25), rng.uniform(0.1, 0.14)
    floor = contrast_with(floor, colour)
    spin, drift = rng.uniform(-2, 2), rng.uniform(-0.12, 0.12)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        height = strikes.bounce(times_s)
        squash, dust, dip = strikes.flash(times_s, 0.05), strikes.recoil(times_s, 0.12), 0.04 * strikes.recoil(times_s)
        x = drift * np.sin(1.2 * times_s)
        flat, wide = radius * (1 - 0.45 * squash), radius * (1 + 0.4 * squash)
        y = 0.36 - flat - 0.62 * height
        canvas.paint(box(0, 0.66 + dip, 3, 0.3), floor)
        canvas.paint(
            ellipse(x, 0.365, radius * (1.2 - 0.5 * height), 0.02), (0, 0, 0), 0.5 * (1 - 0.8 * np.minimum(height, 1))
        )
        raised_dust(canvas, x, 0.36, dust, light(floor))
        canvas.paint(ellipse(x, y, wide, flat), colour)
        turn = spin * times_s
        reach_x, reach_y = 0.75 * wide * np.cos(turn), 0.75 * flat * np.sin(turn)
        canvas.paint(capsule(x - reach_x, y - reach_y, x + reach_x, y + reach_y, 0.012), dark(colour), 0.6)
        canvas.paint(ellipse(x - 0.3 * wide, y - 0.4 * flat, 0.25 * wide, 0.2 * flat), light(colour), 0.6)

    return paint


def raised_dust(canvas: Canvas, x: FloatArray | float, y: float, force: FloatArray, colour: FloatArray) -> None:
    """Paint dust that a strike throws to both sides, higher and wider the larger the force [F]."""
    for side in (-1.0, 1.0):
        away = x + side * (0.06 + 0.16 * force)
        canvas.paint(
            ellipse(away, y - 0.06 * force, 0.03 + 0.16 * force, 0.02 + 0.11 * force),
            colour,
            np.minimum(1.4 * force, 0.75),
            0.1,
        )


def _hammer(canvas: Canvas, lift: FloatArray, contact_y: float, handle: FloatArray, head: FloatArray) -> None:
    """A hammer held from the right whose head rests on contact_y when lift is 0."""
    turn = 1.2 * lift
    hand_x, hand_y, length = 0.36, contact_y - 0.05, 0.4
    tip_x, tip_y = hand_x - length * np.cos(turn), hand_y - length * np.sin(turn)
    canvas.paint(capsule(hand_x, hand_y, tip_x, tip_y, 0.028), handle)
    canvas.paint(box(tip_x, tip_y, 0.06, 0.11, turn, 0.01), head)
    canvas.paint(ellipse(hand_x, hand_y, 0.07), (0.75, 0.55, 0.42))
    canvas.paint(capsule(hand_x, hand_y, 2.4, hand_y + 0.62, 0.05), (0.3, 0.35, 0.5))


def _wood(rng: np.random.Generator, strikes: Strikes) -> Paint:
    block, handle, head = wood_colour(rng), wood_colour(rng), bright_colour(rng, 0.35)
    top, grain = rng.uniform(0.08, 0.16), rng.uniform(0.03, 0.07, 4)
    chips = rng.uniform(-1, 1, (4, 2))
    head = contrast_with(head, block)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        flash = strikes.recoil(times_s, 0.12)
        jolt = 0.07 * strikes.recoil(times_s) + 0.025 * strikes.trembling(times_s, 9.0)
        canvas.paint(box(-0.05, top + 0.25 + jolt, 0.3, 0.25, 0, 0.02), block)
        for line, width in enumerate(grain):
            y = top + 0.07 + 0.1 * line + jolt
            canvas.paint(capsule(-0.3, y, 0.2, y + 0.2 * width, 0.006), dark(block))
        raised_dust(canvas, -0.05, top, flash, light(light(block)))
        for side, up in chips:
            elapsed_s, strength = strikes.since(times_s)
            fly = np.minimum(elapsed_s, 0.5)
            x = -0.04 + 0.7 * side * fly * strength
            y = top - (0.9 + 0.4 * up) * strength * fly + 3.0 * fly**2
            canvas.paint(box(x, y, 0.03, 0.018, 12 * fly), light(block), np.minimum(3 * flash, 1) * (fly < 0.45))
        _hammer(canvas, strikes.lift(times_s), top - 0.05, handle, head)

    return paint


def _metal(rng: np.random.Generator, strikes: Strikes) -> Paint:
    shade = rng.uniform(0.3, 0.62)
    steel = np.array([shade, shade * 1.02, shade * rng.uniform(1.0, 1.15)])
    handle, top = wood_colour(rng), rng.uniform(0.06, 0.14)
    rays = rng.uniform(0, np.pi, 7)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        flash = strikes.recoil(times_s, 0.1)
        shiver = 0.06 * strikes.recoil(times_s) + 0.02 * strikes.trembling(times_s, 11.0)
        canvas.paint(box(-0.05, 0.46, 0.22, 0.06), dark(steel))
        canvas.paint(box(-0.05, 0.3, 0.1, 0.15), dark(steel))
        canvas.paint(box(-0.05, top + 0.07 + shiver, 0.26, 0.07, 0, 0.015), steel)
        canvas.paint(polygon([(-0.31, top), (-0.31, top + 0.1), (-0.46, top + 0.02)]), steel)
        canvas.paint(box(-0.05, top + 0.02 + shiver, 0.25, 0.012), light(steel), 0.6 + 0.4 * np.minimum(flash, 1))
        canvas.paint(ellipse(-0.04, top, 0.03 + 0.16 * flash), (1.0, 0.75, 0.3), np.minimum(1.2 * flash, 0.9), 0.06)
        elapsed_s, strength = strikes.since(times_s)
        for ray in rays:
            near, far = 0.9 * np.minimum(elapsed_s, 0.3), 0.9 * np.minimum(elapsed_s, 0.3) + 0.05
            reach_x, reach_y = strength * np.cos(ray), -0.8 * strength * np.sin(ray)
            spark = capsule(
                -0.04 + near * reach_x, top + near * reach_y, -0.04 + far * reach_x, top + far * reach_y, 0.012
            )
            canvas.paint(spark, (1.0, 0.85, 0.45), np.minimum(2 * flash, 1))
        _hammer(canvas, strikes.lift(times_s), top - 0.05, handle, dark(steel))

    return paint


def _glass(rng: np.random.Generator, strikes: Strikes) -> Paint:
    glass, wine = light(bright_colour(rng)), bright_colour(rng)
    wine = contrast_with(wine, glass)
    bowl = rng.uniform(0.1, 0.13)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        gap, flash = 0.34 * strikes.lift(times_s), strikes.recoil(times_s, 0.1)
        hop = 0.09 * strikes.recoil(times_s)
        slosh = 0.07 * strikes.trembling(times_s, 5.0, 0.25)
        splash = strikes.flash(times_s, 0.15)
        for side in (-1.0, 1.0):
            x = side * (bowl + gap)
            canvas.paint(capsule(x, -hop, x + side * 0.02, 0.3 - hop, 0.012), glass, 0.85)
            canvas.paint(ellipse(x + side * 0.02, 0.31 - hop, 0.085, 0.018), glass, 0.9)
            canvas.paint(ellipse(x, -0.07 - hop, bowl, 0.17), glass, 0.55)
            canvas.paint(ellipse(x, -0.03 - hop + side * slosh, 0.8 * bowl, 0.1), wine, 0.9)
            canvas.paint(
                ellipse(x + side * 0.03, -0.24 - 0.22 * splash, 0.02 + 0.03 * splash), wine, np.minimum(2 * splash, 1)
            )
            canvas.paint(box(x, -0.2 - hop, bowl * 0.75, 0.012), light(glass), 0.9)
            canvas.paint(capsule(x - 0.05, -0.12 - hop, x - 0.055, -hop, 0.01), (1, 1, 1), 0.7)
            canvas.paint(ellipse(x + side * 0.05, 0.2, 0.08, 0.07), (0.78, 0.58, 0.45))
            canvas.paint(capsule(x + side * 0.06, 0.21, side * 2.6, 1.08, 0.05), (0.35, 0.3, 0.4))
        canvas.paint(ellipse(0, -0.08 - hop, 0.02 + 0.18 * flash), (1, 1, 0.9), np.minimum(1.3 * flash, 1), 0.05)

    return paint


def _drum(rng: np.random.Generator, strikes: Strikes) -> Paint:
    shell, skin, stick = (
        bright_colour(rng),
        np.array([0.9, 0.88, 0.82]),
        contrast_with(wood_colour(rng), (0.9, 0.88, 0.82)),
    )
    half, top = rng.uniform(0.26, 0.34), rng.uniform(0.06, 0.14)
    hands = strikes.alternate()

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        flash, shiver = strikes.recoil(times_s, 0.1), 0.025 * strikes.trembling(times_s)
        dip = 0.06 * strikes.recoil(times_s)
        shiver = shiver + dip
        canvas.paint(ellipse(0, top + 0.26 + dip, half, 0.09), dark(shell))
        canvas.paint(box(0, top + 0.13 + dip, half, 0.13), shell)
        for post in np.linspace(-0.9, 0.9, 5):
            canvas.paint(capsule(post * half, top + 0.02 + dip, post * half, top + 0.27 + dip, 0.008), light(shell))
        canvas.paint(ellipse(0, top + dip, half, 0.09), dark(skin))
        canvas.paint(ellipse(0, top + shiver, half * 0.95, 0.08), skin)
        # A vibrating skin is blurred, and its centre is in its own shade.
        shade = ellipse(0, top + shiver, 0.05 + 0.8 * half * flash, 0.02 + 0.05 * flash)
        canvas.paint(shade, dark(dark(skin)), np.minimum(1.3 * flash, 0.8), 0.03)
        for side, hand in zip((-1.0, 1.0), hands, strict=True):
            lift = hand.lift(times_s)
            tip_x, tip_y = side * 0.08, top - 0.03 - 0.52 * lift
            hand_x, hand_y = side * 0.42, top - 0.12 - 0.12 * lift
            canvas.paint(capsule(hand_x, hand_y, tip_x, tip_y, 0.024), stick)
            canvas.paint(ellipse(tip_x, tip_y, 0.036), stick)
            canvas.paint(ellipse(hand_x, hand_y, 0.06), (0.75, 0.56, 0.44))

    return paint


def _clap(rng: np.random.Generator, strikes: Strikes) -> Paint:
    skin, sleeve = skin_colour(rng), bright_colour(rng)
    lean = rng.uniform(-0.25, 0.25)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        gap, flash = 0.36 * strikes.lift(times_s), strikes.recoil(times_s)
        for side in (-1.0, 1.0):
            # Hands that meet hard are briefly flat and broad.
            x = side * (0.045 + gap)
            turn = lean + side * 1.0 * gap
            canvas.paint(capsule(x + side * 0.05, 0.15, side * (1.0 + gap), 2.2, 0.075), sleeve)
            canvas.paint(box(x, 0.02, 0.045 + 0.05 * flash, 0.12 + 0.05 * flash, turn, 0.04), skin)
            for finger in range(4):
                root = -0.06 + 0.03 * finger
                reach = 0.17 - 0.012 * abs(finger - 1.5)
                tip_x = x + reach * np.sin(turn) + side * 0.01 * finger
                canvas.paint(
                    capsule(x, root, tip_x, -0.08 - reach * np.cos(turn) + 0.03 * finger, 0.02),
                    skin if finger % 2 else light(skin),
                )
            canvas.paint(capsule(x, 0.04, x + side * 0.08, -0.07, 0.022), dark(skin))
        for ray in (-0.6, 0.0, 0.6):
            canvas.paint(
                capsule(0.1 * ray, -0.3, (0.25 + 0.2 * flash) * ray, -0.36 - 0.14 * flash, 0.008 + 0.016 * flash),
                (1, 1, 0.8),
                np.minimum(1.5 * flash, 1),
            )

    return paint


_KEYS, _ROWS, _PITCH = 9, 3, 0.085


def _keys_at(rows: int, columns: int) -> Shape:
    """All keys of the keyboard as one repeated shape."""

    def distance(grid_x: FloatArray, grid_y: FloatArray) -> FloatArray:
        column = np.clip(np.round(grid_x / _PITCH), -(columns // 2), columns // 2)
        row = np.clip(np.round((grid_y - 0.2) / _PITCH), -(rows // 2), rows // 2)
        across, down = np.abs(grid_x - column * _PITCH) - 0.03, np.abs(grid_y - 0.2 - row * _PITCH) - 0.03
        return np.maximum(across, down) - 0.004

    return Shape(distance, (-0.45, 0.45, 0.05, 0.35))


def _typing(rng: np.random.Generator, strikes: Strikes) -> Paint:
    case, keys, skin = bright_colour(rng, 0.2), light(bright_colour(rng, 0.3)), skin_colour(rng)
    text = light(bright_colour(rng))
    skin = contrast_with(skin, keys)
    pressed = np.stack(
        [rng.integers(-(_KEYS // 2), _KEYS // 2 + 1, 256), rng.integers(-(_ROWS // 2), _ROWS // 2 + 1, 256)], axis=1
    )
    fingers = strikes.alternate()

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        count = strikes.count(times_s) if strikes.touches else np.zeros(times_s.size, dtype=np.int64)
        jolt = 0.05 * strikes.recoil(times_s) + 0.01 * strikes.trembling(times_s, 9.0)
        canvas.paint(box(0, -0.22 + jolt, 0.36, 0.22, 0, 0.02), dark(case))
        canvas.paint(box(0, -0.22 + jolt, 0.32, 0.18), (0.05, 0.08, 0.12))
        for line in range(4):
            written = np.clip(count - 9 * (line + 4 * (count // 36)), 0, 9) / 9
            y = -0.33 + 0.07 * line
            canvas.paint(capsule(-0.27, y, -0.27 + 0.54 * written, y, 0.018), text, written > 0)
        canvas.paint(box(0, 0.2, 0.44, 0.17, 0, 0.03), case)
        canvas.paint(_keys_at(_ROWS, _KEYS), keys)
        for parity, finger in enumerate(fingers):
            struck = finger.count(times_s)
            lift = finger.lift(times_s)
            # A finger travels to its next key while it is raised.
            done, coming = pressed[(2 * np.maximum(struck - 1, 0) + parity) % 256], pressed[(2 * struck + parity) % 256]
            elapsed_s, _ = Strikes(finger.times_s, finger.strengths).since(times_s)
            share = np.clip((elapsed_s - 0.03) / 0.06, 0, 1)[:, None] * (struck < finger.times_s.size)[:, None]
            key = (done + (coming - done) * share) * _PITCH
            x, y = key[:, 0], 0.2 + key[:, 1]
            down = finger.flash(times_s, 0.09)
            canvas.paint(
                box(done[:, 0] * _PITCH, 0.2 + done[:, 1] * _PITCH, 0.05, 0.05),
                dark(dark(keys)),
                np.minimum(2.5 * down, 1),
            )
            tip_y = y - 0.36 * lift
            canvas.paint(capsule(x, tip_y, 0.3 * x + (0.45 if parity else -0.45), 1.4, 0.06), skin)
            canvas.paint(ellipse(x, tip_y - 0.01, 0.034, 0.036), light(skin))

    return paint


def _bell(rng: np.random.Generator, strikes: Strikes) -> Paint:
    metal, beam = bright_colour(rng, 0.75), wood_colour(rng)
    reach, striker = rng.uniform(0.2, 0.26), contrast_with(dark(beam), metal)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        sway = 0.06 * strikes.trembling(times_s, 3.0, 0.4) - 0.07 * strikes.recoil(times_s, 0.1)
        flash = strikes.flash(times_s, 0.2)
        canvas.paint(box(0, -0.42, 0.5, 0.03), beam)
        canvas.paint(box(0.0, -0.36, 0.025, 0.05), dark(metal))
        canvas.paint(ellipse(sway, -0.2, 0.135, 0.14), metal)
        canvas.paint(
            polygon([(sway - 0.13, -0.22), (sway - reach, 0.14), (sway + reach, 0.14), (sway + 0.13, -0.22)][::-1]),
            metal,
        )
        canvas.paint(ellipse(sway, 0.14, reach + 0.02, 0.04), light(metal))
        canvas.paint(ellipse(sway, 0.145, reach - 0.02, 0.025), dark(dark(metal)))
        canvas.paint(
            capsule(sway - 0.06, -0.2, sway - 0.1, 0.08, 0.014), light(metal), 0.5 + 0.5 * np.minimum(flash, 1)
        )
        lift = strikes.lift(times_s)
        head_x, head_y = reach + 0.05 + 0.3 * lift, 0.06 - 0.12 * lift
        canvas.paint(capsule(head_x, head_y, 0.8, 1.5, 0.026), beam)
        canvas.paint(box(head_x, head_y, 0.075, 0.06, -0.4 * lift, 0.015), striker)
        for ring in (0.1, 0.2):
            size = reach + ring + 0.25 * (1 - flash)
            canvas.paint(ellipse(sway, 0.05, size, 0.008), light(metal), 0.5 * np.minimum(flash, 1))

    return paint


def _clock(rng: np.random.Generator, strikes: Strikes) -> Paint:
    rim, face, hand = bright_colour(rng), light(light(bright_colour(rng))), bright_colour(rng)
    hand = contrast_with(hand, face)
    start = rng.uniform(0, 2 * np.pi)
    steps = np.concatenate([[0.0], np.cumsum(0.08 + 0.57 * strikes.strengths)])

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        if strikes.touches:
            count = strikes.count(times_s)
            elapsed_s, _ = strikes.since(times_s)
            # The hand jumps at the tick and overshoots slightly.
            settle = np.where(count > 0, np.exp(-elapsed_s / 0.03) * np.cos(60 * np.minimum(elapsed_s, 1)), 0.0)
            angle = start + steps[count] - 0.35 * settle * (steps[count] - steps[np.maximum(count - 1, 0)])
        else:
            angle = start + 0.8 * times_s
        canvas.paint(ellipse(0, 0, 0.42 + 0.04 * strikes.recoil(times_s)), rim)
        canvas.paint(ellipse(0, 0, 0.37), face)
        for hour in range(12):
            turn = hour * np.pi / 6
            sin, cos = np.sin(turn), np.cos(turn)
            canvas.paint(capsule(0.31 * sin, -0.31 * cos, 0.345 * sin, -0.345 * cos, 0.01), dark(rim))
        for turn, length, width in ((start + 1.0, 0.18, 0.02), (start + 2.7, 0.25, 0.015)):
            canvas.paint(capsule(0, 0, length * np.sin(turn), -length * np.cos(turn), width), (0.1, 0.1, 0.12))
        sin, cos = np.sin(angle), np.cos(angle)
        canvas.paint(capsule(-0.08 * sin, 0.08 * cos, 0.31 * sin, -0.31 * cos, 0.022), hand)
        canvas.paint(ellipse(0, 0, 0.03), dark(hand))
        flash = strikes.recoil(times_s)
        canvas.paint(ellipse(0.31 * sin, -0.31 * cos, 0.03 + 0.08 * flash), hand, np.minimum(1.5 * flash, 1))

    return paint


CLOSE_UPS: dict[str, StruckPainter] = {
    "ball_bounce": _ball,
    "wood_knock": _wood,
    "metal_hit": _metal,
    "glass_clink": _glass,
    "drum_hit": _drum,
    "hand_clap": _clap,
    "typing": _typing,
    "bell": _bell,
    "clock_tick": _clock,
}
