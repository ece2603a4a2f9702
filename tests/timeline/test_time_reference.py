"""Time references: timecode as samples since midnight."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_server.delivery.metadata import TimecodeRate
from rewas_server.delivery.time_reference import time_reference_samples, timecode_day_s
from rewas_server.timecode import format_timecode, parse_timecode

FILM, PAL = TimecodeRate(Fraction(24000, 1001)), TimecodeRate(Fraction(25))
DROP, DROP_60 = (TimecodeRate.usual(Fraction(number, 1001)) for number in (30_000, 60_000))
NON_DROP = TimecodeRate(Fraction(30_000, 1001))
RATES = [FILM, PAL, DROP, DROP_60, NON_DROP, TimecodeRate(Fraction(50)), TimecodeRate(Fraction(60_000, 1001))]


@pytest.mark.parametrize(
    ("timecode", "rate", "samples"),
    [
        ("01:00:00:00", PAL, 172_800_000),
        ("02:00:00:00", FILM, 345_945_600),  # 172 800 frames
        ("01:00:00:00", NON_DROP, 172_972_800),
        ("01:00:00;00", DROP, 172_799_827),  # 107 892 frames, 172 799 827.2 samples
        ("00:01:00;02", DROP, 2_882_880),  # 1800 frames
        ("01:00:00;00", DROP_60, 172_799_827),
        ("00:00:00:00", FILM, 0),
    ],
)
def test_known_timecodes(timecode: str, rate: TimecodeRate, samples: int) -> None:
    position_s = parse_timecode(timecode, rate.frame_rate, rate.is_drop_frame)
    assert time_reference_samples(position_s, rate, 48_000) == samples


def test_drop_frame_is_usual_only_at_its_rates() -> None:
    usual = {rate: TimecodeRate.usual(rate.frame_rate).is_drop_frame for rate in RATES}
    assert usual == {rate: rate.frame_rate in (Fraction(30_000, 1001), Fraction(60_000, 1001)) for rate in RATES}


@pytest.mark.parametrize(
    ("frame_rates", "expected"),
    [
        ((Fraction(24), Fraction(25)), TimecodeRate(Fraction(24))),
        ((Fraction(1), Fraction(24000, 1001)), FILM),  # a range in seconds
        ((Fraction(48_000), Fraction(30_000, 1001)), DROP),  # a range in samples
        ((None, Fraction(25, 2), Fraction(15)), None),
        ((None, None), None),
    ],
)
def test_only_rates_of_timecode_count(frame_rates: tuple[Fraction | None, ...], expected: TimecodeRate | None) -> None:
    assert TimecodeRate.of_first(*frame_rates) == expected


@given(st.sampled_from(RATES), st.integers(0, 24 * 3600 * 24 - 1), st.sampled_from([16_000, 44_100, 48_000, 96_000]))
def test_samples_lead_back_to_the_timecode(rate: TimecodeRate, frame: int, sample_rate_hz: int) -> None:
    position_s = frame / rate.frame_rate
    samples = time_reference_samples(position_s, rate, sample_rate_hz)
    assert abs(Fraction(samples, sample_rate_hz) - position_s) <= Fraction(1, 2 * sample_rate_hz)
    shown, again = (
        format_timecode(time_s, rate.frame_rate, rate.is_drop_frame)
        for time_s in (position_s, Fraction(samples, sample_rate_hz))
    )
    assert shown == again


@given(st.sampled_from(RATES), st.integers(-3, 3), st.fractions(0, 86_000))
def test_timecode_continues_after_midnight(rate: TimecodeRate, days: int, position_s: Fraction) -> None:
    day_s = timecode_day_s(rate)
    assert format_timecode(day_s, rate.frame_rate, rate.is_drop_frame)[:8] == "24:00:00"
    assert (day_s * rate.frame_rate).denominator == 1
    wrapped = time_reference_samples(position_s + days * day_s, rate, 48_000)
    assert wrapped == time_reference_samples(position_s, rate, 48_000) >= 0


@given(st.fractions(), st.sampled_from([None, *RATES]))
def test_any_position_fits_into_the_field(position_s: Fraction, rate: TimecodeRate | None) -> None:
    assert 0 <= time_reference_samples(position_s, rate, 192_000) < 2**64


def test_without_a_rate_the_clock_counts() -> None:
    assert timecode_day_s(None) == 86_400
    assert time_reference_samples(Fraction(-1), None, 48_000) == 86_399 * 48_000
