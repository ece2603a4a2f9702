"""Folders of encoders: config.json and safetensors, loaded strictly and never over the network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file
from torch import nn

from rewas_engine.errors import EngineError, PackError
from rewas_engine.packs.components import CONFIG_FILE, WEIGHTS_FILE, load_strictly
from rewas_engine.packs.description import sha256_of
from rewas_engine.runtime.memory_errors import is_out_of_memory

Module = TypeVar("Module", bound=nn.Module)

_COUNTER = ".num_batches_tracked"
LAYOUT_REMEDY = "See “Encoders” in docs/evaluation.md for the layout of the folder."


def read_config(folder: Path) -> dict[str, Any]:
    """Read the config.json of an encoder. Raises PackError if it is missing or damaged."""
    try:
        config = json.loads((folder / CONFIG_FILE).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise PackError(f"The encoder folder {folder.name} has no readable {CONFIG_FILE}.", LAYOUT_REMEDY) from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise PackError(f"The {CONFIG_FILE} of the encoder {folder.name} names no model_type.", LAYOUT_REMEDY)
    return config


def load_module(folder: Path, build: Callable[[], Module], device: str, *, leftovers: Sequence[str] = ()) -> Module:
    """Build a network and set every tensor from the folder's weights, in float32 and evaluation mode.

    Args:
        folder: Folder with model.safetensors.
        build: Builds the network.
        device: Torch device name.
        leftovers: Beginnings of the names of tensors that published files contain and the network does not use.

    Raises:
        PackError: The weights are missing or do not fit.
    """
    check_weights(folder)
    try:
        # Drawing the initial weights, which are then replaced, must not advance the caller's random state.
        with torch.random.fork_rng(devices=[]):
            module = build()
        stored = load_file(folder / WEIGHTS_FILE)
        used = {name: stored[name] for name in stored if not name.startswith(tuple(leftovers))}
        # Files from before PyTorch 0.4 lack these counters, which only matter in training.
        counters = {name: value for name, value in module.state_dict().items() if name.endswith(_COUNTER)}
        load_strictly(module, {**counters, **used})
    except EngineError:
        raise
    except Exception as error:  # transformers and safetensors raise many types for invalid files
        if is_out_of_memory(error):
            raise
        raise PackError(f"The encoder {folder.name} cannot be loaded: {error}", LAYOUT_REMEDY) from error
    return module.eval().requires_grad_(False).to(device)


def load_pretrained(kind: Any, folder: Path, device: str) -> Any:
    """Load a model that transformers saved, in float32 and evaluation mode.

    transformers translates the names of files that older versions saved.

    Args:
        kind: Class of transformers.
        folder: Folder with config.json and model.safetensors.
        device: Torch device name.

    Raises:
        PackError: The configuration or the weights are missing or do not fit each other.
    """
    check_weights(folder)
    try:
        with torch.random.fork_rng(devices=[]):
            model, info = kind.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True, dtype=torch.float32
            )
    except Exception as error:  # transformers raises many types for invalid files
        if is_out_of_memory(error):
            raise
        raise PackError(f"The encoder {folder.name} cannot be loaded: {error}", LAYOUT_REMEDY) from error
    missing = sorted(info["missing_keys"])
    unused = sorted(name for name in info["unexpected_keys"] if not name.endswith("position_ids"))
    unfit = [str(entry) for entry in info["mismatched_keys"]]
    infinite = [name for name, tensor in model.named_parameters() if not torch.isfinite(tensor).all()]
    for names, fault in (
        (missing, "lack"),
        (unused, "contain the unknown tensor"),
        (unfit, "have another shape for"),
        (infinite, "hold values that are not finite in"),
    ):
        if names:
            raise PackError(f"The weights of the encoder {folder.name} {fault} {names[0]}.", LAYOUT_REMEDY)
    return model.eval().requires_grad_(False).to(device)


def check_weights(folder: Path) -> None:
    """Raise PackError if the folder of an encoder has no safetensors."""
    if (folder / WEIGHTS_FILE).is_file():
        return
    has_pickled = any(path for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(pattern))
    raise PackError(
        f"The encoder {folder.name} has no {WEIGHTS_FILE}"
        + (", only pickled weights, which are never opened." if has_pickled else "."),
        LAYOUT_REMEDY,
    )


def folder_sha256(folder: Path) -> str:
    """SHA-256, in hex, of the names and contents of a folder's files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{sha256_of(path)}\n".encode())
    return digest.hexdigest()


def display_name(kind: str, folder: Path) -> str:
    """Name of an encoder for reports."""
    return f"{kind} ({folder.resolve().name})"
