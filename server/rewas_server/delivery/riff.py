"""Writes RIFF files, and RF64 files (EBU Tech 3306) where a size exceeds 32 bits.

This is our own writer because no available one writes everything: the Python binding of libsndfile cannot write a
`bext` chunk, and FFmpeg's muxer writes neither the loudness fields of its version 2 nor iXML or XMP.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import BinaryIO

RIFF_LIMIT_BYTES = 2**32 - 1
"""Largest size that a RIFF file can state."""
_DS64_BYTES = 28
_UNKNOWN_SIZE = 0xFFFFFFFF

Chunk = tuple[bytes, bytes]
"""Identifier of four bytes, and content."""


def write_wave(
    file: BinaryIO,
    chunks: Sequence[Chunk],
    samples: Iterable[bytes],
    *,
    data_bytes: int,
    frames: int,
    riff_limit_bytes: int = RIFF_LIMIT_BYTES,
) -> None:
    """Write a WAVE file from its beginning to its end, without seeking.

    Args:
        file: Open for writing.
        chunks: All chunks except `data`, which comes last, so that readers find the others before the samples.
        samples: The content of `data`, in parts.
        data_bytes: Size of that content.
        frames: Samples per channel.
        riff_limit_bytes: Files above this size are RF64 files. Tests set it lower.

    Raises OSError if the file cannot be written, ValueError if the parts are not as large as stated.
    """
    content = b"".join(_chunk(identifier, body) for identifier, body in chunks)
    riff_bytes = 4 + len(content) + 8 + data_bytes + data_bytes % 2
    if riff_bytes <= riff_limit_bytes:
        file.write(b"RIFF" + struct.pack("<I", riff_bytes) + b"WAVE" + content)
        file.write(b"data" + struct.pack("<I", data_bytes))
    else:
        riff_bytes += 8 + _DS64_BYTES
        sizes = struct.pack("<QQQI", riff_bytes, data_bytes, frames, 0)
        file.write(b"RF64" + struct.pack("<I", _UNKNOWN_SIZE) + b"WAVE" + _chunk(b"ds64", sizes) + content)
        file.write(b"data" + struct.pack("<I", _UNKNOWN_SIZE))
    written = 0
    for part in samples:
        file.write(part)
        written += len(part)
    if written != data_bytes:
        raise ValueError(f"the samples have {written} bytes instead of {data_bytes}")
    file.write(b"\0" * (data_bytes % 2))


def _chunk(identifier: bytes, body: bytes) -> bytes:
    return identifier + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
