"""Sample formats of delivered files: how floats become bytes, and the chunks that describe them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewas_server.delivery.profiles import SampleFormat
from rewas_server.delivery.riff import Chunk

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_SUBFORMAT_GUID = bytes.fromhex("000000001000800000aa00389b71")
"""The rest of the GUID of a format; its first two bytes are the format's tag."""


@dataclass(frozen=True)
class Encoding:
    """A sample format.

    Attributes:
        bits: Bits per sample.
        is_float: Whether samples are floats, which may exceed full scale.
        encode: Convert a part of a waveform `[channels, samples]` to interleaved bytes.
    """

    bits: int
    is_float: bool
    encode: Callable[[NDArray[np.float32]], bytes]


def _encode_24_bits(waveform: NDArray[np.float32]) -> bytes:
    # The upper three bytes of 32-bit integers, so that libsndfile converts the same floats to the same samples.
    words = np.clip(np.rint(waveform.T.astype(np.float64) * 2**31), -(2**31), 2**31 - 1).astype("<i4")
    return np.ascontiguousarray(words).view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()


def _encode_16_bits(waveform: NDArray[np.float32]) -> bytes:
    return np.clip(np.rint(waveform.T.astype(np.float64) * 2**15), -(2**15), 2**15 - 1).astype("<i2").tobytes()


def _encode_floats(waveform: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(waveform.T).astype("<f4").tobytes()


ENCODINGS: Mapping[SampleFormat, Encoding] = {
    "pcm_16": Encoding(16, False, _encode_16_bits),
    "pcm_24": Encoding(24, False, _encode_24_bits),
    "float_32": Encoding(32, True, _encode_floats),
}


def format_chunks(encoding: Encoding, channels: int, sample_rate_hz: int, frames: int) -> list[Chunk]:
    """Return the chunks that describe the samples.

    Up to two channels use the plain format, which every reader of Broadcast WAV knows. More need the extensible one
    (WAVE_FORMAT_EXTENSIBLE). It names no loudspeakers, since the channels are separate sounds.
    """
    tag = _FLOAT if encoding.is_float else _PCM
    is_extensible = channels > 2
    block_bytes = channels * encoding.bits // 8
    body = struct.pack(
        "<HHIIHH",
        _EXTENSIBLE if is_extensible else tag,
        channels,
        sample_rate_hz,
        sample_rate_hz * block_bytes,
        block_bytes,
        encoding.bits,
    )
    if is_extensible:
        body += struct.pack("<HHIH", 22, encoding.bits, 0, tag) + _SUBFORMAT_GUID
    elif encoding.is_float:
        body += struct.pack("<H", 0)
    chunks: list[Chunk] = [(b"fmt ", body)]
    if encoding.is_float:
        chunks.append((b"fact", struct.pack("<I", min(frames, 2**32 - 1))))
    return chunks
