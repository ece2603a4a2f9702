"""Distances to nearest neighbours, and how near one set is to another."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewas_engine.evaluation.nearest_neighbours import (
    cosine_distances,
    nearest_distances,
    nearest_other_distances,
    nearness,
)


def vectors(fewest: int) -> st.SearchStrategy[np.ndarray]:
    values = st.floats(0.125, 4, width=32)
    return st.integers(fewest, 7).flatmap(lambda count: arrays(np.float32, (count, 5), elements=values))


def test_the_distance_depends_on_the_angle_alone() -> None:
    one = np.array([[1.0, 0.0], [0.0, 2.0]], np.float32)
    other = np.array([[3.0, 0.0], [1.0, 1.0]], np.float32)
    half = 1 - np.sqrt(0.5)
    assert cosine_distances(one, other) == pytest.approx(np.array([[0, half], [1, half]]))


def test_a_recording_is_not_its_own_neighbour() -> None:
    recordings = np.array([[1, 0, 0], [1, 0.1, 0], [0, 0, 1]], np.float32)
    found = nearest_other_distances(recordings, recordings)
    assert found[0] == found[1] == pytest.approx(1 - 1 / np.sqrt(1.01))
    assert found[2] == pytest.approx(1)
    # A copy of each recording is not near just because it copies.
    assert nearest_other_distances(3 * recordings, recordings) == pytest.approx(found)


@given(vectors(1), vectors(2))
def test_the_nearest_is_the_mean_over_all_that_can_be_left_out(sounds: np.ndarray, references: np.ndarray) -> None:
    distances = cosine_distances(sounds, references)
    left_out = [np.delete(distances, number, axis=1).min(axis=1) for number in range(len(references))]
    assert nearest_distances(sounds, references) == pytest.approx(np.mean(left_out, axis=0), abs=1e-9)


@given(vectors(2))
def test_all_distances_are_between_0_and_2(recordings: np.ndarray) -> None:
    for found in (nearest_other_distances(recordings, recordings), nearest_distances(recordings, recordings)):
        assert found.shape == (len(recordings),)
        assert (found >= -1e-9).all()
        assert (found <= 2).all()


def test_nearness_is_the_ratio_of_means_with_the_kinds_alike() -> None:
    real = [np.array([0.1, 0.3]), np.array([0.2] * 8)]
    made = [np.array([0.4, 0.4]), np.array([0.4] * 8)]
    found = nearness(real, made, paired=True)
    assert found.value == pytest.approx(0.5)
    assert found.low < 0.5 < found.high
    assert nearness(real, made, paired=True) == found


def test_pairs_vary_together() -> None:
    real = [np.array([0.1, 0.2, 0.4, 0.8])]
    together = nearness(real, [2 * real[0]], paired=True)
    assert (together.value, together.low, together.high) == pytest.approx((0.5, 0.5, 0.5))
    apart = nearness(real, [2 * real[0]], paired=False)
    assert apart.value == pytest.approx(0.5)
    assert apart.low < 0.4
    assert apart.high > 0.6


def test_sounds_that_equal_real_ones_have_a_finite_nearness() -> None:
    found = nearness([np.zeros(3)], [np.zeros(3)], paired=True)
    assert (found.value, found.low, found.high) == (1, 1, 1)
