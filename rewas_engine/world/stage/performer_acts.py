"""People who drum, clap, type, dribble and shoot, and clocks."""

from __future__ import annotations

import numpy as np

from rewas_engine.world.motion import Strikes
from rewas_engine.world.palette import bright_colour, grey
from rewas_engine.world.stage.acts import Act, FloatArray, StruckAct, fixed
from rewas_engine.world.stage.poses import points, pose, rotate, turn
from rewas_engine.world.stage.props import Material, Prop, ball, box, metal, painted, plain, rod, wood
from rewas_engine.world.stage.skeleton import Person, Posture, draw_person, embody, standing
from rewas_engine.world.stage.tool_acts import BENCH_M, bench

_NOWHERE = points(0.0, 0.0, 0.0)


def drummer(rng: np.random.Generator, strikes: Strikes) -> Act:
    """Someone behind drums, whose sticks move between them. A drum gives way when it is hit."""
    person, shell, skin, brass = draw_person(rng), painted(rng), plain(np.array([0.9, 0.88, 0.84])), metal(rng)
    stick, count = wood(rng), int(rng.integers(1, 4))
    spots = np.array([[0.0, 0.55], [-0.42, 0.5], [0.42, 0.5]])[:count] + rng.normal(0, 0.02, (count, 2))
    heights, wide = rng.uniform(0.78, 0.92, count), rng.uniform(0.3, 0.42, count)
    order = rng.integers(0, count, 128)
    hands, cymbal = strikes.alternate(), bool(rng.random() < 0.6)
    reach = float(rng.uniform(0.3, 0.45))

    def props(times_s: FloatArray) -> list[Prop]:
        flash, shiver = strikes.recoil(times_s), strikes.trembling(times_s, 9.0)
        placed: list[Prop] = []
        for (x, y), height, across in zip(spots, heights, wide, strict=True):
            placed += [
                Prop("cylinder", (across, across, 0.24), shell, pose(points(x, y, height - 0.12 - 0.015 * flash))),
                Prop(
                    "cylinder", (0.94 * across, 0.94 * across, 0.02), skin, pose(points(x, y, height - 0.015 * flash))
                ),
                rod(0.03, brass, points(x, y, 0.02), points(x, y, height - 0.2)),
            ]
        if cymbal:
            tilt = turn((1, 0, 0), 0.25 * shiver)
            placed += [
                Prop("cylinder", (0.42, 0.42, 0.012), brass, pose(points(0.62, 0.75, 1.15), tilt)),
                rod(0.02, brass, points(0.62, 0.75, 0.02), points(0.62, 0.75, 1.14)),
            ]
        tips: list[FloatArray] = []
        holds: list[FloatArray] = []
        for parity, (hand, side) in enumerate(zip(hands, (-1.0, 1.0), strict=True)):
            surfaces = np.concatenate([spots + np.array([side * 0.03, -0.03]), heights[:, None]], axis=1)
            turns = order[parity::2]
            target = np.stack([hand.aim(times_s, surfaces[turns][:, [0, axis]])[:, 1] for axis in (0, 1, 2)], axis=1)
            lift = hand.lift(times_s)[:, None]
            tips.append(target + lift * points(0.04 * side, -0.12, 0.34) + points(0.0, 0.0, 0.012))
            away = rotate(turn((1, 0, 0), 0.5 * lift[:, 0]), points(side * 0.25, -0.95, 0.16))
            holds.append(tips[-1] + reach * away / np.sqrt((away**2).sum(axis=1, keepdims=True)))
        bow = 0.2 + 0.08 * strikes.flash(times_s, 0.12)
        hips = points(0.0, -0.1, 0.8 * person.size)
        feet = (points(-0.2, 0.35, 0.0), points(0.2, 0.35, 0.0))
        posture = Posture(hips, np.zeros(1), bow, (holds[0], holds[1]), feet, 0.3 + 0.2 * strikes.flash(times_s, 0.12))
        placed += [rod(0.024, stick, hold, tip) for hold, tip in zip(holds, tips, strict=True)]
        return [*placed, *embody(person, posture)]

    return Act(props, fixed(0.0, 0.35, 0.95), float(rng.uniform(0.7, 0.95)), (-1.1, 1.1), (0.12, 0.7))


