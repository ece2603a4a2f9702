"""The Make-An-Audio family (Huang et al. 2023): 80 mel bins, a hop of 256 samples, prompts as tokens for attention.

Its networks use spectrograms with frequency before time and base-10 logarithms. They are transposed and converted to
nats here, so that energy has the same unit in every pack.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from rewas_engine.models.clap_tokens import ClapTokenEncoder
from rewas_engine.packs.backbones.backbone import LatentDiffusion
from rewas_engine.packs.backbones.families import Family
from rewas_engine.packs.components import loader_from_config

NATS_PER_DECADE = math.log(10)


class MakeAnAudio(LatentDiffusion):
    """Prompts are [B, tokens, D], which the UNet attends to."""

    def denoise(
        self, sample: torch.Tensor, timestep: torch.Tensor, prompts: torch.Tensor, residuals: Mapping[str, Any]
    ) -> torch.Tensor:
        predicted: torch.Tensor = self.components["denoiser"](
            sample, timestep, encoder_hidden_states=prompts, **residuals
        ).sample
        return predicted

    def orient_latents(self, latents: torch.Tensor) -> torch.Tensor:
        return latents.transpose(-1, -2)

    def to_codec_scale(self, log_mels: torch.Tensor) -> torch.Tensor:
        return log_mels.transpose(-1, -2) / NATS_PER_DECADE

    def from_codec_scale(self, decoded: torch.Tensor) -> torch.Tensor:
        return decoded.transpose(-1, -2) * NATS_PER_DECADE

    def vocode(self, log_mels: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return super().vocode(log_mels / NATS_PER_DECADE, positions)


FAMILY = Family("make-an-audio", {"ClapTokenEncoder": loader_from_config(ClapTokenEncoder)}, MakeAnAudio)
