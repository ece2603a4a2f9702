"""CLIP: encodes images and text into one space; loaded from a local folder."""

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
    """A CLIP model (Radford et al. 2021) with its tokenizer and image preprocessing.

    Args:
        model: The model with its weights.
        folder: Folder of the tokenizer and image settings. Nothing is downloaded.

    Raises:
        PackError: These files are missing or do not fit the model.
    """

    def __init__(self, model: CLIPModel, folder: Path) -> None:
        super().__init__()
        if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
            raise _missing_file_error(folder, "its tokenizer (tokenizer.json, or vocab.json with merges.txt)")
        if not (folder / "preprocessor_config.json").is_file():
            raise _missing_file_error(folder, "preprocessor_config.json, its image settings")
        self.model = model
        self.tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        self.processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
        self.side = int(model.config.vision_config.image_size)
        """Width and height of the input images, in pixels."""
        size, cut = dict(self.processor.size), dict(self.processor.crop_size)
        self.short_side = int(size.get("shortest_edge", self.side))
        """Length in pixels that the shorter side of an image is scaled to before the centre is cropped."""
        if (cut["height"], cut["width"]) != (self.side, self.side) or self.short_side < self.side:
            raise PackError(
                f"The image settings of the CLIP model {folder.name} give {cut['width']} x {cut['height']} pixels from "
                f"a shorter side of {self.short_side}, but the model expects {self.side} x {self.side}.",
                "Use the preprocessor_config.json that belongs to the model.",
            )
        vocabulary = int(model.config.text_config.vocab_size)
        if len(self.tokenizer) > vocabulary:
            raise PackError(
                f"The tokenizer of the CLIP model {folder.name} has {len(self.tokenizer)} tokens, "
                f"but the model only has {vocabulary}.",
                "Use the tokenizer that belongs to the model.",
            )
        self.max_tokens = int(model.config.text_config.max_position_embeddings)

    @property
    def scale(self) -> float:
        """Factor of cosines: the inverse of the learned temperature."""
        return float(self.model.logit_scale.exp())

    @torch.inference_mode()
    def encode_text(self, prompts: Sequence[str]) -> torch.Tensor:
        """Unit vectors [B, D] of prompts; longer ones are truncated to the model's maximum."""
        tokens = self.tokenizer(
            list(prompts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        ).to(self.model.device)
        pooled = self.model.text_model(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
        ).pooler_output
        return nn.functional.normalize(self.model.text_projection(pooled).float(), dim=1)

    @torch.inference_mode()
    def encode_frames(self, frames: NDArray[np.uint8]) -> torch.Tensor:
        """Unit vectors [T, D] of RGB frames [T, side, side, 3], 0 to 255."""
        prepared = self.processor(
            images=list(frames), do_resize=False, do_center_crop=False, input_data_format="channels_last"
        )
        pixels = torch.from_numpy(np.stack(prepared["pixel_values"])).to(self.model.device)
        pooled = self.model.vision_model(pixel_values=pixels).pooler_output
        return nn.functional.normalize(self.model.visual_projection(pooled).float(), dim=1)


def _missing_file_error(folder: Path, what: str) -> PackError:
    return PackError(
        f"The CLIP model {folder.name} lacks {what}.",
        "Use a folder in which transformers saved a CLIPModel and its processor (save_pretrained).",
    )
