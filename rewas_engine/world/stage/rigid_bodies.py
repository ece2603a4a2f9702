"""Rigid bodies that fall, bounce, roll and collide, and the time and impulse of each contact.

Every body is made of spheres: a ball is one, a box has one at each corner. Contacts are solved with sequential impulses
(Catto, "Iterative Dynamics with Temporal Coherence", GDC 2005). Blender's own rigid bodies are not used: their Python
interface reports no contacts, and a sound must not depend on the version of Blender that renders its picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.errors import SettingsError
from rewas_engine.world.stage.poses import cross, rotate

FloatArray = NDArray[np.floating[Any]]
GRAVITY = np.array([0.0, 0.0, -9.81])
STEPS_PER_S = 500
GROUND = -1
"""Number of the ground, and of everything that stands on it, in contacts."""
MOST_BODIES = 24
_ITERATIONS = 4
_SLOP_M = 0.001
_CORRECTED_SHARE = 0.2
_SLOWEST_BOUNCE_M_S = 0.12
"""Approach speed below which nothing bounces, so that bodies come to rest."""
_SLOWEST_CONTACT_M_S = 0.05
"""Approach speed below which a contact is not heard."""
_SAME_CONTACT_S = 0.025
_SLEEP_SPEED, _SLEEP_S = 0.06, 0.15


@dataclass(frozen=True, eq=False)
class Body:
    """A rigid body.

    Attributes:
        spheres_m: [N, 3] centres of its spheres, relative to its centre of mass.
        radius_m: Radius of each sphere.
        mass_kg: Mass.
        inertia: [3] principal moments of inertia, in kg m².
        bounciness: Coefficient of restitution, 0..1.
        friction: Coulomb's coefficient.
        place, rotation: Pose at the start: [3] and [4].
        velocity, spin: Velocities at the start: [3] in m/s and [3] in rad/s.
        rolling_loss: Share of the spin lost in a second while it touches something.
    """

    spheres_m: FloatArray
    radius_m: float
    mass_kg: float
    inertia: FloatArray
    bounciness: float
    friction: float
    place: FloatArray
    rotation: FloatArray
    velocity: FloatArray
    spin: FloatArray
    rolling_loss: float = 0.5


@dataclass(frozen=True)
class Surface:
    """A horizontal rectangle that bodies rest on, or fall off at its edge. Bodies can pass below it.

    Attributes:
        height_m: Height above the floor.
        low, high: Corners (x, y); infinite for the floor.
    """

    height_m: float = 0.0
    low: tuple[float, float] = (-np.inf, -np.inf)
    high: tuple[float, float] = (np.inf, np.inf)


@dataclass(frozen=True)
class Contact:
    """A body that hits another body or the ground.

    Attributes:
        time_s: When they touch.
        body: Number of the body.
        other: Number of the other body, or GROUND.
        impulse_n_s: Impulse along the normal, in newton seconds.
        speed_m_s: Speed at which they approached.
    """

    time_s: float
    body: int
    other: int
    impulse_n_s: float
    speed_m_s: float


@dataclass(frozen=True, eq=False)
class Motion:
    """Poses of all bodies over time, and their contacts in order.

    Attributes:
        poses: [S, B, 7], pose s at s / STEPS_PER_S seconds.
        contacts: All audible contacts.
    """

    poses: FloatArray
    contacts: tuple[Contact, ...]

    def at(self, times_s: FloatArray, body: int) -> FloatArray:
        """Poses of a body at any times, between steps interpolated: [T, 7]."""
        steps = np.clip(times_s * STEPS_PER_S, 0, len(self.poses) - 1)
        before = np.minimum(steps.astype(np.int64), len(self.poses) - 2)
        share = (steps - before)[:, None]
        start, end = self.poses[before, body], self.poses[before + 1, body].copy()
        end[:, 3:] *= np.where((start[:, 3:] * end[:, 3:]).sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
        mixed = start + (end - start) * share
        mixed[:, 3:] /= np.sqrt((mixed[:, 3:] ** 2).sum(axis=1, keepdims=True))
        return np.asarray(mixed)


def simulate(bodies: tuple[Body, ...], surfaces: tuple[Surface, ...], duration_s: float) -> Motion:
    """Let bodies move under gravity. The same arguments give the same motion.

    Raises:
        SettingsError: There are no bodies or more than MOST_BODIES, or no surface, or the duration is not positive.
    """
    if not 1 <= len(bodies) <= MOST_BODIES or not surfaces or not 0 < duration_s < np.inf:
        raise SettingsError(
            f"{len(bodies)} bodies above {len(surfaces)} surfaces cannot be simulated for {duration_s} s.",
            f"Give 1 to {MOST_BODIES} bodies, at least one surface, and a duration above 0.",
        )
    state = _State(bodies, surfaces)
    steps = max(2, round(duration_s * STEPS_PER_S) + 1)
    poses = np.empty((steps, len(bodies), 7))
    poses[0, :, :3], poses[0, :, 3:] = state.place, state.rotation
    for step in range(1, steps):
        state.advance(step / STEPS_PER_S)
        poses[step, :, :3], poses[step, :, 3:] = state.place, state.rotation
    return Motion(poses, tuple(sorted(state.contacts, key=lambda contact: (contact.time_s, contact.body))))


_Row = tuple[float, float, float, float, float, float]
"""How an impulse acts on a body, or a velocity along it: along x, y, z, and about x, y, z."""


@dataclass
class _Direction:
    """One direction in which the bodies of a contact push each other. Plain numbers are faster than small arrays, and
    their sums are the same on every machine."""

    bodies: list[int]
    rows: list[_Row]
    changes: list[_Row]
    ease: float
    wanted: float = 0.0
    impulse: float = 0.0

    def speed(self, velocities: list[list[float]]) -> float:
        """Relative speed of the bodies in this direction."""
        total = 0.0
        for body, row in zip(self.bodies, self.rows, strict=True):
            velocity = velocities[body]
            total += (
                row[0] * velocity[0]
                + row[1] * velocity[1]
                + row[2] * velocity[2]
                + row[3] * velocity[3]
                + row[4] * velocity[4]
                + row[5] * velocity[5]
            )
        return total

    def push(self, velocities: list[list[float]], low: float, high: float) -> None:
        """Bring the relative speed to the wanted one, with a total impulse within bounds."""
        total = min(max(self.impulse + (self.wanted - self.speed(velocities)) / self.ease, low), high)
        added, self.impulse = total - self.impulse, total
        for body, change in zip(self.bodies, self.changes, strict=True):
            velocity = velocities[body]
            for axis in range(6):
                velocity[axis] += added * change[axis]


@dataclass
class _Touch:
    """A point of contact in one step, between a body and another one or the ground."""

    body: int
    other: int
    normal: FloatArray
    arm: FloatArray
    other_arm: FloatArray
    depth: float
    approach: float = 0.0
    friction: float = 0.0
    impulse: float = 0.0


class _State:
    """Places, rotations and velocities of all bodies in one step."""

    def __init__(self, bodies: tuple[Body, ...], surfaces: tuple[Surface, ...]) -> None:
        self.bodies, self.surfaces = bodies, surfaces
        self.place = np.array([body.place for body in bodies], dtype=np.float64)
        self.rotation = np.array([body.rotation for body in bodies], dtype=np.float64)
        self.velocity = np.array([body.velocity for body in bodies], dtype=np.float64)
        self.spin = np.array([body.spin for body in bodies], dtype=np.float64)
        self.contacts: list[Contact] = []
        self._reach = np.array(
            [body.radius_m + np.sqrt((body.spheres_m**2).sum(axis=1).max()) for body in bodies], dtype=np.float64
        )
        self._inverse_mass = np.array([1.0 / body.mass_kg for body in bodies])
        self._inverse_inertia = np.array([1.0 / np.asarray(body.inertia) for body in bodies])
        self._slow_s = np.zeros(len(bodies))
        self._asleep = np.zeros(len(bodies), dtype=bool)
        self._latest: dict[tuple[int, int], int] = {}

    def advance(self, time_s: float) -> None:
        """Advance by one step, to time_s."""
        step_s = 1.0 / STEPS_PER_S
        awake = ~self._asleep
        self.velocity[awake] += GRAVITY * step_s
        touches = self._find_touches()
        if touches:
            self._solve(touches)
            self._note_contacts(touches, time_s - step_s)
            self._damp(touches, step_s)
            self._push_apart(touches)
        self._fall_asleep(touches, step_s)
        awake = ~self._asleep
        free = awake.copy()
        free[[body for touch in touches for body in (touch.body, touch.other) if body != GROUND]] = False
        self.place[awake] += self.velocity[awake] * step_s
        # Exact for a free fall: the velocity at the middle of the step.
        self.place[free] -= 0.5 * step_s**2 * GRAVITY
        w, vector = self.rotation[awake, :1], self.rotation[awake, 1:]
        spin = self.spin[awake]
        change = np.concatenate([-(spin * vector).sum(axis=1, keepdims=True), w * spin + cross(spin, vector)], axis=1)
        turned = self.rotation[awake] + 0.5 * step_s * change
        self.rotation[awake] = turned / np.sqrt((turned**2).sum(axis=1, keepdims=True))

    def _find_touches(self) -> list[_Touch]:
        touches: list[_Touch] = []
        centres: dict[int, FloatArray] = {}

        def centres_of(body: int) -> FloatArray:
            if body not in centres:
                rotation = self.rotation[body][None]
                centres[body] = self.place[body] + rotate(rotation, self.bodies[body].spheres_m)
            return centres[body]

        for body in range(len(self.bodies)):
            for surface in self.surfaces:
                if not self._asleep[body] and self.place[body, 2] - self._reach[body] < surface.height_m:
                    self._touch_surface(body, centres_of(body), surface, touches)
            for other in range(body + 1, len(self.bodies)):
                if self._asleep[body] and self._asleep[other]:
                    continue
                apart = self.place[body] - self.place[other]
                if (apart * apart).sum() < (self._reach[body] + self._reach[other]) ** 2:
                    self._touch_body(body, other, centres_of(body), centres_of(other), touches)
        return touches

    def _touch_surface(self, body: int, centres: FloatArray, surface: Surface, touches: list[_Touch]) -> None:
        radius = self.bodies[body].radius_m
        depths = surface.height_m + radius - centres[:, 2]
        for index in np.flatnonzero((depths > 0) & (depths < 2.0 * radius + 0.02)):
            x, y = centres[index, :2]
            if surface.low[0] <= x <= surface.high[0] and surface.low[1] <= y <= surface.high[1]:
                normal = np.array([0.0, 0.0, 1.0])
                arm = centres[index] - radius * normal - self.place[body]
                touches.append(_Touch(body, GROUND, normal, arm, arm, float(depths[index])))

    def _touch_body(self, body: int, other: int, ours: FloatArray, theirs: FloatArray, touches: list[_Touch]) -> None:
        """Add the deepest contact of two bodies, if they touch."""
        apart = ours[:, None] - theirs[None]
        distances = np.sqrt((apart * apart).sum(axis=-1))
        depths = self.bodies[body].radius_m + self.bodies[other].radius_m - distances
        deepest = int(depths.argmax())
        ours_at, theirs_at = divmod(deepest, len(theirs))
        depth = float(depths[ours_at, theirs_at])
        if depth <= 0:
            return
        self._asleep[[body, other]] = False
        self._slow_s[[body, other]] = 0.0
        normal = apart[ours_at, theirs_at] / max(float(distances[ours_at, theirs_at]), 1e-9)
        point = ours[ours_at] - self.bodies[body].radius_m * normal
        touches.append(_Touch(body, other, normal, point - self.place[body], point - self.place[other], depth))

    def _solve(self, touches: list[_Touch]) -> None:
        velocities = np.concatenate([self.velocity, self.spin], axis=1).tolist()
        contacts = [(touch, *self._directions(touch)) for touch in touches]
        for touch, normal, _ in contacts:
            parts = [self.bodies[body] for body in normal.bodies]
            touch.approach = self._approach(touch, -normal.speed(velocities))
            touch.friction = min(part.friction for part in parts)
            if touch.approach > _SLOWEST_BOUNCE_M_S:
                normal.wanted = touch.approach * min(part.bounciness for part in parts)
        for _ in range(_ITERATIONS if len(touches) > 1 else 2):
            for touch, normal, tangents in contacts:
                normal.push(velocities, 0.0, np.inf)
                most = touch.friction * normal.impulse
                for tangent in tangents:
                    tangent.push(velocities, -most, most)
        for touch, normal, _ in contacts:
            touch.impulse = normal.impulse
        solved = np.array(velocities)
        self.velocity, self.spin = solved[:, :3], solved[:, 3:]

    def _approach(self, touch: _Touch, speed: float) -> float:
        """Speed at which the bodies approached when they touched, from that at the end of this step. Between the two,
        gravity accelerates a body that hits the ground."""
        if touch.other != GROUND or speed <= 0:
            return speed
        since_s = 1.0 / STEPS_PER_S + touch.depth / speed
        return max(0.0, speed + float((GRAVITY * touch.normal).sum()) * since_s)

    def _directions(self, touch: _Touch) -> tuple[_Direction, tuple[_Direction, _Direction]]:
        """The normal of a contact, and two directions along the surface."""
        normal = touch.normal
        across = np.array([0.0, 1.0, 0.0]) if abs(normal[1]) < 0.7 else np.array([1.0, 0.0, 0.0])
        first = cross(normal, across)
        first = first / np.sqrt((first * first).sum())
        vectors = np.stack([normal, first, cross(normal, first)])
        sides = [(1.0, touch.body, touch.arm)]
        if touch.other != GROUND:
            sides.append((-1.0, touch.other, touch.other_arm))
        bodies = [body for _, body, _ in sides]
        rows, changes, eases = [], [], np.zeros(3)
        for sign, body, arm in sides:
            levers = cross(np.broadcast_to(arm, (3, 3)), vectors)
            swings = self._inverse_inertia_times(body, levers)
            rows.append((sign * np.concatenate([vectors, levers], axis=1)).tolist())
            changes.append((sign * np.concatenate([self._inverse_mass[body] * vectors, swings], axis=1)).tolist())
            eases += self._inverse_mass[body] + (swings * levers).sum(axis=1)
        made = [
            _Direction(bodies, [row[axis] for row in rows], [change[axis] for change in changes], float(eases[axis]))
            for axis in range(3)
        ]
        return made[0], (made[1], made[2])

    def _inverse_inertia_times(self, body: int, moments: FloatArray) -> FloatArray:
        """The inverse inertia of a body in space, times moments [N, 3]."""
        rotation = self.rotation[body]
        back = rotation * np.array([1.0, -1.0, -1.0, -1.0])
        return rotate(rotation, self._inverse_inertia[body] * rotate(back, moments))

    def _note_contacts(self, touches: list[_Touch], time_s: float) -> None:
        for touch in touches:
            if touch.impulse <= 0 or touch.approach < _SLOWEST_CONTACT_M_S:
                continue
            # The bodies touched when they were not yet this deep in each other.
            exact_s = max(0.0, time_s - min(touch.depth / touch.approach, 2.0 / STEPS_PER_S))
            pair = (touch.body, touch.other)
            index = self._latest.get(pair)
            if index is not None and exact_s - self.contacts[index].time_s < _SAME_CONTACT_S:
                known = self.contacts[index]
                self.contacts[index] = Contact(
                    known.time_s,
                    *pair,
                    known.impulse_n_s + touch.impulse,
                    max(known.speed_m_s, touch.approach),
                )
                continue
            self._latest[pair] = len(self.contacts)
            self.contacts.append(Contact(exact_s, *pair, touch.impulse, touch.approach))

    def _damp(self, touches: list[_Touch], step_s: float) -> None:
        for body in {touch.body for touch in touches} | {touch.other for touch in touches if touch.other != GROUND}:
            self.spin[body] *= 1.0 - self.bodies[body].rolling_loss * step_s

    def _push_apart(self, touches: list[_Touch]) -> None:
        for touch in touches:
            correction = _CORRECTED_SHARE * max(0.0, touch.depth - _SLOP_M) * touch.normal
            if touch.other == GROUND:
                self.place[touch.body] += correction
                continue
            total = self._inverse_mass[touch.body] + self._inverse_mass[touch.other]
            self.place[touch.body] += correction * (self._inverse_mass[touch.body] / total)
            self.place[touch.other] -= correction * (self._inverse_mass[touch.other] / total)

    def _fall_asleep(self, touches: list[_Touch], step_s: float) -> None:
        """Stop bodies that have been slow on the ground for a while. A body that is hit wakes up."""
        touching = np.zeros(len(self.bodies), dtype=bool)
        for touch in touches:
            touching[[touch.body, touch.other] if touch.other != GROUND else touch.body] = True
        speed = np.sqrt((self.velocity**2).sum(axis=1)) + self._reach * np.sqrt((self.spin**2).sum(axis=1))
        slow = touching & (speed < _SLEEP_SPEED)
        self._slow_s = np.where(slow, self._slow_s + step_s, 0.0)
        self._asleep |= self._slow_s > _SLEEP_S
        self.velocity[self._asleep] = 0.0
        self.spin[self._asleep] = 0.0
