"""Onset accuracy and average precision on cases with known results."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_engine.evaluation.greatest_hits import (
    GreatestHitsScore,
    average_precision,
    compare_onsets,
    compare_sounds,
    mean_scores,
    onset_confidences,
)

PERFECT, NOTHING = GreatestHitsScore(True, 1.0, 1.0, 1.0), GreatestHitsScore(False, 0.0, 0.0, 0.0)
TIMES_S = np.array([0.5, 1.0, 1.5, 2.0])
detections = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=15)


def ones(times_s: np.ndarray) -> np.ndarray:
    return np.ones(times_s.size)


def clicks(times_s: np.ndarray, gains: np.ndarray | None = None) -> np.ndarray:
    sound = np.zeros(40_000, np.float32)
    for time_s, gain in zip(times_s, ones(times_s) if gains is None else gains, strict=True):
        start = round(time_s * 16_000)
        sound[start : start + 320] = gain * np.sin(np.arange(320)) * np.linspace(1, 0, 320)
    return sound


@pytest.mark.parametrize("shift_s", [0.0, 0.1, -0.1])
def test_the_same_onsets_are_perfect_within_the_tolerance(shift_s: float) -> None:
    assert compare_onsets(TIMES_S, TIMES_S + shift_s, ones(TIMES_S)) == PERFECT


def test_onsets_at_other_times_match_in_number_only() -> None:
    score = compare_onsets(TIMES_S, TIMES_S + 0.2, ones(TIMES_S))
    assert (score.same_number, score.matched_share, score.average_precision) == (True, 0.0, 0.0)


def test_scores_without_onsets() -> None:
    none = np.empty(0)
    assert compare_onsets(none, none, none) == PERFECT
    assert compare_onsets(TIMES_S, none, none) == NOTHING
    assert compare_onsets(none, TIMES_S, ones(TIMES_S)) == NOTHING


def test_a_missed_onset_lowers_recall_and_a_loud_false_one_precision() -> None:
    # Loudest first: false, right, right; one of three is missed. Precision at the two hits: 1/2 and 2/3.
    score = compare_onsets(np.array([0.5, 1.0, 2.0]), np.array([0.5, 1.0, 1.5]), np.array([0.7, 0.6, 0.9]))
    assert score.same_number
    assert score.matched_share == pytest.approx(2 / 3)
    assert score.average_precision == pytest.approx((1 / 2 + 2 / 3) / 3)
    # The release ends with the missed one, at confidence 0: three positives among four.
    assert score.credited_average_precision == pytest.approx((1 / 2 + 2 / 3 + 3 / 4) / 3)


def test_a_soft_false_onset_costs_no_precision() -> None:
    score = compare_onsets(TIMES_S, np.append(TIMES_S, 3.0), np.array([0.9, 0.8, 0.7, 0.6, 0.1]))
    assert score == GreatestHitsScore(False, 1.0, 1.0, 1.0)


@given(detections, st.integers(0, 5))
def test_average_precision_is_bounded_and_independent_of_order(found: list[tuple[bool, int]], missed: int) -> None:
    right = np.array([is_right for is_right, _ in found])
    confidences = np.array([confidence for _, confidence in found], float)
    positives = max(1, int(right.sum()) + missed)
    value = average_precision(right, confidences, positives=positives)
    assert 0 <= value <= right.sum() / positives + 1e-12
    assert average_precision(right[::-1], confidences[::-1], positives=positives) == pytest.approx(value)


@given(detections)
def test_average_precision_needs_only_the_order_of_the_confidences(found: list[tuple[bool, int]]) -> None:
    right = np.array([is_right for is_right, _ in found])
    confidences = np.array([confidence for _, confidence in found], float)
    positives = max(1, int(right.sum()))
    assert average_precision(right, np.exp(confidences), positives=positives) == pytest.approx(
        average_precision(right, confidences, positives=positives)
    )


def test_confidence_is_the_share_of_the_peak() -> None:
    sound = clicks(TIMES_S, gains=np.array([1.0, 0.5, 0.25, 1.0]))
    assert onset_confidences(sound, 16_000, TIMES_S) == pytest.approx([1.0, 0.5, 0.25, 1.0], rel=0.01)
    assert onset_confidences(np.zeros(16_000), 16_000, np.array([0.5])) == [0.0]


def test_sounds_are_compared_by_their_onsets() -> None:
    sound = clicks(TIMES_S)
    assert compare_sounds(sound, sound, 16_000) == PERFECT
    assert compare_sounds(sound, np.roll(sound, 800), 16_000) == PERFECT
    assert compare_sounds(sound, np.zeros_like(sound), 16_000) == NOTHING
    assert compare_sounds(np.zeros_like(sound), np.zeros_like(sound), 16_000) == PERFECT
    half = compare_sounds(sound, clicks(TIMES_S[:2]), 16_000)
    assert half == GreatestHitsScore(False, 0.5, 0.5, 1.0)


def test_means_over_clips() -> None:
    assert mean_scores([PERFECT, NOTHING, PERFECT, NOTHING]) == {
        "number_accuracy": 0.5,
        "matched_share": 0.5,
        "average_precision": 0.5,
        "credited_average_precision": 0.5,
    }
