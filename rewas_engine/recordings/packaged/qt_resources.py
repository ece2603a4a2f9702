"""Resource files of Qt programs (.rcc).

The header has the version, and says where the tree, the contents and the names begin. The tree consists of nodes of
14 bytes, or 22 since version 2. A folder has the number of its children and the index of the first one. A file has the
position of its content. All numbers are big-endian.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

MAGIC = b"qres"
_ROOT = 0
_IS_COMPRESSED, _IS_FOLDER, _IS_ZSTD = 1, 2, 4
_DEEPEST = 100


def read_qt_resources(data: bytes) -> dict[str, bytes]:
    """Return the files in a resource file by path, without a leading slash.

    Files that are compressed with Zstandard are left out.

    Raises:
        ValueError: The file is damaged.
    """
    try:
        version, tree, contents, names = struct.unpack_from(">4I", data, len(MAGIC))
        node_bytes = 14 if version == 1 else 22
        return dict(_Resources(data, tree, contents, names, node_bytes).files(_ROOT, "", 0))
    except (struct.error, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error


class _Resources:
    def __init__(self, data: bytes, tree: int, contents: int, names: int, node_bytes: int) -> None:
        self.data, self.tree, self.contents, self.names, self.node_bytes = data, tree, contents, names, node_bytes

    def files(self, node: int, folder: str, depth: int) -> Iterator[tuple[str, bytes]]:
        if depth > _DEEPEST:
            raise ValueError("its folders contain each other")
        place = self.tree + node * self.node_bytes
        name_at, flags = struct.unpack_from(">IH", self.data, place)
        path = f"{folder}{self.name(name_at)}" if node != _ROOT else ""
        if flags & _IS_FOLDER:
            count, first = struct.unpack_from(">II", self.data, place + 6)
            for child in range(first, first + count):
                yield from self.files(child, f"{path}/" if path else "", depth + 1)
        elif not flags & _IS_ZSTD:
            (start,) = struct.unpack_from(">I", self.data, place + 10)
            yield path, self.content(start, bool(flags & _IS_COMPRESSED))

    def name(self, place: int) -> str:
        (length,) = struct.unpack_from(">H", self.data, self.names + place)
        begin = self.names + place + 6
        return self.data[begin : begin + 2 * length].decode("utf-16-be")

    def content(self, place: int, is_compressed: bool) -> bytes:
        begin = self.contents + place + 4
        (size,) = struct.unpack_from(">I", self.data, begin - 4)
        content = self.data[begin : begin + size]
        if len(content) < size:
            raise ValueError("it is cut short")
        if not is_compressed:
            return content
        (length,) = struct.unpack_from(">I", content)
        return zlib.decompressobj().decompress(content[4:], length)
