"""Rotations, limbs that reach their targets with bones of fixed length, and feet that stand where they stepped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewas_engine.world.motion import Strikes, Walk
from rewas_engine.world.stage.poses import along, compose, look_at, points, rotate, turn
from rewas_engine.world.stage.skeleton import bend, draw_person, embody, standing
from rewas_engine.world.stage.step_acts import walk_posture

coordinates = st.tuples(*[st.floats(-1.5, 1.5)] * 3)
UP = points(0.0, 0.0, 1.0)


def length(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt((vectors**2).sum(axis=-1))


@given(root=coordinates, target=coordinates, towards=coordinates, upper=st.floats(0.1, 0.6), lower=st.floats(0.1, 0.6))
@settings(max_examples=200, deadline=None)
def test_a_limb_keeps_its_bones_and_reaches_what_it_can(
    root: tuple[float, ...], target: tuple[float, ...], towards: tuple[float, ...], upper: float, lower: float
) -> None:
    start, end = points(*root), points(*target)
    joint, tip = bend(start, end, upper, lower, points(*towards))
    assert length(joint - start) == pytest.approx(upper, abs=1e-6)
    assert length(tip - joint) == pytest.approx(lower, abs=1e-6)
    distance = float(length(end - start)[0])
    if abs(upper - lower) + 2e-4 < distance < upper + lower - 2e-4:
        assert tip == pytest.approx(end, abs=1e-6)


@given(angle=st.floats(-7, 7), other=st.floats(-7, 7), vector=coordinates)
def test_rotations_keep_lengths_and_compose(angle: float, other: float, vector: tuple[float, ...]) -> None:
    first, second, moved = turn((0, 0, 1), angle), turn((1, 0, 0), other), points(*vector)
    assert length(rotate(first, moved)) == pytest.approx(length(moved), abs=1e-9)
    assert rotate(compose(second, first), moved) == pytest.approx(rotate(second, rotate(first, moved)), abs=1e-9)


@given(start=coordinates, end=coordinates)
def test_a_rod_points_from_its_start_to_its_end(start: tuple[float, ...], end: tuple[float, ...]) -> None:
    first, last = points(*start), points(*end)
    span = float(length(last - first)[0])
    if span < 1e-3:
        return
    pose = along(first, last)
    assert pose[:, :3] + rotate(pose[:, 3:], 0.5 * span * UP) == pytest.approx(last, abs=1e-5)


@given(eye=coordinates, focus=coordinates)
def test_a_camera_looks_at_its_focus_with_the_horizon_level(eye: tuple[float, ...], focus: tuple[float, ...]) -> None:
    place, target = points(*eye), points(*focus)
    flat = target - place
    if np.hypot(flat[0, 0], flat[0, 1]) < 1e-2:
        return
    pose = look_at(place, target)
    ahead = rotate(pose[:, 3:], points(0.0, 0.0, -1.0))
    assert ahead == pytest.approx(flat / length(flat)[:, None], abs=1e-6)
    assert rotate(pose[:, 3:], points(1.0, 0.0, 0.0))[0, 2] == pytest.approx(0.0, abs=1e-6)


def test_a_hand_holds_what_is_in_reach() -> None:
    person = draw_person(np.random.default_rng(0))
    hand = points(0.2, 0.35, 1.15)
    body = embody(person, standing(points(0.0, 0.0, 0.0), 0.0, np.zeros(1), (None, hand), person))
    balls = [part for part in body if part.shape == "ball" and part.size_m == (0.1 * person.size,) * 3]
    assert len(balls) == 2
    assert balls[1].poses[:, :3] == pytest.approx(hand, abs=1e-6)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_a_foot_is_on_the_ground_when_it_sounds_and_does_not_slide_until_it_is_lifted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    times_s = 0.4 + np.cumsum(rng.uniform(0.25, 0.7, 6))
    strikes = Strikes(times_s, rng.uniform(0.3, 1.0, 6))
    walk, person = Walk(strikes, 0.4), draw_person(rng)
    for number, time_s in enumerate(times_s):
        until_s = times_s[number + 1] if number + 1 < times_s.size else time_s + 0.2
        moments_s = np.array([time_s, 0.5 * (time_s + until_s), until_s - 1e-6])
        posture = walk_posture(person, walk, moments_s, 0.0, np.zeros(3))
        assert posture.feet is not None
        foot = posture.feet[number % 2]
        assert foot[0, 2] == pytest.approx(0.0, abs=1e-6)
        assert foot[1] == pytest.approx(foot[0], abs=1e-5)
