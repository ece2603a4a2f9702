"""SMPTE timecode, counted exactly: 24000/1001 stays a fraction, and drop-frame timecode skips labels, never frames."""

from __future__ import annotations

import math
import re
from fractions import Fraction

from rewas_api.errors import TimelineProblem

_TIMECODE = re.compile(
    r"(?P<sign>[-−]?)(?P<hours>\d{1,6}):(?P<minutes>\d{1,2}):(?P<seconds>\d{1,2})(?P<mark>[:;.,])(?P<frames>\d{1,3})"
)
_DAY_S = 86400
_DROP_MARKS = ";,."
"""Tools separate the frames of drop-frame timecode with any of these, but most often with a semicolon."""


def uses_drop_frame(rate: Fraction) -> bool:
    """Whether timecode at this rate, in frames per second, is usually drop-frame: at 30000/1001 and its multiples."""
    return rate.denominator == 1001 and rate.numerator % 30000 == 0


def format_timecode(time_s: Fraction, rate: Fraction, drop_frame: bool | None = None) -> str:
    """Return the timecode of the frame that is nearest to a time: "01:00:00:00", or "01:00:00;00" for drop-frame.

    Timecode does not wrap at midnight, so that later times always have larger timecodes.

    Args:
        time_s: Seconds since timecode 0; may be negative.
        rate: Frames per second.
        drop_frame: Whether to count drop-frame; None for what is usual at the rate.
    """
    drops = uses_drop_frame(rate) if drop_frame is None else drop_frame and uses_drop_frame(rate)
    frame = round(abs(time_s) * rate)
    sign = "-" if time_s < 0 and frame else ""
    base = frames_per_label_second(rate)
    if drops:
        frame = _drop_label(frame, base)
    seconds, frames = divmod(frame, base)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours:02}:{minutes:02}:{seconds:02}{';' if drops else ':'}{frames:02}"


def parse_timecode(text: str, rate: Fraction, drop_frame: bool | None = None) -> Fraction:
    """Return the time of a timecode, in seconds since timecode 0.

    Args:
        text: Hours, minutes, seconds and frames: "01:00:00:00".
        rate: Frames per second.
        drop_frame: Whether it counts drop-frame; None if the mark before the frames says so ("01:00:00;00").

    Raises:
        ProblemError: TIMELINE for text that is not a timecode, or one that does not exist at this rate.
    """
    match = _TIMECODE.fullmatch(text.strip())
    if match is None:
        raise TimelineProblem(
            f'"{text[:40]}" is not a timecode.', "Write hours, minutes, seconds and frames: 01:00:00:00."
        )
    base = frames_per_label_second(rate)
    hours, minutes, seconds, frames = (int(match[name]) for name in ("hours", "minutes", "seconds", "frames"))
    if minutes > 59 or seconds > 59 or frames >= base:
        raise TimelineProblem(
            f"The timecode {text.strip()} does not exist at {_format_rate(rate)} frames per second.",
            f"Minutes and seconds end at 59, and frames at {base - 1}.",
        )
    label = ((hours * 60 + minutes) * 60 + seconds) * base + frames
    drops = match["mark"] in _DROP_MARKS if drop_frame is None else drop_frame
    if drops and uses_drop_frame(rate):
        dropped = base // 15
        if minutes % 10 and seconds == 0 and frames < dropped:
            raise TimelineProblem(
                f"The timecode {text.strip()} does not exist: drop-frame timecode skips it.",
                f"The first frame of this minute is {hours:02}:{minutes:02}:00;{dropped:02}.",
            )
        label -= _labels_dropped(hours * 60 + minutes, base)
    return (-1 if match["sign"] else 1) * label / rate


def frames_per_label_second(rate: Fraction) -> int:
    """Frames that one second of timecode counts: 24 at 24000/1001."""
    return math.ceil(rate)


def frames_per_day(rate: Fraction, drop_frame: bool) -> int:
    """Return the number of frames that timecode counts from midnight to midnight."""
    base = frames_per_label_second(rate)
    return _DAY_S * base - (_labels_dropped(_DAY_S // 60, base) if drop_frame and uses_drop_frame(rate) else 0)


def _labels_dropped(minutes: int, base: int) -> int:
    """Return how many labels drop-frame timecode skips in the first minutes after midnight."""
    return base // 15 * (minutes - minutes // 10)


def _drop_label(frame: int, base: int) -> int:
    """Return the number of the label of a frame, counting the labels that drop-frame timecode skips."""
    dropped = base // 15
    frames_per_minute = base * 60 - dropped
    frames_per_ten = frames_per_minute * 10 + dropped
    tens, rest = divmod(frame, frames_per_ten)
    minutes = 0 if rest < base * 60 else 1 + (rest - base * 60) // frames_per_minute
    return frame + dropped * (9 * tens + minutes)


def _format_rate(rate: Fraction) -> str:
    return f"{float(rate):.3f}".rstrip("0").rstrip(".")
