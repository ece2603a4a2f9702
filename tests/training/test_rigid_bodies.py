"""Falling bodies: exact times and impulses, no gain of energy, and nothing below the ground."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewas_engine.errors import SettingsError
from rewas_engine.world.stage.rigid_bodies import (
    GROUND,
    MOST_BODIES,
    STEPS_PER_S,
    Body,
    Contact,
    Motion,
    Surface,
    simulate,
)

G = 9.81


def ball(height_m: float, *, x_m: float = 0.0, speed_m_s: float = 0.0, bounciness: float = 0.7) -> Body:
    radius, mass = 0.1, 0.5
    return Body(
        spheres_m=np.zeros((1, 3)),
        radius_m=radius,
        mass_kg=mass,
        inertia=np.full(3, 0.4 * mass * radius**2),
        bounciness=bounciness,
        friction=0.4,
        place=np.array([x_m, 0.0, height_m]),
        rotation=np.array([1.0, 0.0, 0.0, 0.0]),
        velocity=np.array([speed_m_s, 0.0, 0.0]),
        spin=np.zeros(3),
    )


def block(height_m: float, turned: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Body:
    half = np.array([0.1, 0.15, 0.05])
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * (half - 0.01)
    mass = 0.8
    return Body(
        spheres_m=corners,
        radius_m=0.01,
        mass_kg=mass,
        inertia=mass / 3 * ((half**2).sum() - half**2),
        bounciness=0.3,
        friction=0.5,
        place=np.array([0.0, 0.0, height_m]),
        rotation=turned / np.sqrt((turned**2).sum()),
        velocity=np.zeros(3),
        spin=np.array([1.0, 2.0, 0.5]),
    )


@given(height_m=st.floats(0.15, 2.5), bounciness=st.floats(0.3, 0.9))
@settings(max_examples=20, deadline=None)
def test_a_ball_lands_when_and_as_hard_as_physics_says(height_m: float, bounciness: float) -> None:
    motion = simulate((ball(height_m, bounciness=bounciness),), (Surface(),), 2.0)
    first = motion.contacts[0]
    fall_s = np.sqrt(2 * (height_m - 0.1) / G)
    assert first.time_s == pytest.approx(fall_s, abs=0.5 / STEPS_PER_S)
    assert first.speed_m_s == pytest.approx(G * fall_s, abs=2 * G / STEPS_PER_S)
    assert first.impulse_n_s == pytest.approx(0.5 * (1 + bounciness) * first.speed_m_s, rel=0.05)
    assert first.other == GROUND


@given(height_m=st.floats(0.3, 2.0))
@settings(max_examples=8, deadline=None)
def test_bounces_become_weaker_and_faster(height_m: float) -> None:
    motion = simulate((ball(height_m),), (Surface(),), 3.0)
    impulses = [contact.impulse_n_s for contact in motion.contacts]
    gaps_s = np.diff([contact.time_s for contact in motion.contacts])[:6]
    assert all(later < earlier * 1.02 for earlier, later in pairwise(impulses[:7]))
    assert (np.diff(gaps_s) < 0.002).all()


@given(seed=st.integers(0, 10**6), count=st.integers(1, 3))
@settings(max_examples=10, deadline=None)
def test_bodies_stay_above_the_ground_and_gain_no_energy(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    bodies = tuple(
        block(0.4 + 0.5 * index, rng.normal(0, 1, 4)) if rng.random() < 0.6 else ball(0.4 + 0.5 * index)
        for index in range(count)
    )
    motion = simulate(bodies, (Surface(),), 1.6)
    assert np.isfinite(motion.poses).all()
    assert np.abs((motion.poses[..., 3:] ** 2).sum(axis=-1) - 1).max() < 1e-6
    assert motion.poses[..., 2].min() > 0.02
    highest = motion.poses[0, :, 2].max()
    assert motion.poses[:, :, 2].max() < highest + 0.05
    assert all(contact.impulse_n_s > 0 and contact.speed_m_s > 0 for contact in motion.contacts)


def test_two_balls_that_collide_exchange_their_speed() -> None:
    moving, resting = ball(0.1, x_m=-0.5, speed_m_s=1.5, bounciness=0.95), ball(0.1, bounciness=0.95)
    motion = simulate((moving, resting), (Surface(),), 1.0)
    between = [contact for contact in motion.contacts if contact.other != GROUND]
    assert (between[0].body, between[0].other) == (0, 1)
    # The moving one slides at first, so it is a little slower when they meet, 0.3 m from the start.
    assert 0.2 <= between[0].time_s <= 0.28
    assert motion.poses[-1, 1, 0] - motion.poses[-1, 0, 0] > 0.3


def test_a_body_falls_off_the_edge_of_a_table() -> None:
    table = Surface(0.7, (-0.5, -0.5), (0.5, 0.5))
    motion = simulate((ball(0.8, x_m=0.2, speed_m_s=1.5),), (Surface(), table), 2.0)
    assert motion.poses[0, 0, 2] == pytest.approx(0.8)
    assert motion.poses[-1, 0, 2] < 0.4
    hard = max(motion.contacts, key=lambda contact: contact.speed_m_s)
    assert hard.speed_m_s == pytest.approx(np.sqrt(2 * G * 0.7), abs=0.3)


def test_poses_are_interpolated_and_held_at_the_end() -> None:
    motion = simulate((ball(1.0),), (Surface(),), 0.4)
    times_s = np.array([0.0, 0.2003, 9.0])
    poses = motion.at(times_s, 0)
    assert poses[1, 2] == pytest.approx(1.0 - 0.5 * G * 0.2003**2, abs=1e-4)
    assert poses[2] == pytest.approx(motion.poses[-1, 0])


def test_the_same_bodies_move_in_the_same_way() -> None:
    def run() -> Motion:
        return simulate((block(0.8, np.array([1.0, 0.4, 0.2, 0.1])), ball(1.5)), (Surface(),), 1.5)

    first, again = run(), run()
    assert np.array_equal(first.poses, again.poses)
    assert first.contacts == again.contacts
    assert isinstance(first.contacts[0], Contact)


@pytest.mark.parametrize(
    ("count", "surfaces", "duration_s"),
    [(0, (Surface(),), 1.0), (MOST_BODIES + 1, (Surface(),), 1.0), (1, (), 1.0), (1, (Surface(),), 0.0)],
)
def test_what_cannot_be_simulated_is_refused(count: int, surfaces: tuple[Surface, ...], duration_s: float) -> None:
    with pytest.raises(SettingsError, match="cannot be simulated"):
        simulate(tuple(ball(1.0) for _ in range(count)), surfaces, duration_s)
