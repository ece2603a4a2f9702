"""C4Group archives, the format of the games Clonk and OpenClonk.

An archive is compressed with gzip, whose first two bytes are replaced. It begins with a scrambled header of 204 bytes,
which has the number of entries at byte 36. An entry takes 316 bytes: its name (260 bytes, ended by a zero), whether it
is packed and whether it is an archive itself, its size twice, and where its content begins, counted from the end of the
last entry. An archive within an archive is not compressed. All numbers are little-endian and have 32 bits.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

MAGIC = b"\x1e\x8c"
_GZIP_MAGIC = b"\x1f\x8b"
_HEADER_BYTES = 204
_ENTRY_BYTES = 316
_NAME_BYTES = 260
_COUNT_AT = 36
_ID = b"RedWolf Design GrpFolder"
_MASK = 0xED
_LARGEST_BYTES = 1 << 31


def read_c4group(data: bytes) -> dict[str, bytes]:
    """Return the files in an archive by path, such as "Fire.ocg/Blast1.wav".

    Raises:
        ValueError: The archive is damaged.
    """
    try:
        unpacker = zlib.decompressobj(wbits=31)
        unpacked = unpacker.decompress(_GZIP_MAGIC + data[2:], _LARGEST_BYTES)
        if not unpacker.eof:
            raise ValueError("it is cut short or too large")
        return dict(_files(unpacked, ""))
    except (zlib.error, struct.error, RecursionError) as error:
        raise ValueError(str(error)) from error


def _files(archive: bytes, folder: str) -> Iterator[tuple[str, bytes]]:
    header = _unscrambled(archive[:_HEADER_BYTES])
    if not header.startswith(_ID):
        raise ValueError(f"{folder or 'the archive'} has no header")
    (count,) = struct.unpack_from("<I", header, _COUNT_AT)
    contents = _HEADER_BYTES + count * _ENTRY_BYTES
    for number in range(count):
        entry = archive[_HEADER_BYTES + number * _ENTRY_BYTES :][:_ENTRY_BYTES]
        name = entry[:_NAME_BYTES].partition(b"\0")[0].decode("utf-8", "replace")
        _, is_archive, size, _, start = struct.unpack_from("<5I", entry, _NAME_BYTES)
        content = archive[contents + start : contents + start + size]
        if len(content) < size:
            raise ValueError(f"{folder}{name} is cut short")
        if is_archive:
            yield from _files(content, f"{folder}{name}/")
        else:
            yield f"{folder}{name}", content


def _unscrambled(header: bytes) -> bytes:
    """The unscrambled header. In each three bytes, the first and third are swapped, and each byte is masked."""
    clear = bytearray(byte ^ _MASK for byte in header)
    for start in range(0, len(clear) - 2, 3):
        clear[start], clear[start + 2] = clear[start + 2], clear[start]
    return bytes(clear)
