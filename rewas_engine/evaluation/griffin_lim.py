"""Griffin-Lim: reconstruction of a waveform from a log-mel without training, as a baseline for vocoders."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.curves.energy import FloatArray

ITERATIONS = 48
MOMENTUM = 0.99
_INVERSION_STEPS = 150
_TINY = 1e-9


def griffin_lim(log_mel: NDArray[np.float32], front_end: AudioFrontEnd, iterations: int = ITERATIONS) -> FloatArray:
    """Reconstruct a waveform [hop·T] from a log-mel [T, bins] in nats.

    The magnitudes are the non-negative ones that the filter bank maps closest to the mel spectrogram. The phases are
    found by the fast Griffin-Lim algorithm (Perraudin et al. 2013), starting from the same random phases every time.
    """
    config = front_end.config
    magnitudes = magnitudes_of(torch.from_numpy(log_mel), front_end)
    frames = magnitudes.shape[1]
    window = torch.hann_window(config.window_samples, periodic=True)
    fold = {
        "output_size": (1, (frames - 1) * config.hop_samples + config.window_samples),
        "kernel_size": (1, config.window_samples),
        "stride": (1, config.hop_samples),
    }
    weights = functional.fold(window.square()[None, :, None].expand(1, -1, frames), **fold)[0, 0, 0].clamp(min=1e-2)

    def waveform_of(spectrum: torch.Tensor) -> torch.Tensor:
        pieces = torch.fft.irfft(spectrum, n=config.window_samples, dim=0) * window[:, None]
        return functional.fold(pieces[None], **fold)[0, 0, 0] / weights

    def spectrum_of(waveform: torch.Tensor) -> torch.Tensor:
        pieces = waveform.unfold(0, config.window_samples, config.hop_samples).T * window[:, None]
        return torch.fft.rfft(pieces, dim=0)

    angles = 2 * torch.pi * torch.rand(magnitudes.shape, generator=torch.Generator().manual_seed(0))
    phases = torch.polar(torch.ones_like(angles), angles)
    before = torch.zeros_like(phases)
    for _ in range(iterations):
        consistent = spectrum_of(waveform_of(magnitudes * phases))
        ahead = consistent + MOMENTUM * (consistent - before)
        phases, before = ahead / (ahead.abs() + _TINY), consistent
    padding = (config.window_samples - config.hop_samples) // 2
    return waveform_of(magnitudes * phases)[padding : padding + frames * config.hop_samples].numpy()


def magnitudes_of(log_mel: torch.Tensor, front_end: AudioFrontEnd) -> torch.Tensor:
    """Non-negative magnitudes [window/2 + 1, T] closest to a log-mel [T, bins] (Lee and Seung 2000, eq. 4)."""
    # A value at the floor means silence, not a sound at that level.
    mel = torch.exp(log_mel.T) - front_end.config.floor
    mel = mel.clamp(min=0)
    bank = torch.from_numpy(front_end.filter_bank)
    pulled = bank.T @ mel
    magnitudes = pulled / bank.T.sum(dim=1, keepdim=True).clamp(min=_TINY)
    for _ in range(_INVERSION_STEPS):
        magnitudes = magnitudes * pulled / (bank.T @ (bank @ magnitudes) + _TINY)
    return magnitudes
