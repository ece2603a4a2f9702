"""Exact time: seconds as fractions, and sample counts without rounding errors."""

from __future__ import annotations

from fractions import Fraction

from rewas_engine.errors import SettingsError

Seconds = Fraction | int | float | str
"""A time in seconds. A float is taken as the decimal number that it prints as: 0.1 is 1/10."""
MAX_TIME_S = 10**9
"""Longer times are treated as mistakes."""


def exact_seconds(value: Seconds, what: str) -> Fraction:
    """Convert a time to an exact fraction.

    Args:
        value: The time in seconds.
        what: Subject of the error message, such as "The start of shot.mov".

    Raises:
        SettingsError: The value is not a finite number or exceeds MAX_TIME_S.
    """
    try:
        seconds = Fraction(str(value)) if isinstance(value, float) else Fraction(value)
    except (ValueError, ZeroDivisionError, OverflowError, TypeError) as error:
        raise SettingsError(f"{what} is not a time in seconds ({value!r}).", "Give a finite number.") from error
    if abs(seconds) > MAX_TIME_S:
        raise SettingsError(f"{what} is longer than any film.", f"Give at most {MAX_TIME_S} s.")
    return seconds


def sample_count(duration_s: Fraction, sample_rate_hz: int) -> int:
    """Number of samples in a duration, computed exactly and rounded half up."""
    doubled = 2 * duration_s * sample_rate_hz
    return (doubled.numerator + doubled.denominator) // (2 * doubled.denominator)
