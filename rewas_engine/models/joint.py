"""A joint space of text, video and sound, in which matching inputs have similar vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

from rewas_engine.curves.energy import SILENCE_NATS

PAIRS = ("text_sound", "text_picture", "picture_sound")
"""The pairs that can be compared. The names are part of config.json."""
MIN_FRAMES = 16
"""Minimum number of frames. Shorter videos repeat their last frame; shorter sounds are padded with silence."""
FRAMES_PER_GROUP = 4
"""Frames that are encoded together, as their mean and the differences between neighbours."""
_DOWNSAMPLINGS = 4


class JointSpace(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Three encoders into one space, where cosines measure how well two inputs match (as in CLIP and CLAP).

    Args:
        prompt_width: Width of the sentence embeddings.
        bins: Mel bins, a multiple of 16.
        width: Width of the joint space.
        picture_widths, sound_widths: Channels of the four convolutions of each encoder; each halves the size.
        features: Width of the layers over time.
        frame_stride: Only every n-th frame is encoded.
        calibration: Pair of PAIRS -> slope and offset. The logistic function of slope · cosine + offset is the
            probability of a match, with right and wrong pairs equally likely. Missing pairs are not calibrated.
        known_words: One phrase for each training class.
        known_phrases: For each entry of `known_words`, all training phrases of the class. Empty if unknown.
    """

    config_name = "config.json"

    @register_to_config
    def __init__(
        self,
        prompt_width: int = 384,
        bins: int = 64,
        width: int = 128,
        picture_widths: tuple[int, ...] = (16, 32, 64, 96),
        sound_widths: tuple[int, ...] = (16, 32, 64, 96),
        features: int = 128,
        frame_stride: int = 2,
        calibration: Mapping[str, tuple[float, float]] | None = None,
        known_words: tuple[str, ...] = (),
        known_phrases: tuple[tuple[str, ...], ...] = (),
    ) -> None:
        super().__init__()
        if (
            len(picture_widths) != _DOWNSAMPLINGS
            or len(sound_widths) != _DOWNSAMPLINGS
            or bins % 2**_DOWNSAMPLINGS
            or frame_stride < 1
        ):
            raise ValueError(
                "each list needs four widths, bins must be a multiple of 16, and frame_stride must be at least 1"
            )
        if known_phrases and (len(known_phrases) != len(known_words) or not all(known_phrases)):
            raise ValueError("known phrases must be given for each of the known words")
        for pair, numbers in (calibration or {}).items():
            if pair not in PAIRS or len(numbers) != 2 or not all(math.isfinite(number) for number in numbers):
                raise ValueError(f"the calibration of {pair!r} is {numbers!r}")
        self.words_encoder = _TextEncoder(prompt_width, width)
        self.picture_encoder = _VideoEncoder(picture_widths, features, width)
        self.sound_encoder = _SoundEncoder(sound_widths, bins, features, width)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))

    @property
    def scale(self) -> torch.Tensor:
        """Factor of cosines in training: the inverse of CLIP's learned temperature, at most 50."""
        return self.log_scale.exp().clamp(max=50.0)

    def encode_text(self, prompts: torch.Tensor) -> torch.Tensor:
        """Unit vectors [B, width] of sentence embeddings [B, prompt_width] of any norm above 0."""
        embedded: torch.Tensor = self.words_encoder(prompts)
        return embedded

    def encode_video(self, frames: torch.Tensor) -> torch.Tensor:
        """Unit vectors [B, width] of brightness frames [B, T, H, W], 0 to 1, at the pack's rate and size."""
        embedded: torch.Tensor = self.picture_encoder(frames[:, :: self.config.frame_stride])
        return embedded

    def encode_sound(self, log_mels: torch.Tensor) -> torch.Tensor:
        """Unit vectors [B, width] of log-mels [B, T, bins] in nats."""
        embedded: torch.Tensor = self.sound_encoder(log_mels)
        return embedded


