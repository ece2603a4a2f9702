"""The audio front end: from waveform to log-mel spectrogram to energy, as the paper defines them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank

from rewas_engine.curves.energy import EnergyCurve

CHUNK_FRAMES = 1024
"""Frames of a long sound that are transformed at once, because a spectrum is 16 times as large as its log-mel."""


@dataclass(frozen=True)
class MelConfig:
    """Geometry of the log-mel spectrogram. The defaults are those of AudioLDM-M in the paper (16 kHz, 64 bins).

    Attributes:
        lowest_hz: Lower end of the filter bank.
        highest_hz: Upper end of the filter bank.
        floor: Smallest magnitude; lower values are raised to it. ln(1e-5) = -11.5129 nats is silence.
    """

    sample_rate_hz: int = 16_000
    window_samples: int = 1024
    hop_samples: int = 160
    bins: int = 64
    lowest_hz: float = 0.0
    highest_hz: float = 8000.0
    floor: float = 1e-5

    @property
    def frame_rate_hz(self) -> Fraction:
        """Mel frames per second, exact."""
        return Fraction(self.sample_rate_hz, self.hop_samples)

    @property
    def silence_nats(self) -> float:
        """Log-mel value of digital silence."""
        return float(np.log(self.floor))


class AudioFrontEnd:
    """Log-mel spectrogram: reflect padding, periodic Hann window, magnitude, Slaney mel scale, natural logarithm.

    Frames are not centred: a waveform of hop·T samples has exactly T frames.
    """

    def __init__(self, config: MelConfig) -> None:
        self.config = config

    @cached_property
    def filter_bank(self) -> NDArray[np.float32]:
        """Slaney-normalised triangular filters, `[bins, window/2 + 1]`."""
        bank = mel_filter_bank(
            num_frequency_bins=self.config.window_samples // 2 + 1,
            num_mel_filters=self.config.bins,
            min_frequency=self.config.lowest_hz,
            max_frequency=self.config.highest_hz,
            sampling_rate=self.config.sample_rate_hz,
            norm="slaney",
            mel_scale="slaney",
        )
        return np.ascontiguousarray(bank.T, dtype=np.float32)

    def log_mel(self, waveform: torch.Tensor) -> torch.Tensor:
        """Log-mel spectrogram `[B, T, bins]` in nats of waveforms `[B, hop·T]`, cut to a multiple of the hop."""
        config = self.config
        whole = waveform.shape[-1] - waveform.shape[-1] % config.hop_samples
        frames, padding = whole // config.hop_samples, (config.window_samples - config.hop_samples) // 2
        window = torch.hann_window(config.window_samples, periodic=True, device=waveform.device)
        bank = torch.from_numpy(self.filter_bank).to(waveform.device)
        log_mel = waveform.new_empty(waveform.shape[0], frames, config.bins)
        for first in range(0, frames, CHUNK_FRAMES):
            last = min(first + CHUNK_FRAMES, frames)
            begin, end = first * config.hop_samples - padding, last * config.hop_samples + padding
            piece = waveform[:, max(0, begin) : min(whole, end)]
            beyond = (max(0, -begin), max(0, end - whole))
            if any(beyond):
                piece = functional.pad(piece[:, None], beyond, mode="reflect")[:, 0]
            spectrum = torch.stft(
                piece, config.window_samples, config.hop_samples, window=window, center=False, return_complex=True
            ).abs()
            log_mel[:, first:last] = torch.log(torch.clamp(bank @ spectrum, min=config.floor)).transpose(1, 2)
        return log_mel

    def frame_count(self, samples: int) -> int:
        """Number of mel frames that cover a number of samples."""
        return -(-samples // self.config.hop_samples)

    def encode(self, waveform: NDArray[np.float32]) -> torch.Tensor:
        """Log-mel `[T, bins]` in nats of a mono waveform `[samples]` of any length.

        The waveform is padded with silence to whole frames, and to at least one window.
        """
        frames = self.frame_count(waveform.size)
        missing = max(frames * self.config.hop_samples, self.config.window_samples) - waveform.size
        padded = np.pad(waveform, (0, missing)) if missing else waveform
        return self.log_mel(torch.from_numpy(padded)[None])[0, :frames]

    def measure_energy(self, waveform: NDArray[np.float32], source: str = "audio") -> EnergyCurve:
        """Energy of a mono waveform `[samples]`: mean of the log-mel over the bins, at the mel frame rate.

        The waveform is padded as in `encode`.
        """
        return EnergyCurve(self.encode(waveform).mean(dim=-1).numpy(), self.config.frame_rate_hz, source)
