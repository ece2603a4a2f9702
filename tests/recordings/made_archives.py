"""Writers of the archive formats in which packages contain sounds, for tests."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Tree = Mapping[str, "bytes | Tree"]


def c4group(files: Tree) -> bytes:
    """A C4Group archive. Folders are archives within it."""
    return b"\x1e\x8c" + gzip.compress(_plain_c4group(files))[2:]


def _plain_c4group(files: Tree) -> bytes:
    header = bytearray(204)
    header[:24] = b"RedWolf Design GrpFolder"
    struct.pack_into("<3I", header, 28, 1, 2, len(files))
    for start in range(0, len(header) - 2, 3):
        header[start], header[start + 2] = header[start + 2], header[start]
    entries, contents = b"", b""
    for name, file in files.items():
        content = file if isinstance(file, bytes) else _plain_c4group(file)
        is_archive = not isinstance(file, bytes)
        fields = struct.pack("<6I", 1, is_archive, len(content), 0, len(contents), 0)
        entries += name.encode().ljust(260, b"\0") + fields + bytes(32)
        contents += content
    return bytes(byte ^ 0xED for byte in header) + entries + contents


def qt_resources(files: Tree, version: int, is_compressed: bool = False) -> bytes:
    """A resource file of Qt."""
    names, contents = b"", b""
    nodes: list[bytes] = []
    # Breadth first: the children of a folder follow each other.
    waiting: list[tuple[str, bytes | Tree]] = [("", files)]
    done = 0
    while done < len(waiting):
        name, file = waiting[done]
        place = len(names)
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
        if isinstance(file, bytes):
            stored = struct.pack(">I", len(file)) + zlib.compress(file) if is_compressed else file
            node = struct.pack(">IHHHI", place, int(is_compressed), 0, 0, len(contents))
            contents += struct.pack(">I", len(stored)) + stored
        else:
            node = struct.pack(">IHII", place, 2, len(file), len(waiting))
            waiting.extend(file.items())
        nodes.append(node + bytes(8 if version > 1 else 0))
        done += 1
    start = 20 + 4 * (version > 2)
    tree = b"".join(nodes)
    places = (start, start + len(tree), start + len(tree) + len(contents))
    return b"qres" + struct.pack(">4I", version, *places) + bytes(start - 20) + tree + contents + names


def gresources(files: Mapping[str, bytes], is_compressed: bool = False) -> bytes:
    """A resource file of GTK, with paths such as "/org/app/a.ogg"."""
    keys: dict[str, int] = {"/": 0}
    for path in files:
        parts = path[1:].split("/")
        for depth in range(1, len(parts) + 1):
            keys.setdefault("/" + "/".join(parts[:depth]) + ("/" if depth < len(parts) else ""), len(keys))
    start, bloom, buckets = 24, 2, 3
    items_at = start + 8 + 4 * (bloom + buckets)
    end = items_at + 24 * len(keys)
    table, blob = b"", b""
    for key in keys:
        parent = key[: key.rstrip("/").rfind("/") + 1] if key != "/" else ""
        own = key[len(parent) :].encode()
        key_at = end + len(blob)
        blob += own
        kind, value_at, value_end = b"L", 0, 0
        if key in files:
            file = files[key]
            stored = zlib.compress(file) if is_compressed else file + b"\0"
            value = struct.pack("<II", len(file), int(is_compressed)) + stored + b"\0(uuay)"
            kind, value_at, value_end = b"v", end + len(blob), end + len(blob) + len(value)
            blob += value
        number = keys[parent] if parent else 0xFFFFFFFF
        table += struct.pack("<IIIHccII", 0, number, key_at, len(own), kind, b"\0", value_at, value_end)
    header = b"GVariant" + struct.pack("<4I", 0, 0, start, end)
    return header + struct.pack("<II", bloom, buckets) + bytes(4 * (bloom + buckets)) + table + blob


@dataclass(frozen=True, eq=False)
class FontSample:
    """A sample of a SoundFont; `kind` is 1 for mono, 4 for left and 2 for right."""

    name: str
    pcm: NDArray[np.int16]
    rate_hz: int = 16_000
    loop: tuple[int, int] = (0, 0)
    is_looped: bool = False
    kind: int = 1
    link: int = 0


def soundfont(samples: Sequence[FontSample]) -> bytes:
    """A SoundFont with one instrument that has one zone for each sample."""
    pcm, headers, bags, generators, place = b"", b"", b"", b"", 0
    for number, sample in enumerate(samples):
        end = place + len(sample.pcm)
        headers += struct.pack(
            "<20s5IBbHH", sample.name.encode(), place, end, place + sample.loop[0], place + sample.loop[1],
            sample.rate_hz, 60, 0, sample.link, sample.kind,
        )  # fmt: skip
        pcm += sample.pcm.astype("<i2").tobytes()
        place = end
        bags += struct.pack("<HH", len(generators) // 4, 0)
        if sample.is_looped:
            generators += struct.pack("<HH", 54, 1)
        generators += struct.pack("<HH", 53, number)
    headers += struct.pack("<20s5IBbHH", b"EOS", *[0] * 9)
    bags += struct.pack("<HH", len(generators) // 4, 0)
    instruments = struct.pack("<20sH", b"all", 0) + struct.pack("<20sH", b"EOI", len(samples))
    generators += bytes(4)

    def chunk(name: bytes, content: bytes) -> bytes:
        return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)

    lists = (
        b"INFO" + chunk(b"isng", b"EMU8000\0"),
        b"sdta" + chunk(b"smpl", pcm),
        b"pdta" + chunk(b"inst", instruments) + chunk(b"ibag", bags) + chunk(b"igen", generators)
        + chunk(b"shdr", headers),
    )  # fmt: skip
    content = b"sfbk" + b"".join(chunk(b"LIST", each) for each in lists)
    return chunk(b"RIFF", content)