def clapper(rng: np.random.Generator, strikes: Strikes) -> Act:
    """Someone who claps."""
    person, wide, high = draw_person(rng), float(rng.uniform(0.16, 0.3)), float(rng.uniform(1.05, 1.35))
    overhead, yaw = bool(rng.random() < 0.15), float(rng.uniform(-0.4, 0.4))

    def props(times_s: FloatArray) -> list[Prop]:
        return clap(person, strikes, times_s, _NOWHERE, yaw, wide, 1.65 if overhead else high)

    close = bool(rng.random() < 0.5)
    focus = fixed(0.0, 0.15, 1.4 if overhead else high + 0.05)
    return Act(props, focus, float(rng.uniform(0.4, 0.55) if close else rng.uniform(0.8, 1.1)), (-1.0, 1.0))


def clap(
    person: Person, strikes: Strikes, times_s: FloatArray, place: FloatArray, yaw_rad: float, wide: float, high: float
) -> list[Prop]:
    """A person at a place [1, 3] who claps at the strikes; wide: how far the hands are raised apart, in metres."""
    lift, flash = strikes.lift(times_s), strikes.flash(times_s, 0.1)
    yaw = turn((0, 0, 1), yaw_rad)
    hands = [
        place
        + rotate(yaw, points(side * (0.045 + wide * lift), 0.32 - 0.04 * lift, (high - 0.06 * lift) * person.size))
        for side in (-1.0, 1.0)
    ]
    return embody(person, standing(place, yaw_rad, 0.05 + 0.06 * flash, (hands[0], hands[1]), person, 0.2 * flash))


def typist(rng: np.random.Generator, strikes: Strikes) -> Act:
    """Someone at a keyboard; every strike presses a key."""
    person, table, case, keys = draw_person(rng), bench(rng), painted(rng), plain(grey(rng, 0.1, 0.9))
    screen = Material(bright_colour(rng, 0.5), glow=float(rng.uniform(0.3, 1.2)))
    columns = np.linspace(-0.17, 0.17, 11)
    order = rng.integers(0, 5, 512)
    hands = strikes.alternate()
    rows = rng.uniform(-0.03, 0.03, 512)

    def props(times_s: FloatArray) -> list[Prop]:
        placed: list[Prop] = [
            *table,
            box((0.46, 0.17, 0.03), case, pose(points(0.0, 0.5, BENCH_M + 0.015))),
            box(
                (0.6, 0.03, 0.36),
                plain(grey(np.random.default_rng(2), 0.05, 0.2)),
                pose(points(0.0, 0.9, BENCH_M + 0.3)),
            ),
            box((0.56, 0.005, 0.32), screen, pose(points(0.0, 0.88, BENCH_M + 0.3))),
        ]
        reached: list[FloatArray] = []
        pressed = np.zeros((times_s.size, columns.size))
        for parity, (hand, side) in enumerate(zip(hands, (-1.0, 1.0), strict=True)):
            own = np.stack([0.02 * side + side * 0.035 * order[parity::2], 0.5 + rows[parity::2]], axis=1)
            aim = hand.aim(times_s, own)
            lift = hand.lift(times_s, rest=0.3)
            # The fingertip is in front of the hand.
            reached.append(points(aim[:, 0], aim[:, 1] - 0.05, BENCH_M + 0.07 + 0.1 * lift))
            latest = own[np.maximum(hand.count(times_s) - 1, 0) % len(own), 0]
            near = np.abs(columns[None, :] - latest[:, None]) < 0.02
            pressed = np.maximum(pressed, near * hand.recoil(times_s)[:, None])
            tip = points(aim[:, 0], aim[:, 1], BENCH_M + 0.045 + 0.085 * lift)
            placed.append(ball(0.04, plain(person.skin), tip))
        for number, x in enumerate(columns):
            depth = 0.012 * pressed[:, number]
            for row in (-0.045, 0.0, 0.045):
                placed.append(box((0.028, 0.036, 0.02), keys, pose(points(x, 0.5 + row, BENCH_M + 0.036 - depth))))
        bow = np.full(1, 0.3)
        posture = Posture(points(0.0, -0.05, 0.72), np.zeros(1), bow, (reached[0], reached[1]), None, 0.35)
        return [*placed, *embody(person, posture)]

    close = bool(rng.random() < 0.7)
    focus = fixed(0.0, 0.45, BENCH_M + 0.08)
    # From the side: from behind, the head would hide the keys, and from the front, the screen.
    azimuths = (1.0, 1.9) if rng.random() < 0.5 else (-1.9, -1.0)
    return Act(props, focus, float(rng.uniform(0.25, 0.36) if close else rng.uniform(0.5, 0.7)), azimuths, (0.6, 1.1))


