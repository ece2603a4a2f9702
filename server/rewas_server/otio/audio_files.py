"""The format of a sound file, which some timelines state besides its name: rate, channels, depth and length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

_BLOCK_SAMPLES = 2**18
_DEPTH_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32, "DOUBLE": 64}


@dataclass(frozen=True)
class AudioFacts:
    """The format of a sound file. samples: per channel. is_pcm: integers of 16, 24 or 32 bits."""

    sample_rate_hz: int
    channels: int
    depth_bits: int
    samples: int
    is_pcm: bool

    @property
    def data_bytes(self) -> int:
        """Size of its samples."""
        return self.samples * self.channels * self.depth_bits // 8


def read_audio_facts(path: Path) -> AudioFacts | None:
    """Return the format of an uncompressed sound file; None for any other file, or if it does not exist."""
    try:
        info = soundfile.info(str(path))
    except (soundfile.LibsndfileError, OSError, RuntimeError):
        return None
    depth_bits = _DEPTH_BITS.get(info.subtype)
    if depth_bits is None:
        return None
    is_pcm = info.subtype.startswith("PCM_") and depth_bits > 8
    return AudioFacts(info.samplerate, info.channels, depth_bits, info.frames, is_pcm)


def read_pcm(path: Path, depth_bits: int) -> Iterator[bytes]:
    """Yield the interleaved samples of a sound file as little-endian integers, unchanged.

    depth_bits: that of the file: 16, 24 or 32. Raises OSError, soundfile.LibsndfileError.
    """
    width = depth_bits // 8
    with soundfile.SoundFile(str(path)) as file:
        for block in file.blocks(_BLOCK_SAMPLES, dtype="int32", always_2d=True):
            # libsndfile puts the samples into the upper bytes.
            yield np.ascontiguousarray(block, "<i4").view(np.uint8).reshape(-1, 4)[:, 4 - width :].tobytes()
