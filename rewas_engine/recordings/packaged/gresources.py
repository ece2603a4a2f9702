"""Resource files of GTK programs (.gresource), which are GVDB hash tables.

The header says where the root table begins and ends. A table has the number of words in its Bloom filter and the
number of buckets, then both lists, and its items of 24 bytes. The key of an item is appended to that of its parent. The
value of a file is its size, flags, and content, followed by the name of its type. All numbers are little-endian and
have 32 bits.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

MAGIC = b"GVariant"
_ROOT_AT = 16
_ITEM = struct.Struct("<IIIHccII")
_NO_PARENT = 0xFFFFFFFF
_BLOOM_WORDS = 0x07FFFFFF
_TYPE = b"\0(uuay)"
_IS_COMPRESSED = 1
_DEEPEST = 100


def read_gresources(data: bytes) -> dict[str, bytes]:
    """Return the files in a resource file by path, without a leading slash.

    Raises:
        ValueError: The file is damaged.
    """
    try:
        return dict(_files(data))
    except (struct.error, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error


def _files(data: bytes) -> Iterator[tuple[str, bytes]]:
    begin, end = struct.unpack_from("<II", data, _ROOT_AT)
    bloom, buckets = struct.unpack_from("<II", data, begin)
    first = begin + 8 + 4 * ((bloom & _BLOOM_WORDS) + buckets)
    items = list(_ITEM.iter_unpack(data[first : first + (end - first) // _ITEM.size * _ITEM.size]))

    def path_of(number: int, depth: int = 0) -> str:
        if depth > _DEEPEST or number >= len(items):
            raise ValueError("its folders contain each other")
        _, parent, start, length, *_ = items[number]
        return (path_of(parent, depth + 1) if parent != _NO_PARENT else "") + data[start : start + length].decode()

    for number, (*_, kind, _, start, stop) in enumerate(items):
        value = data[start:stop]
        if kind == b"v" and value.endswith(_TYPE):
            size, flags = struct.unpack_from("<II", value)
            content = value[8 : -len(_TYPE)]
            if flags & _IS_COMPRESSED:
                content = zlib.decompressobj().decompress(content, size)
            if len(content) < size:
                raise ValueError(f"{path_of(number)} is cut short")
            yield path_of(number).lstrip("/"), content[:size]
