"""Machines, vehicles and alarms, some of which hum without moving, and animals and an audience."""

from __future__ import annotations

import numpy as np

from rewas_engine.world.motion import Drive, Strikes, wander, wandering
from rewas_engine.world.palette import bright_colour, grey, leaf_colour
from rewas_engine.world.stage.acts import Act, FloatArray, SustainedAct, fixed
from rewas_engine.world.stage.performer_acts import clap
from rewas_engine.world.stage.poses import compose, points, pose, rotate, turn
from rewas_engine.world.stage.props import Material, Prop, ball, box, metal, painted, plain, rod, wood
from rewas_engine.world.stage.skeleton import draw_person

MOTIONLESS_SHARE = 0.35
"""Share of machines and alarms that sound without moving."""


def machine(rng: np.random.Generator, drive: Drive) -> Act:
    """A motor that shakes and turns a wheel as strongly as it sounds, or a box that hums and is still."""
    still, case, parts = bool(rng.random() < MOTIONLESS_SHARE), painted(rng), metal(rng)
    size = rng.uniform(0.4, 1.0, 3) * (1.0, 0.8, 1.3)
    base, spokes = 0.5 * float(size[2]), int(rng.integers(2, 6))
    lamp = Material(bright_colour(rng), glow=1.5)
    vents = int(rng.integers(2, 6))

    def props(times_s: FloatArray) -> list[Prop]:
        at_rest = np.zeros(times_s.size)
        shake = at_rest if still else 0.035 * drive.shaking(times_s, 11.0)
        away = at_rest if still else 0.02 * drive.shaking(times_s, 8.3)
        middle = points(shake, 0.0, base + 0.04 + np.abs(away))
        angle = at_rest if still else 2 * np.pi * 2.3 * drive.travel(times_s)
        front = 0.5 * size[1]
        placed = [box(tuple(map(float, size)), case, pose(middle, turn((0, 1, 0), 0.8 * away)))]  # type: ignore[arg-type]
        placed += [
            box((0.6 * size[0], 0.02, 0.03), parts, pose(middle + points(0.0, front, 0.08 * row - 0.1 * base)))
            for row in range(vents)
        ]
        placed.append(ball(0.05, lamp, middle + points(0.35 * size[0], front, 0.8 * base)))
        hub = middle + points(-0.2 * size[0], front + 0.05, 0.55 * base)
        if not still:
            wheel = compose(turn((0, 1, 0), angle), turn((1, 0, 0), np.pi / 2))
            placed.append(Prop("cylinder", (0.34, 0.34, 0.03), parts, pose(hub, wheel)))
            for spoke in range(spokes):
                tip = rotate(turn((0, 1, 0), angle + 2 * np.pi * spoke / spokes), points(0.2, 0.03, 0.0))
                placed.append(rod(0.05, case, hub + points(0.0, 0.03, 0.0), hub + tip))
        return placed

    radius = float(rng.uniform(0.7, 1.1))
    return Act(props, fixed(0.0, 0.0, base + 0.1), radius, (-0.9, 0.9), (0.0, 0.5), motionless=still)


def alarm(rng: np.random.Generator, drive: Drive) -> Act:
    """A beacon that flashes and rattles while it sounds, or a loudspeaker on a wall that does not move."""
    still, case = bool(rng.random() < MOTIONLESS_SHARE), painted(rng)
    red = Material(np.array([1.0, rng.uniform(0.05, 0.6), 0.05]), glow=6.0)
    panel, post = plain(grey(rng, 0.3, 0.8)), metal(rng)
    ringing_hz = float(rng.uniform(5.0, 9.0))

    def props(times_s: FloatArray) -> list[Prop]:
        level = drive.level(times_s)
        shake = np.zeros(times_s.size) if still else 0.02 * drive.shaking(times_s, ringing_hz)
        at = points(shake, 0.0, 1.3)
        placed = [
            box((0.9, 0.1, 1.1), panel, pose(points(0.0, -0.16, 1.3))),
            box((0.3, 0.2, 0.3), case, pose(at)),
            rod(0.06, post, points(0.0, -0.1, 0.05), points(0.0, -0.1, 1.2)),
        ]
        if still:
            placed.append(
                Prop("cone", (0.2, 0.2, 0.16), panel, pose(points(0.0, 0.16, 1.3), turn((1, 0, 0), -np.pi / 2)))
            )
        else:
            glow = level * (0.75 + 0.25 * np.sin(2 * np.pi * ringing_hz * times_s))
            placed.append(
                Prop("ball", (0.2, 0.2, 0.24), red, pose(at + points(0.0, 0.0, 0.24)), glows=glow, casts_light=True)
            )
        return placed

    return Act(props, fixed(0.0, 0.0, 1.38), float(rng.uniform(0.4, 0.7)), (-0.8, 0.8), (-0.1, 0.35), motionless=still)


