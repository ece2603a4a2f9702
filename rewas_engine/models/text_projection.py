"""From the embedding of a sentence to what it says of a sound."""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn


class TextProjection(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Reads sentence embeddings as what they say of a sound, so that all words for one thing lie close together.

    A sentence encoder has learnt what sentences are about, not what they sound like: a fist on a door is as near to
    boxing as to knocking. CLAP's text branch is trained on sounds for that reason; this is the same for an encoder
    that stays as it is. Each embedding is taken for a mixture of meanings, and these are summed.

    prompt_width: of the embeddings. hidden: width of the layer between. choices: sizes of groups of meanings of which
    one holds at a time, such as what sounds in front. flags: further meanings that each hold or do not. length: of
    what comes out. kept: share of the embedding itself that stays beside its meanings, for words that have none here.
    sharpness: what the logits of a group are multiplied by, for half a door and half a drum is no sound.
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
                "choices must be of two or more, flags at least 0, length and sharpness above 0 and kept 0 to 1"
            )
        meanings = sum(choices) + flags
        self.reader = nn.Sequential(nn.Linear(prompt_width, hidden), nn.SiLU(), nn.Linear(hidden, meanings))
        self.meanings = nn.Parameter(torch.zeros(meanings, prompt_width))

    def meaning_logits(self, prompts: torch.Tensor) -> torch.Tensor:
        """Logits [B, meanings] of sentence embeddings [B, prompt_width] of any length: the groups', then the flags'."""
        logits: torch.Tensor = self.reader(self._scale_to_norm(prompts))
        return logits

    def forward(self, prompts: torch.Tensor) -> torch.Tensor:
        """Prompts [B, prompt_width] of one length, from sentence embeddings [B, prompt_width] of any length."""
        said = self.probabilities(self.meaning_logits(prompts)) @ self.meanings
        mixed = said + self.config.kept * (self._scale_to_norm(prompts) - said)
        return self._scale_to_norm(mixed)

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """How much each meaning counts for, [B, meanings] in 0..1, those of a group summing to 1."""
        *groups, flags = logits.split([*self.config.choices, self.config.flags], dim=-1)
        return torch.cat(
            [*((self.config.sharpness * group).softmax(dim=-1) for group in groups), flags.sigmoid()], dim=-1
        )

    def _scale_to_norm(self, vectors: torch.Tensor) -> torch.Tensor:
        return self.config.length * nn.functional.normalize(vectors.float(), dim=-1)
