"""SoundFont 2 files (.sf2), as specified in the SoundFont Technical Specification 2.04: their samples as WAV files."""

from __future__ import annotations

import io
import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

MAGIC = b"RIFF"
FORM = b"sfbk"
"""The form of the RIFF file, at byte 8."""
LOOPED_S = 4
"""Samples that the font plays in a loop are repeated to at least this length."""
_HEADER = struct.Struct("<20s5IBbHH")
_SAMPLE_ID, _SAMPLE_MODES = 53, 54
_LOOPED_MODES = {1, 3}
_LEFT, _RIGHT = 4, 2


@dataclass(frozen=True)
class _Header:
    name: str
    start: int
    end: int
    loop_start: int
    loop_end: int
    rate_hz: int
    link: int
    kind: int


def read_soundfont(data: bytes) -> dict[str, bytes]:
    """Return the samples in a font by name as 16-bit WAV files. The two channels of a stereo sample are one file.

    Stereo samples have the name of their left channel without "(L)". If several have the same name, the first is used.

    Raises:
        ValueError: The file is damaged.
    """
    try:
        chunks = dict(_chunks(data))
        headers = _headers(chunks[b"shdr"])
        looped = _looped_samples(chunks)
        pcm = np.frombuffer(chunks[b"smpl"][: len(chunks[b"smpl"]) // 2 * 2], "<i2")
        sounds: dict[str, bytes] = {}
        for number, header in enumerate(headers):
            if header.kind == _RIGHT:
                continue
            sides = [header, headers[header.link]] if header.kind == _LEFT else [header]
            channels = [_samples(pcm, side, number in looped) for side in sides]
            length = min(map(len, channels))
            content = io.BytesIO()
            soundfile.write(
                content, np.stack([one[:length] for one in channels], axis=1), header.rate_hz, "PCM_16", format="WAV"
            )
            sounds.setdefault(header.name.removesuffix("(L)") if len(sides) > 1 else header.name, content.getvalue())
    except (struct.error, KeyError, IndexError, soundfile.SoundFileError) as error:
        raise ValueError(str(error)) from error
    return sounds


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks in the lists of a RIFF file."""
    place = 12
    while place + 12 <= len(data):
        name, size = struct.unpack_from("<4sI", data, place)
        if name == b"LIST":
            inner = place + 12
            while inner + 8 <= place + 8 + size:
                name, length = struct.unpack_from("<4sI", data, inner)
                yield name, data[inner + 8 : inner + 8 + length]
                inner += 8 + length + length % 2
        place += 8 + size + size % 2


def _headers(chunk: bytes) -> list[_Header]:
    """The headers of the samples. The last one ends the list."""
    found = []
    for name, start, end, loop_start, loop_end, rate_hz, _, _, link, kind in _HEADER.iter_unpack(chunk):
        text = name.partition(b"\0")[0].decode("latin-1").strip()
        found.append(_Header(text, start, end, loop_start, loop_end, rate_hz, link, kind))
    return found[:-1]


def _looped_samples(chunks: dict[bytes, bytes]) -> set[int]:
    """The numbers of the samples that an instrument plays in a loop."""
    bags = [first for first, _ in struct.iter_unpack("<HH", chunks[b"ibag"])]
    generators = list(struct.iter_unpack("<HH", chunks[b"igen"]))
    instruments = [zone for _, zone in struct.iter_unpack("<20sH", chunks[b"inst"])]
    looped = set()
    for first_zone, next_zone in itertools.pairwise(instruments):
        for_all: dict[int, int] = {}
        for zone in range(first_zone, next_zone):
            own = dict(generators[bags[zone] : bags[zone + 1]])
            if _SAMPLE_ID not in own:
                for_all = own
            elif (for_all | own).get(_SAMPLE_MODES) in _LOOPED_MODES:
                looped.add(own[_SAMPLE_ID])
    return looped


def _samples(pcm: NDArray[np.int16], header: _Header, is_looped: bool) -> NDArray[np.int16]:
    """The samples `[samples]` of one channel, with its loop repeated if the font plays it in a loop."""
    if not 0 <= header.start < header.end <= len(pcm):
        raise ValueError(f"the sample {header.name} is cut short")
    loop = pcm[header.loop_start : header.loop_end]
    missing = LOOPED_S * header.rate_hz - (header.loop_end - header.start)
    if not is_looped or not loop.size or missing <= 0:
        return pcm[header.start : header.end]
    return np.concatenate([pcm[header.start : header.loop_end], np.tile(loop, -(-missing // loop.size))])
