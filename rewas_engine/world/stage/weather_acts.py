"""Rain, wind, sea, fire and poured water."""

from __future__ import annotations

import numpy as np

from rewas_engine.world.motion import Drive, wander, wandering
from rewas_engine.world.palette import bright_colour, leaf_colour, water_colour
from rewas_engine.world.stage.acts import BELOW_FLOOR_M, Act, FloatArray, SustainedAct, fixed, grains
from rewas_engine.world.stage.poses import points, pose, rotate, turn
from rewas_engine.world.stage.props import Material, Prop, ball, box, metal, painted, plain, rod, wood
from rewas_engine.world.stage.skeleton import draw_person, embody, standing
from rewas_engine.world.stage.tool_acts import BENCH_M, bench

_DROPS, _SPLASHES, _STREAM_DROPS = 220, 60, 80


def rain(rng: np.random.Generator, drive: Drive) -> Act:
    """Falling drops and their splashes: the louder the rain, the more of both."""
    water = Material(np.array([0.85, 0.9, 0.98]), roughness=0.2, glow=0.5)
    start = rng.uniform(0, 1, (_DROPS, 3)) * (6.0, 6.0, 5.0) - points(3.0, 3.0, 0.0)
    ranks, speed = rng.permutation(_DROPS) / _DROPS, float(rng.uniform(5.0, 8.0))
    slant = float(rng.normal(0, 0.6))
    hits, phases = rng.uniform(-2, 2, (_SPLASHES, 2)), rng.random(_SPLASHES)
    splash_ranks = rng.permutation(_SPLASHES) / _SPLASHES
    wet = Material(bright_colour(rng, 0.25) * 0.5, bright_colour(rng, 0.25) * 0.4, "stones", 0.8, roughness=0.15)
    person = draw_person(rng) if rng.random() < 0.4 else None
    umbrella = painted(rng)

    def props(times_s: FloatArray) -> list[Prop]:
        level = drive.level(times_s)
        fallen = np.mod(start[None, :, 2] - speed * times_s[:, None], 5.0)
        drops = np.stack(
            [
                start[None, :, 0] + slant * 0.2 * (5.0 - fallen),
                np.broadcast_to(start[None, :, 1], fallen.shape),
                np.where(ranks[None] < level[:, None], fallen, BELOW_FLOOR_M),
            ],
            axis=-1,
        )
        age = np.mod(phases[None] + 4.0 * times_s[:, None], 1.0)
        # Each splash lands elsewhere the next time.
        moved = np.floor(phases[None] + 4.0 * times_s[:, None])[..., None] * (0.754877, 0.569840)
        places = np.mod(hits[None] + moved + 2.0, 4.0) - 2.0
        up = np.where(splash_ranks[None] < level[:, None], 0.16 * np.sin(np.pi * age), BELOW_FLOOR_M)
        splashes = np.concatenate([places, up[..., None]], axis=-1)
        placed = [grains(0.02, water, drops, stretch=14.0), grains(0.06, water, splashes)]
        if person is not None:
            hand = points(0.15, 0.25, 1.3)
            placed += [
                rod(0.02, umbrella, hand, points(0.15, 0.2, 2.05)),
                Prop("cone", (1.2, 1.2, 0.3), umbrella, pose(points(0.15, 0.2, 2.1))),
                *embody(person, standing(points(0.0, 0.0, 0.0), 0.0, np.zeros(1), (None, hand), person)),
            ]
        return placed

    return Act(props, fixed(0.0, 0.0, 1.0), float(rng.uniform(1.0, 1.6)), (-3.1, 3.1), (0.05, 0.5), wet, True)


