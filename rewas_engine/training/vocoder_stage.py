"""The vocoder stage: trains the vocoder on waveforms alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.models.vocoder import SpectralVocoder
from rewas_engine.training.loop import LossFunction, lower_precision

WINDOWS_SAMPLES = (64, 128, 256, 512, 2048)
"""Window lengths of the spectral losses. The shortest resolve changes within one hop of the vocoder."""
QUIETEST_MAGNITUDE = 1e-4
"""Added to magnitudes before taking the logarithm."""

QUIETEST_LEVEL = 0.02
"""Lower limit of the RMS in relative spectral distances. In the training data, the RMS of a batch is at least 0.1."""


@dataclass(frozen=True)
class WaveformCorpus:
    """Training data of the vocoder: waveforms [N, samples] int16."""

    waveforms: torch.Tensor


def vocoder_loss(
    corpus: WaveformCorpus, vocoder: SpectralVocoder, front_end: AudioFrontEnd, batch_size: int, crop_frames: int
) -> LossFunction:
    """Log-mel distance, and log and linear distance of spectra at five resolutions.

    For a vocoder with random phases, two draws of each sound are compared, and their distance from each other is
    subtracted (energy distance, Gritsenko et al. 2020), so that noise is learned as noise instead of its mean.
    """
    hop = front_end.config.hop_samples

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        rows = torch.randint(len(corpus.waveforms), (batch_size,), generator=generator)
        room = corpus.waveforms.shape[1] // hop - crop_frames
        starts = torch.randint(room + 1, (batch_size,), generator=generator) * hop
        length = crop_frames * hop
        real = torch.stack(
            [corpus.waveforms[row, start : start + length].float() for row, start in zip(rows, starts, strict=True)]
        )
        real = real / 32768 * torch.exp(-2.5 * torch.rand((batch_size, 1), generator=generator))
        real = real.to(vocoder.device)
        target = front_end.log_mel(real)
        with lower_precision(real.device):
            spectrum = vocoder.spectrum(target)
        draws = [
            vocoder.synthesise(spectrum, _frame_positions(target, generator))
            for _ in range(2 if spectrum.scatter is not None else 1)
        ]
        vocoded, wanted = [_magnitudes(sound) for sound in draws], _magnitudes(real)
        losses = [
            (front_end.log_mel(sound) - target).abs().mean() + 0.5 * _spectral_distance(magnitudes, wanted, wanted)
            for sound, magnitudes in zip(draws, vocoded, strict=True)
        ]
        loss = torch.stack(losses).mean()
        return loss - 0.25 * _spectral_distance(vocoded[0], vocoded[1], wanted) if len(draws) > 1 else loss

    return loss_of


def _frame_positions(log_mels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Draw frame positions [B, T] far beyond the length of any sound, so that no two draws are the same."""
    starts = torch.randint(1 << 40, (len(log_mels), 1), generator=generator)
    return (starts + torch.arange(log_mels.shape[1])).to(log_mels.device)


def _spectral_distance(
    one: Sequence[torch.Tensor], other: Sequence[torch.Tensor], real: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Log and linear distance of the magnitudes of two sounds, the linear one relative to the real sounds' level."""
    distance = one[0].new_zeros(())
    for ours, theirs, of_real in zip(one, other, real, strict=True):
        logarithmic = (torch.log(ours + QUIETEST_MAGNITUDE) - torch.log(theirs + QUIETEST_MAGNITUDE)).abs().mean()
        # The level has a minimum, because the relative distance from silence would be unbounded.
        level = _root_mean_square(of_real).clamp(min=QUIETEST_LEVEL)
        distance = distance + logarithmic + _root_mean_square(ours - theirs) / level
    return distance


def _magnitudes(waveforms: torch.Tensor) -> list[torch.Tensor]:
    """Short-time magnitudes of waveforms [B, samples], [B, F, T] for each of WINDOWS_SAMPLES."""
    return [_magnitude(waveforms, window_samples) for window_samples in WINDOWS_SAMPLES]


def _magnitude(waveform: torch.Tensor, window_samples: int) -> torch.Tensor:
    window = torch.hann_window(window_samples, device=waveform.device)
    spectrum: Any = torch.stft(
        waveform, window_samples, window_samples // 4, window=window, center=True, return_complex=True
    )
    # The gradient of a magnitude diverges at zero.
    return torch.sqrt(spectrum.real.square() + spectrum.imag.square() + 1e-9)


def _root_mean_square(values: torch.Tensor) -> torch.Tensor:
    return values.norm() / values.numel() ** 0.5
