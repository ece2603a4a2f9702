"""The energy adapter: a copy of the denoiser's encoder half that reads the energy and steers the frozen base."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

Residuals = tuple[tuple[torch.Tensor, ...], torch.Tensor]
"""What is added to the denoiser: one tensor for each of its skips, and one for the output of its middle block."""


class EnergyAdapter(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """ControlNet-style adapter of ReWaS (paper, section 3.3).

    unet: the configuration of the denoiser that it belongs to (UNet2DConditionModel). One with a class embedding is
    given the words as a vector, one without as tokens to attend to. latent_bins: frequency bins of a latent.
    hint_channels: of the hint; None is those of a latent, for energy alone. frequency_first: the denoiser sees latents
    [B, C, F, T] and not [B, C, T, F].

    The hint (the latent of the energy repeated over all mel bins, and with more channels further controls) passes
    Linear - SiLU - Conv 3x3 and is added once, after the first convolution. Each skip and the middle leave through a
    1x1 convolution that starts at zero.
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
        # Only the encoder half has a duty here; what is left out would cost memory and never see a gradient.
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
        """An adapter that starts as a copy of a denoiser's encoder half, as ControlNet does."""
        adapter = cls(dict(denoiser.config), latent_bins, hint_channels, frequency_first)
        wanted = adapter.encoder.state_dict()
        adapter.encoder.load_state_dict({name: denoiser.state_dict()[name] for name in wanted})
        return adapter

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor | int, text: torch.Tensor, hint: torch.Tensor
    ) -> Residuals:
        """Residuals for the denoiser's skips and middle.

        sample: noisy latent [B, C, T, F]. timestep: scalar or [B]. text: [B, D], or tokens [B, L, D]. hint:
        [B, hint_channels, T, F]; all zeros in the unconditional branch. Where frequency comes first, both are
        [B, C, F, T].
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
        # The linear layer mixes frequencies, whichever axis they stand on.
        mixed = self.hint_linear(hint.mT).mT if self.config.frequency_first else self.hint_linear(hint)
        read: torch.Tensor = self.hint_conv(nn.functional.silu(mixed))
        return read

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