def wind(rng: np.random.Generator, drive: Drive) -> Act:
    """A flag that flutters, or trees that bend, as strongly as the wind blows."""
    course, flag = wander(rng, 1.1), bool(rng.random() < 0.5)
    cloth, pole = painted(rng), metal(rng)
    leaf, trunk = plain(leaf_colour(rng)), wood(rng)
    trees = [(rng.uniform(-1.6, 1.6), rng.uniform(-1.0, 1.0), rng.uniform(1.2, 2.2)) for _ in range(4)]
    crowns = rng.normal(0, 1, (4, 5, 3)) * 0.25

    def props(times_s: FloatArray) -> list[Prop]:
        level, travel = drive.level(times_s), drive.travel(times_s)
        if flag:
            columns, rows = 14, 6
            u, v = np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows), indexing="ij")
            wave = np.sin(9.0 * u[None] - (1.5 * times_s + 14.0 * travel)[:, None, None] + 1.5 * v[None])
            out = np.clip(0.25 + level, 0, 1)[:, None, None]
            x = 1.2 * u[None] * (0.3 + 0.7 * out)
            y = 0.3 * u[None] * wave * (0.1 + level[:, None, None])
            z = 1.7 + 0.7 * v[None] - 0.9 * u[None] * (1 - out) + 0.05 * wave * level[:, None, None]
            vertices = np.stack(np.broadcast_arrays(x, y, z), axis=-1).reshape(times_s.size, -1, 3)
            return [
                rod(0.05, pole, points(0.0, 0.0, 0.03), points(0.0, 0.0, 2.5)),
                Prop("sheet", (columns, rows), cloth, vertices=vertices),
            ]
        placed: list[Prop] = []
        for number, (east, north, tall) in enumerate(trees):
            bow = 0.3 * level * (0.7 + 0.5 * wandering(times_s, course)) + 0.12 * drive.shaking(times_s, 2.5 + number)
            angle = turn((0, 1, 0), bow)
            top = points(east, north, 0.0) + rotate(angle, points(0.0, 0.0, tall))
            placed.append(rod(0.09, trunk, np.broadcast_to(points(east, north, 0.0), top.shape), top))
            placed += [ball(0.6, leaf, top + rotate(angle, points(*offset))) for offset in crowns[number]]
        return placed

    focus = fixed(0.5, 0.0, 1.9) if flag else fixed(0.0, 0.0, 1.4)
    return Act(props, focus, 0.85 if flag else 1.6, (-1.0, 1.0), (-0.05, 0.35), outdoors=True)


def sea(rng: np.random.Generator, drive: Drive) -> Act:
    """Waves that run up a beach: as high as they are loud, with foam on their crests."""
    water = Material(water_colour(rng), roughness=0.1)
    foam, sand = Material(np.array([0.95, 0.97, 1.0]), roughness=1.0), plain(np.array([0.75, 0.66, 0.5]), 1.0)
    columns, rows = 30, 40
    length, phase = float(rng.uniform(1.6, 2.6)), float(rng.uniform(0, 6))
    flecks = rng.uniform(0, 1, (90, 2)) * (5.0, 4.2) - (2.5, 2.6)

    def height(x: FloatArray, y: FloatArray, times_s: FloatArray) -> FloatArray:
        level, travel = drive.level(times_s)[:, None], drive.travel(times_s)[:, None]
        run = 2 * np.pi * y / length - 1.3 * times_s[:, None] - 3.0 * travel + phase
        crest = np.exp(2.0 * (np.sin(run + 0.3 * np.sin(1.3 * x)) - 1.0))
        return np.asarray(0.08 + (0.04 + 0.45 * level) * crest + 0.03 * np.sin(3 * x + 5 * y + 2 * times_s[:, None]))

    def props(times_s: FloatArray) -> list[Prop]:
        u, v = np.meshgrid(np.linspace(-8, 8, columns), np.linspace(-9, 2, rows), indexing="ij")
        x, y = u.reshape(1, -1), v.reshape(1, -1)
        z = height(x, y, times_s) - 0.05 * np.maximum(y - 1.0, 0.0)
        vertices = np.stack(np.broadcast_arrays(x, y, z), axis=-1)
        ups = height(flecks[None, :, 0], flecks[None, :, 1], times_s)
        seen = ups > (0.14 + 0.25 * (1 - drive.level(times_s)))[:, None]
        spots = np.stack(
            np.broadcast_arrays(flecks[None, :, 0], flecks[None, :, 1], np.where(seen, ups + 0.02, BELOW_FLOOR_M)),
            axis=-1,
        )
        shore = box((40.0, 3.0, 0.3), sand, pose(points(0.0, 3.2, 0.0), turn((1, 0, 0), 0.06)))
        horizon = box((60.0, 25.0, 0.1), water, pose(points(0.0, -20.5, 0.06)))
        return [Prop("sheet", (columns, rows), water, vertices=vertices), grains(0.12, foam, spots), shore, horizon]

    return Act(props, fixed(0.0, -0.4, 0.3), float(rng.uniform(1.3, 2.0)), (-0.7, 0.7), (0.12, 0.5), sand, True)


