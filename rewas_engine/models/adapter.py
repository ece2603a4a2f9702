"""The energy adapter: a trainable copy of the denoiser's encoder that adds control to the frozen denoiser."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

Residuals = tuple[tuple[torch.Tensor, ...], torch.Tensor]
"""Residuals that the adapter adds to the denoiser: one per skip connection, and one for the middle block."""


class EnergyAdapter(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """ControlNet-style adapter of ReWaS (paper, section 3.3).

    The hint passes through Linear, SiLU and Conv 3x3, and is added once, after the first convolution. It is the latent
    of the energy repeated over all mel bins; further controls add channels. The outputs for the skip connections and
    the middle block each pass through a 1x1 convolution that starts at zero.

    Args:
        unet: Configuration of the UNet2DConditionModel to copy. With a class embedding it takes the prompt as a vector,
            otherwise as tokens for attention.
        latent_bins: Frequency bins of a latent.
        hint_channels: Channels of the hint. None means as many as the latent has, for energy alone.
        frequency_first: Whether the denoiser takes latents [B, C, F, T] instead of [B, C, T, F].
    """

    config_name = "config.json"

    @register_to_config
    def __init__(
        self,
        unet: dict[str, Any],
        latent_bins: int = 16,
        hint_channels: int | None = None,
        frequency_first: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = UNet2DConditionModel.from_config(unet)
        # Only the encoder is used; the decoder would cost memory and never get a gradient.
        self.encoder.up_blocks = nn.ModuleList()
        self.encoder.conv_norm_out = None
        self.encoder.conv_out = nn.Identity()
        widths = self.encoder.config.block_out_channels
        self.hint_linear = nn.Linear(latent_bins, latent_bins)
        self.hint_conv = nn.Conv2d(hint_channels or self.encoder.config.in_channels, widths[0], 3, padding=1)
        self.zero_convs = nn.ModuleList(_zero_conv(width) for width in self._skip_widths())
        self.middle_zero_conv = _zero_conv(widths[-1])

    @classmethod
    def from_denoiser(
        cls,
        denoiser: UNet2DConditionModel,
        latent_bins: int = 16,
        hint_channels: int | None = None,
        frequency_first: bool = False,
    ) -> EnergyAdapter:
        """Create an adapter as a copy of a denoiser's encoder, as ControlNet does."""
        adapter = cls(dict(denoiser.config), latent_bins, hint_channels, frequency_first)
        wanted = adapter.encoder.state_dict()
        adapter.encoder.load_state_dict({name: denoiser.state_dict()[name] for name in wanted})
        return adapter

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor | int, text: torch.Tensor, hint: torch.Tensor
    ) -> Residuals:
        """Compute the residuals for the denoiser's skip connections and middle block.

        Args:
            sample: Noisy latent [B, C, T, F], or [B, C, F, T] if frequency comes first.
            timestep: Scalar or [B].
            text: [B, D], or tokens [B, L, D].
            hint: [B, hint_channels, T, F], axes as in `sample`; zeros in the unconditional branch.
        """
        encoder = self.encoder
        embedding = encoder.time_embedding(encoder.get_time_embed(sample=sample, timestep=timestep))
        attended: dict[str, torch.Tensor] = {}
        if encoder.class_embedding is None:
            attended = {"encoder_hidden_states": text}
        else:
            embedding = torch.cat([embedding, encoder.get_class_embed(sample=sample, class_labels=text)], dim=-1)
        hidden = encoder.conv_in(sample) + self._project_hint(hint)
        skips: tuple[torch.Tensor, ...] = (hidden,)
        for block in encoder.down_blocks:
            attends = getattr(block, "has_cross_attention", False)
            hidden, outputs = block(hidden_states=hidden, temb=embedding, **(attended if attends else {}))
            skips += outputs
        middle = encoder.mid_block(hidden, embedding, **attended)
        return tuple(conv(skip) for conv, skip in zip(self.zero_convs, skips, strict=True)), self.middle_zero_conv(
            middle
        )

    def _project_hint(self, hint: torch.Tensor) -> torch.Tensor:
        # The linear layer mixes frequencies, whichever axis they are on.
        mixed = self.hint_linear(hint.mT).mT if self.config.frequency_first else self.hint_linear(hint)
        projected: torch.Tensor = self.hint_conv(nn.functional.silu(mixed))
        return projected

    def _skip_widths(self) -> list[int]:
        config = self.encoder.config
        widths = [config.block_out_channels[0]]
        for level, width in enumerate(config.block_out_channels):
            is_last = level == len(config.block_out_channels) - 1
            widths += [width] * (config.layers_per_block + (not is_last))
        return widths


def _zero_conv(width: int) -> nn.Conv2d:
    conv = nn.Conv2d(width, width, 1)
    nn.init.zeros_(conv.weight)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv
