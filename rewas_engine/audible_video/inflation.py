"""Inflation: a UNet for pictures becomes one for clips, and starts as the UNet applied to each frame."""

from __future__ import annotations

import math
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import nn


class PseudoConv3d(nn.Module):
    """A 2-D convolution of each frame, then a 1-D convolution over time at each position (Singer et al. 2022).

    The second one starts as the identity.

    Args:
        spatial: The 2-D convolution.
        frames: Frames of a clip.
    """

    def __init__(self, spatial: nn.Conv2d, frames: int) -> None:
        super().__init__()
        self.spatial, self.frames = spatial, frames
        channels = spatial.out_channels
        self.temporal = nn.Conv1d(channels, channels, 3, padding=1)
        nn.init.dirac_(self.temporal.weight)
        assert self.temporal.bias is not None
        nn.init.zeros_(self.temporal.bias)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Convolve frames [B·T, C, H, W]."""
        seen = self.spatial(frames)
        _, channels, height, width = seen.shape
        series = seen.unflatten(0, (-1, self.frames)).permute(0, 3, 4, 2, 1).reshape(-1, channels, self.frames)
        mixed = self.temporal(series).reshape(-1, height, width, channels, self.frames)
        return mixed.permute(0, 4, 3, 1, 2).reshape(-1, channels, height, width)


class TemporalAttention(nn.Module):
    """A layer of the UNet, then a transformer over time at each position, as in AnimateDiff (Guo et al. 2023).

    The transformer starts as the identity.

    Args:
        spatial: The layer: a residual block, or a spatial transformer, which returns a tuple.
        channels: Channels of its output.
        heads: Heads of the attention.
        groups: Groups of the normalisation.
        frames: Frames of a clip.
    """

    def __init__(self, spatial: nn.Module, channels: int, heads: int, groups: int, frames: int) -> None:
        super().__init__()
        self.spatial, self.frames = spatial, frames
        self.temporal = AnimateDiffTransformer3D(
            num_attention_heads=heads,
            attention_head_dim=channels // heads,
            in_channels=channels,
            norm_num_groups=groups,
            positional_embeddings="sinusoidal",
            num_positional_embeddings=frames,
        )
        nn.init.zeros_(self.temporal.proj_out.weight)
        nn.init.zeros_(self.temporal.proj_out.bias)

    def forward(self, *arguments: Any, **options: Any) -> Any:
        """Call the layer, and mix its output [B·T, C, H, W] over time."""
        seen = self.spatial(*arguments, **options)
        if isinstance(seen, tuple):
            return (self.temporal(seen[0], num_frames=self.frames), *seen[1:])
        return self.temporal(seen, num_frames=self.frames)


def inflate(unet: UNet2DConditionModel, frames: int, heads: int = 8) -> UNet2DConditionModel:
    """Add time to a UNet in place: afterwards its batch holds the frames of clips one after the other.

    Every convolution with a kernel becomes a PseudoConv3d; every spatial transformer, or residual block where a block
    has none, gets a TemporalAttention. The outputs do not change until these layers are trained.

    Args:
        unet: The UNet, with trained weights or without.
        frames: Frames of a clip.
        heads: Heads of the attention over time.
    """
    groups = int(unet.config.norm_num_groups)
    for name, module in list(unet.named_modules()):
        if isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1:
            parent, _, own = name.rpartition(".")
            setattr(unet.get_submodule(parent), own, PseudoConv3d(module, frames))
    for block in [*unet.down_blocks, unet.mid_block, *unet.up_blocks]:
        layers = getattr(block, "attentions", None) or block.resnets
        widths = [resnet.out_channels for resnet in block.resnets]
        for place, layer in enumerate(layers):
            width = widths[place]
            layers[place] = TemporalAttention(layer, width, math.gcd(heads, width), groups, frames)
    return unet


def widen(unet: UNet2DConditionModel, channels: int) -> UNet2DConditionModel:
    """Give a UNet more latent channels in place, a multiple of those that it has.

    The weights of the input are repeated and divided by the factor, so that its scale stays; those of the output are
    repeated.

    Raises:
        ValueError: The number is not a multiple.
    """
    factor, rest = divmod(channels, int(unet.config.in_channels))
    if rest or factor < 1:
        raise ValueError(f"{channels} channels are not a multiple of {unet.config.in_channels}")
    narrow_in, narrow_out = unet.conv_in, unet.conv_out
    with torch.device(narrow_in.weight.device):
        unet.conv_in = nn.Conv2d(channels, narrow_in.out_channels, narrow_in.kernel_size, padding=narrow_in.padding)
        unet.conv_out = nn.Conv2d(narrow_out.in_channels, channels, narrow_out.kernel_size, padding=narrow_out.padding)
    with torch.no_grad():
        unet.conv_in.weight.copy_(narrow_in.weight.repeat(1, factor, 1, 1) / factor)
        unet.conv_in.bias.copy_(narrow_in.bias)
        unet.conv_out.weight.copy_(narrow_out.weight.repeat(factor, 1, 1, 1))
        unet.conv_out.bias.copy_(narrow_out.bias.repeat(factor))
    unet.conv_in.to(narrow_in.weight.dtype)
    unet.conv_out.to(narrow_out.weight.dtype)
    unet.register_to_config(in_channels=channels, out_channels=channels)
    return unet
