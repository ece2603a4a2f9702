"""Balls, blocks, cans and marbles that fall, bounce, roll and collide; their contacts are what sounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rewas_engine.world.excitation import SHORTEST_GAP_S, WEAKEST
from rewas_engine.world.scene import intensity_of
from rewas_engine.world.stage.acts import Act, FloatArray
from rewas_engine.world.stage.poses import points, pose
from rewas_engine.world.stage.props import Material, Prop, Shape, box, glass, metal, painted, wood
from rewas_engine.world.stage.rigid_bodies import STEPS_PER_S, Body, Contact, Motion, Surface, simulate

FAINTEST_SHARE = 0.004
"""Share of the loudest contact's impulse below which a contact is not heard."""
_CORNERS = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])


@dataclass(frozen=True, eq=False)
class Fall:
    """Falling bodies: their act, and the contacts that sound.

    Attributes:
        act: The performance.
        times_s, strengths: Contacts, as in Scene: [N] seconds and [N] in 0..1.
        contacts: The contacts themselves, weak ones included.
    """

    act: Act
    times_s: FloatArray
    strengths: FloatArray
    contacts: tuple[Contact, ...]


@dataclass(frozen=True, eq=False)
class _Kind:
    """Bodies of one kind: their shape, size and behaviour."""

    shape: Shape
    size_m: tuple[float, float, float]
    material: Material
    density_kg_m3: float
    bounciness: float
    friction: float
    rolling_loss: float


def drop(class_name: str, rng: np.random.Generator, duration_s: float, loudest: float) -> Fall:
    """Let things that sound like a class fall and hit each other. loudest: greatest strength of a contact."""
    kind = _KINDS[class_name](rng)
    on_table = bool(rng.random() < 0.45)
    table = (float(rng.uniform(0.5, 0.9)), float(rng.uniform(0.9, 1.6)), float(rng.uniform(0.6, 1.0)))
    top_m = table[0] if on_table else 0.0
    half = (0.5 * table[1], 0.5 * table[2])
    surfaces = (Surface(), Surface(table[0], (-half[0], -half[1]), half)) if on_table else (Surface(),)
    rolls = bool(rng.random() < 0.35)
    bodies = _bodies(kind, rng, duration_s, top_m, rolls, half if on_table else (0.6, 0.5))
    motion = simulate(bodies, surfaces, duration_s)
    times_s, strengths = heard(motion.contacts, duration_s, loudest)
    wooden = wood(rng)

    def props(at_s: FloatArray) -> list[Prop]:
        placed = [Prop(kind.shape, kind.size_m, kind.material, motion.at(at_s, body)) for body in range(len(bodies))]
        if on_table:
            placed.append(box((table[1], table[2], 0.05), wooden, pose(points(0.0, 0.0, top_m - 0.025))))
            placed += [
                box((0.06, 0.06, top_m - 0.05), wooden, pose(points(x, y, 0.5 * (top_m - 0.05))))
                for x in (-0.9 * half[0], 0.9 * half[0])
                for y in (-0.85 * half[1], 0.85 * half[1])
            ]
        return placed

    return Fall(Act(props, *_view(motion, top_m)), times_s, strengths, motion.contacts)


def heard(contacts: tuple[Contact, ...], duration_s: float, loudest: float) -> tuple[FloatArray, FloatArray]:
    """Times [N] and strengths [N] of the contacts that are heard: the amplitude is proportional to the impulse.

    If contacts follow each other too fast for two sounds, only the strongest is heard, at its time.
    """
    strongest = max((contact.impulse_n_s for contact in contacts), default=0.0)
    kept: list[Contact] = []
    for contact in sorted(contacts, key=lambda contact: (-contact.impulse_n_s, contact.time_s)):
        if contact.impulse_n_s < FAINTEST_SHARE * strongest:
            break
        apart = all(abs(contact.time_s - other.time_s) >= SHORTEST_GAP_S for other in kept)
        if apart and contact.time_s < duration_s - 0.01:
            kept.append(contact)
    kept.sort(key=lambda contact: contact.time_s)
    loudest_heard = max((contact.impulse_n_s for contact in kept), default=1.0)
    strengths = intensity_of(np.array([contact.impulse_n_s / loudest_heard for contact in kept]))
    audible = strengths > 0.5 * WEAKEST
    return np.array([contact.time_s for contact in kept])[audible], loudest * strengths[audible]