def helicopter(rng: np.random.Generator, drive: Drive) -> Act:
    """A helicopter that hovers: it comes closer and shakes more when it is louder."""
    paint, dark, window = painted(rng), plain(grey(rng, 0.03, 0.15)), Material(np.array([0.3, 0.4, 0.5]), roughness=0.1)
    blades, rate_hz, course = int(rng.integers(2, 5)), float(rng.uniform(3.0, 5.5)), wander(rng, 0.4)
    yaw = float(rng.uniform(-1.2, 1.2))

    def props(times_s: FloatArray) -> list[Prop]:
        level = drive.level(times_s)
        near = points(0.3 * wandering(times_s, course), 2.0 * level - 1.0, 2.6 + 0.25 * wandering(times_s, course))
        at = near + points(0.03 * drive.shaking(times_s, 9.0), 0.0, 0.03 * drive.shaking(times_s, 7.0))
        facing = turn((0, 0, 1), yaw)
        spin = turn((0, 0, 1), 2 * np.pi * rate_hz * (drive.travel(times_s) + 0.02 * times_s))
        mast = at + points(0.0, 0.0, 0.55)
        tail = at + rotate(facing, points(0.0, -1.5, 0.15))
        placed = [
            Prop("ball", (0.8, 1.5, 0.85), paint, pose(at, facing)),
            Prop("ball", (0.7, 0.6, 0.6), window, pose(at + rotate(facing, points(0.0, 0.5, 0.08)), facing)),
            rod(0.18, paint, at + rotate(facing, points(0.0, -0.5, 0.1)), tail),
            rod(0.08, dark, at + points(0.0, 0.0, 0.3), mast),
            *(
                rod(0.05, dark, at + rotate(facing, points(x, -0.6, -0.55)), at + rotate(facing, points(x, 0.6, -0.55)))
                for x in (-0.35, 0.35)
            ),
        ]
        for blade in range(blades):
            tip = rotate(compose(spin, turn((0, 0, 1), 2 * np.pi * blade / blades)), points(1.7, 0.0, 0.0))
            placed.append(rod(0.09, dark, mast, mast + tip))
        return placed

    return Act(props, fixed(0.0, 0.0, 2.7), float(rng.uniform(1.7, 2.3)), (-0.7, 0.7), (-0.3, 0.1), outdoors=True)


def car(rng: np.random.Generator, drive: Drive) -> Act:
    """A car that passes at each peak of the sound, and whose body shakes."""
    paint, rubber, window = (
        painted(rng),
        plain(grey(rng, 0.03, 0.1)),
        Material(np.array([0.25, 0.3, 0.35]), roughness=0.1),
    )
    lamps, way = Material(np.array([1.0, 0.95, 0.8]), glow=3.0), float(rng.choice((-1.0, 1.0)))
    asphalt = Material(grey(rng, 0.15, 0.35), grey(rng, 0.1, 0.3), "stones", 0.3, roughness=0.9)
    tall, reach = float(rng.uniform(0.5, 0.9)), float(rng.uniform(5.0, 8.0))

    def props(times_s: FloatArray) -> list[Prop]:
        x = way * reach * drive.passing(times_s)
        bob = 0.03 * drive.shaking(times_s, 6.0)
        roll = turn((0, 1, 0), x / 0.32)
        wheel = compose(roll, turn((1, 0, 0), np.pi / 2))
        return [
            box((3.8, 1.6, 0.6), paint, pose(points(x, 0.0, 0.65 + bob))),
            box((2.0, 1.4, tall), window, pose(points(x - 0.2 * way, 0.0, 0.9 + 0.5 * tall + bob))),
            box((1.9, 1.45, 0.08), paint, pose(points(x - 0.2 * way, 0.0, 0.92 + tall + bob))),
            *(
                Prop("cylinder", (0.64, 0.64, 0.2), rubber, pose(points(x + side, y, 0.32), wheel))
                for side in (-1.2, 1.2)
                for y in (-0.75, 0.75)
            ),
            *(ball(0.2, lamps, points(x + 1.9 * way, y, 0.7 + bob)) for y in (-0.55, 0.55)),
        ]

    return Act(props, fixed(0.0, 0.0, 0.8), float(rng.uniform(2.2, 3.2)), (-0.6, 0.6), (0.03, 0.3), asphalt, True)


