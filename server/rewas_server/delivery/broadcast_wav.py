"""Broadcast WAV files (EBU Tech 3285): samples with position, provenance, rights and loudness.

The `bext` chunk is short and ASCII. iXML has the timecode rate and the full texts. Media players show LIST INFO. XMP
states in IPTC's terms that the sound was generated. Importers ignore one or the other, so each chunk states as much as
it can.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from rewas_engine.media.audio import sample_peak
from rewas_server.delivery.bext import bext_chunk, bext_fields
from rewas_server.delivery.ixml import ixml_chunk
from rewas_server.delivery.list_info import list_info_chunk
from rewas_server.delivery.metadata import BroadcastMetadata
from rewas_server.delivery.profiles import SampleFormat
from rewas_server.delivery.riff import RIFF_LIMIT_BYTES, write_wave
from rewas_server.delivery.sample_formats import ENCODINGS, format_chunks
from rewas_server.delivery.xmp import xmp_packet

_PART_SAMPLES = 2**18


def check_finite(waveform: NDArray[np.float32]) -> None:
    """Raise ValueError if any sample is not finite."""
    # A single non-finite sample makes the sum non-finite.
    if not np.isfinite(waveform.sum(dtype=np.float64)):
        raise ValueError("the waveform contains samples that are not finite numbers")


def write_broadcast_wav(
    file: BinaryIO,
    waveform: NDArray[np.float32],
    sample_rate_hz: int,
    metadata: BroadcastMetadata,
    sample_format: SampleFormat = "pcm_24",
    *,
    riff_limit_bytes: int = RIFF_LIMIT_BYTES,
) -> None:
    """Write a complete file, in parts, so that long sounds are not copied as a whole.

    The samples are not changed: `finish_sound` limits their peak and measures their loudness. A file beyond 4 GiB is an
    RF64 file.

    Args:
        file: Open for writing, at its beginning.
        waveform: `[channels, samples]` float32, within ±1 unless the format is float.
        sample_rate_hz: Sample rate of the waveform and the file.
        metadata: Metadata for the file.
        sample_format: Sample format of the file.
        riff_limit_bytes: Largest size of a RIFF file. Tests set it lower.

    Raises:
        OSError: The file cannot be written.
        ValueError: Samples are not finite or clip.
    """
    check_finite(waveform)
    encoding = ENCODINGS[sample_format]
    channels, frames = waveform.shape
    if not encoding.is_float and sample_peak(waveform) > 1:
        raise ValueError("the waveform exceeds full scale")
    metadata = replace(metadata, created=metadata.creation_time())
    file_id = _file_id(waveform, metadata)
    fields = bext_fields(metadata, file_id, encoding, channels, sample_rate_hz)
    chunks = [
        (b"bext", _even(bext_chunk(fields), b"\0")),
        *format_chunks(encoding, channels, sample_rate_hz, frames),
        (b"iXML", _even(ixml_chunk(metadata, fields, encoding, channels, sample_rate_hz), b"\n")),
        (b"LIST", list_info_chunk(metadata)),
        (b"_PMX", _even(xmp_packet(metadata, file_id), b"\n")),
    ]
    write_wave(
        file,
        chunks,
        (encoding.encode(part) for part in _parts(waveform)),
        data_bytes=frames * channels * encoding.bits // 8,
        frames=frames,
        riff_limit_bytes=riff_limit_bytes,
    )


def _even(body: bytes, filler: bytes) -> bytes:
    """Give a chunk an even size, since libsndfile loses its place after an odd one in RF64 files."""
    return body + filler * (len(body) % 2)


def _parts(waveform: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    for first in range(0, waveform.shape[1], _PART_SAMPLES):
        yield waveform[:, first : first + _PART_SAMPLES]


def _file_id(waveform: NDArray[np.float32], metadata: BroadcastMetadata) -> str:
    """Return an identifier of 32 characters: the same for the same sound of a clip, whenever it is written."""
    digest = hashlib.sha256(repr((metadata.provenance, metadata.title, metadata.track_names, metadata.take)).encode())
    digest.update(str(metadata.time_reference_samples).encode())
    for part in _parts(waveform):
        digest.update(np.ascontiguousarray(part).data)
    return "rewas-" + base64.b32encode(digest.digest()).decode("ascii").lower()[:26]
