"""Clips and sample counts: exact times, or an error."""

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_engine import SettingsError, VideoClip
from rewas_engine.exact_time import sample_count

RATES_HZ = (16_000, 22_050, 44_100, 48_000, 96_000)
FRAME_RATES = (
    Fraction(24),
    Fraction(25),
    Fraction(30),
    Fraction(60),
    Fraction(24_000, 1001),
    Fraction(30_000, 1001),
    Fraction(60_000, 1001),
)


@given(st.integers(1, 10**7), st.sampled_from(FRAME_RATES), st.sampled_from(RATES_HZ))
def test_sample_counts_are_rounded_to_nearest(frames: int, frame_rate: Fraction, rate_hz: int) -> None:
    duration_s = frames / frame_rate
    count = sample_count(duration_s, rate_hz)
    assert abs(count - duration_s * rate_hz) <= Fraction(1, 2)
    assert isinstance(count, int)


@given(st.fractions(0, 10_000, max_denominator=100_000), st.sampled_from(RATES_HZ))
def test_half_a_sample_rounds_up(duration_s: Fraction, rate_hz: int) -> None:
    exact = duration_s * rate_hz
    assert -Fraction(1, 2) < sample_count(duration_s, rate_hz) - exact <= Fraction(1, 2)


@pytest.mark.parametrize(
    ("duration_s", "rate_hz", "samples"),
    [
        (Fraction(1001, 24_000), 48_000, 2002),
        (Fraction(1001, 24_000), 44_100, 1839),  # 1839.3375
        (Fraction(1001, 30_000), 16_000, 534),  # 533.87
        (Fraction(24 * 1001, 24_000), 22_050, 22_072),  # 22072.05
        (Fraction(1, 32_000), 16_000, 1),  # a half rounds up
        (Fraction(3600 * 24), 48_000, 4_147_200_000),
    ],
)
def test_known_sample_counts(duration_s: Fraction, rate_hz: int, samples: int) -> None:
    assert sample_count(duration_s, rate_hz) == samples


def test_a_float_is_read_as_its_printed_decimal() -> None:
    clip = VideoClip("a.mp4", start=0.1, duration=0.3)
    assert (clip.start_s, clip.duration_s) == (Fraction(1, 10), Fraction(3, 10))


def test_times_may_be_strings_and_fractions() -> None:
    clip = VideoClip("a.mp4", start="1001/24000", duration=Fraction(1001, 30_000))
    assert (clip.start_s, clip.duration_s) == (Fraction(1001, 24_000), Fraction(1001, 30_000))
    assert clip.path == Path("a.mp4")


@given(st.floats(0, 1e6, allow_nan=False))
def test_any_float_start_is_read_as_its_printed_decimal(start: float) -> None:
    assert VideoClip("a.mp4", start=start).start_s == Fraction(repr(start))


def test_the_default_name_of_a_clip_is_its_file_name() -> None:
    assert VideoClip("/films/door.mov").name == "door.mov"
    assert VideoClip("/films/door.mov", name="Door 2").name == "Door 2"


@pytest.mark.parametrize(
    ("start", "duration", "field"),
    [
        (-1, None, "start"),
        (Fraction(-1, 10**9), 1, "start"),
        (float("nan"), None, "start"),
        (float("inf"), None, "start"),
        ("soon", None, "start"),
        ("1/0", None, "start"),
        (None, None, "start"),
        ("-1e400", None, "start"),
        (0, 0, "duration"),
        (0, -0.5, "duration"),
        (0, float("nan"), "duration"),
        (0, "", "duration"),
        (0, "-1e400", "duration"),
    ],
)
def test_an_invalid_time_is_refused_with_clip_and_field(start, duration, field) -> None:
    with pytest.raises(SettingsError, match=f"The {field} of Door 2 is ") as caught:
        VideoClip("door.mov", start=start, duration=duration, name="Door 2")
    assert caught.value.remedy.startswith("Give a")
