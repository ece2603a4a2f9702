"""A stem: one sound of a take, with its role."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PRIMARY = "primary"
"""The role of the stem that a clip is made for."""
MIX = "mix"
"""The role of the sum of all stems."""


@dataclass(frozen=True, eq=False)
class Stem:
    """One sound of a take.

    role: "primary", "ambience", … waveform: [channels, samples] float32 within ±1. sample_rate_hz: its rate.
    """

    role: str
    waveform: NDArray[np.float32]
    sample_rate_hz: int

    @classmethod
    def read(cls, path: str | Path, role: str = PRIMARY) -> Stem:
        """A stem from a sound file, every sample as it stands there. Raises MediaError where it cannot be read."""
        from rewas_engine.media.audio import read_audio_file

        waveform, rate_hz = read_audio_file(path)
        return cls(role, waveform, rate_hz)

    def save(self, path: str | Path) -> Path:
        """Write the stem as 24-bit WAV; whole or not at all. Raises OSError where the folder cannot be written."""
        from rewas_engine.media.audio import write_wav

        return write_wav(path, self.waveform, self.sample_rate_hz)
