"""AV-Align on cases with known results, some of them computed with the release of the paper."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_engine.evaluation.av_align import av_align, flow_magnitude, motion_peaks

PARITY = Path(__file__).resolve().parents[3] / "shared" / "parity" / "golden" / "av_align.npz"
peaks = st.lists(st.integers(0, 100), min_size=1, max_size=12).map(lambda tenths: np.array(tenths) / 10)


@pytest.mark.parametrize(
    ("audio_s", "video_s", "frame_rate", "score"),
    [
        ([0.2, 1.0, 2.0, 3.3], [0.25, 0.9, 2.6], 4, 0.4),
        # Two onsets share a peak: as published, the value is above 1.
        ([1.0, 1.1], [1.05], 5, 2.0),
        (
            [0.06965986, 0.510839, 1.41641723, 2.92571429, 4.22603175],
            [0.875, 1.375, 1.75, 2.0, 2.5, 2.75, 3.5, 4.0, 4.375, 4.625],
            8,
            1 / 14,
        ),
    ],
)
def test_scores_match_the_release(audio_s: list[float], video_s: list[float], frame_rate: int, score: float) -> None:
    assert av_align(np.array(audio_s), np.array(video_s), frame_rate) == score


def test_perfect_and_shifted_onsets() -> None:
    times_s = np.array([0.5, 1.0, 2.0])
    rate = Fraction(24_000, 1001)
    for one_to_one in (False, True):
        assert av_align(times_s, times_s, rate, one_to_one=one_to_one) == 1.0
        assert av_align(times_s, times_s + 0.9 / float(rate), rate, one_to_one=one_to_one) == 1.0
        assert av_align(times_s, times_s + 1.1 / float(rate), rate, one_to_one=one_to_one) == 0.0


def test_a_distance_of_one_frame_does_not_match() -> None:
    assert av_align(np.array([1.0]), np.array([1.25]), 4) == 0.0


def test_scores_without_peaks() -> None:
    times_s, none = np.array([0.5, 1.0]), np.empty(0)
    assert av_align(none, none, 25) == 1.0
    assert av_align(times_s, none, 25) == 0.0
    assert av_align(none, times_s, 25) == 0.0


@given(peaks, peaks)
def test_one_to_one_is_bounded_and_symmetric(audio_s: np.ndarray, video_s: np.ndarray) -> None:
    score = av_align(audio_s, video_s, 8, one_to_one=True)
    assert 0 <= score <= 1
    assert av_align(video_s, audio_s, 8, one_to_one=True) == score


@given(peaks, peaks)
def test_the_order_of_the_peaks_does_not_matter(audio_s: np.ndarray, video_s: np.ndarray) -> None:
    assert av_align(audio_s[::-1], video_s[::-1], 8) == av_align(audio_s, video_s, 8) >= 0


def blob(shift_pixels: float) -> np.ndarray:
    rows, columns = np.indices((48, 48))
    return 200 * np.exp(-(((rows - 24) / 7) ** 2 + ((columns - 16 - shift_pixels) / 7) ** 2))


def test_the_flow_has_the_magnitude_of_the_motion() -> None:
    texture = np.random.default_rng(0).uniform(0, 255, (72, 72))
    image = np.stack([np.roll(texture, step, axis=1) for step in range(-1, 2)]).mean(axis=0).repeat(2, axis=1)
    moved = np.stack([image[:64, 40:104], image[:64, 38:102], image[:64, 38:102]]).astype(np.uint8)
    magnitude = flow_magnitude(moved)
    assert magnitude[1] == pytest.approx(2.0, abs=0.3)
    assert magnitude[0] == magnitude[1]
    assert magnitude[2] == 0.0


def test_peaks_are_at_the_fastest_motion() -> None:
    speeds = np.array([0, 0.5, 1, 3, 1, 0.5, 0, 0, 1, 2, 4, 2, 0])
    frames = np.stack([blob(shift) for shift in np.cumsum(speeds)]).astype(np.uint8)
    assert motion_peaks(frames, Fraction(25)).tolist() == [3 / 25, 10 / 25]


def test_still_frames_have_no_peaks() -> None:
    assert motion_peaks(np.full((12, 32, 32), 90, np.uint8), 25).size == 0
    assert motion_peaks(np.zeros((1, 32, 32), np.uint8), 25).size == 0


@pytest.mark.skipif(not PARITY.is_file(), reason="the reference arrays of the release are not available")
def test_peaks_of_the_release_are_found_with_our_flow() -> None:
    golden = np.load(PARITY)
    frames = np.round(golden["frames_bgr_uint8"] @ np.array([0.114, 0.587, 0.299])).astype(np.uint8)
    magnitude = flow_magnitude(frames)
    assert np.corrcoef(magnitude[1:], golden["flow_magnitude"][1:])[0, 1] > 0.9
    found_s = motion_peaks(frames, float(golden["fps"]))
    assert found_s == pytest.approx(golden["video_peaks_sec"])
    assert av_align(golden["audio_peaks_sec"], found_s, float(golden["fps"])) == golden["score"]
