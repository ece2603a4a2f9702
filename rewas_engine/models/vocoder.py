"""Vocoders: from log-mel to waveform."""

from __future__ import annotations

from typing import NamedTuple

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig

_MAX_CORRECTION_NATS = 6.0
_INITIAL_SCATTER = -0.5


class Spectrum(NamedTuple):
    """The prediction of a SpectralVocoder, each field [B, F, T].

    Args:
        log_magnitude: In nats.
        phase: In radians.
        scatter: Half-width of the range of random phases around `phase`, 0 to 1 in half turns; None for no randomness.
    """

    log_magnitude: torch.Tensor
    phase: torch.Tensor
    scatter: torch.Tensor | None


class SpectralVocoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Predicts magnitude and phase of a short-time spectrum and inverts it (after Vocos, Siuzdak 2023).

    Args:
        bins: Mel bins.
        width, blocks: Size of the ConvNeXt trunk.
        window_samples, hop_samples: Frames of the spectrum, uncentred as in the front end, so that T frames give
            exactly hop·T samples.
        corrections: Number of iterations that correct the magnitudes to the target mel bins and keep the phases (as in
            Griffin and Lim 1984, but starting from phases that are nearly right).
        sample_rate_hz, lowest_hz, highest_hz, floor: Format of the log-mel.
        random_phases: Whether the phases of noise are random. Otherwise noise becomes one pulse per hop: its phases
            cannot be predicted, so the network predicts the same ones in every frame.
        scatter_offset: Added to the logits of the scatter outside of training. Above 0, noise is more even in time and
            impacts are slightly duller.
    """

    config_name = "config.json"
    draws_by_position = True
    """Whether `forward` accepts positions."""

    @register_to_config
    def __init__(
        self,
        bins: int = 64,
        width: int = 256,
        blocks: int = 6,
        window_samples: int = 1024,
        hop_samples: int = 160,
        corrections: int = 0,
        sample_rate_hz: int = 16_000,
        lowest_hz: float = 0.0,
        highest_hz: float = 8000.0,
        floor: float = 1e-5,
        random_phases: bool = False,
        scatter_offset: float = 0.0,
    ) -> None:
        super().__init__()
        self.embed = nn.Conv1d(bins, width, 7, padding=3)
        self.norm = nn.LayerNorm(width)
        self.trunk = nn.ModuleList(_ConvNextBlock(width, blocks) for _ in range(blocks))
        self.final_norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, window_samples + 2)
        self.scatter_head = nn.Linear(width, window_samples // 2 + 1) if random_phases else None
        if self.scatter_head is not None:
            nn.init.zeros_(self.scatter_head.weight)
            nn.init.constant_(self.scatter_head.bias, _INITIAL_SCATTER)
        self.register_buffer("window", torch.hann_window(window_samples), persistent=False)
        geometry = MelConfig(sample_rate_hz, window_samples, hop_samples, bins, lowest_hz, highest_hz, floor)
        bank = torch.from_numpy(AudioFrontEnd(geometry).filter_bank)
        self.register_buffer("bank", bank, persistent=False)
        # Share of each mel bin in each frequency; frequencies outside all bins are not corrected.
        self.register_buffer("shares", bank / bank.sum(dim=0).clamp(min=1e-9), persistent=False)

    def forward(self, log_mel: torch.Tensor, positions: torch.Tensor | None = None) -> torch.Tensor:
        """Waveforms [B, hop·T] of log-mels [B, T, bins] in nats.

        `positions`: [T] or [B, T], int64. They select the random phases of each frame, so that a frame at the same
        position sounds the same in every window. None counts from 0.
        """
        waveform = self.synthesise(self.spectrum(log_mel), positions)
        if not self.training:
            for _ in range(self.config.corrections):
                waveform = self._correct_mel(waveform, log_mel.float().transpose(1, 2))
        return waveform

    def spectrum(self, log_mel: torch.Tensor) -> Spectrum:
        """Predict the spectrum of log-mels [B, T, bins] in nats."""
        # Log-mels are between -11.5 and about 2: scale them to a range near ±1.
        hidden = self.embed((log_mel / 5 + 1).transpose(1, 2)).transpose(1, 2)
        hidden = self.norm(hidden)
        for block in self.trunk:
            hidden = block(hidden)
        hidden = self.final_norm(hidden)
        log_magnitude, phase = self.head(hidden).float().transpose(1, 2).chunk(2, dim=1)
        if self.scatter_head is None:
            return Spectrum(log_magnitude, phase, None)
        logits = self.scatter_head(hidden).float().transpose(1, 2)
        if not self.training:
            logits = logits + self.config.scatter_offset
        return Spectrum(log_magnitude, phase, torch.sigmoid(logits))

    def synthesise(self, spectrum: Spectrum, positions: torch.Tensor | None = None) -> torch.Tensor:
        """Synthesise a waveform [B, hop·T] from a predicted spectrum. `positions`: as for `forward`."""
        phase = spectrum.phase
        if spectrum.scatter is not None:
            if positions is None:
                positions = torch.arange(phase.shape[-1], device=phase.device)
            phase = phase + torch.pi * spectrum.scatter * _draw_noise(positions, phase.shape[1])
        return self._overlap_add(torch.polar(torch.exp(spectrum.log_magnitude.clamp(max=8.0)), phase))

    def _correct_mel(self, waveform: torch.Tensor, log_mel: torch.Tensor) -> torch.Tensor:
        """Scale the magnitudes of a waveform by the difference between its log-mel and the target [B, bins, T]."""
        window, hop = self.config.window_samples, self.config.hop_samples
        padding = (window - hop) // 2
        if waveform.shape[1] <= padding:
            return waveform  # too short for the reflection padding
        padded = nn.functional.pad(waveform[:, None], (padding, padding), mode="reflect")[:, 0]
        spectrum = torch.stft(padded, window, hop, window=self.window, center=False, return_complex=True)
        lacking = log_mel - torch.log((self.bank @ spectrum.abs()).clamp(min=self.config.floor))
        gains = torch.exp(self.shares.T @ lacking.clamp(-_MAX_CORRECTION_NATS, _MAX_CORRECTION_NATS))
        return self._overlap_add(spectrum * gains)

    def _overlap_add(self, spectrum: torch.Tensor) -> torch.Tensor:
        window, hop = self.config.window_samples, self.config.hop_samples
        frames = torch.fft.irfft(spectrum, n=window, dim=1) * self.window[None, :, None]
        count = spectrum.shape[-1]
        length = (count - 1) * hop + window
        fold = {"output_size": (1, length), "kernel_size": (1, window), "stride": (1, hop)}
        summed = nn.functional.fold(frames, **fold)[:, 0, 0]
        weights = nn.functional.fold(self.window.square()[None, :, None].expand(1, -1, count), **fold)[0, 0, 0]
        padding = (window - hop) // 2
        # At both ends, where frames do not overlap, the sum of the windows goes to zero.
        waveform: torch.Tensor = (summed / weights.clamp(min=1e-2))[:, padding : padding + count * hop]
        return waveform


def _draw_noise(positions: torch.Tensor, bins: int) -> torch.Tensor:
    """Uniform numbers [..., bins, T] from -1 to 1 for positions [..., T]: a hash of position and bin.

    The finaliser of SplitMix64 (Steele, Lea and Flood 2014): the same on every device, in any order.
    """
    bin_numbers = torch.arange(bins, device=positions.device)[:, None]
    mixed = (positions[..., None, :] * bins + bin_numbers) * _wrap_int64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ _shift_positions(mixed, shift)) * _wrap_int64(factor)
    mixed = mixed ^ _shift_positions(mixed, 31)
    return (mixed & 0xFFFFFF).float() / 2**23 - 1


def _shift_positions(numbers: torch.Tensor, places: int) -> torch.Tensor:
    """Shift to the right without sign extension, which int64's shift would do."""
    return (numbers >> places) & ((1 << (64 - places)) - 1)


def _wrap_int64(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


class _ConvNextBlock(nn.Module):
    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 3 * width)
        self.narrow = nn.Linear(3 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 1.0 / blocks))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        local = self.depthwise(hidden.transpose(1, 2)).transpose(1, 2)
        result: torch.Tensor = hidden + self.scale * self.narrow(nn.functional.gelu(self.widen(self.norm(local))))
        return result
