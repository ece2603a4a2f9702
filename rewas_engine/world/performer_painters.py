"""Painters of people who strike: a drummer, a boxer, people who clap, dribble or ring a bell; and small instruments."""

from __future__ import annotations

import numpy as np

from rewas_engine.world.drawing import Canvas, box, capsule, ellipse, polygon
from rewas_engine.world.motion import Strikes
from rewas_engine.world.painting import FloatArray, Paint
from rewas_engine.world.palette import bright_colour, contrast_with, dark, grey, light, wood_colour
from rewas_engine.world.people import arm, draw_person, leg, trunk
from rewas_engine.world.struck_painters import raised_dust


def drummer(rng: np.random.Generator, strikes: Strikes) -> Paint:
    """Someone at a drum kit: each stick moves between drum and cymbal, and what it hits vibrates."""
    person, shell, stick = draw_person(rng), bright_colour(rng), wood_colour(rng)
    brass = np.array([0.85, 0.7, 0.35]) * np.float32(rng.uniform(0.5, 1.1))
    spots = np.array([[-0.2, 0.12], [0.06, 0.04], [0.24, 0.14], [-0.42, -0.06], [0.44, -0.1]])
    spots = spots + rng.normal(0, 0.02, spots.shape)
    favoured = rng.dirichlet(np.ones(5))
    order = rng.choice(5, 128, p=favoured)
    stick = contrast_with(stick, (0.92, 0.9, 0.86))
    hands, sway_hz = strikes.alternate(), rng.uniform(0.3, 1.0)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        flash, shiver = strikes.recoil(times_s), strikes.trembling(times_s, 9.0)
        nod = 0.05 * strikes.flash(times_s, 0.12) + 0.008 * np.sin(2 * np.pi * sway_hz * times_s)
        hip, neck = (0.02, 0.28), (0.02 + 0.3 * nod, -0.14 + nod)
        trunk(canvas, person, hip, neck, 1.15)
        canvas.paint(ellipse(0.02, 0.36 + 0.05 * flash, 0.19, 0.19), shell)
        canvas.paint(
            ellipse(0.02, 0.36 + 0.05 * flash, 0.165 + 0.03 * flash, 0.165 + 0.03 * flash), light(grey_of(shell))
        )
        for number, (x, y) in enumerate(spots):
            if number < 3:
                canvas.paint(box(x, y + 0.07 + 0.05 * flash, 0.105, 0.07), shell)
                canvas.paint(ellipse(x, y + 0.05 * flash, 0.11, 0.03 + 0.03 * flash), (0.92, 0.9, 0.86))
            else:
                canvas.paint(capsule(x, y, x, 0.6, 0.008), (0.5, 0.5, 0.55))
                tilt = 0.5 * shiver
                canvas.paint(capsule(x - 0.14, y - 0.14 * tilt, x + 0.14, y + 0.14 * tilt, 0.02), brass)
        for parity, (hand, side) in enumerate(zip(hands, (-1.0, 1.0), strict=True)):
            target = hand.aim(times_s, spots[order[parity::2]])
            lift = hand.lift(times_s)
            tip_x, tip_y = target[:, 0], target[:, 1] - 0.02 - 0.42 * lift
            hand_x, hand_y = 0.55 * target[:, 0] + side * 0.13, 0.3 * target[:, 1] + 0.02 - 0.16 * lift
            arm(canvas, person, (neck[0] + side * 0.11, neck[1] + 0.07), (hand_x, hand_y), 0.34, -side)
            canvas.paint(capsule(hand_x, hand_y, tip_x, tip_y, 0.02), stick)
            canvas.paint(ellipse(tip_x, tip_y, 0.028 + 0.012 * flash), stick)

    return paint


def grey_of(colour: FloatArray) -> FloatArray:
    """A pale drum skin for a drum of that colour."""
    return 0.5 * colour + np.float32(0.45)


