"""Strict loading of components: every tensor in a file must be used, and every parameter of a module must be set."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.configuration_utils import ConfigMixin
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from transformers import ClapTextModelWithProjection, SpeechT5HifiGan

from rewas_engine.errors import PackError
from rewas_engine.models.adapter import EnergyAdapter
from rewas_engine.models.codec import PatchAutoencoder
from rewas_engine.models.joint import JointSpace
from rewas_engine.models.motion import MotionEncoder
from rewas_engine.models.motionformer import MotionFormer
from rewas_engine.models.phi import Phi
from rewas_engine.models.schedules import rescale_exact
from rewas_engine.models.text import ClapTextEncoder, SentenceEncoder
from rewas_engine.models.text_projection import TextProjection
from rewas_engine.models.vocoder import SpectralVocoder
from rewas_engine.packs.backbones.families import ComponentLoader
from rewas_engine.runtime.memory_errors import is_out_of_memory
from rewas_engine.runtime.precision import cast_heavy_layers, heavy_dtypes

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


def loader_from_config(kind: Any) -> ComponentLoader:
    """Return a loader for a diffusers or transformers class: it builds from config.json and fills the weights strictly.

    A class with a method `attach` also gets the folder, for files other than weights, such as a tokenizer.
    """

    def load(folder: Path, dtype: torch.dtype) -> Any:
        config = json.loads((folder / CONFIG_FILE).read_text("utf-8"))

        def build() -> Any:
            return (
                kind.from_config(config) if issubclass(kind, ConfigMixin) else kind(kind.config_class.from_dict(config))
            )

        module = _build_with_weights(build, folder / WEIGHTS_FILE, dtype)
        if hasattr(module, "attach"):
            module.attach(folder)
        return module

    return load


def _load_clap_text_encoder(folder: Path, dtype: torch.dtype) -> ClapTextEncoder:
    return ClapTextEncoder(loader_from_config(ClapTextModelWithProjection)(folder, dtype), folder)


def _load_sentence_encoder(folder: Path, dtype: torch.dtype) -> SentenceEncoder:
    return SentenceEncoder.from_folder(folder)


def _load_ddim_schedule(folder: Path, dtype: torch.dtype) -> Any:
    return rescale_exact(DDIMScheduler.from_config(json.loads((folder / CONFIG_FILE).read_text("utf-8"))))


_LOADERS: dict[str, ComponentLoader] = {
    ClapTextEncoder.__name__: _load_clap_text_encoder,
    SentenceEncoder.__name__: _load_sentence_encoder,
    DDIMScheduler.__name__: _load_ddim_schedule,
    **{
        kind.__name__: loader_from_config(kind)
        for kind in (
            AutoencoderKL,
            EnergyAdapter,
            JointSpace,
            MotionEncoder,
            MotionFormer,
            PatchAutoencoder,
            Phi,
            SpectralVocoder,
            SpeechT5HifiGan,
            TextProjection,
            UNet2DConditionModel,
        )
    },
}
"""The classes that the packs of every family may name."""


def load_component(
    pack_folder: Path,
    role: str,
    class_name: str,
    dtype: torch.dtype = torch.float32,
    extra_loaders: Mapping[str, ComponentLoader] | None = None,
) -> Any:
    """Load one component of a pack in evaluation mode.

    Args:
        pack_folder: Folder of the pack.
        role: Name of the component's folder in it.
        class_name: One of the classes that packs may name.
        dtype: Precision of the heavy layers, see `rewas_engine.runtime.precision`; all other layers are float32.
        extra_loaders: Further classes, from the pack's family.

    Raises:
        PackError: The class is unknown, a file is missing or unreadable, or tensors do not fit.
        MemoryError, torch.OutOfMemoryError: Out of memory.
    """
    folder = pack_folder / role
    if not folder.is_dir():
        raise PackError(f"The pack {pack_folder.name} has no folder {role}.", "Install the pack again.")
    load = {**(extra_loaders or {}), **_LOADERS}.get(class_name)
    if load is None:
        raise PackError(
            f"The pack {pack_folder.name} names a component {class_name}, which this version does not know.",
            "Update ReWaS, or choose another pack.",
        )
    try:
        component = load(folder, dtype)
    except PackError:
        raise
    except Exception as error:  # three libraries raise many types for invalid configurations
        if is_out_of_memory(error):
            raise
        raise PackError(
            f"The component {role} of the pack {pack_folder.name} cannot be loaded: {error}", "Install the pack again."
        ) from error
    return component.eval().requires_grad_(False) if isinstance(component, nn.Module) else component


def save_component(module: nn.Module, pack_folder: Path, role: str, dtype: torch.dtype = torch.float16) -> None:
    """Write one component into a pack folder as config.json and model.safetensors.

    `dtype`: precision of floating-point tensors in the file.
    """
    folder = pack_folder / role
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(config_json(module), "utf-8")
    tensors = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).detach().cpu().contiguous()
        for name, tensor in module.state_dict().items()
    }
    save_weights(tensors, folder)


def save_weights(tensors: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Write tensors as a component's model.safetensors, with the permissions of its folder."""
    save_file(dict(tensors), folder / WEIGHTS_FILE)
    # safetensors creates files that only their owner can read.
    (folder / WEIGHTS_FILE).chmod(folder.stat().st_mode & 0o666)


def config_json(module: Any) -> str:
    """Return the configuration of a diffusers or transformers component as stable JSON text."""
    config = module.config.to_dict() if hasattr(module.config, "to_dict") else dict(module.config)
    # With this list, diffusers would ignore values that were set later, and apply changed defaults.
    config.pop("_use_default_values", None)
    return json.dumps(config, indent=1, sort_keys=True, default=list) + "\n"


def _build_with_weights(build: Callable[[], Any], weights: Path, dtype: torch.dtype) -> Any:
    """Build a module with the weights of a file, reading each tensor once and storing it in its final precision."""
    with torch.device("meta"):
        module = build()
    heavy = heavy_dtypes(module, dtype)
    with safe_open(weights, framework="pt") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    for name in heavy.keys() & found.keys():
        # One at a time, so that memory never holds the network twice.
        found[name] = found[name].to(heavy[name], copy=True)
    unstored = {name for name, _ in module.named_buffers()} - module.state_dict().keys()
    if not unstored:
        load_strictly(module, found, assign=True)
        return module
    # Buffers that are computed at construction are in no file; on the meta device they have no values.
    module = build()
    cast_heavy_layers(module, dtype)
    load_strictly(module, found)
    return module


def load_strictly(module: nn.Module, tensors: Mapping[str, torch.Tensor], *, assign: bool = False) -> None:
    """Set every tensor of a module.

    Args:
        module: The module.
        tensors: Tensors by name.
        assign: Use the tensors themselves instead of copying their values.

    Raises:
        ValueError: A tensor is missing, unknown, not finite, or has another shape.
    """
    expected = module.state_dict()
    missing, unused = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing or unused:
        raise ValueError(f"{len(missing)} tensors are missing and {len(unused)} unknown, first {(missing + unused)[0]}")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise ValueError(f"{name} has shape {list(tensor.shape)} instead of {list(expected[name].shape)}")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"{name} holds values that are not finite")
    if assign:
        module.load_state_dict(dict(tensors), strict=True, assign=True)
        return
    module.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()}, strict=True)