def dog(rng: np.random.Generator, drive: Drive) -> Act:
    """A dog whose head jerks and whose jaw opens as it barks."""
    fur, dark = plain(bright_colour(rng, 0.35) * rng.uniform(0.3, 0.9), 1.0), plain(grey(rng, 0.02, 0.12))
    tongue, wag_hz = plain(np.array([0.8, 0.35, 0.4])), float(rng.uniform(1.0, 2.5))
    calm = wander(rng, 0.5)

    def props(times_s: FloatArray) -> list[Prop]:
        level, yap = drive.level(times_s), drive.shaking(times_s, 5.0)
        jerk = 0.12 * level + 0.1 * yap
        body = points(0.0, 0.03 * yap, 0.42 + 0.03 * np.abs(yap))
        lift = turn((1, 0, 0), 0.35 * level + 0.25 * yap)
        look = compose(turn((0, 0, 1), 0.2 * wandering(times_s, calm)), lift)
        head = body + points(0.0, 0.36 + 0.3 * jerk, 0.24 + 0.4 * jerk)
        jaw = compose(look, turn((1, 0, 0), -(0.15 + 0.7 * level * (0.6 + 0.4 * np.sign(yap)))))
        tail = turn((0, 1, 0), 0.6 * np.sin(2 * np.pi * wag_hz * times_s))
        return [
            Prop("ball", (0.3, 0.7, 0.32), fur, pose(body)),
            rod(0.16, fur, *np.broadcast_arrays(body + points(0.0, 0.22, 0.08), body + points(0.0, 0.34, 0.2))),
            Prop("ball", (0.22, 0.24, 0.22), fur, pose(head, look)),
            Prop("ball", (0.12, 0.24, 0.1), fur, pose(head + rotate(look, points(0.0, 0.17, 0.0)), look)),
            Prop("ball", (0.1, 0.2, 0.05), tongue, pose(head + rotate(jaw, points(0.0, 0.15, -0.06)), jaw)),
            ball(0.05, dark, head + rotate(look, points(0.0, 0.29, 0.03))),
            *(ball(0.035, dark, head + rotate(look, points(x, 0.1, 0.07))) for x in (-0.06, 0.06)),
            *(
                Prop("cone", (0.08, 0.05, 0.14), dark, pose(head + rotate(look, points(x, -0.02, 0.14)), look))
                for x in (-0.08, 0.08)
            ),
            *(rod(0.07, fur, points(x, y, 0.04), points(x, y, 0.34)) for x in (-0.1, 0.1) for y in (-0.24, 0.24)),
            rod(0.05, fur, body - points(0.0, 0.34, -0.08), body + rotate(tail, points(0.0, -0.4, 0.32))),
        ]

    return Act(props, fixed(0.0, 0.15, 0.5), float(rng.uniform(0.45, 0.65)), (-1.4, 1.4), (0.0, 0.35))


