"""VGGish (Hershey et al. 2017), whose embeddings FAD compares: one per 0.96 s of sound."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers.audio_utils import mel_filter_bank

from rewas_engine.curves.energy import FloatArray
from rewas_engine.evaluation.encoders.protocols import SoundFeatures
from rewas_engine.media.waveforms import at_rate
from rewas_engine.packs.model_folders import display_name, folder_sha256, load_module, read_config

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES, HOP_SAMPLES, FFT_SAMPLES = 400, 160, 512
MEL_BINS, LOWEST_HZ, HIGHEST_HZ = 64, 125.0, 7500.0
LOG_OFFSET = 0.01
PART_FRAMES = 96
BATCH_PARTS = 32
CHANNELS = (64, 128, 256, 256, 512, 512)
WIDTHS = (4096, 4096, 128)
_POOLED_AFTER = (0, 1, 3, 5)


class VggishNetwork(nn.Module):
    """Log-mels [B, 96, 64] to embeddings [B, D].

    The tensors have the names of the published PyTorch weights: `features.N` and `embeddings.N`.

    Args:
        channels: Of the six convolutions.
        widths: Of the three linear layers.
        final_relu: Whether a ReLU follows the last layer. The published FAD leaves it out.
    """

    def __init__(
        self, channels: Sequence[int] = CHANNELS, widths: Sequence[int] = WIDTHS, final_relu: bool = False
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, (narrow, wide) in enumerate(zip((1, *channels), channels, strict=False)):
            layers += [nn.Conv2d(narrow, wide, 3, padding=1), nn.ReLU()]
            if number in _POOLED_AFTER:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        halvings = 2 ** len(_POOLED_AFTER)
        inputs = channels[-1] * (PART_FRAMES // halvings) * (MEL_BINS // halvings)
        linear: list[nn.Module] = []
        for narrow, wide in zip((inputs, *widths), widths, strict=False):
            linear += [nn.Linear(narrow, wide), nn.ReLU()]
        self.embeddings = nn.Sequential(*(linear if final_relu else linear[:-1]))

    def forward(self, log_mels: torch.Tensor) -> torch.Tensor:
        maps = self.features(log_mels[:, None])
        # The weights come from TensorFlow, which stores the channel last.
        embedded: torch.Tensor = self.embeddings(maps.permute(0, 2, 3, 1).flatten(1))
        return embedded


class VggishEncoder:
    """VGGish from a folder with model.safetensors and config.json."""

    is_stand_in = False

    def __init__(self, folder: Path, device: str) -> None:
        config = read_config(folder)
        self.name = display_name("VGGish", folder)
        self._folder, self._device = folder, device

        def build() -> VggishNetwork:
            return VggishNetwork(
                config.get("channels", CHANNELS), config.get("widths", WIDTHS), config.get("final_relu", False)
            )

        # The principal components serve the released embeddings of videos, which FAD does not use.
        self._network = load_module(folder, build, device, leftovers=("pproc.",))

    @cached_property
    def content_sha256(self) -> str:
        """SHA-256 of the folder."""
        return folder_sha256(self._folder)

    @torch.inference_mode()
    def describe_sounds(self, sounds: Sequence[FloatArray], sample_rate_hz: int) -> list[SoundFeatures]:
        """One embedding per whole 0.96 s of each sound, and no classes."""
        return [SoundFeatures(self._embed(at_rate(sound, sample_rate_hz, SAMPLE_RATE_HZ))) for sound in sounds]

    def _embed(self, sound: FloatArray) -> FloatArray:
        parts = torch.from_numpy(log_mel_parts(sound)).split(BATCH_PARTS)
        return np.concatenate([self._network(part.to(self._device)).cpu().numpy() for part in parts])


def log_mel_parts(sound: FloatArray) -> FloatArray:
    """Log-mels of the whole 0.96 s parts of a sound at 16 kHz, [P, 96, 64]; a shorter sound is padded with silence."""
    needed = WINDOW_SAMPLES + (PART_FRAMES - 1) * HOP_SAMPLES
    padded = np.pad(sound, (0, max(0, needed - sound.size))).astype(np.float64)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[::HOP_SAMPLES]
    parts = len(frames) // PART_FRAMES
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES)
    magnitudes = np.abs(np.fft.rfft(frames[: parts * PART_FRAMES] * window, FFT_SAMPLES))
    # Triangles that are linear in mel, which transformers calls by the name of Kaldi's scale.
    filters = mel_filter_bank(
        num_frequency_bins=FFT_SAMPLES // 2 + 1,
        num_mel_filters=MEL_BINS,
        min_frequency=LOWEST_HZ,
        max_frequency=HIGHEST_HZ,
        sampling_rate=SAMPLE_RATE_HZ,
        norm=None,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    log_mels = np.log(magnitudes @ filters + LOG_OFFSET)
    return log_mels.reshape(parts, PART_FRAMES, MEL_BINS).astype(np.float32)
