"""CNN14 of PANNs (Kong et al. 2020), a classifier of AudioSet's 527 classes, for FD, the inception score and MKL."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from rewas_engine.curves.energy import FloatArray
from rewas_engine.evaluation.encoders.protocols import SoundFeatures
from rewas_engine.media.waveforms import at_rate, in_batches
from rewas_engine.packs.model_folders import display_name, folder_sha256, load_module, read_config

WIDTHS = (64, 128, 256, 512, 1024, 2048)
BATCH_SOUNDS = 8
MIN_FRAMES = 32
"""Each of five poolings halves the frames. Shorter sounds are padded with silence."""
POWER_FLOOR = 1e-10


class Cnn14Network(nn.Module):
    """Waveforms [B, samples] to embeddings [B, D] and class scores [B, C].

    The tensors have the published names. The Fourier transform and the mel filters are tensors of the file too, so the
    network hears exactly what the published one does.

    Args:
        window_samples, hop_samples: Frames of the spectrogram.
        mel_bins: Mel bins.
        classes: Number of classes.
        widths: Channels of the six blocks.
    """

    def __init__(
        self,
        window_samples: int = 1024,
        hop_samples: int = 320,
        mel_bins: int = 64,
        classes: int = 527,
        widths: Sequence[int] = WIDTHS,
    ) -> None:
        super().__init__()
        bins = window_samples // 2 + 1
        self.spectrogram_extractor = nn.Module()
        self.spectrogram_extractor.stft = nn.Module()
        self.spectrogram_extractor.stft.conv_real = _FixedFilters(bins, 1, window_samples)
        self.spectrogram_extractor.stft.conv_imag = _FixedFilters(bins, 1, window_samples)
        self.logmel_extractor = nn.Module()
        self.logmel_extractor.register_buffer("melW", torch.zeros(bins, mel_bins))
        self.bn0 = nn.BatchNorm2d(mel_bins)
        for number, (narrow, wide) in enumerate(zip((1, *widths), widths, strict=False), 1):
            setattr(self, f"conv_block{number}", _ConvBlock(narrow, wide))
        self.fc1 = nn.Linear(widths[-1], widths[-1])
        self.fc_audioset = nn.Linear(widths[-1], classes)
        self._blocks, self._window_samples, self._hop_samples = len(widths), window_samples, hop_samples

    def forward(self, waveforms: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = self._log_mel(waveforms)[:, None]
        maps = self.bn0(maps.transpose(1, 3)).transpose(1, 3)
        for number in range(1, self._blocks + 1):
            maps = getattr(self, f"conv_block{number}")(maps)
            if number < self._blocks:
                maps = functional.avg_pool2d(maps, 2)
        frames = maps.mean(dim=3)
        embeddings = functional.relu(self.fc1(frames.amax(dim=2) + frames.mean(dim=2)))
        return embeddings, self.fc_audioset(embeddings)

    def _log_mel(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Log-mels [B, T, bins] in dB."""
        half = self._window_samples // 2
        padded = functional.pad(waveforms[:, None], (half, half), mode="reflect")
        stft: Any = self.spectrogram_extractor.stft
        real, imaginary = (
            functional.conv1d(padded, part.weight, stride=self._hop_samples)
            for part in (stft.conv_real, stft.conv_imag)
        )
        power = (real.square() + imaginary.square()).transpose(1, 2)
        filters: Any = self.logmel_extractor.melW
        return 10 * torch.log10((power @ filters).clamp(min=POWER_FLOOR))


class PannsEncoder:
    """CNN14 from a folder with model.safetensors and config.json, for any of the published sample rates."""

    is_stand_in = False

    def __init__(self, folder: Path, device: str) -> None:
        config = read_config(folder)
        self.name = display_name("PANNs CNN14", folder)
        self._folder, self._device = folder, device
        self._sample_rate_hz = int(config.get("sample_rate_hz", 32_000))
        settings = ("window_samples", "hop_samples", "mel_bins", "classes", "widths")
        given = {name: config[name] for name in settings if name in config}
        self._network = load_module(folder, lambda: Cnn14Network(**given), device)
        self._min_samples = MIN_FRAMES * int(config.get("hop_samples", 320))

    @cached_property
    def content_sha256(self) -> str:
        """SHA-256 of the folder."""
        return folder_sha256(self._folder)

    @torch.inference_mode()
    def describe_sounds(self, sounds: Sequence[FloatArray], sample_rate_hz: int) -> list[SoundFeatures]:
        """One embedding and the class scores of each sound, before the sigmoid."""
        fitted = [at_rate(sound, sample_rate_hz, self._sample_rate_hz, self._min_samples) for sound in sounds]

        def describe(batch: FloatArray) -> list[SoundFeatures]:
            embeddings, logits = self._network(torch.from_numpy(batch).to(self._device))
            rows = zip(embeddings.cpu().numpy()[:, None], logits.cpu().numpy(), strict=True)
            return [SoundFeatures(np.ascontiguousarray(one), np.ascontiguousarray(scores)) for one, scores in rows]

        return in_batches(fitted, BATCH_SOUNDS, describe)


class _FixedFilters(nn.Module):
    """Weights of a convolution that are not learned."""

    weight: torch.Tensor

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(shape))


class _ConvBlock(nn.Module):
    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(narrow, wide, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(wide), nn.BatchNorm2d(wide)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        maps = functional.relu(self.bn1(self.conv1(maps)))
        return functional.relu(self.bn2(self.conv2(maps)))
