"""People at a bench who hammer, chop, knock and ring, and doors that shut."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from rewas_engine.world.motion import Strikes
from rewas_engine.world.palette import bright_colour, grey, leaf_colour
from rewas_engine.world.stage.acts import Act, FloatArray, StruckAct, fixed, grains, thrown_up
from rewas_engine.world.stage.poses import along, points, pose, rotate, turn
from rewas_engine.world.stage.props import Material, Prop, ball, box, glass, metal, painted, plain, rod, wood
from rewas_engine.world.stage.skeleton import draw_person, embody, standing

BENCH_M = 0.92
"""Height of a bench or table."""
_CONTACT = points(0.06, 0.62, BENCH_M)

Target = Callable[[np.random.Generator, Strikes], tuple[float, Callable[[FloatArray], list[Prop]]]]
"""What is struck: its height above the bench, and its props."""
Tool = Callable[[FloatArray, FloatArray], list[Prop]]
"""What strikes, from the hand to the tip: [T, 3] each."""


def bench(rng: np.random.Generator, width_m: float = 1.3) -> list[Prop]:
    """A table in front of someone who stands at the origin and faces +y."""
    top = wood(rng) if rng.random() < 0.6 else painted(rng)
    legs = [
        box((0.06, 0.06, BENCH_M - 0.05), top, pose(points(x, y, 0.5 * (BENCH_M - 0.05))))
        for x in (-0.45 * width_m, 0.45 * width_m)
        for y in (0.36, 0.9)
    ]
    return [box((width_m, 0.7, 0.05), top, pose(points(0.0, 0.63, BENCH_M - 0.025))), *legs]


def worker(target: Target, draw_tool: Callable[[np.random.Generator], tuple[float, Tool]]) -> StruckAct:
    """Someone at a bench who strikes something on it with a tool, or with the hand if the tool has no length."""

    def act(rng: np.random.Generator, strikes: Strikes) -> Act:
        person, table, lean = draw_person(rng), bench(rng), float(rng.uniform(0.15, 0.4))
        height, thing = target(rng, strikes)
        length, tool = draw_tool(rng)
        swing, rise = float(rng.uniform(0.9, 1.4)), float(rng.uniform(0.14, 0.26))
        slope, steadies = float(rng.uniform(0.05, 0.3)), bool(rng.random() < 0.7)
        tip = _CONTACT + points(0.0, 0.0, height)

        def props(times_s: FloatArray) -> list[Prop]:
            lift = strikes.lift(times_s)
            # At the contact the tool points at the target; raised, it is tilted up and back.
            direction = rotate(turn((1, 0, 0), swing * lift), points(0.0, np.cos(slope), -np.sin(slope)))
            rest = tip - length * points(0.0, np.cos(slope), -np.sin(slope))
            hand = rest + lift[:, None] * points(0.02, -0.06, rise + 0.12 * (length == 0.0))
            other = points(-0.2, 0.58, BENCH_M + 0.06) if steadies else None
            bow = lean - 0.12 * lift + 0.05 * strikes.flash(times_s, 0.1)
            posture = standing(points(0.0, 0.0, 0.0), 0.0, bow, (other, hand), person, 0.3)
            return [*table, *thing(times_s), *tool(hand, hand + length * direction), *embody(person, posture)]

        close = bool(rng.random() < 0.6)
        radius = float(rng.uniform(0.4, 0.6)) if close else float(rng.uniform(0.75, 1.0))
        focus = fixed(0.05, 0.5, BENCH_M + 0.18) if close else fixed(0.0, 0.3, 0.9)
        return Act(props, focus, radius, (-1.5, 1.5), (0.1, 0.75))

    return act


def _hammer(rng: np.random.Generator) -> tuple[float, Tool]:
    handle, head = wood(rng), metal(rng)
    heavy = float(rng.uniform(0.8, 1.5))

    def tool(hand: FloatArray, tip: FloatArray) -> list[Prop]:
        held = along(hand, tip)
        head_at = pose(tip + rotate(held[:, 3:], points(0.0, 0.0, -0.01)) + points(0.0, 0.0, 0.03), held[:, 3:])
        return [
            rod(0.03, handle, hand, tip + points(0.0, 0.0, 0.03)),
            box((0.05 * heavy, 0.13 * heavy, 0.05), head, head_at),
        ]

    return float(rng.uniform(0.26, 0.38)), tool


def _knife(rng: np.random.Generator) -> tuple[float, Tool]:
    handle, blade = painted(rng), metal(rng)

    def tool(hand: FloatArray, tip: FloatArray) -> list[Prop]:
        held = along(hand, tip)
        middle = pose(held[:, :3] + points(0.0, 0.0, 0.01), held[:, 3:])
        return [rod(0.03, handle, hand, hand + 0.35 * (tip - hand)), box((0.006, 0.05, 0.26), blade, middle)]

    return float(rng.uniform(0.22, 0.28)), tool


def _stick(
    rng: np.random.Generator, head_m: float, material: Callable[[np.random.Generator], Material]
) -> tuple[float, Tool]:
    shaft, head = material(rng), painted(rng)

    def tool(hand: FloatArray, tip: FloatArray) -> list[Prop]:
        return [rod(0.014, shaft, hand, tip), ball(head_m, head, tip)]

    return float(rng.uniform(0.2, 0.3)), tool


def _no_tool(rng: np.random.Generator) -> tuple[float, Tool]:
    return 0.0, lambda hand, tip: []


def _nail_in_plank(rng: np.random.Generator, strikes: Strikes) -> tuple[float, Callable[[FloatArray], list[Prop]]]:
    plank, nail = wood(rng), metal(rng)
    chips = thrown_up(rng, strikes, fixed(0.06, 0.62, BENCH_M + 0.05), 14, 1.1)

    def thing(times_s: FloatArray) -> list[Prop]:
        jolt = 0.012 * strikes.recoil(times_s)
        return [
            box((0.6, 0.16, 0.04), plank, pose(points(0.06, 0.62, BENCH_M + 0.02 - jolt))),
            rod(0.014, nail, points(0.06, 0.62, BENCH_M + 0.02), points(0.06, 0.62, BENCH_M + 0.075)),
            grains(0.014, plank, chips(times_s)),
        ]

    return 0.08, thing


def _anvil(rng: np.random.Generator, strikes: Strikes) -> tuple[float, Callable[[FloatArray], list[Prop]]]:
    iron, sparks = metal(rng), Material(np.array([1.0, 0.75, 0.35]), glow=6.0)
    pan, hot = bool(rng.random() < 0.4), bool(rng.random() < 0.5)
    vertices = thrown_up(rng, strikes, fixed(0.06, 0.62, BENCH_M + 0.17), 24, 2.6)

    def thing(times_s: FloatArray) -> list[Prop]:
        shiver = 0.02 * strikes.trembling(times_s, 11.0)
        if pan:
            tilt = turn((1, 0, 0), 0.4 * shiver * 10)
            props = [Prop("cylinder", (0.34, 0.34, 0.16), iron, pose(points(0.06, 0.62, BENCH_M + 0.08), tilt))]
        else:
            props = [
                box((0.14, 0.16, 0.1), iron, pose(points(0.06, 0.62, BENCH_M + 0.05))),
                box((0.4, 0.14, 0.06), iron, pose(points(0.06 + 0.1 * shiver, 0.62, BENCH_M + 0.13))),
            ]
        return [*props, grains(0.012, sparks, vertices(times_s))] if hot else props

    return 0.17, thing


def _board_with_food(rng: np.random.Generator, strikes: Strikes) -> tuple[float, Callable[[FloatArray], list[Prop]]]:
    board, food = wood(rng), Material(leaf_colour(rng) if rng.random() < 0.6 else bright_colour(rng))
    slices = rng.normal(0, 1, (12, 2)) * (0.05, 0.03)
    bits = thrown_up(rng, strikes, fixed(0.06, 0.62, BENCH_M + 0.04), 8, 0.9)

    def thing(times_s: FloatArray) -> list[Prop]:
        cut = strikes.count(times_s) % 13 if strikes.touches else np.zeros(times_s.size)
        jolt = 0.008 * strikes.recoil(times_s)
        pieces = [
            Prop(
                "cylinder",
                (0.06, 0.06, 0.012),
                food,
                pose(points(0.2 + x, 0.62 + y, np.where(cut > number, BENCH_M + 0.035 + jolt, -1.0))),
            )
            for number, (x, y) in enumerate(slices)
        ]
        return [
            box((0.5, 0.3, 0.025), board, pose(points(0.06, 0.62, BENCH_M + 0.0125 - jolt))),
            rod(0.07, food, points(-0.22, 0.6, BENCH_M + 0.06), points(0.02, 0.6, BENCH_M + 0.06)),
            *pieces,
            grains(0.012, food, bits(times_s)),
        ]

    return 0.03, thing


def _wooden_box(rng: np.random.Generator, strikes: Strikes) -> tuple[float, Callable[[FloatArray], list[Prop]]]:
    body, tall = wood(rng), float(rng.uniform(0.05, 0.2))

    def thing(times_s: FloatArray) -> list[Prop]:
        jolt = 0.01 * strikes.recoil(times_s)
        return [box((0.3, 0.24, tall), body, pose(points(0.06, 0.62, BENCH_M + 0.5 * tall - jolt)))]

    return tall + 0.05, thing


def _glass(rng: np.random.Generator, strikes: Strikes) -> tuple[float, Callable[[FloatArray], list[Prop]]]:
    clear, tall, wide = glass(rng), float(rng.uniform(0.12, 0.26)), float(rng.uniform(0.07, 0.12))
    drink = Material(bright_colour(rng), roughness=0.2)

    def thing(times_s: FloatArray) -> list[Prop]:
        tilt = turn((0, 1, 0), 0.12 * strikes.trembling(times_s, 9.0))
        at = points(0.06, 0.62 + 0.5 * wide, BENCH_M + 0.5 * tall)
        return [
            Prop("cylinder", (wide, wide, tall), clear, pose(at, tilt)),
            Prop(
                "cylinder", (0.8 * wide, 0.8 * wide, 0.5 * tall), drink, pose(at - points(0.0, 0.0, 0.2 * tall), tilt)
            ),
        ]

    return 0.8 * tall, thing


def _hanging_bell(rng: np.random.Generator, strikes: Strikes) -> tuple[float, Callable[[FloatArray], list[Prop]]]:
    brass, stand, wide = metal(rng), wood(rng), float(rng.uniform(0.14, 0.24))
    top, edge = BENCH_M + 0.55, 0.62 + 0.5 * wide

    def thing(times_s: FloatArray) -> list[Prop]:
        swing = turn((1, 0, 0), 0.35 * strikes.swinging(times_s, 1.6, 0.9))
        hang = points(0.06, edge, top)
        middle = hang + rotate(swing, points(0.0, 0.0, -0.3))
        return [
            rod(0.01, stand, hang, hang + rotate(swing, points(0.0, 0.0, -0.22))),
            Prop("cone", (wide, wide, 0.22), brass, pose(middle, swing)),
            box((0.05, 0.05, 0.62), stand, pose(points(-0.2, edge, BENCH_M + 0.3))),
            box((0.32, 0.05, 0.04), stand, pose(points(-0.05, edge, top + 0.02))),
        ]

    return 0.17, thing


def door(rng: np.random.Generator, strikes: Strikes) -> Act:
    """A door in a wall that swings shut."""
    leaf, frame, wall = (
        (wood(rng) if rng.random() < 0.5 else painted(rng)),
        plain(grey(rng)),
        plain(grey(rng, 0.3, 0.9)),
    )
    wide, opening, side = float(rng.uniform(0.75, 1.0)), float(rng.uniform(0.8, 1.5)), float(rng.choice((-1.0, 1.0)))

    def props(times_s: FloatArray) -> list[Prop]:
        lift = strikes.lift(times_s, rest=0.35)
        angle = turn((0, 0, 1), -side * opening * lift)
        hinge = points(-side * 0.5 * wide, 0.0, 1.0)
        shiver = 0.004 * strikes.trembling(times_s, 13.0)
        leaf_at = hinge + rotate(angle, points(side * 0.5 * wide, 0.0, 0.0)) + points(0.0, shiver, 0.0)
        knob_front = hinge + rotate(angle, points(side * 0.9 * wide, 0.06, 0.0))
        return [
            box((wide, 0.04, 2.0), leaf, pose(leaf_at, angle)),
            ball(0.07, metal(np.random.default_rng(1)), knob_front),
            *(
                box((0.08, 0.14, 2.08), frame, pose(points(x, 0.0, 1.04)))
                for x in (-0.5 * wide - 0.05, 0.5 * wide + 0.05)
            ),
            box((wide + 0.18, 0.14, 0.08), frame, pose(points(0.0, 0.0, 2.06))),
            *(box((3.0, 0.1, 2.6), wall, pose(points(x, 0.0, 1.3))) for x in (-1.59 - 0.5 * wide, 1.59 + 0.5 * wide)),
            box((wide + 0.2, 0.1, 0.5), wall, pose(points(0.0, 0.0, 2.36))),
        ]

    azimuth = (0.35, 1.0) if side < 0 else (-1.0, -0.35)
    return Act(props, fixed(0.0, 0.2, 1.05), 1.15, azimuth, (0.0, 0.3), outdoors=False)


TOOL_ACTS: dict[str, tuple[StruckAct, ...]] = {
    "hammer": (worker(_nail_in_plank, _hammer),),
    "metal_hit": (worker(_anvil, _hammer), worker(_anvil, partial(_stick, head_m=0.05, material=wood))),
    "wood_knock": (
        worker(_board_with_food, _knife),
        worker(_wooden_box, _no_tool),
        worker(_wooden_box, partial(_stick, head_m=0.04, material=wood)),
    ),
    "glass_clink": (worker(_glass, partial(_stick, head_m=0.03, material=metal)),),
    "bell": (worker(_hanging_bell, partial(_stick, head_m=0.05, material=wood)),),
    "door": (door,),
}
"""Acts with tools, by class."""
