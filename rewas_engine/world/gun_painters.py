"""Painters of gunshots: a pistol from the side, a person with a rifle, and a target seen along the barrel."""

from __future__ import annotations

import numpy as np

from rewas_engine.world.drawing import Canvas, box, capsule, ellipse, polygon
from rewas_engine.world.motion import Strikes, wander, wandering
from rewas_engine.world.painting import FloatArray, Paint, StruckPainter
from rewas_engine.world.palette import bright_colour, dark, grey, light, wood_colour
from rewas_engine.world.people import draw_person, leg, limb, trunk


class _Shot:
    """Common parts of every gunshot: recoil, flash by day or by night, and smoke."""

    def __init__(self, rng: np.random.Generator, strikes: Strikes) -> None:
        self._strikes = strikes
        # In daylight a camera often misses the flash, which lasts milliseconds.
        self._brightness = 0.0 if rng.random() < 0.25 else rng.uniform(0.2, 1.0)
        self._smoke = rng.uniform(0.0, 0.8)
        self._puffs = rng.uniform(-1, 1, (4, 2))
        self._kick_s = rng.uniform(0.06, 0.14)
        self._course = wander(rng, 0.6)

    def kick(self, times_s: FloatArray) -> FloatArray:
        """Recoil [F] in 0..1. It is immediate and recovers within a tenth of a second."""
        return self._strikes.flash(times_s, self._kick_s)

    def waver(self, times_s: FloatArray) -> FloatArray:
        """Unsteadiness of the hand [F]; without a shot, the hand also waves."""
        wave = 0.01 * wandering(times_s, self._course)
        return wave if self._strikes.touches else wave + 0.6 * (self._strikes.lift(times_s) - 0.6)

    def fire(self, canvas: Canvas, times_s: FloatArray, x: FloatArray, y: FloatArray, size: float) -> None:
        """Flash and smoke at the muzzle x, y [F]."""
        flash = np.minimum(self._strikes.flash(times_s, 0.025) * 1.3, 1.0) * self._brightness
        canvas.tint((1.0, 0.95, 0.8), 0.25 * flash)
        canvas.paint(
            ellipse(x + 0.5 * size, y, size * (0.3 + flash), 0.5 * size * (0.3 + flash)), (1, 0.9, 0.6), flash, 0.04
        )
        canvas.paint(ellipse(x + 0.4 * size, y, 0.5 * size), (1, 1, 1), flash, 0.03)
        elapsed_s, strength = self._strikes.since(times_s)
        age_s = np.minimum(elapsed_s, 2.0)
        for across, up in self._puffs:
            canvas.paint(
                ellipse(
                    x + size * (0.4 + 1.2 * age_s**0.5 + 0.3 * across),
                    y + size * (0.2 * up - 0.7 * age_s),
                    size * (0.15 + 0.7 * age_s),
                ),
                (0.8, 0.8, 0.8),
                self._smoke * strength * np.exp(-2.0 * age_s) * (age_s < 1.9),
                0.05,
            )


def _pistol(rng: np.random.Generator, strikes: Strikes) -> Paint:
    shot, metal, person = _Shot(rng, strikes), grey(rng, 0.08, 0.5), draw_person(rng)
    two_hands = rng.random() < 0.5

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        kick = shot.kick(times_s)
        turn = -0.5 * kick + shot.waver(times_s)
        grip_x, grip_y = -0.12 - 0.08 * kick, 0.12 - 0.04 * kick
        cos, sin = np.cos(turn), np.sin(turn)

        def at(x: float, y: float) -> tuple[FloatArray, FloatArray]:
            return grip_x + cos * x - sin * y, grip_y + sin * x + cos * y

        if two_hands:
            canvas.paint(capsule(*at(-0.02, 0.06), -0.8, 0.75, 0.06), dark(person.sleeve))
        canvas.paint(capsule(*at(0.0, 0.05), -1.2, 0.5, 0.07), person.sleeve)
        canvas.paint(capsule(*at(0.0, 0.12), *at(0.03, -0.06), 0.045), dark(metal))
        slide_x, slide_y = at(0.12, -0.1)
        back = 0.07 * np.minimum(strikes.flash(times_s, 0.04), 1)
        canvas.paint(box(slide_x - cos * back, slide_y - sin * back, 0.2, 0.035, turn), metal)
        canvas.paint(box(*at(0.12, -0.06), 0.17, 0.02, turn), dark(metal))
        canvas.paint(ellipse(*at(0.0, 0.03), 0.075, 0.07), person.skin)
        canvas.paint(capsule(*at(0.02, 0.0), *at(0.08, -0.01), 0.025), light(person.skin))
        elapsed_s, strength = strikes.since(times_s)
        fly_s = np.minimum(elapsed_s, 0.5)
        canvas.paint(
            capsule(
                0.0 - 0.5 * fly_s,
                -0.05 - 1.4 * fly_s + 4 * fly_s**2,
                0.02 - 0.5 * fly_s,
                -0.03 - 1.4 * fly_s + 4 * fly_s**2,
                0.012,
            ),
            (0.9, 0.75, 0.3),
            (strength > 0) & (elapsed_s < 0.45),
        )
        shot.fire(canvas, times_s, *at(0.33, -0.1), 0.13)

    return paint