def dribbler(rng: np.random.Generator, strikes: Strikes) -> Act:
    """Someone who bounces a ball."""
    person, skin, size = draw_person(rng), painted(rng), float(rng.uniform(0.16, 0.25))
    tall = 0.75 * person.size

    def props(times_s: FloatArray) -> list[Prop]:
        height = strikes.bounce(times_s)
        flat = 0.25 * strikes.recoil(times_s, 0.04)
        at = points(0.28, 0.42, 0.5 * size * (1 - flat) + (tall - 0.5 * size) * height)
        spin = turn((1, 0, 0), 3.0 * height)
        shape = Prop("ball", (size,) * 3, skin, pose(at, spin))
        hand = points(0.26, 0.36, np.maximum(at[:, 2] + 0.5 * size + 0.03, 0.8 * person.size))
        bow = 0.25 + 0.05 * strikes.flash(times_s, 0.1)
        return [shape, *embody(person, standing(_NOWHERE, 0.0, bow, (None, hand), person, 0.3))]

    low = bool(rng.random() < 0.4)
    return Act(props, fixed(0.2, 0.35, 0.4 if low else 0.75), 0.6 if low else 1.0, (-1.2, 1.4), (0.0, 0.4))


def shooter(rng: np.random.Generator, strikes: Strikes) -> Act:
    """Someone who fires a gun to the side: a flash, a kick, and smoke that is carried away."""
    person, steel, long = draw_person(rng), plain(grey(rng, 0.03, 0.2), 0.4), bool(rng.random() < 0.5)
    blaze, smoke = Material(np.array([1.0, 0.85, 0.5]), glow=14.0), plain(grey(rng, 0.5, 0.8))
    length, yaw = (0.75 if long else 0.22), -np.pi / 2
    puffs = rng.normal(0, 1, (10, 3)) * 0.06

    def props(times_s: FloatArray) -> list[Prop]:
        kick, flash = strikes.recoil(times_s, 0.09), strikes.recoil(times_s, 0.035)
        # A gun that is about to fire is held still; one that does not fire sways.
        sway = 0.12 * np.sin(4.0 * times_s) if not strikes.touches else np.zeros(times_s.size)
        pitch = turn((0, -1, 0), 0.35 * kick + sway)
        grip = points(0.28 - 0.1 * kick, 0.04, 1.36 * person.size)
        muzzle = grip + rotate(pitch, points(length, 0.0, 0.04))
        fore = grip + rotate(pitch, points(0.26 if long else 0.0, 0.0, 0.0))
        elapsed_s, strength = strikes.since(times_s)
        drift = (
            muzzle[:, None]
            + puffs * (1 + 6 * np.minimum(elapsed_s, 2.0))[:, None, None]
            + points(0.25 * np.minimum(elapsed_s, 2.0), 0.0, 0.15 * np.minimum(elapsed_s, 2.0))[:, None]
        )
        drift[..., 2] = np.where(((elapsed_s > 0.8) | (strength <= 0))[:, None], -9.0, drift[..., 2])
        fire = Prop(
            "ball",
            (0.3, 0.14, 0.14),
            blaze,
            pose(np.where(flash[:, None] > 0.03, muzzle + points(0.12, 0.0, 0.0), (0.0, 0.0, -9.0)), pitch),
            glows=flash,
            casts_light=True,
        )
        return [
            rod(0.04, steel, grip + rotate(pitch, points(-0.2 if long else 0.0, 0.0, 0.04)), muzzle),
            fire,
            Prop("grains", (0.07, 1.0), smoke, vertices=drift),
            *embody(person, standing(_NOWHERE, yaw, 0.02 - 0.12 * kick, (fore, grip), person)),
        ]

    return Act(props, fixed(0.35, 0.0, 1.3), float(rng.uniform(0.6, 1.0)), (-0.8, 0.8), (-0.05, 0.3))


