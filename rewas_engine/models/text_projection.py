"""Projection of sentence embeddings to the sounds that they describe."""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn


class TextProjection(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Maps sentence embeddings to a mixture of sound classes, so that all phrases for one sound are close together.

    A sentence encoder learns what sentences are about, not what they sound like: "a fist on a door" is as near to
    boxing as to knocking. CLAP therefore trains its text branch on sounds; this module achieves the same for a frozen
    encoder.

    Args:
        prompt_width: Width of the embeddings.
        hidden: Width of the hidden layer.
        choices: Sizes of groups of meanings that exclude each other, such as the foreground sound.
        flags: Number of further meanings that are independent.
        length: Norm of the output.
        kept: Share of the original embedding in the output, 0 to 1, for prompts that match no meaning.
        sharpness: Factor of the logits of a group. A mixture of half a door and half a drum is not a sound.
    """

    config_name = "config.json"

    @register_to_config
    def __init__(
        self,
        prompt_width: int = 384,
        hidden: int = 512,
        choices: tuple[int, ...] = (29, 11),
        flags: int = 0,
        length: float = 19.6,
        kept: float = 0.25,
        sharpness: float = 4.0,
    ) -> None:
        super().__init__()
        if not choices or min(choices) < 2 or flags < 0 or min(length, sharpness) <= 0 or not 0 <= kept <= 1:
            raise ValueError(
                "choices must be at least 2, flags at least 0, length and sharpness above 0, and kept from 0 to 1"
            )
        meanings = sum(choices) + flags
        self.reader = nn.Sequential(nn.Linear(prompt_width, hidden), nn.SiLU(), nn.Linear(hidden, meanings))
        self.meanings = nn.Parameter(torch.zeros(meanings, prompt_width))

    def meaning_logits(self, prompts: torch.Tensor) -> torch.Tensor:
        """Logits [B, meanings] of sentence embeddings [B, prompt_width] of any norm: the groups', then the flags'."""
        logits: torch.Tensor = self.reader(self._scale_to_norm(prompts))
        return logits

    def forward(self, prompts: torch.Tensor) -> torch.Tensor:
        """Project sentence embeddings [B, prompt_width] of any norm to embeddings of norm `length`."""
        projected = self.probabilities(self.meaning_logits(prompts)) @ self.meanings
        mixed = projected + self.config.kept * (self._scale_to_norm(prompts) - projected)
        return self._scale_to_norm(mixed)

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Probability of each meaning [B, meanings]; those of a group sum to 1."""
        *groups, flags = logits.split([*self.config.choices, self.config.flags], dim=-1)
        return torch.cat(
            [*((self.config.sharpness * group).softmax(dim=-1) for group in groups), flags.sigmoid()], dim=-1
        )

    def _scale_to_norm(self, vectors: torch.Tensor) -> torch.Tensor:
        return self.config.length * nn.functional.normalize(vectors.float(), dim=-1)