def _rifle(rng: np.random.Generator, strikes: Strikes) -> Paint:
    """A person standing sideways who fires; dust rises at the impact."""
    shot, person, metal, ground = _Shot(rng, strikes), draw_person(rng), grey(rng, 0.05, 0.35), bright_colour(rng, 0.25)
    size, grit = rng.uniform(0.85, 1.3), rng.uniform(-1, 1, (5, 2))

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        canvas.paint(box(0, 1.36, 9, 1.0), ground)
        kick = shot.kick(times_s)
        turn = -0.18 * kick + shot.waver(times_s)
        back = 0.04 * kick
        hip, neck = (-0.22 - 0.4 * back, 0.05), (-0.2 - back, -0.2 * size)
        for foot in (-0.36, -0.1):
            leg(canvas, person, hip, (foot, 0.36), 0.34, far=foot < -0.2)
        trunk(canvas, person, hip, neck, size)
        stock_x, stock_y = -0.12 - 1.3 * back, -0.14 * size
        cos, sin = np.cos(turn), np.sin(turn)
        muzzle_x, muzzle_y = stock_x + 0.42 * cos, stock_y + 0.42 * sin
        canvas.paint(
            capsule(stock_x - 0.06 * cos, stock_y + 0.03, stock_x + 0.1 * cos, stock_y + 0.1 * sin, 0.024), dark(metal)
        )
        canvas.paint(capsule(stock_x, stock_y, muzzle_x, muzzle_y, 0.012), metal)
        for along in (0.06, 0.2):
            hand = (stock_x + along * cos, stock_y + along * sin + 0.02)
            limb(canvas, (neck[0], neck[1] + 0.06), hand, 0.3, 0.03, person.sleeve, person.skin)
        elapsed_s, strength = strikes.since(times_s)
        fly_s = np.minimum(elapsed_s, 0.8)
        for across, up in grit:
            canvas.paint(
                ellipse(
                    0.55 + 0.2 * across * fly_s,
                    0.3 - (0.5 + 0.3 * up) * strength * fly_s + 0.7 * fly_s**2,
                    0.02 + 0.08 * fly_s,
                ),
                light(ground),
                strength * np.exp(-3 * fly_s) * (elapsed_s < 0.75),
                0.03,
            )
        shot.fire(canvas, times_s, muzzle_x, muzzle_y, 0.09)

    return paint


def _down_the_barrel(rng: np.random.Generator, strikes: Strikes) -> Paint:
    """The shooter's view of a target, which shakes when it is hit."""
    shot, metal, target = _Shot(rng, strikes), grey(rng, 0.05, 0.3), grey(rng, 0.5, 1.0)
    skin, sleeve, post = draw_person(rng).skin, bright_colour(rng, 0.4), wood_colour(rng)
    side, far = rng.uniform(-0.15, 0.3), rng.uniform(0.1, 0.2)
    holes = rng.normal(0, 0.4 * far, (64, 2))

    def paint(canvas: Canvas, times_s: FloatArray) -> None:
        wobble = 0.2 * strikes.swinging(times_s, 3.0, 0.5)
        canvas.paint(capsule(side, -0.1, side, 0.35, 0.012), post)
        canvas.paint(box(side, -0.12, far * np.cos(wobble), 1.3 * far, 0.3 * wobble), target)
        for ring in (0.75, 0.45, 0.2):
            canvas.paint(
                ellipse(side, -0.12, ring * far * np.cos(wobble), ring * far), dark(target) if ring != 0.45 else target
            )
        count = strikes.count(times_s)
        for number, (x, y) in enumerate(holes[: min(len(holes), 12)]):
            canvas.paint(ellipse(side + x, -0.12 + y, 0.014), (0.05, 0.05, 0.05), (count > number) & strikes.touches)
        kick, waver = shot.kick(times_s), shot.waver(times_s)
        x, y = 0.1 + 0.4 * waver, 0.12 - 0.18 * kick + 0.5 * waver
        canvas.paint(capsule(x + 0.12, y + 0.3, 0.5, 1.2, 0.1), sleeve)
        canvas.paint(capsule(x - 0.02, y + 0.32, -0.5, 1.2, 0.1), dark(sleeve))
        canvas.paint(polygon([(x - 0.025, y), (x + 0.025, y), (x + 0.09, y + 0.3), (x - 0.01, y + 0.3)]), metal)
        canvas.paint(box(x + 0.01, y - 0.015 + 0.02 * kick, 0.008, 0.02), dark(metal))
        canvas.paint(ellipse(x + 0.06, y + 0.3, 0.11, 0.08), skin)
        shot.fire(canvas, times_s, x - 0.04, y - 0.02, 0.12)

    return paint


GUN_PAINTERS: tuple[StruckPainter, ...] = (_pistol, _rifle, _down_the_barrel)
