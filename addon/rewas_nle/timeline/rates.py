# SPDX-License-Identifier: GPL-3.0-or-later
"""Frame rates as exact fractions. Blender hands them out as floats; the film world means 24000/1001 by 23.976."""

from __future__ import annotations

from fractions import Fraction

# Blender keeps rates in 32-bit floats, whose relative step is 6e-8; neighbouring NTSC and whole rates lie 1e-3 apart.
_RELATIVE_TOLERANCE = 2e-6
_MAX_INTEGER_RATE = 480


def exact_rate(frames_per_second: float) -> Fraction | None:
    """The rate that a float stands for: a whole number, n·1000/1001, or the nearest simple fraction.

    None where the number is no rate at all (0, negative, not finite), as Blender reports for media it cannot read.
    """
    if not 0 < frames_per_second < 1e6:
        return None
    nominal = round(frames_per_second * 1.001)
    candidates = [Fraction(round(frames_per_second)), Fraction(nominal * 1000, 1001)]
    for candidate in candidates:
        if 0 < candidate <= _MAX_INTEGER_RATE and _matches(candidate, frames_per_second):
            return candidate
    return Fraction(frames_per_second).limit_denominator(10_000)


def _matches(rate: Fraction, frames_per_second: float) -> bool:
    return abs(float(rate) - frames_per_second) <= _RELATIVE_TOLERANCE * frames_per_second


def rate_label(rate: Fraction) -> str:
    """The rate as people write it: "24", "23.976", "29.97"."""
    return f"{float(rate):.3f}".rstrip("0").rstrip(".")