def punching_bag(rng: np.random.Generator, strikes: Strikes) -> Paint:
    """Fists hit a hanging bag, which swings at every strike. The boxer is a whole figure or two arms in close-up."""
    person, leather, glove = draw_person(rng), bright_colour(rng, 0.6), bright_colour(rng)
    length, thick = rng.uniform(0.45, 0.6), rng.uniform(0.1, 0.16)
    rate_hz, whole, kicks = rng.uniform(0.6, 1.0), bool(rng.random() < 0.6), bool(rng.random() < 0.2)
    push, heights = rng.uniform(0.2, 0.5), rng.uniform(-0.1, 0.12, 64)
    glove, limbs = contrast_with(glove, leather), strikes.alternate()

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        angle = push * strikes.swinging(times_s, rate_hz, 1.2) + 0.1 * strikes.trembling(times_s, 6.0)
        sin, cos = np.sin(angle), np.cos(angle)
        pivot_x, pivot_y = 0.18, -0.62
        top_x, top_y = pivot_x + 0.3 * sin, pivot_y + 0.3 * cos
        end_x, end_y = pivot_x + (0.3 + length) * sin, pivot_y + (0.3 + length) * cos
        canvas.paint(capsule(pivot_x, pivot_y, top_x, top_y, 0.01), (0.4, 0.4, 0.42))
        lean = 0.05 * strikes.flash(times_s, 0.15)
        hip, neck = (-0.42 + 0.5 * lean, 0.12), (-0.36 + lean, -0.16)
        if whole:
            for foot in (-0.55, -0.3):
                leg(canvas, person, hip, (foot, 0.46), 0.36, far=foot < -0.5)
        dent = 0.06 * strikes.flash(times_s, 0.06)
        canvas.paint(capsule(top_x, top_y, end_x, end_y, thick - 0.3 * dent), leather)
        canvas.paint(capsule(top_x - 0.3 * thick, top_y, end_x - 0.3 * thick, end_y, 0.2 * thick), light(leather), 0.4)
        for parity, hand in enumerate(limbs):
            lift = hand.lift(times_s, rest=0.6)
            y = hand.aim(times_s, np.stack([heights[parity::2], heights[parity::2]], axis=1))[:, 0]
            # The glove meets the bag where it is at that time.
            along = (y - top_y) / np.maximum(end_y - top_y, 0.1)
            surface = top_x + (end_x - top_x) * along - thick - 0.04 + dent
            glove_x, glove_y = surface - 0.42 * lift, y + 0.04 * lift
            if kicks and whole:
                leg(canvas, person, hip, (glove_x, glove_y), 0.5)
                canvas.paint(ellipse(glove_x, glove_y, 0.06, 0.04), person.skin)
                continue
            shoulder = (neck[0], neck[1] + 0.08) if whole else (-0.8, 0.1 + 0.25 * parity)
            arm(canvas, person, shoulder, (glove_x, glove_y), 0.55 if whole else 1.0, 1.0)
            canvas.paint(ellipse(glove_x, glove_y, 0.075), glove)
        if whole:
            trunk(canvas, person, hip, neck, 1.1)

    return paint


def clapping_person(rng: np.random.Generator, strikes: Strikes) -> Paint:
    """Someone who claps: the upper body from the front, with a nodding head."""
    person, wide, high = draw_person(rng), rng.uniform(0.16, 0.3), rng.uniform(-0.05, 0.18)
    overhead = bool(rng.random() < 0.2)
    palm = contrast_with(light(person.skin), person.shirt)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        lift, flash = strikes.lift(times_s), strikes.recoil(times_s)
        neck = (0.0, -0.12 + 0.05 * flash)
        trunk(canvas, person, (0.0, 0.6), neck, 1.6)
        for side in (-1.0, 1.0):
            x = side * (0.025 + wide * lift)
            y = (-0.3 if overhead else high) - 0.08 * lift
            shoulder = (side * 0.15, neck[1] + 0.13)
            arm(canvas, person, shoulder, (x + side * 0.02, y + 0.05), 0.5, -side)
            canvas.paint(capsule(x, y + 0.04, x + side * 0.3 * lift * 0.2, y - 0.06, 0.05 + 0.04 * flash), palm)

    return paint