def _bodies(
    kind: _Kind, rng: np.random.Generator, duration_s: float, top_m: float, rolls: bool, half: tuple[float, float]
) -> tuple[Body, ...]:
    """Bodies that fall one after another from random heights, or that roll across the surface into each other."""
    size = np.array(kind.size_m)
    count = int(rng.integers(1, 5 if max(kind.size_m) < 0.2 else 4))
    mass = kind.density_kg_m3 * float(size.prod()) * (0.52 if kind.shape == "ball" else 1.0)
    spheres: FloatArray
    if kind.shape == "ball":
        spheres, radius = np.zeros((1, 3)), 0.5 * size[0]
        inertia = np.full(3, 0.4 * mass * radius**2)
    elif kind.shape == "cylinder":
        spheres, radius = _rims(size), 0.1 * size[0]
        inertia = mass / 12 * np.array([size[0] ** 2 * 0.75 + size[2] ** 2] * 2 + [1.5 * size[0] ** 2])
    else:
        radius = 0.08 * size.min()
        spheres = _CORNERS * (0.5 * size - radius)
        inertia = mass / 12 * ((size**2).sum() - size**2)
    bodies = []
    for index in range(count):
        turned = rng.normal(0, 1, 4)
        rolling = rolls and kind.shape == "ball"
        # Later bodies start higher, so that they arrive later.
        height = radius if rolling else 0.25 + 0.5 * size.max() + rng.uniform(0.1, 0.9) + 0.55 * index**1.5
        x = (-0.8 + 0.5 * index) * half[0] if rolling else rng.uniform(-0.6, 0.6) * half[0]
        y = rng.uniform(-0.15, 0.15) * half[1] if rolling else rng.uniform(-0.6, 0.6) * half[1]
        speed = (rng.uniform(0.6, 1.4) if index == 0 else 0.0) if rolling else rng.normal(0, 0.25)
        velocity = np.array([speed, 0.0 if rolling else rng.normal(0, 0.2), 0.0])
        spin = np.array([0.0, velocity[0] / radius, 0.0]) if rolling else rng.normal(0, 1, 3) * 2.0
        bodies.append(
            Body(
                spheres_m=spheres,
                radius_m=float(radius),
                mass_kg=mass,
                inertia=inertia,
                bounciness=kind.bounciness,
                friction=kind.friction,
                place=np.array([x, y, top_m + height]),
                rotation=turned / np.sqrt((turned**2).sum()),
                velocity=velocity,
                spin=spin,
                rolling_loss=kind.rolling_loss,
            )
        )
    return tuple(bodies)


def _rims(size: FloatArray) -> FloatArray:
    """Spheres along both rims of a cylinder: [16, 3]."""
    angles = np.arange(8) * np.pi / 4
    out, up = 0.4 * size[0], 0.5 * size[2] - 0.1 * size[0]
    rim = np.stack([out * np.cos(angles), out * np.sin(angles), np.zeros(8)], axis=1)
    return np.concatenate([rim + points(0.0, 0.0, up), rim - points(0.0, 0.0, up)])


def _view(
    motion: Motion, top_m: float
) -> tuple[Callable[[FloatArray], FloatArray], float, tuple[float, float], tuple[float, float]]:
    """Focus, radius, and directions from which the contacts are seen."""
    hits = [
        motion.poses[min(round(each.time_s * STEPS_PER_S), len(motion.poses) - 1), each.body, :3]
        for each in motion.contacts
    ]
    places = np.array(hits) if hits else motion.poses[:1, :, :3].reshape(-1, 3)
    low, high = np.quantile(places, 0.1, axis=0), np.quantile(places, 0.9, axis=0)
    middle = 0.5 * (low + high)
    middle[2] = max(middle[2], top_m) + 0.1
    radius = float(np.clip(0.45 * np.sqrt(((high - low) ** 2).sum()) + 0.22, 0.35, 1.2))

    def focus(times_s: FloatArray) -> FloatArray:
        return np.broadcast_to(middle, (times_s.size, 3))

    return focus, radius, (-3.1, 3.1), (0.15, 0.8)


def _balls(rng: np.random.Generator) -> _Kind:
    size = float(rng.uniform(0.07, 0.25))
    pattern = Material(painted(rng).colour, painted(rng).colour, "checks", 0.5 * size)
    return _Kind("ball", (size,) * 3, pattern, 200.0, float(rng.uniform(0.6, 0.88)), 0.5, 0.6)


def _blocks(rng: np.random.Generator) -> _Kind:
    size = tuple(float(each) for each in rng.uniform(0.06, 0.24, 3))
    return _Kind("box", (size[0], size[1], size[2]), wood(rng), 600.0, float(rng.uniform(0.15, 0.4)), 0.5, 1.0)


def _metal_things(rng: np.random.Generator) -> _Kind:
    if rng.random() < 0.4:
        size = float(rng.uniform(0.05, 0.12))
        return _Kind("ball", (size,) * 3, metal(rng), 7800.0, float(rng.uniform(0.4, 0.65)), 0.3, 0.3)
    across, tall = float(rng.uniform(0.07, 0.16)), float(rng.uniform(0.12, 0.34))
    return _Kind("cylinder", (across, across, tall), metal(rng), 900.0, float(rng.uniform(0.25, 0.5)), 0.35, 0.8)


def _glass_things(rng: np.random.Generator) -> _Kind:
    if rng.random() < 0.6:
        size = float(rng.uniform(0.05, 0.11))
        tinted = Material(painted(rng).colour, painted(rng).colour, "stripes", 0.5 * size, roughness=0.1)
        look = tinted if rng.random() < 0.6 else glass(rng)
        return _Kind("ball", (size,) * 3, look, 2500.0, float(rng.uniform(0.5, 0.75)), 0.2, 0.25)
    across, tall = float(rng.uniform(0.07, 0.1)), float(rng.uniform(0.1, 0.26))
    return _Kind("cylinder", (across, across, tall), glass(rng), 900.0, float(rng.uniform(0.25, 0.4)), 0.25, 0.6)


_KINDS: dict[str, Callable[[np.random.Generator], _Kind]] = {
    "ball_bounce": _balls,
    "wood_knock": _blocks,
    "metal_hit": _metal_things,
    "glass_clink": _glass_things,
}
FALL_CLASSES = tuple(_KINDS)
"""Classes whose bodies can fall."""
