"""Exact rates and times from the floating-point numbers of OpenTimelineIO, and back."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import opentimelineio as otio

from rewas_api.errors import TimelineProblem
from rewas_engine.exact_time import MAX_TIME_S

DEFAULT_RATE = Fraction(24)
"""Frames per second where a file states no rate at all."""
_NTSC_TOLERANCE_HZ = 0.005
"""Tools write 23.976, 23.98 and 29.97 for n * 1000/1001."""
_MAX_RATE_HZ = 2**53
"""Larger numbers are not exact in OTIO's JSON."""


def exact_rate(rate: float, owner: str, field: str) -> Fraction:
    """Return the exact rate: 23.976 and 23.98 are 24000/1001.

    Args:
        rate: Frames or samples per second.
        owner: What has the rate, for errors: 'The clip "shot"'.
        field: Its time with the rate: "start".

    Raises ProblemError for an invalid rate.
    """
    if not _is_rate(rate):
        raise TimelineProblem(
            f"{owner} has a {field} at a rate of {rate:g}.", f"Use a rate above 0, up to {_MAX_RATE_HZ:g}."
        )
    return _nearest_rate(rate)


def _is_rate(rate: float) -> bool:
    return math.isfinite(rate) and 0 < rate <= _MAX_RATE_HZ


@lru_cache(maxsize=256)
def _nearest_rate(rate: float) -> Fraction:
    if abs(rate - round(rate)) < 1e-6:
        return Fraction(round(rate)) if round(rate) else Fraction(str(rate))
    base = round(rate * 1.001)
    if base and abs(rate - base * 1000 / 1001) < _NTSC_TOLERANCE_HZ:
        return Fraction(base * 1000, 1001)
    return Fraction(str(rate))


def exact_seconds(time: otio.opentime.RationalTime, owner: str, field: str) -> Fraction:
    """Return an OTIO time in seconds. Floating-point values become the fractions that they stand for.

    Args:
        time: The time.
        owner: What has the time, for errors: 'The clip "shot"'.
        field: Which of its times: "start".

    Raises ProblemError for a time that is not finite or longer than MAX_TIME_S, and for an invalid rate.
    """
    value, rate_hz = time.value, time.rate
    seconds = _seconds(value, rate_hz)
    if seconds is not None:
        return seconds
    if not math.isfinite(value):
        raise TimelineProblem(f"{owner} has a {field} of {value}.", "Use finite times.")
    exact_rate(rate_hz, owner, field)
    raise TimelineProblem(
        f"{owner} has a {field} of {value:g} at a rate of {rate_hz:g}, which is longer than any film.",
        f"Use times up to {MAX_TIME_S:g} s.",
    )


def time_order(time_s: Fraction) -> tuple[int, Fraction]:
    """Return a sort key that keeps the order of times. Integers compare faster, and few times share a microsecond."""
    return time_s.numerator * 1_000_000 // time_s.denominator, time_s


@lru_cache(maxsize=2**14)
def _seconds(value: float, rate_hz: float) -> Fraction | None:
    """Return a time in seconds; None if it is invalid. Most values in a timeline occur more than once."""
    if not math.isfinite(value) or not _is_rate(rate_hz) or abs(value) > MAX_TIME_S * rate_hz:
        return None
    rate = _nearest_rate(rate_hz)
    if value.is_integer():
        return Fraction(int(value) * rate.denominator, rate.numerator)
    return Fraction(value).limit_denominator(100_000) / rate


def rational_time(seconds: Fraction, rate: Fraction) -> otio.opentime.RationalTime:
    """Return seconds as an OTIO time at a rate, with a fractional value if necessary."""
    return otio.opentime.RationalTime(float(seconds * rate), float(rate))
