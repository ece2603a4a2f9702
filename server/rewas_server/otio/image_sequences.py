"""Image sequences in timelines: their media references, and file names with a placeholder for the number."""

from __future__ import annotations

import itertools
import math
import os
import re
from fractions import Fraction
from pathlib import Path

import opentimelineio as otio

from rewas_api.errors import TimelineProblem
from rewas_engine.errors import SettingsError
from rewas_engine.media.image_sequence import ImageSequence, MissingPictures
from rewas_server.otio.exact_times import exact_rate, exact_seconds, rational_time

_POLICIES: dict[str, MissingPictures] = {"error": "error", "hold": "hold", "black": "black"}
_NUMBER = re.compile(r"%0?(?P<width>\d*)d|(?P<hashes>[#@]+)|\[(?P<first>\d+)-\d+\]")
"""The placeholder for the number in a name: %04d, ####, @@@@ or [0001-0100]."""
_PICTURES = frozenset(
    {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".exr", ".dpx", ".bmp", ".tga", ".webp", ".jp2", ".j2k", ".sgi", ".psd"}
)


def read_sequence(reference: otio.schema.ImageSequenceReference, owner: str) -> ImageSequence:
    """Return the names and times of the pictures of a media reference.

    owner: 'The clip "shot"', for errors. Raises ProblemError (TIMELINE) without an available range, or with values
    that are out of range.
    """
    rate = exact_rate(reference.rate, owner, "rate of its image sequence")
    if reference.available_range is None:
        raise TimelineProblem(
            f"{owner} shows an image sequence without an available range, so its length is not known.",
            "Read the timeline on a machine that has the pictures, or give the sequence an available range.",
        )
    step = int(reference.frame_step)
    if step < 1:
        raise TimelineProblem(
            f"{owner} shows every {step}th picture of an image sequence.", "Use a step of at least 1."
        )
    picture_rate = rate / step
    duration_s = exact_seconds(reference.available_range.duration, owner, "media duration")
    try:
        return ImageSequence(
            prefix=str(reference.name_prefix),
            suffix=str(reference.name_suffix),
            start_number=int(reference.start_frame),
            step=step,
            digits=max(0, int(reference.frame_zero_padding)),
            picture_rate=picture_rate,
            count=max(1, math.ceil(duration_s * picture_rate - Fraction(1, 1000))),
            missing=_POLICIES.get(reference.missing_frame_policy.name, "error"),
        )
    except SettingsError as error:
        raise TimelineProblem(f"{owner}: {error.what}", error.remedy) from error


def sequence_url(reference: otio.schema.ImageSequenceReference) -> str:
    """Return the location of a sequence: its folder, and the pattern of its file names."""
    base = str(reference.target_url_base)
    pattern = f"{reference.name_prefix}{'#' * max(1, int(reference.frame_zero_padding))}{reference.name_suffix}"
    return f"{base}{'' if base.endswith(('/', chr(92))) or not base else '/'}{pattern}"


def has_number(name: str) -> bool:
    """Whether a file name is that of a picture with a placeholder for the number: "shot.%04d.exr"."""
    return Path(name).suffix.lower() in _PICTURES and len(_NUMBER.findall(name)) == 1


def sequence_from_name(folder: Path, name: str, rate: float) -> otio.schema.ImageSequenceReference | None:
    """Return a media reference for the pictures in a folder whose names fit a pattern; None if there are none.

    Args:
        folder: An existing folder.
        name: A name for which `has_number` holds.
        rate: Frames per second, as the clip states it.
    """
    place = _NUMBER.search(name)
    if place is None:
        return None
    prefix, suffix = name[: place.start()], name[place.end() :]
    digits = len(place["first"] or place["hashes"] or "") or int(place["width"] or 0)
    numbers = picture_numbers(folder, prefix, suffix, digits)
    return make_reference(folder, prefix, suffix, digits, numbers, rate) if numbers else None


def make_reference(
    folder: Path, prefix: str, suffix: str, digits: int, numbers: list[int], rate: float
) -> otio.schema.ImageSequenceReference:
    """Return a media reference for pictures with these numbers, in order. Its range begins with the first number."""
    steps = {later - earlier for earlier, later in itertools.pairwise(numbers)}
    step = min(steps, default=1)
    if any(each % step for each in steps):
        step = 1
    return otio.schema.ImageSequenceReference(
        target_url_base=f"{folder}/",
        name_prefix=prefix,
        name_suffix=suffix,
        start_frame=numbers[0],
        frame_step=step,
        rate=rate,
        frame_zero_padding=digits,
        available_range=otio.opentime.TimeRange(
            otio.opentime.RationalTime(numbers[0], rate),
            otio.opentime.RationalTime(numbers[-1] - numbers[0] + step, rate),
        ),
    )


def picture_numbers(folder: Path, prefix: str, suffix: str, digits: int) -> list[int]:
    """Return the numbers of the pictures of a sequence that are in a folder, in order."""
    found = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if not name.startswith(prefix) or not name.endswith(suffix):
                    continue
                number = name[len(prefix) : len(name) - len(suffix)]
                is_padded = len(number) == digits or (len(number) > digits and not number.startswith("0"))
                if number.isdecimal() and number.isascii() and len(number) <= 9 and (is_padded or not digits):
                    found.add(int(number))
    except OSError:
        return []
    return sorted(found)


def sequence_start(reference: otio.schema.ImageSequenceReference, owner: str) -> Fraction:
    """Return the time, in seconds, of the first picture by its number: at 24 frames per second, number 48 is at 2 s."""
    return int(reference.start_frame) / exact_rate(reference.rate, owner, "rate of its image sequence")


def range_of(start_s: Fraction, length_s: Fraction, rate: Fraction) -> otio.opentime.TimeRange:
    """Return a range in seconds as an OTIO range at a rate."""
    return otio.opentime.TimeRange(rational_time(start_s, rate), rational_time(length_s, rate))
