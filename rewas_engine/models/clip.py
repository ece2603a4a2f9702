"""CLIP: an encoder of pictures and one of words into one space, from a folder on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from rewas_engine.errors import PackError


class ClipEncoder(nn.Module):
    """A CLIP model (Radford et al. 2021) with what prepares its words and pictures.

    model: with its weights. folder: where tokenizer and picture settings lie; nothing is ever fetched from elsewhere.
    Raises PackError where these are missing or do not fit the model.
    """

    def __init__(self, model: CLIPModel, folder: Path) -> None:
        super().__init__()
        if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
            raise _missing_file_error(folder, "its tokenizer (tokenizer.json, or vocab.json with merges.txt)")
        if not (folder / "preprocessor_config.json").is_file():
            raise _missing_file_error(folder, "preprocessor_config.json, which says how its pictures are prepared")
        self.model = model
        self.tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        self.processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
        self.side = int(model.config.vision_config.image_size)
        """Width and height of its pictures."""
        size, cut = dict(self.processor.size), dict(self.processor.crop_size)
        self.short_side = int(size.get("shortest_edge", self.side))
        """What the shorter side of a picture is scaled to before its middle is cut out."""
        if (cut["height"], cut["width"]) != (self.side, self.side) or self.short_side < self.side:
            raise PackError(
                f"The picture settings of the CLIP model {folder.name} make {cut['width']} x {cut['height']} of a "
                f"shorter side of {self.short_side}, but the model sees {self.side} x {self.side}.",
                "Take preprocessor_config.json from where the model is from.",
            )
        vocabulary = int(model.config.text_config.vocab_size)
        if len(self.tokenizer) > vocabulary:
            raise PackError(
                f"The tokenizer of the CLIP model {folder.name} has {len(self.tokenizer)} tokens, "
                f"but the model only {vocabulary}.",
                "Take the tokenizer from where the model is from.",
            )
        self.max_tokens = int(model.config.text_config.max_position_embeddings)

    @property
    def scale(self) -> float:
        """What cosines are multiplied by: the inverse of the learned temperature."""
        return float(self.model.logit_scale.exp())

    @torch.inference_mode()
    def encode_text(self, prompts: Sequence[str]) -> torch.Tensor:
        """Unit vectors [B, D] of prompts; what is longer than the model reads is cut."""
        tokens = self.tokenizer(
            list(prompts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        ).to(self.model.device)
        pooled = self.model.text_model(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
        ).pooler_output
        return nn.functional.normalize(self.model.text_projection(pooled).float(), dim=1)

    @torch.inference_mode()
    def encode_frames(self, frames: NDArray[np.uint8]) -> torch.Tensor:
        """Unit vectors [T, D] of red, green and blue [T, side, side, 3]."""
        prepared = self.processor(
            images=list(frames), do_resize=False, do_center_crop=False, input_data_format="channels_last"
        )
        pixels = torch.from_numpy(np.stack(prepared["pixel_values"])).to(self.model.device)
        pooled = self.model.vision_model(pixel_values=pixels).pooler_output
        return nn.functional.normalize(self.model.visual_projection(pooled).float(), dim=1)


def _missing_file_error(folder: Path, what: str) -> PackError:
    return PackError(
        f"The CLIP model {folder.name} lacks {what}.",
        "Give a folder as transformers saves a CLIPModel with its processor (save_pretrained).",
    )
