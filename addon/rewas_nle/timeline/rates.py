# SPDX-License-Identifier: GPL-3.0-or-later
"""Exact frame rates. Blender stores floats; 23.976 stands for 24000/1001."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

# Blender stores rates as 32-bit floats with a relative precision of 6e-8; NTSC and integer rates differ by 1e-3.
_RELATIVE_TOLERANCE = 2e-6
_MAX_INTEGER_RATE = 480
_NTSC_TOLERANCE_HZ = Fraction(1, 200)


@lru_cache(maxsize=256)
def exact_rate(frames_per_second: float) -> Fraction | None:
    """Return the rate that a float stands for: an integer, n·1000/1001, or the nearest simple fraction.

    Returns None for 0, negative and non-finite numbers, which Blender reports for media it cannot read.
    """
    if not 0 < frames_per_second < 1e6:
        return None
    nominal = round(frames_per_second * 1.001)
    candidates = [Fraction(round(frames_per_second)), Fraction(nominal * 1000, 1001)]
    for candidate in candidates:
        if 0 < candidate <= _MAX_INTEGER_RATE and _matches(candidate, frames_per_second):
            return candidate
    return Fraction(frames_per_second).limit_denominator(10_000)


def written_rate(frames_per_second: float) -> Fraction | None:
    """Return the rate that a number in a file stands for: programs round 24000/1001 to 23.976 and even to 23.98.

    Returns None for 0, negative and non-finite numbers.
    """
    rate = exact_rate(frames_per_second)
    if rate is None or rate.denominator in (1, 1001):
        return rate
    ntsc = Fraction(round(frames_per_second * 1.001) * 1000, 1001)
    return ntsc if ntsc and abs(ntsc - rate) < _NTSC_TOLERANCE_HZ else rate


def _matches(rate: Fraction, frames_per_second: float) -> bool:
    return abs(float(rate) - frames_per_second) <= _RELATIVE_TOLERANCE * frames_per_second


def rate_label(rate: Fraction) -> str:
    """Return the rate as commonly written: "24", "23.976", "29.97"."""
    return f"{float(rate):.3f}".rstrip("0").rstrip(".")
