"""Stems: the sounds of a take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PRIMARY = "primary"
"""Role of the stem that follows the video."""
MIX = "mix"
"""Role of the sum of all stems."""


@dataclass(frozen=True, eq=False)
class Stem:
    """One sound of a take.

    Attributes:
        role: "primary", "ambience" and so on.
        waveform: `[channels, samples]` float32 within ±1.
        sample_rate_hz: Samples per second.
    """

    role: str
    waveform: NDArray[np.float32]
    sample_rate_hz: int

    @classmethod
    def read(cls, path: str | Path, role: str = PRIMARY) -> Stem:
        """Read a stem from a sound file without changing samples. Raises MediaError if it cannot be read."""
        from rewas_engine.media.audio import read_audio_file

        waveform, rate_hz = read_audio_file(path)
        return cls(role, waveform, rate_hz)

    def save(self, path: str | Path) -> Path:
        """Write the stem as a 24-bit WAV file, atomically. Raises OSError if it cannot be written."""
        from rewas_engine.media.audio import write_wav

        return write_wav(path, self.waveform, self.sample_rate_hz)


def spread_channels(waveform: NDArray[Any], channels: int) -> NDArray[Any]:
    """Give a waveform `[channels, samples]` another number of channels.

    One channel goes to the first two, which are left and right in nearly all layouts. Several channels keep their
    positions. Further channels are silent, and surplus ones are left out.
    """
    if len(waveform) == channels:
        return waveform
    source = np.repeat(waveform, 2, axis=0) if len(waveform) == 1 else waveform
    spread = np.zeros((channels, waveform.shape[1]), waveform.dtype)
    kept = min(channels, len(source))
    spread[:kept] = source[:kept]
    return spread
