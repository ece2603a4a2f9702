"""The text encoder of Make-An-Audio: CLAP's caption branch, with all tokens instead of one vector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn
from transformers import BertConfig, BertModel, BertTokenizerFast

from rewas_engine.errors import PackError


class ClapTokenEncoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """BERT's last hidden states, each projected (CLAP, Elizalde et al. 2022), for the denoiser to attend to.

    Args:
        vocabulary, width, blocks, heads: Size of BERT.
        features: Width of an output token.
        tokens: Number of tokens per prompt. Shorter prompts are padded, and the padding is attended to, as in the
            training of Make-An-Audio.
    """

    config_name = "config.json"

    @register_to_config
    def __init__(
        self,
        vocabulary: int = 30_522,
        width: int = 768,
        blocks: int = 12,
        heads: int = 12,
        features: int = 1024,
        tokens: int = 77,
    ) -> None:
        super().__init__()
        config = BertConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            num_hidden_layers=blocks,
            num_attention_heads=heads,
            intermediate_size=4 * width,
        )
        self.text_model = BertModel(config, add_pooling_layer=False)
        self.projection = _Projection(width, features)
        self.tokenizer: BertTokenizerFast | None = None

    def attach(self, folder: Path) -> None:
        """Load the tokenizer in a component's folder. Raises PackError if it is missing."""
        if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
            raise PackError(f"The tokenizer in {folder} is missing.", "Install the pack again.")
        self.tokenizer = BertTokenizerFast.from_pretrained(folder, local_files_only=True)

    @torch.inference_mode()
    def forward(self, prompts: Sequence[str]) -> torch.Tensor:
        """Tokens [B, tokens, features] of prompts, float32."""
        assert self.tokenizer is not None, "attach() must load a tokenizer first"
        input_ids = self.tokenizer(
            list(prompts), padding="max_length", truncation=True, max_length=self.config.tokens, return_tensors="pt"
        )["input_ids"].to(self.device)
        states = self.text_model(input_ids=input_ids, attention_mask=torch.ones_like(input_ids)).last_hidden_state
        projected: torch.Tensor = self.projection(states).float()
        return projected


class _Projection(nn.Module):
    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, features, bias=False)
        self.linear2 = nn.Linear(features, features, bias=False)
        self.norm = nn.LayerNorm(features)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        first = self.linear1(states)
        result: torch.Tensor = self.norm(first + self.linear2(nn.functional.gelu(first)))
        return result
