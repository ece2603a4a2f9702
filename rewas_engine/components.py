"""Loading the components of a pack, strictly: every tensor of a file is used, every parameter of a module is set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.configuration_utils import ConfigMixin
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import ClapTextModelWithProjection, SpeechT5HifiGan

from rewas_engine.backbones.families import ComponentLoader
from rewas_engine.errors import PackError
from rewas_engine.models.adapter import EnergyAdapter
from rewas_engine.models.codec import PatchAutoencoder
from rewas_engine.models.joint import JointSpace
from rewas_engine.models.motion import MotionEncoder
from rewas_engine.models.motionformer import MotionFormer
from rewas_engine.models.phi import Phi
from rewas_engine.models.text import ClapTextEncoder, SentenceEncoder
from rewas_engine.models.text_projection import TextProjection
from rewas_engine.models.vocoder import SpectralVocoder

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


def from_configuration(kind: Any) -> ComponentLoader:
    """A loader for a class of diffusers' or transformers' kind: built from config.json, then filled, strictly.

    A class with a method `attach` is given the folder too, for what it needs beside weights, such as a tokenizer.
    """

    def load(folder: Path) -> Any:
        config = json.loads((folder / CONFIG_FILE).read_text("utf-8"))
        is_of_diffusers = issubclass(kind, ConfigMixin)
        module = kind.from_config(config) if is_of_diffusers else kind(kind.config_class.from_dict(config))
        load_strictly(module, load_file(folder / WEIGHTS_FILE))
        if hasattr(module, "attach"):
            module.attach(folder)
        return module

    return load


def _clap_text_encoder(folder: Path) -> ClapTextEncoder:
    return ClapTextEncoder(from_configuration(ClapTextModelWithProjection)(folder), folder)


def _ddim_schedule(folder: Path) -> Any:
    return DDIMScheduler.from_config(json.loads((folder / CONFIG_FILE).read_text("utf-8")))


_LOADERS: dict[str, ComponentLoader] = {
    ClapTextEncoder.__name__: _clap_text_encoder,
    SentenceEncoder.__name__: SentenceEncoder.from_folder,
    DDIMScheduler.__name__: _ddim_schedule,
    **{
        kind.__name__: from_configuration(kind)
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
"""The classes that every pack may name, whatever its family."""


def load_component(
    pack_folder: Path, role: str, class_name: str, more: Mapping[str, ComponentLoader] | None = None
) -> Any:
    """Build one component of a pack in float32, in evaluation mode.

    role: the component's folder within the pack. class_name: one of the classes that packs may name. more: further
    ones, which the pack's family brings.
    Raises PackError for an unknown class, a missing or unreadable file, or tensors that do not fit.
    """
    folder = pack_folder / role
    if not folder.is_dir():
        raise PackError(f"The pack {pack_folder.name} has no folder {role}.", "Install the pack again.")
    load = {**(more or {}), **_LOADERS}.get(class_name)
    if load is None:
        raise PackError(
            f"The pack {pack_folder.name} names a component {class_name}, which this version does not know.",
            "Update ReWaS, or choose another pack.",
        )
    try:
        component = load(folder)
    except PackError:
        raise
    except Exception as error:  # a config that makes no sense fails in the classes of three libraries, each in its way
        raise PackError(
            f"The component {role} of the pack {pack_folder.name} cannot be loaded: {error}", "Install the pack again."
        ) from error
    return component.eval().requires_grad_(False) if isinstance(component, nn.Module) else component


def save_component(module: nn.Module, pack_folder: Path, role: str, dtype: torch.dtype = torch.float16) -> None:
    """Write one component into a pack folder as config.json and model.safetensors.

    dtype: what floating-point tensors are stored as.
    """
    folder = pack_folder / role
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(config_json(module), "utf-8")
    tensors = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).detach().cpu().contiguous()
        for name, tensor in module.state_dict().items()
    }
    save_file(tensors, folder / WEIGHTS_FILE)


def config_json(module: Any) -> str:
    """The configuration of a diffusers or transformers component as stable JSON text."""
    config = module.config.to_dict() if hasattr(module.config, "to_dict") else dict(module.config)
    # With its note of what was left at defaults diffusers would forget what was set since, and follow new defaults.
    config.pop("_use_default_values", None)
    return json.dumps(config, indent=1, sort_keys=True, default=list) + "\n"


def load_strictly(module: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Set every tensor of a module; raises ValueError for one that is missing, unknown, misshapen or not finite."""
    expected = module.state_dict()
    missing, unused = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing or unused:
        raise ValueError(f"{len(missing)} tensors are missing and {len(unused)} unknown, first {(missing + unused)[0]}")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise ValueError(f"{name} has shape {list(tensor.shape)} instead of {list(expected[name].shape)}")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"{name} holds values that are not finite")
    module.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()}, strict=True)
