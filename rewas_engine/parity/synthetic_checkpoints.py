"""Checkpoints like the released ones, but with weights from the recipe instead of trained weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from rewas_engine.conversion.names import ema_name
from rewas_engine.conversion.released import ReleasedFiles
from rewas_engine.conversion.sizes import ReleasedSizes, released_schedule
from rewas_engine.conversion.sources import SOURCE_KINDS
from rewas_engine.parity.reference_arrays import read_manifest
from rewas_engine.parity.synthetic_weights import released_recipe

SCALE_FACTOR = 0.9
"""Scaling factor of latents, as in the reference run."""
MANIFESTS = {
    "denoiser": ("unet_model.diffusion_model", "model.diffusion_model."),
    "adapter": ("adapter_control_model", "control_model."),
    "codec": ("vae_first_stage_model", "first_stage_model."),
    "vocoder": ("vocoder_first_stage_model.vocoder", "first_stage_model.vocoder."),
    "text_encoder": ("clap_cond_stage_models.0", "cond_stage_models.0.model."),
    "video_encoder": ("synchformer_vfeat_extractor", "vfeat_extractor."),
    "phi": ("phi", "module."),
}
"""Role -> manifest that lists the released tensors, and their prefix in it."""

Tensors = dict[str, torch.Tensor]
Shapes = Mapping[str, tuple[int, ...]]
SMALL_LEFTOVERS: Mapping[str, Shapes] = {
    "codec": {"loss.logvar": ()},
    "text_encoder": {"logit_scale_a": (), "audio_branch.bn0.weight": (64,), "text_transform.sequential.0.bias": (16,)},
    "video_encoder": {"patch_embed.proj.weight": (32, 3, 16, 16)},
}
"""A few released tensors that none of our parts uses, for the small size."""


def manifest_shapes(manifests: Path, role: str) -> dict[str, tuple[int, ...]]:
    """Read the released names of a part, without prefix, and their shapes from its manifest.

    Raises ReferenceArraysError if the manifest does not exist.
    """
    file, prefix = MANIFESTS[role]
    listed = read_manifest(manifests / f"{file}.json")
    # The container of the text encoder also holds tensors that are not part of CLAP.
    return {name.removeprefix(prefix): shape for name, shape in listed.items() if name.startswith(prefix)}


def write_synthetic_checkpoints(
    folder: Path, sizes: ReleasedSizes, *, prefix: str = "", manifests: Path | None = None
) -> ReleasedFiles:
    """Write all six files, under their released names, and a tokenizer into a folder.

    The EMA of the denoiser gets the weights of the recipe; the denoiser itself gets zeros.

    Args:
        folder: Folder to write to; created if needed.
        sizes: Sizes of the networks.
        prefix: Added to every key of the recipe.
        manifests: Folder with the lists of released names. Names that our parts do not use are written as zeros.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {kind: folder / found.file_name for kind, found in SOURCE_KINDS.items()}
    parts: dict[str, Tensors] = {}
    for role in MANIFESTS:
        parts[role] = released_recipe(role, sizes, prefix)
        listed = manifest_shapes(manifests, role) if manifests is not None else SMALL_LEFTOVERS.get(role, {})
        parts[role] |= {name: _zeros(shape) for name, shape in listed.items() if name not in parts[role]}
    torch.save(_prefixed(parts.pop("phi"), "module."), paths["phi"])
    others = {f"{name}.weight": _zeros((2, 2)) for name in ("afeat_extractor.x", "vproj", "aproj", "transformer.x")}
    visual = _prefixed(parts.pop("video_encoder"), "vfeat_extractor.")
    torch.save({"model": {**visual, **others}, "epoch": 1}, paths["synchformer"])
    del visual
    torch.save({"state_dict": parts["codec"]}, paths["vae"])
    torch.save({"generator": _with_weight_norm(parts["vocoder"])}, paths["vocoder"])
    torch.save({"state_dict": _prefixed(parts["text_encoder"], "module."), "epoch": 1}, paths["clap"])
    torch.save({"state_dict": _rewas(parts), "global_step": 1}, paths["rewas"])
    return ReleasedFiles(**paths, tokenizer=write_synthetic_tokenizer(folder / "tokenizer"))


def write_synthetic_tokenizer(folder: Path) -> Path:
    """Write a byte-level tokenizer without merges into a folder, with the first token numbers of RoBERTa."""
    folder.mkdir(parents=True, exist_ok=True)
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    # Byte-level tokenizers represent unprintable bytes by the characters from 256 on.
    letters = [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *letters, "<mask>"]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    return folder


def _rewas(parts: Mapping[str, Tensors]) -> Tensors:
    denoiser = parts["denoiser"]
    schedule = released_schedule()
    buffers = {
        "betas": schedule.betas,
        "alphas_cumprod": schedule.alphas_cumprod,
        "logvar": _zeros((1000,)),
        "scale_factor": torch.tensor(SCALE_FACTOR),
        "model_ema.decay": torch.tensor(0.9999),
        "model_ema.num_updates": torch.tensor(1, dtype=torch.int32),
    }
    return {
        **{f"model.diffusion_model.{name}": _zeros(tuple(tensor.shape)) for name, tensor in denoiser.items()},
        **{f"model_ema.{ema_name(name)}": tensor for name, tensor in denoiser.items()},
        **_prefixed(parts["adapter"], "control_model."),
        **_prefixed(parts["codec"], "first_stage_model."),
        **_prefixed(parts["vocoder"], "first_stage_model.vocoder."),
        **_prefixed(parts["text_encoder"], "cond_stage_models.0.model."),
        **buffers,
    }


def _with_weight_norm(tensors: Tensors) -> Tensors:
    """Split each weight into direction and length, as weight normalisation does in the training of HiFi-GAN."""
    split: Tensors = {}
    for name, tensor in tensors.items():
        if name.endswith(".weight"):
            length = tensor.flatten(1).norm(dim=1).reshape(-1, *[1] * (tensor.dim() - 1))
            split |= {f"{name}_g": length, f"{name}_v": tensor}
        else:
            split[name] = tensor
    return split


def _zeros(shape: tuple[int, ...]) -> torch.Tensor:
    """Zeros that take no space, in memory or on disk."""
    return torch.zeros(()).expand(shape)


def _prefixed(tensors: Tensors, prefix: str) -> Tensors:
    return {prefix + name: tensor for name, tensor in tensors.items()}
