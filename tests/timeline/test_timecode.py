"""Timecode: exact at every rate, drop-frame as in SMPTE ST 12, and the same as OpenTimelineIO's."""

from __future__ import annotations

from fractions import Fraction

import opentimelineio as otio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_api.errors import ProblemError
from rewas_server.timecode import (
    format_timecode,
    frames_per_day,
    frames_per_label_second,
    parse_timecode,
    uses_drop_frame,
)

RATES = [Fraction(n) for n in (24, 25, 30, 48, 50, 60)] + [Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120)]
NTSC = Fraction(30000, 1001)
DAY_FRAMES = 24 * 3600 * 120


@given(
    rate=st.sampled_from(RATES), frame=st.integers(-DAY_FRAMES, DAY_FRAMES), drop=st.sampled_from([None, False, True])
)
def test_a_timecode_gives_back_its_frame(rate: Fraction, frame: int, drop: bool | None) -> None:
    assert parse_timecode(format_timecode(frame / rate, rate, drop), rate) * rate == frame


@given(
    rate=st.sampled_from([Fraction(24), Fraction(25), Fraction(24000, 1001), NTSC, Fraction(60000, 1001)]),
    frame=st.integers(0, 23 * 3600 * 24),
)
def test_timecode_is_that_of_opentimelineio(rate: Fraction, frame: int) -> None:
    theirs = otio.opentime.to_timecode(otio.opentime.RationalTime(frame, float(rate)), float(rate))
    assert format_timecode(frame / rate, rate) == theirs


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (0, "00:00:00;00"),
        (1799, "00:00:59;29"),
        (1800, "00:01:00;02"),
        (17981, "00:09:59;29"),
        (17982, "00:10:00;00"),
        (107892, "01:00:00;00"),
        (107891, "00:59:59;29"),
    ],
)
def test_drop_frame_skips_two_labels_each_minute_but_the_tenth(frame: int, expected: str) -> None:
    assert format_timecode(frame / NTSC, NTSC) == expected
    assert parse_timecode(expected, NTSC) == frame / NTSC


def test_only_30000_1001_and_its_multiples_drop() -> None:
    assert [rate for rate in RATES if uses_drop_frame(rate)] == [NTSC, Fraction(60000, 1001), Fraction(120000, 1001)]
    assert format_timecode(Fraction(3600), Fraction(25), drop_frame=True) == "01:00:00:00"


def test_a_time_between_frames_gets_the_nearest_timecode() -> None:
    assert format_timecode(Fraction(10_499, 10_000) / 24 * 1, Fraction(24)) == "00:00:00:01"
    assert format_timecode(Fraction(-1, 100), Fraction(24)) == "00:00:00:00"


@pytest.mark.parametrize(
    "text", ["", "1", "01:00:00", "01:00:00:", "aa:bb:cc:dd", "01:00:00:00:00", "1e3", "٣:00:00:x"]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ProblemError, match="is not a timecode"):
        parse_timecode(text, Fraction(24))


@pytest.mark.parametrize(
    ("text", "rate", "message"),
    [
        ("01:00:00:24", Fraction(24), "frames at 23"),
        ("01:60:00:00", Fraction(24), "does not exist at 24 frames"),
        ("01:00:60:00", Fraction(24000, 1001), "at 23.976 frames"),
        ("00:01:00;00", NTSC, "first frame of this minute is 00:01:00;02"),
    ],
)
def test_a_timecode_that_does_not_exist_is_refused(text: str, rate: Fraction, message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        parse_timecode(text, rate)


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("drop_frame", [True, False])
def test_a_day_has_as_many_frames_as_labels(rate: Fraction, drop_frame: bool) -> None:
    drops = drop_frame and uses_drop_frame(rate)
    last_s = parse_timecode(f"23:59:59{';' if drops else ':'}{frames_per_label_second(rate) - 1}", rate, drops)
    assert frames_per_day(rate, drop_frame) == last_s * rate + 1
