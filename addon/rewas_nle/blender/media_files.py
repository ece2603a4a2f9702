# SPDX-License-Identifier: GPL-3.0-or-later
"""Rates and lengths of movie files, kept because Blender needs milliseconds to open a file and read them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy

from ..timeline.rates import exact_rate

_MAX_FILES = 20_000

FileIdentity = tuple[str, int, int]
"""Path, size and time of the last change of a file."""

_rates: dict[tuple[FileIdentity, int], Fraction | None] = {}
_lengths: dict[FileIdentity, int] = {}


def identify_file(path: str) -> FileIdentity | None:
    """Return the identity of a file, or None if there is none."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return None
    return path, status.st_size, status.st_mtime_ns


def movie_rate(strip: Any, file: FileIdentity) -> Fraction | None:
    """Return the frame rate of a movie strip's file, or None if Blender cannot read it."""
    key = file, strip.stream_index
    if key not in _rates:
        _make_room(_rates)
        # Blender opens the file for each request.
        _rates[key] = exact_rate(strip.fps)
    return _rates[key]


def movie_length(file: FileIdentity) -> int:
    """Return the number of frames of a movie file, 0 if Blender cannot read it."""
    if file not in _lengths:
        _make_room(_lengths)
        _lengths[file] = _count_frames(file[0])
    return _lengths[file]


def is_rate_known(file: FileIdentity, stream_index: int) -> bool:
    """Return whether the rate of a file is known without opening it."""
    return (file, stream_index) in _rates


def is_length_known(file: FileIdentity) -> bool:
    """Return whether the length of a file is known without opening it."""
    return file in _lengths


def forget_files() -> None:
    """Open each file again when it is needed."""
    _rates.clear()
    _lengths.clear()


def _count_frames(path: str) -> int:
    # From 4.5 a strip gives the length of its media only in converted frames; a movie clip gives the real count.
    try:
        clip = bpy.data.movieclips.load(path)
    except RuntimeError:
        return 0
    try:
        return int(clip.frame_duration)
    finally:
        bpy.data.movieclips.remove(clip)


def _make_room(known: dict[Any, Any]) -> None:
    if len(known) >= _MAX_FILES:
        known.clear()
