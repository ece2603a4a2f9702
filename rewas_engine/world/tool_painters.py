"""Painters of tools that strike downwards: hammers, knives, fists on doors, and doors themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rewas_engine.world.drawing import Canvas, box, capsule, ellipse, polygon
from rewas_engine.world.motion import Strikes
from rewas_engine.world.painting import FloatArray, Paint, StruckPainter
from rewas_engine.world.palette import bright_colour, contrast_with, dark, grey, leaf_colour, light, wood_colour
from rewas_engine.world.people import arm, draw_person, leg, limb, trunk
from rewas_engine.world.struck_painters import raised_dust


def nail(rng: np.random.Generator, strikes: Strikes) -> Paint:
    """A hammer drives nails into a plank: each nail sinks a little further at every strike."""
    plank, handle, head, person = wood_colour(rng), wood_colour(rng), grey(rng, 0.1, 0.6), draw_person(rng)
    top, blows, tall = rng.uniform(0.15, 0.25), int(rng.integers(3, 8)), rng.uniform(0.06, 0.14)
    head = contrast_with(head, plank)
    length, swing = rng.uniform(0.32, 0.5), rng.uniform(0.9, 1.5)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        count = strikes.count(times_s) if strikes.touches else np.zeros(times_s.size)
        # The strike meets the nail where it still is; then the nail sinks.
        over = tall * (1 - (count % blows) / blows)
        elapsed_s, _ = strikes.since(times_s)
        before = tall * (1 - (np.maximum(count - 1, 0) % blows) / blows)
        sink = np.clip(elapsed_s / 0.04, 0, 1)
        stands = before + (over - before) * sink
        jolt = 0.06 * strikes.recoil(times_s) + 0.02 * strikes.trembling(times_s, 9.0, 0.12)
        canvas.paint(box(0, top + 0.09 + jolt, 0.62, 0.09), plank)
        canvas.paint(box(0, top + 0.6, 0.1, 0.45), dark(plank))
        canvas.paint(capsule(-0.05, top - stands, -0.05, top, 0.01), (0.6, 0.6, 0.65))
        canvas.paint(box(-0.05, top - stands, 0.03, 0.008), (0.75, 0.75, 0.8))
        canvas.paint(capsule(-0.09, top - 0.05, -0.5, top - 0.04, 0.03), person.skin)
        turn = swing * strikes.lift(times_s)
        hand_x = -0.05 + length
        hand_y = top - stands - 0.02 - 0.25 * length * turn
        cos, sin = np.cos(turn), np.sin(turn)
        tip_x, tip_y = hand_x - length * cos, hand_y - length * sin
        canvas.paint(capsule(hand_x + 0.08 * cos, hand_y + 0.08 * sin, tip_x, tip_y, 0.02), handle)
        canvas.paint(box(tip_x, tip_y - 0.02, 0.055, 0.1, turn, 0.01), head)
        raised_dust(canvas, -0.05, top, strikes.recoil(times_s, 0.12), light(light(plank)))
        limb(canvas, (0.7, hand_y * 0.4 - 0.25), (hand_x, hand_y), 0.75, 0.06, person.sleeve, person.skin, 1.0)
        canvas.paint(ellipse(hand_x, hand_y, 0.06), person.skin)

    return paint


def sledge(rng: np.random.Generator, strikes: Strikes) -> Paint:
    """Someone swings a long hammer or an axe from overhead, with the whole body."""
    person, stump, head = draw_person(rng), wood_colour(rng), grey(rng, 0.1, 0.7)
    sparks = bool(rng.random() < 0.3)
    rays = rng.uniform(0.1, np.pi - 0.1, 5)
    ground, reach = bright_colour(rng, 0.25), rng.uniform(0.24, 0.34)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        lift = strikes.lift(times_s)
        jolt = 0.07 * strikes.recoil(times_s) + 0.02 * strikes.trembling(times_s, 10.0, 0.12)
        canvas.paint(box(0, 1.38, 9, 1.0), ground)
        canvas.paint(box(-0.28, 0.3 + jolt, 0.11, 0.1, 0, 0.02), stump)
        canvas.paint(ellipse(-0.28, 0.2 + jolt, 0.11, 0.025), light(stump))
        hip, neck = (0.2 + 0.05 * (1 - lift), 0.1), (0.1 + 0.12 * lift, -0.18 - 0.06 * lift)
        for foot in (0.1, 0.32):
            leg(canvas, person, hip, (foot, 0.36), 0.3, far=foot > 0.2)
        # The hands come down from behind the head; the tool rotates around them.
        hand_x, hand_y = 0.02 + 0.16 * lift, 0.16 - 0.55 * lift
        turn = 2.5 * lift
        tip_x, tip_y = hand_x - reach * np.cos(turn), hand_y - reach * np.sin(turn)
        ease = 1 - np.minimum(1, 4 * lift)
        tip_x, tip_y = tip_x + ease * (-0.28 - (0.02 - reach)), tip_y + ease * 0.01
        arm(canvas, person, (neck[0], neck[1] + 0.07), (hand_x, hand_y), 0.36, 1.0)
        trunk(canvas, person, hip, neck, 1.0)
        canvas.paint(capsule(hand_x, hand_y, tip_x, tip_y, 0.02), dark(stump))
        canvas.paint(box(tip_x, tip_y, 0.05, 0.08, turn, 0.01), head)
        raised_dust(canvas, -0.28, 0.2, strikes.recoil(times_s, 0.12), light(light(stump)))
        arm(canvas, person, (neck[0], neck[1] + 0.07), (hand_x, hand_y), 0.36, 1.0)
        elapsed_s, strength = strikes.since(times_s)
        fly_s = np.minimum(elapsed_s, 0.5)
        for ray in rays:
            out, up = strength * np.cos(ray), strength * np.sin(ray)
            canvas.paint(
                ellipse(-0.28 + 1.1 * out * fly_s, 0.18 - 1.2 * up * fly_s + 2.6 * fly_s**2, 0.022),
                (1.0, 0.9, 0.5) if sparks else light(stump),
                (elapsed_s < 0.45) & (strength > 0),
            )

    return paint


def knife(rng: np.random.Generator, strikes: Strikes) -> Paint:
    """A knife chops on a board, from the side. The blade rocks on its tip or falls as a whole; the food moves along."""
    board, food, person, blade = wood_colour(rng), leaf_colour(rng), draw_person(rng), grey(rng, 0.55, 0.95)
    top, rocks = rng.uniform(0.18, 0.28), bool(rng.random() < 0.5)
    thick, hop = rng.uniform(0.04, 0.08), rng.uniform(0.1, 0.3)
    pieces = rng.uniform(-1, 1, (7, 2))
    food, person = contrast_with(food, board, 0.2), replace(person, skin=contrast_with(person.skin, board, 0.2))
    blade = contrast_with(blade, food, 0.25)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        lift = strikes.lift(times_s, rest=0.2)
        count = strikes.count(times_s) if strikes.touches else np.zeros(times_s.size)
        left = 0.32 * (1 - (count % 12) / 12)
        jolt = 0.06 * strikes.recoil(times_s) + 0.02 * strikes.trembling(times_s, 9.0, 0.12)
        canvas.paint(box(0, top + 0.03 + jolt, 0.6, 0.03, 0, 0.01), board)
        flash = strikes.recoil(times_s, 0.12)
        for number, (across, up) in enumerate(pieces):
            seen = (count % 12) > number
            y = top - 0.02 - 0.42 * (0.6 + 0.4 * up) * flash
            canvas.paint(ellipse(0.2 + 0.12 * across + 0.12 * flash * across, y, 0.036, 0.028), light(food), seen)
        canvas.paint(capsule(-0.05 - left, top - thick, -0.05, top - thick, thick), food, left > 0.03)
        canvas.paint(ellipse(-0.08 - left, top - thick - 0.02, 0.08, 0.07), person.skin)
        canvas.paint(capsule(-0.1 - left, top - thick - 0.03, -0.9, 0.1, 0.06), person.sleeve)
        turn = -0.9 * lift if rocks else -0.12 * lift
        rise = 0.0 * lift if rocks else hop * 2.0 * lift
        cos, sin = np.cos(turn), np.sin(turn)
        tip_x, tip_y = -0.12, top - rise
        heel_x, heel_y = tip_x + 0.36 * cos, tip_y + 0.36 * sin
        canvas.paint(
            polygon(
                [
                    (tip_x, tip_y - 0.015),
                    (tip_x + 0.1 * cos + 0.09 * sin, tip_y + 0.1 * sin - 0.09 * cos),
                    (heel_x + 0.1 * sin, heel_y - 0.1 * cos),
                    (heel_x, heel_y),
                ]
            ),
            blade,
        )
        grip_x, grip_y = heel_x + 0.09 * cos + 0.07 * sin, heel_y + 0.09 * sin - 0.07 * cos
        canvas.paint(
            capsule(heel_x + 0.07 * sin, heel_y - 0.07 * cos, grip_x + 0.1 * cos, grip_y + 0.1 * sin, 0.03), dark(board)
        )
        canvas.paint(ellipse(grip_x, grip_y, 0.085, 0.07), person.skin)
        canvas.paint(capsule(grip_x + 0.05, grip_y, 1.1, -0.2, 0.07), person.sleeve)

    return paint


def fist_on_door(rng: np.random.Generator, strikes: Strikes) -> Paint:
    """A fist knocks on a door or a plank; the panel vibrates, and a shadow meets the hand."""
    panel, frame, person = wood_colour(rng), grey(rng), draw_person(rng)
    if rng.random() < 0.4:
        panel = grey(rng, 0.3, 0.95)
    person = replace(person, skin=contrast_with(person.skin, panel), sleeve=contrast_with(person.sleeve, panel, 0.2))
    x0, y0, side_on = rng.uniform(-0.15, 0.1), rng.uniform(-0.15, 0.1), bool(rng.random() < 0.5)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        lift = strikes.lift(times_s)
        shake = -0.05 * strikes.recoil(times_s) + 0.02 * strikes.trembling(times_s, 9.0, 0.15)
        if side_on:  # the door's edge, and an arm that comes from the right
            canvas.paint(box(-0.45 + shake, 0, 0.25, 2.0), panel)
            canvas.paint(box(-0.21 + shake, 0, 0.012, 2.0), light(panel))
            hand_x, hand_y = -0.14 + 0.45 * lift, y0 - 0.05 * lift
        else:
            canvas.paint(box(shake, 0.3, 0.5, 1.0), frame)
            canvas.paint(box(shake, 0.3, 0.44, 0.95), panel)
            for inset in (-0.25, 0.35):
                canvas.paint(box(shake, inset, 0.32, 0.22), dark(panel), 0.5)
                canvas.paint(box(shake, inset, 0.3, 0.2), panel)
            canvas.paint(ellipse(0.36 + shake, 0.1, 0.03), (0.8, 0.75, 0.5))
            canvas.paint(
                ellipse(x0 - 0.1 * lift, y0 + 0.04 + 0.15 * lift, 0.08 + 0.06 * lift), (0, 0, 0), 0.4 - 0.3 * lift, 0.08
            )
            hand_x, hand_y = x0 + 0.4 * lift, y0 + 0.3 * lift
        size = 0.085 * (1 + (0.0 if side_on else 0.6) * lift)
        limb(canvas, (0.75, 0.5), (hand_x + 0.03, hand_y + 0.03), 0.95, 0.065, person.sleeve, person.sleeve, 1.0)
        canvas.paint(ellipse(hand_x, hand_y, size, 0.9 * size), person.skin)
        for knuckle in (-0.5, 0.0, 0.5):
            canvas.paint(ellipse(hand_x - 0.6 * size, hand_y + knuckle * size, 0.25 * size), light(person.skin))

    return paint


def slamming_door(rng: np.random.Generator, strikes: Strikes) -> Paint:
    """A door that swings shut into its frame, harder from farther open, and comes to rest ajar again."""
    wall, panel, beyond = grey(rng, 0.3, 0.95), wood_colour(rng), grey(rng, 0.0, 1.0)
    wide, tall, person = rng.uniform(0.2, 0.3), rng.uniform(0.36, 0.46), draw_person(rng)
    pushed, inset = bool(rng.random() < 0.5), dark(panel)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        shake = -0.05 * strikes.recoil(times_s) + 0.02 * strikes.trembling(times_s, 9.0, 0.15)
        canvas.paint(box(shake, 0.5 - tall, wide + 0.05, tall + 0.05), wall)
        canvas.paint(box(0, 0.5 - tall, wide, tall), beyond)
        open_by = 1.45 * strikes.lift(times_s, rest=0.35)
        across, deep = np.cos(open_by), 0.16 * np.sin(open_by)
        hinge, edge = -wide + shake, -wide + shake + 2 * wide * across
        top, bottom = 0.5 - 2 * tall, 0.5
        canvas.paint(
            polygon([(hinge, top), (edge, top - deep), (edge, bottom + deep), (hinge, bottom)]), panel * np.float32(1.0)
        )
        middle = 0.5 * (hinge + edge)
        for y in (0.5 - 1.45 * tall, 0.5 - 0.6 * tall):
            canvas.paint(box(middle, y, 1.3 * wide * across * 0.5, 0.28 * tall), inset, 0.7)
        canvas.paint(ellipse(edge - 0.04 * across, 0.5 - tall, 0.022), (0.85, 0.8, 0.55))
        if pushed:
            limb(canvas, (0.9, 0.2), (edge - 0.02, 0.5 - tall), 1.0, 0.07, person.sleeve, person.sleeve, 1.0)
            canvas.paint(ellipse(edge - 0.02, 0.5 - tall, 0.06), person.skin)

    return paint


def drawer(rng: np.random.Generator, strikes: Strikes) -> Paint:
    """A hand pushes a drawer or a sliding door shut, from the side."""
    case, front, person = wood_colour(rng), wood_colour(rng), draw_person(rng)
    rows, chosen = int(rng.integers(1, 4)), rng.random()
    travel = rng.uniform(0.25, 0.45)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        shake = -0.05 * strikes.recoil(times_s) + 0.02 * strikes.trembling(times_s, 9.0, 0.15)
        out = travel * strikes.lift(times_s, rest=0.3)
        canvas.paint(box(-0.55 + shake, 0.1, 0.5, 0.5), case)
        pitch = 0.7 / rows
        moved = int(chosen * rows)
        for row in range(rows):
            y = -0.3 + pitch * (row + 0.5)
            pulled = out if row == moved else np.zeros(1)
            canvas.paint(box(-0.25 + pulled, y, 0.23, 0.36 * pitch), dark(case))
            canvas.paint(box(-0.03 + shake + pulled, y, 0.025, 0.44 * pitch), front)
            canvas.paint(capsule(0.02 + pulled, y - 0.04, 0.02 + pulled, y + 0.04, 0.012), (0.75, 0.7, 0.6))
        y = -0.3 + pitch * (moved + 0.5)
        canvas.paint(capsule(0.1 + out, y, 1.2 + out, y + 0.5, 0.07), person.sleeve)
        canvas.paint(ellipse(0.06 + out, y, 0.06, 0.08), person.skin)

    return paint


HAMMER_PAINTERS: tuple[StruckPainter, ...] = (nail, sledge)
DOOR_PAINTERS: tuple[StruckPainter, ...] = (slamming_door, fist_on_door, drawer)
