"""Window borders compared with the rest of the sound: a seam is found if and only if there is one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_engine.conditioning.windows import window_starts
from rewas_engine.evaluation.seams import border_masks, compare, spectral_flux, window_borders

WINDOW, OVERLAP = 512, 128


def test_borders_are_at_starts_ends_and_joins_of_windows() -> None:
    assert window_borders([0], 512) == []
    assert window_borders([0, 384], 512) == [384, 448, 512]
    assert window_borders([0, 400, 800], 500) == [400, 450, 500, 800, 850, 900]


@given(st.integers(600, 6000))
def test_border_masks_are_disjoint_and_within_the_sound(total: int) -> None:
    borders = window_borders(window_starts(total, WINDOW, OVERLAP), WINDOW)
    assert all(0 < border < total for border in borders)
    near, far = border_masks(borders, total, 50)
    assert not (near & far).any()
    assert not near[:50].any()
    assert not far[-50:].any()
    for frame in np.flatnonzero(near):
        assert min(abs(int(frame) - border) for border in borders) <= 8
    for frame in np.flatnonzero(far):
        assert min(abs(int(frame) - border) for border in borders) > 24


def test_flux_is_the_change_from_the_frame_before() -> None:
    log_mel = np.zeros((6, 4), np.float32)
    log_mel[3:] = 2
    log_mel[5, 0] = 4
    assert spectral_flux(log_mel).tolist() == [0, 0, 0, 2, 0, 0.5]


@pytest.mark.parametrize("step_nats", [0.0, 1.0])
def test_only_steps_at_borders_are_found(step_nats: float) -> None:
    borders = window_borders(window_starts(2500, WINDOW, OVERLAP), WINDOW)
    near, far = border_masks(borders, 2500, 50)
    at_borders, elsewhere = [], []
    for seed in range(20):
        log_mel = np.random.default_rng(seed).normal(-6, 0.3, (2500, 64)).astype(np.float32)
        for number, border in enumerate(borders):
            log_mel[border:] += step_nats * (-1) ** number
        flux = spectral_flux(log_mel)
        at_borders.append(float(flux[near].mean()))
        elsewhere.append(float(flux[far].mean()))
    comparison = compare(at_borders, elsewhere)
    assert comparison.low <= comparison.ratio <= comparison.high
    assert (comparison.low > 1.05) == (step_nats > 0)
    assert step_nats or comparison.ratio == pytest.approx(1, abs=0.01)


def test_equal_means_give_a_ratio_of_one_without_uncertainty() -> None:
    comparison = compare([0.5, 1.0, 2.0], [0.5, 1.0, 2.0])
    assert (comparison.ratio, comparison.low, comparison.high) == (1, 1, 1)
    assert compare([1, 1], [2, 2]).ratio == 0.5