def clock(rng: np.random.Generator, strikes: Strikes) -> Act:
    """A clock on a wall whose hand jumps at every tick, or a metronome whose arm swings from tick to tick."""
    body, face, hand = wood(rng), plain(grey(rng, 0.8, 0.95)), plain(grey(rng, 0.02, 0.2))
    metronome, step = bool(rng.random() < 0.4), float(rng.uniform(0.1, 0.5))

    def props(times_s: FloatArray) -> list[Prop]:
        count = strikes.count(times_s).astype(np.float64)
        elapsed_s, _ = strikes.since(times_s)
        if metronome:
            # The arm is at the middle when it ticks, and reaches further out before a stronger tick.
            sign = np.where(count % 2 == 0, 1.0, -1.0)
            out = strikes.lift(times_s, rest=0.5) if strikes.touches else 0.5 + 0.4 * np.sin(3.0 * times_s)
            angle = turn((0, 1, 0), 0.7 * sign * out)
            foot, arm_m = points(0.0, 0.06, 1.0), 0.3
            tip = foot + rotate(angle, points(0.0, 0.0, arm_m))
            return [
                Prop("cone", (0.24, 0.2, 0.34), body, pose(points(0.0, 0.0, 1.12))),
                box((0.5, 0.4, 0.04), body, pose(points(0.0, 0.0, 0.93))),
                rod(0.014, hand, foot, tip),
                ball(0.05, metal(np.random.default_rng(3)), foot + rotate(angle, points(0.0, 0.0, 0.7 * arm_m))),
            ]
        jump = count - np.exp(-np.minimum(elapsed_s / 0.02, 30)) * (count > 0) if strikes.touches else 0.2 * times_s
        angle = turn((0, 1, 0), step * jump)
        swing = turn((0, 1, 0), 0.25 * strikes.trembling(times_s, 2.0, 0.6))
        centre = points(0.0, 0.045, 1.5)
        return [
            box((0.5, 0.08, 0.9), body, pose(points(0.0, 0.0, 1.3))),
            Prop("cylinder", (0.42, 0.42, 0.02), face, pose(points(0.0, 0.04, 1.5), turn((1, 0, 0), np.pi / 2))),
            rod(
                0.016,
                hand,
                centre + points(0.0, 0.015, 0.0),
                centre + points(0.0, 0.015, 0.0) + rotate(angle, points(0, 0, 0.18)),
            ),
            rod(
                0.014,
                hand,
                centre - points(0.0, 0.0, 0.2),
                centre - points(0.0, 0.0, 0.2) + rotate(swing, points(0, 0, -0.28)),
            ),
            ball(
                0.07,
                metal(np.random.default_rng(4)),
                centre - points(0.0, 0.0, 0.2) + rotate(swing, points(0, 0, -0.28)),
            ),
        ]

    focus = fixed(0.0, 0.0, 1.13 if metronome else 1.36)
    return Act(props, focus, 0.3 if metronome else 0.5, (-0.5, 0.5), (-0.05, 0.3), outdoors=False)


PERFORMER_ACTS: dict[str, tuple[StruckAct, ...]] = {
    "drum_hit": (drummer,),
    "hand_clap": (clapper,),
    "typing": (typist,),
    "ball_bounce": (dribbler,),
    "gunshot": (shooter,),
    "clock_tick": (clock,),
}
"""Acts of people with instruments, balls and guns, and of clocks, by class."""
