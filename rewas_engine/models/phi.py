"""φ, the network that estimates energy from video tokens."""

from __future__ import annotations

from itertools import pairwise

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn


class Phi(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """The energy estimator of ReWaS (paper, section 3.2): projection, transformer blocks, and a narrowing head.

    Args:
        features: Width of the video encoder's tokens.
        width, blocks, heads: Size of the transformer.
        head: Widths of the head between `width` and 1.
        attends_over: "time", or "batch" for the released weights, which were trained with attention over the batch
            axis. For a single clip this means that each token attends only to itself, which is computed here.
    """

    config_name = "config.json"

    @register_to_config
    def __init__(
        self,
        features: int = 768,
        width: int = 768,
        blocks: int = 3,
        heads: int = 8,
        head: tuple[int, ...] = (128, 64, 16),
        attends_over: str = "time",
    ) -> None:
        super().__init__()
        self.projection = nn.Linear(features, width)
        self.layers = nn.ModuleList(_Block(width, heads) for _ in range(blocks))
        narrowing: list[nn.Module] = []
        for wide, narrow in pairwise((width, *head, 1)):
            narrowing += [nn.Linear(wide, narrow), nn.ReLU()]
        self.narrowing = nn.Sequential(*narrowing[:-1])

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Estimate energies [B, T] in nats from video tokens [B, T, features]."""
        batch, tokens, _ = features.shape
        hidden = self.projection(features)
        if self.config.attends_over == "batch":
            hidden = hidden.reshape(batch * tokens, 1, -1)
        for block in self.layers:
            hidden = block(hidden)
        energies: torch.Tensor = self.narrowing(hidden).reshape(batch, tokens)
        return energies


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = nn.MultiheadAttention(width, heads, add_bias_kv=True, batch_first=True)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        normed = self.norm1(hidden)
        hidden = hidden + self.attention(normed, normed, normed, need_weights=False)[0]
        result: torch.Tensor = hidden + self.mlp(self.norm2(hidden))
        return result
