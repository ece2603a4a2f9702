"""Network of the judge: a small convolutional classifier of log-mels that ignores loudness."""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn
from torch.nn import functional


class JudgeNetwork(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Maps log-mels [B, T, bins] in nats to class scores.

    Args:
        classes: Names in the order of the scores.
        bins: Mel bins, a multiple of 16.
        widths: Channels at half, quarter and eighth resolution.
        features: Features of every eighth frame before pooling.
        range_nats: Range below the peak of a clip to which values are clamped.
    """

    config_name = "config.json"

    @register_to_config
    def __init__(
        self,
        classes: tuple[str, ...],
        bins: int = 64,
        widths: tuple[int, int, int] = (32, 64, 96),
        features: int = 192,
        range_nats: float = 9.0,
    ) -> None:
        super().__init__()
        first, second, third = widths
        self.stem = nn.Conv2d(1, first, 5, stride=2, padding=2)
        # Convolutions do not see pitch, so each band gets a learned offset.
        self.pitch = nn.Parameter(torch.zeros(1, first, 1, bins // 2))
        self.body = nn.Sequential(
            _Narrowing(first, second),
            _Narrowing(second, third),
            _Residual(third),
            _Narrowing(third, third, stride=(1, 2)),
        )
        self.gathering = nn.Linear(third * (bins // 16), features)
        self.attention = nn.Linear(features, features)
        self.scores = nn.Linear(2 * features, len(classes))

    def forward(self, log_mels: torch.Tensor) -> torch.Tensor:
        """Scores [B, C], unnormalised log-probabilities, of log-mels [B, T, bins]."""
        scores: torch.Tensor = self.scores(self.pool(log_mels))
        return scores

    def pool(self, log_mels: torch.Tensor) -> torch.Tensor:
        """Features [B, 2 · features] of log-mels [B, T, bins], from which the scores follow."""
        peaks = log_mels.amax(dim=(1, 2), keepdim=True)
        relative = 1 + (log_mels - peaks).clamp(min=-self.config.range_nats) * (2 / self.config.range_nats)
        images = relative[:, None].contiguous(memory_format=torch.channels_last)
        hidden = self.body(functional.gelu(self.stem(images) + self.pitch))
        frames = functional.gelu(self.gathering(hidden.permute(0, 2, 3, 1).flatten(2)))
        # Weighted mean and maximum of each feature, so that a single strike does not get lost in silence.
        weights = self.attention(frames).float().softmax(dim=1)
        return torch.cat([(weights * frames).sum(dim=1), frames.amax(dim=1).float()], dim=-1)


class _ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of [B, C, T, F], which is independent of other clips in the batch."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return super().forward(hidden.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Narrowing(nn.Sequential):
    def __init__(self, wide: int, narrow: int, stride: tuple[int, int] = (2, 2)) -> None:
        super().__init__(_ChannelNorm(wide), nn.Conv2d(wide, narrow, 3, stride=stride, padding=1), nn.GELU())


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            _ChannelNorm(width),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden + self.branch(hidden)
