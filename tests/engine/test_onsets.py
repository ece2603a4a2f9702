"""Onset detection, and one-to-one matching of onsets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from rewas_engine.curves.onsets import OnsetScore, detect_onsets, match_onsets, onset_f1
from rewas_engine.world import STRUCK_CLASSES, render_sound, sample_scene

RATE_HZ = 16_000
PERFECT, NOTHING = OnsetScore(1.0, 1.0, 1.0), OnsetScore(0.0, 0.0, 0.0)
whole_milliseconds = st.lists(st.integers(0, 5000), max_size=12)


def seconds(milliseconds: list[int]) -> np.ndarray:
    return np.array(milliseconds, np.float64) / 1000


def strikes(times_s: list[float], duration_s: float = 3.0, gains: list[float] | None = None) -> np.ndarray:
    rng = np.random.default_rng(0)
    sound = np.zeros(round(duration_s * RATE_HZ))
    for time_s, gain in zip(times_s, gains or [1.0] * len(times_s), strict=True):
        start = round(time_s * RATE_HZ)
        burst = rng.standard_normal(1600) * np.exp(-np.arange(1600) / 300)
        sound[start : start + 1600] += gain * burst[: sound.size - start]
    return sound.astype(np.float32)


def test_strikes_are_found_at_their_times() -> None:
    times_s = [0.2, 0.5, 1.0, 1.13, 2.4]
    found_s, strengths = detect_onsets(strikes(times_s), RATE_HZ)
    assert found_s == pytest.approx(times_s, abs=0.012)
    assert (strengths > 0).all()


def test_softer_strikes_are_found() -> None:
    times_s = [0.3, 1.0, 1.7, 2.4]
    found_s, _ = detect_onsets(strikes(times_s, gains=[1.0, 0.05, 0.3, 0.02]), RATE_HZ)
    assert found_s == pytest.approx(times_s, abs=0.012)


@pytest.mark.parametrize("samples", [0, 1, 500, 81_920])
def test_silence_has_no_onsets(samples: int) -> None:
    found_s, strengths = detect_onsets(np.zeros(samples, np.float32), RATE_HZ)
    assert found_s.size == strengths.size == 0


def test_a_sound_from_the_first_sample_has_its_onset_there() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(3 * RATE_HZ) / RATE_HZ)
    found_s, _ = detect_onsets(tone, RATE_HZ)
    assert found_s == pytest.approx([0.0], abs=0.02)


def test_steady_noise_has_no_onsets_beyond_its_beginning() -> None:
    noise = np.random.default_rng(1).standard_normal(5 * RATE_HZ)
    found_s, _ = detect_onsets(noise, RATE_HZ)
    assert (found_s < 0.05).all()


def test_strikes_are_found_in_noise() -> None:
    times_s = [0.5, 1.2, 2.2]
    noise = 0.02 * np.random.default_rng(2).standard_normal(3 * RATE_HZ)
    found_s, _ = detect_onsets(strikes(times_s) + noise, RATE_HZ)
    assert onset_f1(np.array(times_s), found_s[found_s > 0.1]) == PERFECT


@pytest.mark.parametrize("gain", [1e-3, 0.25, 8.0])
def test_a_gain_changes_nothing(gain: float) -> None:
    sound = strikes([0.2, 0.9, 1.1, 2.0], gains=[1.0, 0.2, 0.6, 0.1]).astype(np.float64)
    quiet_s, quiet_strengths = detect_onsets(gain * sound, RATE_HZ)
    found_s, strengths = detect_onsets(sound, RATE_HZ)
    assert np.array_equal(quiet_s, found_s)
    assert quiet_strengths == pytest.approx(strengths)


@pytest.mark.parametrize("sample_rate_hz", [22_050, 48_000])
def test_onsets_are_found_at_other_sample_rates(sample_rate_hz: int) -> None:
    times_s = [0.4, 1.1, 1.9]
    sound = np.zeros(3 * sample_rate_hz)
    for time_s in times_s:
        start = round(time_s * sample_rate_hz)
        sound[start : start + 400] += np.hanning(800)[400:] * np.random.default_rng(3).standard_normal(400)
    found_s, _ = detect_onsets(sound, sample_rate_hz)
    assert found_s == pytest.approx(times_s, abs=0.012)


def test_onsets_of_synthetic_clips_are_found() -> None:
    matched = detected = events = 0
    for seed, class_name in enumerate(name for name in STRUCK_CLASSES if name not in {"snow_steps", "gravel_steps"}):
        for pattern in ("few", "regular", "irregular"):
            scene = sample_scene(600 + seed, class_name, pattern=pattern)
            clear = scene.ambience is None and scene.floor == 0
            if clear and (scene.event_times_s.size < 2 or np.diff(scene.event_times_s).min() >= 0.1):
                found_s, _ = detect_onsets(render_sound(scene), RATE_HZ)
                matched += len(match_onsets(scene.event_times_s, found_s))
                detected, events = detected + found_s.size, events + scene.event_times_s.size
    assert events > 100
    assert 2 * matched / (detected + events) >= 0.97


@given(whole_milliseconds, whole_milliseconds, st.integers(0, 200))
def test_matching_finds_the_maximum_number_of_pairs(
    reference_ms: list[int], estimated_ms: list[int], tolerance_ms: int
) -> None:
    reference_s, estimated_s = seconds(reference_ms), seconds(estimated_ms)
    pairs = match_onsets(reference_s, estimated_s, tolerance_ms / 1000)
    apart_ms = np.abs(np.subtract.outer(np.array(reference_ms, int), np.array(estimated_ms, int)))
    possible = csr_matrix(apart_ms <= tolerance_ms)
    best = int((maximum_bipartite_matching(possible) >= 0).sum()) if possible.nnz else 0
    assert len(pairs) == best
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)
    assert all(apart_ms[row, column] <= tolerance_ms for row, column in pairs)


@given(whole_milliseconds, whole_milliseconds, st.randoms(use_true_random=False))
def test_scores_are_bounded_and_independent_of_order(
    reference_ms: list[int], estimated_ms: list[int], dice: object
) -> None:
    score = onset_f1(seconds(reference_ms), seconds(estimated_ms))
    assert all(0 <= figure <= 1 for figure in (score.precision, score.recall, score.f1))
    shuffled = list(estimated_ms)
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    assert onset_f1(seconds(reference_ms), seconds(shuffled)) == score


@given(whole_milliseconds, whole_milliseconds)
def test_swapping_the_sides_swaps_precision_and_recall(reference_ms: list[int], estimated_ms: list[int]) -> None:
    one, other = (
        onset_f1(seconds(reference_ms), seconds(estimated_ms)),
        onset_f1(seconds(estimated_ms), seconds(reference_ms)),
    )
    assert (one.precision, one.recall) == (other.recall, other.precision)
    assert one.f1 == other.f1


@settings(max_examples=50)
@given(st.lists(st.integers(0, 40), unique=True, min_size=1), st.integers(-50, 50))
def test_a_shift_within_the_tolerance_matches(tenths: list[int], shift_ms: int) -> None:
    times_s = seconds([100 * tenth for tenth in tenths])
    assert onset_f1(times_s, times_s + shift_ms / 1000) == PERFECT


def test_a_shift_beyond_the_tolerance_does_not_match() -> None:
    times_s = np.array([0.5, 1.0, 2.0])
    assert onset_f1(times_s, times_s + 0.051) == NOTHING


def test_scores_without_onsets() -> None:
    times_s, none = np.array([0.5, 1.0]), np.empty(0)
    assert onset_f1(none, none) == PERFECT
    assert onset_f1(times_s, none) == NOTHING
    assert onset_f1(none, times_s) == NOTHING


def test_a_long_roll_does_not_match_all_strikes() -> None:
    score = onset_f1(np.array([1.0]), np.linspace(0.96, 1.04, 9))
    assert score == OnsetScore(1 / 9, 1.0, 0.2)
