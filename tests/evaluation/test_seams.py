"""Borders of windows held against elsewhere: a seam that is there is found, and none where there is none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_engine.conditioning.windows import window_starts
from rewas_engine.evaluation.seams import compared, near_and_far, spectral_flux, window_borders

WINDOW, OVERLAP = 512, 128


def test_borders_are_where_windows_begin_end_and_are_joined() -> None:
    assert window_borders([0], 512) == []
    assert window_borders([0, 384], 512) == [384, 448, 512]
    assert window_borders([0, 400, 800], 500) == [400, 450, 500, 800, 850, 900]


@given(st.integers(600, 6000))
def test_borders_lie_within_the_sound_and_far_from_what_is_elsewhere(total: int) -> None:
    borders = window_borders(window_starts(total, WINDOW, OVERLAP), WINDOW)
    assert all(0 < border < total for border in borders)
    near, far = near_and_far(borders, total, 50)
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
def test_a_step_at_each_border_is_found_and_nothing_else(step_nats: float) -> None:
    borders = window_borders(window_starts(2500, WINDOW, OVERLAP), WINDOW)
    near, far = near_and_far(borders, 2500, 50)
    at, elsewhere = [], []
    for seed in range(20):
        log_mel = np.random.default_rng(seed).normal(-6, 0.3, (2500, 64)).astype(np.float32)
        for number, border in enumerate(borders):
            log_mel[border:] += step_nats * (-1) ** number
        flux = spectral_flux(log_mel)
        at.append(float(flux[near].mean()))
        elsewhere.append(float(flux[far].mean()))
    told = compared(at, elsewhere)
    assert told.low <= told.ratio <= told.high
    assert (told.low > 1.05) == (step_nats > 0)
    assert step_nats or told.ratio == pytest.approx(1, abs=0.01)


def test_the_same_here_and_there_is_a_ratio_of_one_beyond_doubt() -> None:
    told = compared([0.5, 1.0, 2.0], [0.5, 1.0, 2.0])
    assert (told.ratio, told.low, told.high) == (1, 1, 1)
    assert compared([1, 1], [2, 2]).ratio == 0.5
