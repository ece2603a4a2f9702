# SPDX-License-Identifier: GPL-3.0-or-later
"""Fits a sound file to a clip that begins earlier or later, or ends earlier, without changing a sample.

Stems are WAV files with 24-bit samples, or RF64 files (EBU Tech 3306) beyond 4 GiB. Python 3.11's wave module refuses
these, and the extensible format, which stems with more than two channels have.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

_CHUNK_HEADER = struct.Struct("<4sI")
_LARGE_SIZES = struct.Struct("<QQQI")
"""Sizes in the ds64 chunk of an RF64 file: the file and its samples in bytes, the sample count, and further sizes."""
_IN_DS64 = 0xFFFFFFFF
"""A size that the ds64 chunk states instead."""
LARGEST_WAV_BYTES = (1 << 32) - 1
"""A larger file is an RF64 file. Tests set it lower."""
_LARGE_KINDS = (b"RF64", b"BW64")
_LARGEST_LAYOUT_BYTES = 1 << 16
_BLOCK_BYTES = 1 << 20


def fit_sound(source: Path, target: Path, *, offset_s: Fraction, duration_s: Fraction) -> None:
    """Write a sound from the start of a clip, at most until its end, with unchanged samples.

    Args:
        source: The WAV or RF64 file.
        target: The new file. It is written atomically, and as RF64 if it is too large for WAV.
        offset_s: How many seconds after the start of the clip the sound begins. That much silence comes first. If
            negative, that much of the sound is left out.
        duration_s: Duration of the clip in seconds.

    Raises:
        OSError: A file cannot be read or written.
        ValueError: The source is not a WAV file with whole samples.
    """
    unfinished = target.with_name(f".{target.name}.unfinished")
    try:
        with source.open("rb") as file, unfinished.open("wb") as out:
            layout, data_bytes = _find_data(file)
            frame_bytes, rate_hz = struct.unpack_from("<H", layout, 12)[0], struct.unpack_from("<I", layout, 4)[0]
            if not frame_bytes or not rate_hz:
                raise ValueError(f"{source} is not a WAV file.")
            offset, samples = round(offset_s * rate_hz), data_bytes // frame_bytes
            skipped = min(max(-offset, 0), samples)
            silent = max(offset, 0)
            kept = max(0, min(samples - skipped, round(duration_s * rate_hz) - silent))
            _write_header(out, layout, (silent + kept) * frame_bytes)
            for block in _blocks(silent * frame_bytes):
                out.write(bytes(block))
            file.seek(skipped * frame_bytes, 1)
            for block in _blocks(kept * frame_bytes):
                out.write(_read(file, block))
            if (silent + kept) * frame_bytes % 2:
                out.write(b"\0")
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def read_wav_format(path: Path) -> tuple[int, int, int] | None:
    """Return channels, sample rate and samples of a WAV or RF64 file, or None if it is missing or not one."""
    try:
        with path.open("rb") as file:
            layout, data_bytes = _find_data(file)
        channels, rate_hz, frame_bytes = struct.unpack_from("<HI4xH", layout, 2)
    except (OSError, ValueError, struct.error):
        return None
    return (channels, rate_hz, data_bytes // frame_bytes) if channels and rate_hz and frame_bytes else None


def _find_data(file: BinaryIO) -> tuple[bytes, int]:
    """Return the fmt chunk and the size of the samples. The file is then positioned at their start."""
    kind, _, form = struct.unpack("<4sI4s", _read(file, 12))
    if kind not in (b"RIFF", *_LARGE_KINDS) or form != b"WAVE":
        raise ValueError(f"{file.name} is not a WAV file.")
    layout, large_data_bytes = b"", _IN_DS64
    while True:
        name, size = _CHUNK_HEADER.unpack(_read(file, _CHUNK_HEADER.size))
        if name == b"data" and len(layout) >= 16:
            return layout, large_data_bytes if size == _IN_DS64 else size
        end = file.tell() + size + size % 2
        if name == b"ds64" and kind in _LARGE_KINDS:
            _, large_data_bytes, _, _ = _LARGE_SIZES.unpack(_read(file, _LARGE_SIZES.size))
        elif name == b"fmt " and size <= _LARGEST_LAYOUT_BYTES:
            layout = _read(file, size)
        file.seek(end)


def _write_header(out: BinaryIO, layout: bytes, data_bytes: int) -> None:
    content = _CHUNK_HEADER.pack(b"fmt ", len(layout)) + layout + bytes(len(layout) % 2)
    size = 4 + len(content) + _CHUNK_HEADER.size + data_bytes + data_bytes % 2
    if size <= LARGEST_WAV_BYTES:
        out.write(struct.pack("<4sI4s", b"RIFF", size, b"WAVE") + content + _CHUNK_HEADER.pack(b"data", data_bytes))
        return
    (frame_bytes,) = struct.unpack_from("<H", layout, 12)
    size += _CHUNK_HEADER.size + _LARGE_SIZES.size
    sizes = _LARGE_SIZES.pack(size, data_bytes, data_bytes // frame_bytes, 0)
    out.write(struct.pack("<4sI4s", b"RF64", _IN_DS64, b"WAVE"))
    out.write(_CHUNK_HEADER.pack(b"ds64", len(sizes)) + sizes + content + _CHUNK_HEADER.pack(b"data", _IN_DS64))


def _read(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise ValueError(f"{file.name} ends too early.")
    return data


def _blocks(size: int) -> Iterator[int]:
    while size > 0:
        yield min(size, _BLOCK_BYTES)
        size -= _BLOCK_BYTES
