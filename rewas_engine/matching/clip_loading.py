"""Loading a CLIP model from a local folder: strictly, from safetensors only, never over the network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import CLIPConfig, CLIPModel

from rewas_engine.errors import PackError
from rewas_engine.models.clip import ClipEncoder
from rewas_engine.packs.components import CONFIG_FILE, WEIGHTS_FILE, load_strictly

_POSITION_ID_BUFFERS = ("text_model.embeddings.position_ids", "vision_model.embeddings.position_ids")
"""Position indices that older files store. They count from 0 and are not learned."""
_CLIP_FOLDER_REMEDY = "Use a folder in which transformers saved a CLIPModel and its processor (save_pretrained)."


def load_clip_encoder(folder: Path, device: str) -> ClipEncoder:
    """Load the CLIP model of a folder in float32 and evaluation mode.

    Raises PackError if the folder, its configuration, weights, tokenizer or image settings are missing, belong to
    another kind of model, or do not fit each other.
    """
    if not folder.is_dir():
        raise PackError(f"The CLIP model folder {folder} does not exist.", "Check the path of the CLIP model.")
    folder = folder.resolve()
    config = _read_config(folder)
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        raise PackError(
            f"The CLIP model {folder.name} has no {WEIGHTS_FILE}"
            + (", only pickled weights, which are never opened." if pickled else "."),
            "Save it again as one safetensors file (save_pretrained with transformers does).",
        )
    try:
        model = CLIPModel(CLIPConfig.from_dict(config))
        load_strictly(model, _drop_position_ids(load_file(weights)))
        encoder = ClipEncoder(model, folder)
    except PackError:
        raise
    except Exception as error:  # transformers raises many types for invalid configurations
        raise PackError(f"The CLIP model {folder.name} cannot be loaded: {error}", _CLIP_FOLDER_REMEDY) from error
    return encoder.eval().requires_grad_(False).to(device)


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG_FILE).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise PackError(f"The folder {folder.name} has no readable {CONFIG_FILE}.", _CLIP_FOLDER_REMEDY) from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind != "clip":
        raise PackError(
            f"The folder {folder.name} holds a model of the type {kind!r}, not a CLIP model.", _CLIP_FOLDER_REMEDY
        )
    return dict(config)


def _drop_position_ids(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    for name in _POSITION_ID_BUFFERS:
        found = tensors.get(name)
        if found is not None and torch.equal(found.flatten().long(), torch.arange(found.numel())):
            del tensors[name]
    return tensors
