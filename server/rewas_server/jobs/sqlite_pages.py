"""Rows of a damaged SQLite file, read from its pages. See https://www.sqlite.org/fileformat2.html.

A page that says where others are may be damaged while those with the rows are sound. SQLite then finds none of them.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

LEAF_PAGE = 0x0D
MAX_ROW_BYTES = 256 * 1024**2

Value = int | float | str | bytes | None


class _Damaged(Exception):
    """What was read cannot be a row."""


def scan_rows(path: Path, column_count: int, page_bytes: int) -> Iterator[tuple[Value, ...]]:
    """Yield all rows with this number of columns on the pages of a file: also deleted ones, and several versions.

    The column that is the row's number is None in the file, and has the number here.

    Args:
        path: The file, without changes that are only in its write-ahead log.
        column_count: Columns of the table.
        page_bytes: Size of a page.

    Raises OSError.
    """
    if path.stat().st_size < page_bytes:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for start in range(0, len(content) - page_bytes + 1, page_bytes):
            if content[start] == LEAF_PAGE:
                yield from _rows_of_page(content, start, column_count, page_bytes)


def _rows_of_page(content: mmap.mmap, start: int, column_count: int, page_bytes: int) -> Iterator[tuple[Value, ...]]:
    (cells,) = struct.unpack_from(">H", content, start + 3)
    for cell in range(min(cells, (page_bytes - 8) // 2)):
        (offset,) = struct.unpack_from(">H", content, start + 8 + 2 * cell)
        try:
            if offset < page_bytes:
                yield _read_row(content, start + offset, start + page_bytes, column_count, page_bytes)
        except (_Damaged, IndexError, struct.error):
            continue


def _read_row(
    content: mmap.mmap, position: int, page_end: int, column_count: int, page_bytes: int
) -> tuple[Value, ...]:
    size_bytes, position = _read_varint(content, position)
    number, position = _read_varint(content, position)
    if size_bytes > MAX_ROW_BYTES:
        raise _Damaged
    payload = _read_payload(content, position, page_end, size_bytes, page_bytes)
    header_bytes, at = _read_varint(payload, 0)
    kinds = []
    while at < header_bytes:
        kind, at = _read_varint(payload, at)
        kinds.append(kind)
    if len(kinds) != column_count or at != header_bytes:
        raise _Damaged
    values: list[Value] = []
    for kind in kinds:
        value, at = _read_value(payload, at, kind)
        values.append(value)
    if at != size_bytes:
        raise _Damaged
    return tuple(number if value is None and place == 0 else value for place, value in enumerate(values))


def _read_payload(content: mmap.mmap, position: int, page_end: int, size_bytes: int, page_bytes: int) -> bytes:
    """Read a row, whose end is on other pages if it is too long for this one."""
    largest = page_bytes - 35
    local = size_bytes
    if size_bytes > largest:
        smallest = (page_bytes - 12) * 32 // 255 - 23
        local = smallest + (size_bytes - smallest) % (page_bytes - 4)
        local = local if local <= largest else smallest
    if position + local > page_end:
        raise _Damaged
    parts = [content[position : position + local]]
    left = size_bytes - local
    if left:
        (page,) = struct.unpack_from(">I", content, position + local)
    while left > 0:
        start = (page - 1) * page_bytes
        if page == 0 or start + page_bytes > len(content):
            raise _Damaged
        (page,) = struct.unpack_from(">I", content, start)
        parts.append(content[start + 4 : start + 4 + min(left, page_bytes - 4)])
        left -= page_bytes - 4
    return b"".join(parts)


def _read_value(payload: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind == 0:
        return None, at
    if kind in (8, 9):
        return kind - 8, at
    if kind in (10, 11):
        raise _Damaged
    length = {5: 6, 6: 8, 7: 8}.get(kind, kind) if kind < 8 else (kind - 12) // 2
    data = payload[at : at + length]
    if len(data) != length:
        raise _Damaged
    if kind == 7:
        return struct.unpack(">d", data)[0], at + length
    if kind < 8:
        return int.from_bytes(data, "big", signed=True), at + length
    return (data if kind % 2 == 0 else data.decode("utf-8", "replace")), at + length


def _read_varint(data: bytes | mmap.mmap, position: int) -> tuple[int, int]:
    value = 0
    for count in range(9):
        byte = data[position + count]
        if count == 8:
            return (value << 8) | byte, position + 9
        value = (value << 7) | (byte & 0x7F)
        if byte < 0x80:
            return value, position + count + 1
    raise AssertionError("the ninth byte is the last one")
