"""The faster arithmetic for long timelines agrees with that of fractions."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from rewas_server.otio.exact_times import time_order
from rewas_server.otio.sheet_matching import span_frames

RATES = st.sampled_from([Fraction(24), Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(48000)])
TIMES = st.one_of(
    st.fractions(-(10**6), 10**6),
    st.builds(lambda halves, rate: halves / (2 * rate), st.integers(-(10**6), 10**6), RATES),
)


@given(st.lists(TIMES, max_size=20))
def test_times_are_sorted_as_they_are(times: list[Fraction]) -> None:
    near = [each + Fraction(1, 10**7) for each in times]
    assert sorted(times + near, key=time_order) == sorted(times + near)


@given(TIMES, TIMES, RATES, TIMES)
def test_frames_are_rounded_as_fractions_are(
    begin_s: Fraction, end_s: Fraction, rate: Fraction, start_s: Fraction
) -> None:
    begin = round((start_s + begin_s) * rate)
    expected = begin, max(begin + 1, round((start_s + end_s) * rate))
    found = span_frames(begin_s, end_s, rate, start_s)
    assert found == expected
    assert all(type(each) is int for each in found)
