"""Find media files that were cut short: unfinished copies and downloads, and recordings that ended in a crash."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from rewas_engine.errors import MediaError

_MIN_MISSING_BYTES = 4096
"""Headers often state sizes that are wrong by a few bytes."""
_MIN_MISSING_S = Fraction(1)
"""A stream that ends this much earlier than its header states is cut short, even in a file of the right size."""
_TIME_TOLERANCE_S = Fraction(1, 10)
_EXACT_DURATIONS = frozenset({"mov", "matroska", "avi", "wav", "w64", "aiff", "flac", "caf", "mxf"})
"""Formats whose headers state durations. Those of other formats, such as MP3 and MPEG, are often estimates."""
_BOX_FORMATS = frozenset({b"ftyp", b"moov", b"mdat", b"moof", b"free", b"skip", b"wide", b"pnot", b"styp"})
_MAX_RIFF_BYTES = 0x7FFF0000
"""Programs that write to a pipe state sizes from here on, since they do not know them."""
_EBML_ID, _SEGMENT_ID = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_W64_ID = b"riff\x2e\x91\xcf\x11"


def is_file_cut_short(path: Path) -> bool:
    """Whether a file is smaller than its headers state. False for formats that do not state their size."""
    with path.open("rb") as file:
        stated_bytes = _stated_size_bytes(file)
        return stated_bytes is not None and stated_bytes - path.stat().st_size > _MIN_MISSING_BYTES


def is_stream_cut_short(path: Path, container: Any, stream: Any, end_s: Fraction) -> bool:
    """Whether a stream should continue after its last frame, which ends at the time stamp `end_s`."""
    stated_end_s: Fraction | None = None
    if stream.duration and _EXACT_DURATIONS & set(container.format.name.split(",")):
        stated_end_s = ((stream.start_time or 0) + stream.duration) * stream.time_base
        if end_s + _MIN_MISSING_S < stated_end_s:
            return True
    if not is_file_cut_short(path):
        return False
    # Only here does each stream state its own end. Fragmented files (without a number of frames) do not.
    if stated_end_s is None or "mov" not in container.format.name or not stream.frames:
        return True
    return end_s + _TIME_TOLERANCE_S < stated_end_s


def break_error(subject: str, break_s: Fraction) -> MediaError:
    """Return the error for a range that reaches past the break of a file or its sound.

    Args:
        subject: Subject of the sentence, such as "door.mp4".
        break_s: Seconds after the start of the file.
    """
    return MediaError(
        f"{subject} breaks off {float(max(break_s, Fraction(0))):.3f} s after its start.",
        "Copy or export it again, or choose an earlier range.",
    )


def _stated_size_bytes(file: BinaryIO) -> int | None:
    head = file.read(64)
    if head[4:8] in _BOX_FORMATS:
        return _end_of_boxes(file)
    if head[:4] == b"RIFF":
        size_bytes = int.from_bytes(head[4:8], "little")
        return size_bytes + 8 if size_bytes < _MAX_RIFF_BYTES else None
    if head[:4] == b"RF64" and head[12:16] == b"ds64":
        return int.from_bytes(head[20:28], "little") + 8
    if head[:4] == b"FORM":
        return int.from_bytes(head[4:8], "big") + 8
    if head[:8] == _W64_ID:
        return int.from_bytes(head[16:24], "little")
    return _end_of_segment(head) if head[:4] == _EBML_ID else None


def _end_of_boxes(file: BinaryIO) -> int | None:
    """End of the last box of an MP4 or QuickTime file."""
    return max(_box_ends(file), default=None)


def _box_ends(file: BinaryIO) -> Iterator[int]:
    place = 0
    while True:
        file.seek(place)
        head = file.read(16)
        if len(head) < 8 or not head[4:8].isalnum():
            return
        size_bytes = int.from_bytes(head[:4], "big")
        if size_bytes == 1:
            size_bytes = int.from_bytes(head[8:], "big")
        if size_bytes < 8:  # 0 stands for the rest of the file.
            return
        place += size_bytes
        yield place


def _end_of_segment(head: bytes) -> int | None:
    """End of the segment of a Matroska file; None if its size is unknown, as in a live recording."""
    header_bytes, place = _element_size(head, 4)
    if header_bytes is None:
        return None
    place += header_bytes
    if head[place : place + 4] != _SEGMENT_ID:
        return None
    size_bytes, place = _element_size(head, place + 4)
    return None if size_bytes is None else place + size_bytes


def _element_size(head: bytes, place: int) -> tuple[int | None, int]:
    """Size of an EBML element, and where its content begins."""
    length = 9 - head[place].bit_length() if place < len(head) and head[place] else 9
    mask = (1 << 7 * length) - 1
    size_bytes = int.from_bytes(head[place : place + length], "big") & mask
    return (None if length > 8 or size_bytes == mask else size_bytes), place + length
