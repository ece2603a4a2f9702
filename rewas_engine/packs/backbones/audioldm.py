"""The AudioLDM family, which includes the starter pack: the UNet takes one prompt vector as a class embedding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from rewas_engine.packs.backbones.backbone import LatentDiffusion
from rewas_engine.packs.backbones.families import Family


class AudioLdm(LatentDiffusion):
    """Prompts are [B, D]: text embeddings, passed through the text projection if the pack has one."""

    def embed_prompts(self, prompts: Sequence[str]) -> torch.Tensor:
        embedded = super().embed_prompts(prompts)
        if "text_projection" in self.components:
            embedded = self.components["text_projection"](embedded)
        return embedded

    def denoise(
        self, sample: torch.Tensor, timestep: torch.Tensor, prompts: torch.Tensor, residuals: Mapping[str, Any]
    ) -> torch.Tensor:
        predicted: torch.Tensor = self.components["denoiser"](
            sample, timestep, encoder_hidden_states=None, class_labels=prompts, **residuals
        ).sample
        return predicted


FAMILY = Family("audioldm", {}, AudioLdm)
