"""The format of a sound file, which some timelines state besides its name: rate, channels, depth and length."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import soundfile

_DEPTH_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32, "DOUBLE": 64}


@dataclass(frozen=True)
class AudioFacts:
    """The format of a sound file. samples: per channel."""

    sample_rate_hz: int
    channels: int
    depth_bits: int
    samples: int


def read_audio_facts(path: Path) -> AudioFacts | None:
    """Return the format of an uncompressed sound file; None for any other file, or if it does not exist."""
    try:
        info = soundfile.info(str(path))
    except (soundfile.LibsndfileError, OSError, RuntimeError):
        return None
    depth_bits = _DEPTH_BITS.get(info.subtype)
    if depth_bits is None:
        return None
    return AudioFacts(info.samplerate, info.channels, depth_bits, info.frames)
