"""Exact time: seconds as fractions, and sample counts without rounding errors."""

from __future__ import annotations

from fractions import Fraction

from rewas_engine.errors import SettingsError

Seconds = Fraction | int | float | str
"""Seconds, exact where it matters. A float means the decimal that it prints as: 0.1 is 1/10."""
MAX_TIME_S = 10**9
"""Times beyond it are mistakes."""


def exact_seconds(value: Seconds, what: str) -> Fraction:
    """A time as an exact fraction. what: how a message begins. Raises SettingsError for what is no time."""
    try:
        seconds = Fraction(str(value)) if isinstance(value, float) else Fraction(value)
    except (ValueError, ZeroDivisionError, OverflowError, TypeError) as error:
        raise SettingsError(f"{what} is not a time in seconds ({value!r}).", "Give a finite number.") from error
    if abs(seconds) > MAX_TIME_S:
        raise SettingsError(f"{what} is longer than any film.", f"Give at most {MAX_TIME_S} s.")
    return seconds


def sample_count(duration_s: Fraction, sample_rate_hz: int) -> int:
    """Samples of a duration at a rate: exact, rounded half up."""
    doubled = 2 * duration_s * sample_rate_hz
    return (doubled.numerator + doubled.denominator) // (2 * doubled.denominator)