def dribbler(rng: np.random.Generator, strikes: Strikes) -> Paint:
    """Someone bounces a ball on the ground; the hand follows it down and waits for it."""
    person, ball, ground = draw_person(rng), bright_colour(rng), grey(rng, 0.2, 0.8)
    radius, walks = rng.uniform(0.085, 0.115), rng.uniform(-0.08, 0.08)
    ball = contrast_with(contrast_with(ball, person.shirt, 0.2), ground)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        height, dip = strikes.bounce(times_s), 0.05 * strikes.flash(times_s, 0.1)
        canvas.paint(box(0, 1.38 + 0.04 * strikes.recoil(times_s), 9, 1.0), ground)
        x = walks * (times_s - 2.5)
        squash = strikes.flash(times_s, 0.05)
        ball_x, ball_y = x + 0.2, 0.4 - radius * (1 - 0.4 * squash) - 0.5 * height
        hip, neck = (x - 0.16, 0.12 + dip), (x - 0.12, -0.17 + dip)
        for foot in (-0.26, -0.09):
            leg(canvas, person, hip, (x + foot, 0.38), 0.3, far=foot < -0.1)
        trunk(canvas, person, hip, neck, 1.0)
        canvas.paint(ellipse(ball_x, 0.4, radius * (1.3 - 0.5 * np.minimum(height, 1)), 0.015), (0, 0, 0), 0.4)
        raised_dust(canvas, ball_x, 0.4, strikes.recoil(times_s, 0.12), contrast_with(light(ground), ground, 0.2))
        canvas.paint(ellipse(ball_x, ball_y, radius * (1 + 0.3 * squash), radius * (1 - 0.4 * squash)), ball)
        canvas.paint(ellipse(ball_x - 0.02, ball_y - 0.03, 0.3 * radius), light(ball), 0.4)
        hand_y = np.minimum(ball_y - radius - 0.02, 0.1)
        arm(canvas, person, (x - 0.1, neck[1] + 0.08), (ball_x - 0.03, hand_y), 0.38, 1.0)

    return paint


def spoon_on_glass(rng: np.random.Generator, strikes: Strikes) -> Paint:
    """A spoon held in a hand taps a glass."""
    glass, drink, person = light(bright_colour(rng, 0.3)), bright_colour(rng), draw_person(rng)
    wide, tall, full = rng.uniform(0.08, 0.15), rng.uniform(0.18, 0.3), rng.uniform(0.2, 0.9)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        ring = 0.015 * strikes.trembling(times_s, 10.0, 0.2) - 0.07 * strikes.recoil(times_s)
        slosh, splash = 3.0 * strikes.trembling(times_s, 4.0, 0.3), strikes.recoil(times_s, 0.12)
        canvas.paint(box(0, 1.34, 9, 1.0), grey_of(glass) * np.float32(0.5))
        canvas.paint(box(-0.1 + ring, 0.34 - tall, wide, tall, 0, 0.02), glass, 0.45)
        canvas.paint(box(-0.1 + ring, 0.34 - tall * full, wide * 0.9, tall * full, 0, 0.01), drink, 0.8)
        canvas.paint(
            capsule(
                -0.1 - 0.85 * wide,
                0.34 - 2 * tall * full - 0.02 * slosh,
                -0.1 + 0.85 * wide,
                0.34 - 2 * tall * full + 0.02 * slosh,
                0.012,
            ),
            light(drink),
        )
        drop_y = 0.34 - 2 * tall * full - 0.3 * splash
        for across in (-0.5, 0.4):
            canvas.paint(ellipse(-0.1 + across * wide, drop_y, 0.02 + 0.025 * splash), drink, np.minimum(2 * splash, 1))
        turn = 1.1 * strikes.lift(times_s)
        tip_x, tip_y = -0.1 + wide + 0.025 + 0.3 * np.sin(turn) * 0.9, 0.36 - 1.7 * tall - 0.28 * np.sin(turn)
        hand_x, hand_y = 0.42 + 0.05 * turn, 0.05
        canvas.paint(capsule(tip_x, tip_y, hand_x, hand_y, 0.022), (0.8, 0.8, 0.82))
        canvas.paint(ellipse(tip_x, tip_y, 0.05, 0.036), (0.92, 0.92, 0.95))
        canvas.paint(capsule(hand_x, hand_y, 1.2, 0.5, 0.07), person.sleeve)
        canvas.paint(ellipse(hand_x, hand_y, 0.07), person.skin)
        canvas.paint(capsule(-0.1 - 0.6 * wide, 0.3 - tall, -0.1 - 0.6 * wide, 0.4 - 2 * tall, 0.01), (1, 1, 1), 0.6)

    return paint