def fire(rng: np.random.Generator, drive: Drive) -> Act:
    """Flames over logs, as tall and bright as the fire is loud; they light the surroundings."""
    logs, count = wood(rng), 12
    colours = [np.array([1.0, rng.uniform(0.25, 0.6), rng.uniform(0.02, 0.12)]) for _ in range(count)]
    flames = [Material(colour, glow=float(rng.uniform(2.0, 4.0))) for colour in colours]
    spots, courses = rng.normal(0, 0.13, (count, 2)), [wander(rng, 5.0) for _ in range(count)]
    sparks, ranks = rng.uniform(0, 1, (30, 4)), rng.permutation(30) / 30
    place = float(rng.uniform(0.05, 0.3))

    def props(times_s: FloatArray) -> list[Prop]:
        level = drive.level(times_s)
        placed: list[Prop] = [
            rod(0.12, logs, points(-0.35, 0.1 * side, 0.06), points(0.35, -0.1 * side, 0.08 + place * 0.2))
            for side in (-1.0, 0.4, 1.0)
        ]
        for index, (flame, (x, y)) in enumerate(zip(flames, spots, strict=True)):
            flicker = 0.7 + 0.5 * wandering(times_s, courses[index])
            tall = 0.65 * (0.15 + level) * flicker
            # The foot of a flame of fixed size sinks into the logs when the fire is low.
            at = points(x + 0.06 * wandering(times_s, courses[index - 1]), y, 0.1 + 0.5 * tall - 0.25 * (level < 0.02))
            placed.append(
                Prop(
                    "ball",
                    (0.15, 0.15, 0.42),
                    flame,
                    pose(at),
                    glows=(level > 0.02) * (0.3 + level) * flicker,
                    casts_light=index == 0,
                )
            )
        rise = np.mod(sparks[None, :, 3] + 0.7 * times_s[:, None], 1.0)
        ups = np.where(ranks[None] < level[:, None], 0.2 + 1.1 * rise, BELOW_FLOOR_M)
        drift = 0.3 * (sparks[None, :, :2] - 0.5) * (1 + 2 * rise[..., None])
        placed.append(grains(0.02, flames[0], np.concatenate([drift, ups[..., None]], axis=-1)))
        return placed

    return Act(props, fixed(0.0, 0.0, 0.4), float(rng.uniform(0.55, 0.8)), (-3.1, 3.1), (0.05, 0.5))