class _TextEncoder(nn.Module):
    """Nearly linear, so that unseen phrases land near the phrases that they resemble."""

    def __init__(self, prompt_width: int, width: int) -> None:
        super().__init__()
        self.length = math.sqrt(prompt_width)
        self.straight = nn.Linear(prompt_width, width)
        self.bent = nn.Sequential(nn.Linear(prompt_width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, prompts: torch.Tensor) -> torch.Tensor:
        scaled = self.length * nn.functional.normalize(prompts.float(), dim=-1)
        return nn.functional.normalize(self.straight(scaled) + self.bent(scaled), dim=-1)


class _VideoEncoder(nn.Module):
    """Convolutions over groups of frames (their mean and their differences), then layers over time."""

    def __init__(self, widths: tuple[int, ...], features: int, width: int) -> None:
        super().__init__()
        self.convolutions = _downsampling_convolutions(FRAMES_PER_GROUP, widths)
        self.over_time = _TemporalPooling(2 * widths[-1] + 1, features, width)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        batch, count, height, width = frames.shape
        missing = max(-count % FRAMES_PER_GROUP, MIN_FRAMES - count)
        if missing:
            frames = torch.cat([frames, frames[:, -1:].expand(-1, missing, -1, -1)], dim=1)
        # Normalise brightness and contrast over the clip.
        middle = frames.mean(dim=(1, 2, 3))
        square = torch.linalg.vector_norm(frames.flatten(1), dim=1).square() / frames[0].numel()
        spread = (square - middle.square()).clamp(min=0).sqrt() + 0.02
        grouped = frames.reshape(batch, -1, FRAMES_PER_GROUP, height, width)
        means = grouped.mean(dim=2, keepdim=True) - middle.reshape(-1, 1, 1, 1, 1)
        changes = 2 * (grouped[:, :, 1:] - grouped[:, :, :-1])
        planes = (torch.cat([means, changes], dim=2) / spread.reshape(-1, 1, 1, 1, 1)).flatten(0, 1)
        maps = self.convolutions(planes)
        motion = torch.log(planes[:, 1:].abs().mean(dim=(1, 2, 3)) + 1e-3)
        # The mean describes the scene, the maximum the objects in it.
        pooled = torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3)), motion[:, None].to(maps.dtype)], dim=1)
        result: torch.Tensor = self.over_time(pooled.reshape(batch, -1, pooled.shape[1]))
        return result


class _SoundEncoder(nn.Module):
    """Convolutions over the log-mel, then layers over time."""

    def __init__(self, widths: tuple[int, ...], bins: int, features: int, width: int) -> None:
        super().__init__()
        self.convolutions = _downsampling_convolutions(1, widths)
        self.over_time = _TemporalPooling(widths[-1] * bins // 2**_DOWNSAMPLINGS, features, width)

    def forward(self, log_mels: torch.Tensor) -> torch.Tensor:
        missing = max(0, MIN_FRAMES - log_mels.shape[1])
        padded = nn.functional.pad(log_mels.float(), (0, 0, 0, missing), value=SILENCE_NATS)
        maps = self.convolutions((padded[:, None] + 6.0) / 3.0)
        result: torch.Tensor = self.over_time(maps.permute(0, 2, 1, 3).flatten(2))
        return result


class _TemporalPooling(nn.Module):
    """Pool tokens [B, T, inputs] into one unit vector [B, width], by attention and by maximum."""

    def __init__(self, inputs: int, features: int, width: int) -> None:
        super().__init__()
        self.projection = nn.Linear(inputs, features)
        self.blocks = nn.ModuleList(_TimeBlock(features, dilation) for dilation in (1, 2))
        self.attention = nn.Linear(features, 1)
        self.norm = nn.LayerNorm(2 * features)
        self.out = nn.Linear(2 * features, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.projection(tokens)
        for block in self.blocks:
            hidden = block(hidden)
        weights = self.attention(hidden).softmax(dim=1)
        pooled = torch.cat([(weights * hidden).sum(dim=1), hidden.amax(dim=1)], dim=-1)
        return nn.functional.normalize(self.out(self.norm(pooled)).float(), dim=-1)


class _TimeBlock(nn.Module):
    def __init__(self, features: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.convolution = nn.Conv1d(features, features, 3, dilation=dilation, padding=dilation)
        self.mix = nn.Linear(features, features)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.convolution(self.norm(tokens).transpose(1, 2)).transpose(1, 2)
        result: torch.Tensor = tokens + self.mix(nn.functional.silu(hidden))
        return result


def _downsampling_convolutions(channels: int, widths: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for narrow, wide in pairwise((channels, *widths)):
        layers += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1), nn.GroupNorm(8, wide), nn.SiLU()]
    return nn.Sequential(*layers)