def metronome(rng: np.random.Generator, strikes: Strikes) -> Paint:
    """A pendulum that is at one end at each tick, or the arm of a metronome; it swings wider when louder."""
    case, arm_colour, weight = wood_colour(rng), grey(rng, 0.6, 1.0), bright_colour(rng)
    hangs, length = bool(rng.random() < 0.5), rng.uniform(0.4, 0.55)
    arm_colour, weight = contrast_with(arm_colour, dark(case)), contrast_with(weight, dark(case))

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        if strikes.touches and strikes.times_s.size:
            count = strikes.count(times_s)
            ends_s = np.concatenate([strikes.times_s[:1] - 1.0, strikes.times_s, strikes.times_s[-1:] + 1e3])
            lasting_s = np.minimum(ends_s[count + 1] - ends_s[count], 0.3)
            share = np.clip((times_s - ends_s[count + 1]) / lasting_s + 1, 0, 1)
            wide = np.concatenate([strikes.strengths[:1], strikes.strengths, strikes.strengths[-1:]])
            reach = 0.08 + 0.72 * (wide[count] * (1 - share) + wide[count + 1] * share)
            # It arrives at full speed, as if it hit a stop.
            angle = (1 - 2 * share**1.5) * np.where(count % 2, 1.0, -1.0) * reach
        else:
            angle = 0.1 * np.sin(1.5 * times_s)
        hop = 0.07 * strikes.recoil(times_s)
        top, foot = -0.4 - hop, 0.45 - hop
        canvas.paint(polygon([(-0.12, top), (0.12, top), (0.28, foot), (-0.28, foot)]), case)
        canvas.paint(
            polygon([(-0.08, top + 0.06), (0.08, top + 0.06), (0.2, foot - 0.15), (-0.2, foot - 0.15)]), dark(case)
        )
        pivot_y, way = (-0.3 - hop, 1.0) if hangs else (0.3 - hop, -1.0)
        tip_x, tip_y = length * np.sin(angle), pivot_y + way * length * np.cos(angle)
        canvas.paint(capsule(0, pivot_y, tip_x, tip_y, 0.02), arm_colour)
        share = 1.0 if hangs else 0.7
        canvas.paint(ellipse(share * tip_x, pivot_y + share * (tip_y - pivot_y), 0.07), weight)

    return paint


def hand_bell(rng: np.random.Generator, strikes: Strikes) -> Paint:
    """A bell swings on its yoke or in a hand; the clapper hits the rim."""
    metal, person = bright_colour(rng, 0.6), draw_person(rng)
    held, size = bool(rng.random() < 0.6), rng.uniform(0.95, 1.3)

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        lift = strikes.lift(times_s)
        side = np.where(strikes.count(times_s) % 2, 1.0, -1.0) if strikes.touches else 1.0
        # Raised before the strike, it falls to the side where the clapper hits it.
        angle = 0.9 * (1 - lift) * side * strikes.flash(times_s, 0.4) + 0.5 * lift
        sin, cos = np.sin(angle), np.cos(angle)

        def at(x: float, y: float) -> tuple[FloatArray, FloatArray]:
            return size * (cos * x - sin * y), -0.2 + size * (sin * x + cos * y)

        if held:
            canvas.paint(capsule(*at(0, -0.02), 0.5, -0.9, 0.07), person.sleeve)
        canvas.paint(capsule(*at(0, -0.1), *at(0, 0.08), 0.03), dark(metal))
        canvas.paint(ellipse(*at(0, 0.12), 0.1 * size), metal)
        canvas.paint(polygon([at(-0.1, 0.12), at(0.1, 0.12), at(0.19, 0.4), at(-0.19, 0.4)]), metal)
        canvas.paint(capsule(*at(-0.2, 0.4), *at(0.2, 0.4), 0.02), light(metal))
        canvas.paint(ellipse(*at(0.14, 0.43), 0.055 * size), dark(dark(metal)))
        if held:
            canvas.paint(ellipse(*at(0, -0.05), 0.075), person.skin)

    return paint
