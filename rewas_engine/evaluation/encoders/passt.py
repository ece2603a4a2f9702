"""PaSST (Koutini et al. 2022), a transformer that classifies AudioSet's 527 classes, for MKL and FD."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank

from rewas_engine.curves.energy import FloatArray
from rewas_engine.evaluation.encoders.protocols import SoundFeatures
from rewas_engine.media.waveforms import at_rate, even_windows
from rewas_engine.packs.model_folders import display_name, folder_sha256, load_module, read_config

SAMPLE_RATE_HZ = 32_000
WINDOW_SAMPLES, HOP_SAMPLES, FFT_SAMPLES = 800, 320, 1024
MEL_BINS, HIGHEST_HZ = 128, 15_000.0
PREEMPHASIS = 0.97
PATCH = 16
MIN_SOUND_S = 0.2
"""Shorter sounds are padded with silence."""
BATCH_WINDOWS = 4
_EPSILON = 1e-6


class PasstNetwork(nn.Module):
    """Log-mels [B, 128, T] to embeddings [B, D] and class scores [B, C].

    The tensors have the published names. Patches have one position for time and one for frequency, so that sounds may
    be shorter than in training.

    Args:
        width, blocks, heads: Size of the transformer.
        stride: Distance of neighbouring patches.
        time_places: Positions in time, the longest sound.
        classes: Number of classes.
    """

    def __init__(
        self,
        width: int = 768,
        blocks: int = 12,
        heads: int = 12,
        stride: int = 10,
        time_places: int = 99,
        classes: int = 527,
    ) -> None:
        super().__init__()
        places = (MEL_BINS - PATCH) // stride + 1
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, width))
        self.new_pos_embed = nn.Parameter(torch.zeros(1, 2, width))
        self.freq_new_pos_embed = nn.Parameter(torch.zeros(1, width, places, 1))
        self.time_new_pos_embed = nn.Parameter(torch.zeros(1, width, 1, time_places))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, width, PATCH, stride=stride)})
        self._stride = stride
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    @property
    def max_frames(self) -> int:
        """Frames of the longest sound."""
        return (self.time_new_pos_embed.shape[-1] - 1) * self._stride + PATCH

    def forward(self, log_mels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        patches = self.patch_embed["proj"](log_mels[:, None])
        patches = patches + self.time_new_pos_embed[..., : patches.shape[-1]] + self.freq_new_pos_embed
        tokens = torch.cat([self.cls_token, self.dist_token], dim=1) + self.new_pos_embed
        hidden = torch.cat([tokens.expand(len(log_mels), -1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
        for block in self.blocks:
            hidden = block(hidden)
        embeddings = self.norm(hidden)[:, :2].mean(dim=1)
        return embeddings, self.head(embeddings)


class PasstEncoder:
    """PaSST from a folder with model.safetensors and config.json.

    Sounds longer than 10 s are cut into windows; the embedding and the class scores are the means over them.
    """

    is_stand_in = False

    def __init__(self, folder: Path, device: str) -> None:
        config = read_config(folder)
        self.name = display_name("PaSST", folder)
        self._folder, self._device = folder, device
        settings = ("width", "blocks", "heads", "stride", "time_places", "classes")
        given = {name: config[name] for name in settings if name in config}
        # The second head was only used in training, and the spectrogram is computed here.
        leftovers = ("head_dist.", "mel.")
        self._network = load_module(folder, lambda: PasstNetwork(**given), device, leftovers=leftovers)

    @cached_property
    def content_sha256(self) -> str:
        """SHA-256 of the folder."""
        return folder_sha256(self._folder)

    @torch.inference_mode()
    def describe_sounds(self, sounds: Sequence[FloatArray], sample_rate_hz: int) -> list[SoundFeatures]:
        """One embedding and the class scores of each sound."""
        return [self._describe(at_rate(sound, sample_rate_hz, SAMPLE_RATE_HZ, _MIN_SAMPLES)) for sound in sounds]

    def _describe(self, sound: FloatArray) -> SoundFeatures:
        windows = torch.from_numpy(np.stack(even_windows(sound, self._network.max_frames * HOP_SAMPLES)))
        found = [
            self._network(log_mel(part)[..., : self._network.max_frames].to(self._device))
            for part in windows.split(BATCH_WINDOWS)
        ]
        embeddings, logits = (torch.cat(rows).mean(dim=0).cpu().numpy() for rows in zip(*found, strict=True))
        return SoundFeatures(embeddings[None], logits)


def log_mel(waveforms: torch.Tensor) -> torch.Tensor:
    """Log-mels [B, 128, T] of waveforms [B, samples] at 32 kHz, scaled as in training."""
    emphasised = waveforms[:, 1:] - PREEMPHASIS * waveforms[:, :-1]
    spectrum = torch.stft(
        emphasised,
        FFT_SAMPLES,
        HOP_SAMPLES,
        WINDOW_SAMPLES,
        window=torch.hann_window(WINDOW_SAMPLES, periodic=False),
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    filters = mel_filter_bank(
        num_frequency_bins=FFT_SAMPLES // 2 + 1,
        num_mel_filters=MEL_BINS,
        min_frequency=0.0,
        max_frequency=HIGHEST_HZ,
        sampling_rate=SAMPLE_RATE_HZ,
        norm=None,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    power = spectrum.real.square() + spectrum.imag.square()
    mels = torch.from_numpy(filters.T.astype(np.float32)) @ power
    return (torch.log(mels + 1e-5) + 4.5) / 5.0


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=_EPSILON), nn.LayerNorm(width, eps=_EPSILON)
        self.attn = _Attention(width, heads)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        hidden = hidden + self.attn(self.norm1(hidden))
        mixed: torch.Tensor = self.mlp["fc2"](functional.gelu(self.mlp["fc1"](self.norm2(hidden))))
        return hidden + mixed


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self._heads = heads

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = hidden.shape
        query, key, value = self.qkv(hidden).reshape(batch, tokens, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        projected: torch.Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return projected


_MIN_SAMPLES = round(MIN_SOUND_S * SAMPLE_RATE_HZ)