def bird(rng: np.random.Generator, drive: Drive) -> Act:
    """A bird on a branch, whose beak opens and whose body trembles as it sings."""
    plumage, breast, beak = painted(rng), painted(rng), plain(np.array([0.9, 0.6, 0.1]))
    bark, leaf = wood(rng), plain(leaf_colour(rng))
    leaves, hop = rng.normal(0, 1, (14, 3)) * (0.3, 0.12, 0.14), wander(rng, 0.6)

    def props(times_s: FloatArray) -> list[Prop]:
        level, trill = drive.level(times_s), drive.shaking(times_s, 8.0)
        at = points(0.02 * wandering(times_s, hop), 0.0, 1.58 + 0.012 * trill)
        pitch = turn((1, 0, 0), 0.5 * level + 0.2 * trill)
        head = at + rotate(pitch, points(0.0, 0.06, 0.1))
        gape = 0.05 + 0.6 * level * (0.6 + 0.4 * np.sign(trill))
        flap = 0.9 * level * np.abs(trill)
        return [
            Prop("ball", (0.11, 0.19, 0.13), plumage, pose(at, pitch)),
            Prop("ball", (0.09, 0.1, 0.1), breast, pose(at + rotate(pitch, points(0.0, 0.05, 0.0)), pitch)),
            ball(0.09, plumage, head),
            *(
                Prop(
                    "cone",
                    (0.025, 0.025, 0.07),
                    beak,
                    pose(
                        head + rotate(compose(pitch, turn((1, 0, 0), side * gape)), points(0.0, 0.07, 0.0)),
                        compose(pitch, turn((1, 0, 0), side * gape - np.pi / 2)),
                    ),
                )
                for side in (-0.5, 0.5)
            ),
            *(
                Prop(
                    "ball",
                    (0.03, 0.17, 0.09),
                    breast,
                    pose(
                        at + points(side * (0.055 + 0.05 * flap), -0.02, 0.02),
                        compose(pitch, turn((0, 1, 0), side * 0.9 * flap)),
                    ),
                )
                for side in (-1.0, 1.0)
            ),
            rod(0.05, bark, points(-0.6, 0.0, 1.46), points(0.6, 0.05, 1.5)),
            *(ball(0.1, leaf, points(x + 0.25 * np.sign(x), y - 0.1, z + 1.55)) for x, y, z in leaves),
        ]

    return Act(props, fixed(0.0, 0.0, 1.6), float(rng.uniform(0.22, 0.4)), (-1.3, 1.3), (-0.2, 0.4), outdoors=True)


def audience(rng: np.random.Generator, drive: Drive) -> Act:
    """Rows of people who clap, each in their own rhythm, faster and wider the louder the applause."""
    count = int(rng.integers(4, 8))
    people = [draw_person(rng) for _ in range(count)]
    rates_hz, starts = rng.uniform(3.0, 5.0, count), rng.random(count)
    places = [(0.62 * (index % 4) - 0.93 + rng.normal(0, 0.04), -0.75 * (index // 4)) for index in range(count)]

    def props(times_s: FloatArray) -> list[Prop]:
        placed: list[Prop] = []
        for person, rate_hz, start, (x, y) in zip(people, rates_hz, starts, places, strict=True):
            strikes = claps(drive, times_s, rate_hz, start)
            place = points(x, y, 0.25 if y < 0 else 0.0)
            placed += clap(person, strikes, times_s, place, 0.0, 0.2, 1.2)
        return placed

    return Act(props, fixed(0.0, 0.0, 1.2), float(rng.uniform(0.8, 1.15)), (-0.5, 0.5), (0.0, 0.3), outdoors=None)


def claps(drive: Drive, times_s: FloatArray, rate_hz: float, start: float) -> Strikes:
    """Claps of one person in an audience: as strong as the applause is loud, none while it is silent."""
    end_s = float(times_s.max(initial=0.0)) + 1.0
    beats_s = (np.arange(int(end_s * rate_hz) + 1) + start) / rate_hz
    strengths = drive.level(beats_s)
    audible = strengths > 0.05
    return Strikes(beats_s[audible], np.clip(strengths[audible], 0.0, 1.0))


MACHINE_ACTS: dict[str, tuple[SustainedAct, ...]] = {
    "engine": (machine,),
    "alarm_beep": (alarm,),
    "helicopter": (helicopter,),
    "car_passing": (car,),
    "dog_bark": (dog,),
    "bird_song": (bird,),
    "applause": (audience,),
}
"""Acts of machines, vehicles, animals and an audience, by class."""
