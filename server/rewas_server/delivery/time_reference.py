"""The time reference of a Broadcast WAV file: timecode as samples since midnight."""

from __future__ import annotations

import math
from fractions import Fraction

from rewas_engine.exact_time import sample_count
from rewas_server.delivery.metadata import TimecodeRate

_DAY_S = 86_400
_DROP_FRAME_DAY_S = 24 * 6 * Fraction(17_982 * 1001, 30_000)
"""Ten minutes of drop-frame timecode are 17 982 frames at 30000/1001, and last as long at its multiples."""


def timecode_day_s(rate: TimecodeRate | None) -> Fraction:
    """Seconds until timecode is back at 00:00:00:00. At 24000/1001, that is longer than a day of the clock."""
    if rate is None:
        return Fraction(_DAY_S)
    if rate.is_drop_frame:
        return _DROP_FRAME_DAY_S
    return _DAY_S * math.ceil(rate.frame_rate) / rate.frame_rate


def time_reference_samples(position_s: Fraction, rate: TimecodeRate | None, sample_rate_hz: int) -> int:
    """Return a position in samples since midnight, rounded half up.

    Timecode that is negative or beyond 24 hours wraps around midnight, as in a recorder.

    Args:
        position_s: Seconds since timecode 00:00:00:00.
        rate: Rate of the timecode; None counts seconds of the clock.
        sample_rate_hz: Sample rate of the sound.
    """
    return sample_count(position_s % timecode_day_s(rate), sample_rate_hz)
