"""Read a sound file of any length block by block, with all of its channels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from rewas_engine.errors import Cancelled, MediaError
from rewas_engine.media.container import decode_frames, open_media
from rewas_engine.media.formats import SOUND_FILE_STARTS
from rewas_engine.recordings.file_state import unreadable_error
from rewas_engine.runtime.progress import CancelSignal

BLOCK_VALUES = 2**18
"""Values of one block, over all channels: 1 MiB."""
MOST_HEADER_BYTES = 2**16
"""A longer file contains more than a header."""

Block = NDArray[np.float32]


@dataclass(frozen=True)
class SoundBlocks:
    """An open sound file.

    Attributes:
        blocks: Its samples in order, each block `[samples, channels]` float32; full scale is 1. Reading them raises
            MediaError if the file is damaged, ends early, or contains samples that are not finite, and Cancelled.
    """

    sample_rate_hz: int
    channels: int
    blocks: Iterator[Block]


@contextmanager
def open_blocks(path: Path, cancel: CancelSignal | None = None) -> Iterator[SoundBlocks]:
    """Open a sound file with libsndfile, or with FFmpeg if libsndfile does not support its format.

    Raises:
        MediaError: The file is missing, empty or not a sound.
    """
    try:
        is_empty = path.stat().st_size == 0
    except OSError as error:
        raise unreadable_error(path, error) from error
    if is_empty:
        raise MediaError(f"{path.name} is empty.", "Copy it again from its source.")
    try:
        with path.open("rb") as beginning:
            is_known = beginning.read(12).startswith(SOUND_FILE_STARTS)
        file = soundfile.SoundFile(path) if is_known else None
    except (soundfile.LibsndfileError, TypeError):
        file = None
    except OSError as error:
        raise unreadable_error(path, error) from error
    if file is None:
        with _open_with_ffmpeg(path, cancel) as opened:
            yield opened
        return
    with file:
        yield SoundBlocks(file.samplerate, file.channels, _checked(_sndfile_blocks(file, path), path, cancel))


def _sndfile_blocks(file: soundfile.SoundFile, path: Path) -> Iterator[Block]:
    length, read = max(1, BLOCK_VALUES // file.channels), 0
    if not file.frames and file.format == "OGG":  # libsndfile finds no end
        raise _damaged_error(path)
    if not file.frames and file.format == "WAV" and path.stat().st_size > MOST_HEADER_BYTES:
        # A recorder that loses power leaves the length at 0.
        raise MediaError(
            f"{path.name} was not finished: its header states a length of 0.",
            "Repair its header, for example with: ffmpeg -i FILE -c copy REPAIRED.wav.",
        )
    while True:
        try:
            block = file.read(length, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise _damaged_error(path) from error
        if not len(block):
            break
        read += len(block)
        yield block
    # The length of an MP3 file without a Xing header is only an estimate.
    if read < file.frames and file.format != "MP3":
        raise MediaError(
            f"{path.name} is cut short: it has {read} samples of {file.frames}.",
            "Copy it again from its source.",
        )


@contextmanager
def _open_with_ffmpeg(path: Path, cancel: CancelSignal | None) -> Iterator[SoundBlocks]:
    with open_media(path) as container:
        if not container.streams.audio:
            raise MediaError(f"{path.name} has no sound.", "Choose a file with sound.")
        stream = container.streams.audio[0]
        rate_hz, channels = int(stream.codec_context.sample_rate), int(stream.codec_context.channels)
        if rate_hz <= 0 or channels <= 0:
            raise _damaged_error(path)
        frames = _ffmpeg_blocks(decode_frames(container, stream, path), rate_hz, channels)
        yield SoundBlocks(rate_hz, channels, _checked(frames, path, cancel))


def _ffmpeg_blocks(frames: Iterator[Any], rate_hz: int, channels: int) -> Iterator[Block]:
    # Packed, because PyAV does not support more than eight planes. If the format changes later, it is converted back.
    converter: Any = None
    for frame in frames:
        converter = converter or av.AudioResampler(format="flt", layout=frame.layout.name, rate=rate_hz)
        for part in converter.resample(frame):
            yield part.to_ndarray().reshape(-1, channels)


def _checked(blocks: Iterator[Block], path: Path, cancel: CancelSignal | None) -> Iterator[Block]:
    for block in blocks:
        if cancel is not None and cancel.is_set():
            raise Cancelled
        if not np.isfinite(block).all():
            raise MediaError(f"{path.name} contains samples that are not numbers.", "Export it again.")
        yield block


def _damaged_error(path: Path) -> MediaError:
    return MediaError(f"{path.name} is damaged and cannot be decoded.", "Copy it again from its source.")
