"""A small video encoder: what moves, strikes, flickers, frame by frame."""

from __future__ import annotations

from itertools import pairwise

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn


class MotionEncoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Convolutions over each frame and its changes, then over time.

    Each frame is seen as brightness, change since the frame before and change until the frame after, at the pack's
    frame rate and size. Its tokens are one for each frame, at the frame's own time.

    widths: channels of the picture's convolutions, each halving the size. features: width of a token.
    dilations: of the residual convolutions over time; together they see sum(2·dilation) frames each way.
    """

    config_name = "config.json"

    @register_to_config
    def __init__(
        self,
        widths: tuple[int, ...] = (24, 48, 64, 96),
        features: int = 128,
        dilations: tuple[int, ...] = (1, 2, 4),
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for narrow, wide in pairwise((3, *widths)):
            layers += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1), nn.GroupNorm(8, wide), nn.SiLU()]
        self.picture = nn.Sequential(*layers)
        # The mean tells how much moves, the maximum that something does: a small ball on a wide ground.
        self.projection = nn.Linear(2 * widths[-1] + 2, features)
        self.over_time = nn.ModuleList(_TimeBlock(features, dilation) for dilation in dilations)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Tokens [B, T, features] of frames [B, T, H, W], brightness 0 to 1."""
        batch, count, height, width = frames.shape
        before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
        after = torch.cat([frames[:, 1:], frames[:, -1:]], dim=1)
        planes = torch.stack([frames - 0.5, 4 * (frames - before), 4 * (after - frames)], dim=2)
        maps = self.picture(planes.reshape(batch * count, 3, height, width))
        motion = planes[:, :, 1:].abs().mean(dim=(3, 4)).reshape(batch * count, 2)
        pooled = torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3)), torch.log(motion + 1e-3)], dim=1)
        tokens = self.projection(pooled).reshape(batch, count, -1)
        for block in self.over_time:
            tokens = block(tokens)
        result: torch.Tensor = tokens
        return result


class _TimeBlock(nn.Module):
    def __init__(self, features: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.convolution = nn.Conv1d(features, features, 5, dilation=dilation, padding=2 * dilation)
        self.mix = nn.Linear(features, features)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.convolution(self.norm(tokens).transpose(1, 2)).transpose(1, 2)
        result: torch.Tensor = tokens + self.mix(nn.functional.silu(hidden))
        return result