def poured(rng: np.random.Generator, drive: Drive) -> Act:
    """Someone who pours water from a jug into a bowl. A louder sound has a thicker stream."""
    person, table, jug, bowl = draw_person(rng), bench(rng), painted(rng), painted(rng)
    water = Material(np.array([0.7, 0.82, 0.95]), roughness=0.05, glow=0.15)
    offsets, phases = rng.normal(0, 1, (_STREAM_DROPS, 2)), rng.random(_STREAM_DROPS)
    ranks = rng.permutation(_STREAM_DROPS) / _STREAM_DROPS
    fall_m = float(rng.uniform(0.25, 0.4))

    def props(times_s: FloatArray) -> list[Prop]:
        level = drive.level(times_s)
        tilt = turn((0, 1, 0), -(0.5 + 0.9 * np.minimum(1.0, 1.5 * level)))
        top = BENCH_M + 0.1 + fall_m
        hand = points(0.3, 0.6, top + 0.08 + 0.03 * level)
        spout = points(0.02, 0.6, top)
        age = np.mod(phases[None] + 3.5 * times_s[:, None], 1.0)
        wobble = (0.004 + 0.012 * level)[:, None]
        stream = np.stack(
            [
                spout[0, 0] - 0.1 * age + wobble * offsets[None, :, 0],
                spout[0, 1] + wobble * offsets[None, :, 1] + 0 * age,
                np.where(ranks[None] < level[:, None], top - fall_m * age**1.6, BELOW_FLOOR_M),
            ],
            axis=-1,
        )
        ripple = 0.01 * drive.shaking(times_s, 6.0)
        return [
            *table,
            Prop("cylinder", (0.16, 0.16, 0.26), jug, pose(hand + rotate(tilt, points(-0.12, 0.0, 0.0)), tilt)),
            Prop("cone", (0.3, 0.3, 0.14), bowl, pose(points(-0.08, 0.6, BENCH_M + 0.07), turn((1, 0, 0), np.pi))),
            Prop("cylinder", (0.24, 0.24, 0.02), water, pose(points(-0.08, 0.6, BENCH_M + 0.12 + ripple))),
            grains(0.022, water, stream, stretch=2.5),
            *embody(person, standing(points(0.1, 0.0, 0.0), 0.0, np.full(1, 0.2), (None, hand), person, 0.3)),
        ]

    close = bool(rng.random() < 0.6)
    return Act(props, fixed(0.0, 0.55, BENCH_M + 0.25), 0.4 if close else 0.75, (-1.3, 1.3), (0.1, 0.6))


def brook(rng: np.random.Generator, drive: Drive) -> Act:
    """Water that runs over stones: faster and rougher when it is louder."""
    water, bank = Material(water_colour(rng), roughness=0.08), plain(leaf_colour(rng) * 0.8, 1.0)
    stones = [(rng.uniform(-2.0, 2.0), rng.uniform(-0.5, 0.5), rng.uniform(0.15, 0.4)) for _ in range(11)]
    rock, columns, rows = plain(bright_colour(rng, 0.1) * 0.6, 1.0), 48, 8
    foam, flecks = Material(np.array([0.95, 0.97, 1.0])), rng.uniform(0, 1, (80, 2))

    def props(times_s: FloatArray) -> list[Prop]:
        level, run = drive.level(times_s), 0.4 * times_s + 2.2 * drive.travel(times_s)
        u, v = np.meshgrid(np.linspace(-4.4, 4.4, columns), np.linspace(-0.7, 0.7, rows), indexing="ij")
        x, y = u.reshape(1, -1), v.reshape(1, -1)
        ripples = np.sin(7 * (x - run[:, None]) + 3 * y) + 0.7 * np.sin(11 * (x - run[:, None]) - 5 * y)
        z = 0.12 + (0.01 + 0.05 * level)[:, None] * ripples
        spots_x = np.mod(flecks[None, :, 0] * 4.4 + run[:, None], 4.4) - 2.2
        seen = np.broadcast_to(flecks[None, ::-1, 1], spots_x.shape) < level[:, None]
        spots = np.stack(
            np.broadcast_arrays(
                spots_x, 1.3 * flecks[None, :, 1] - 0.65, np.where(seen, 0.17 + 0.03 * level[:, None], BELOW_FLOOR_M)
            ),
            axis=-1,
        )
        return [
            Prop("sheet", (columns, rows), water, vertices=np.stack(np.broadcast_arrays(x, y, z), axis=-1)),
            grains(0.05, foam, spots),
            *(ball(size, rock, points(x0, y0, 0.1)) for x0, y0, size in stones),
            *(rod(0.5, bank, points(-6.0, y0, 0.05), points(6.0, y0, 0.05)) for y0 in (-0.85, 0.85)),
        ]

    return Act(props, fixed(0.0, 0.0, 0.15), float(rng.uniform(0.7, 1.1)), (-0.8, 0.8), (0.3, 0.8), bank, True)


WEATHER_ACTS: dict[str, tuple[SustainedAct, ...]] = {
    "rain": (rain,),
    "wind": (wind,),
    "sea_waves": (sea,),
    "fire": (fire,),
    "stream": (poured, brook),
}
"""Acts of weather, water and fire, by class."""
