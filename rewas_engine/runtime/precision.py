"""Low precision: select it for a device, and store the heavy layers of networks in it."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import nn

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_HEAVY_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d)
"""Layers that autocast computes in low precision anyway, so that storing them in it costs no accuracy."""


def resolve_precision(requested: str, device: str) -> str:
    """Return the precision to use on a device. "auto" is bfloat16 or float16 if the hardware supports it."""
    if requested != "auto":
        return requested
    if torch.device(device).type == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(device)[0] >= 8 else "float16"
    return "bfloat16" if torch.cpu._is_avx512_bf16_supported() else "float32"


def training_precision(device: str, requested: str = "auto") -> str:
    """Return the precision of forward passes in training. Weights and gradients of weights are always float32."""
    if requested != "auto":
        return requested
    if torch.device(device).type != "cpu":
        return "bfloat16"
    # Without matrix units, gradients of bfloat16 convolutions take up to twice as long as those of float32, or on
    # processors such as Zen 5 little more than half.
    return "bfloat16" if torch.cpu._is_amx_tile_supported() else "float32"


def replace_emulated_precision(preferred: str, device: str) -> str:
    """Return the precision that a pack prefers, or float32 on a CPU that would only emulate it.

    Emulated bfloat16 is several times slower than float32, and its rounding depends on the number of threads.
    """
    emulated = torch.device(device).type == "cpu" and resolve_precision("auto", device) == "float32"
    return "float32" if emulated and preferred != "auto" else preferred


def heavy_dtypes(module: nn.Module, dtype: torch.dtype) -> dict[str, torch.dtype]:
    """The dtype of each tensor, by name, if the heavy layers are stored in `dtype`."""
    heavy = {
        f"{prefix}.{name}" if prefix else name
        for prefix, part in module.named_modules()
        if isinstance(part, _HEAVY_LAYERS)
        for name in part._parameters
    }
    tensors = module.state_dict()
    return {name: dtype if name in heavy else tensor.dtype for name, tensor in tensors.items()}


def cast_heavy_layers(module: nn.Module, dtype: torch.dtype) -> None:
    """Convert the heavy layers of a network to a dtype, in place. Other layers stay as they are."""
    for part in module.modules():
        if isinstance(part, _HEAVY_LAYERS):
            part.to(dtype)


def weight_dtype(module: Any) -> torch.dtype:
    """The dtype of a network's heavy layers; float32 if it has none."""
    if not isinstance(module, nn.Module):
        return torch.float32
    return next((part.weight.dtype for part in module.modules() if isinstance(part, _HEAVY_LAYERS)), torch.float32)


def autocast_to_weight_dtype(module: Any, device: str) -> contextlib.AbstractContextManager[Any]:
    """Run a network in the precision of its heavy layers."""
    dtype = weight_dtype(module)
    return torch.autocast(torch.device(device).type, dtype, enabled=dtype != torch.float32)
