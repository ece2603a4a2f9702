"""Loading a pack onto a device with its precision, memory layout and offloading."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import torch

from rewas_engine.errors import InsufficientMemoryError
from rewas_engine.packs.backbones.families import find_family
from rewas_engine.packs.components import load_component
from rewas_engine.packs.description import CONFLICT_ROLE, PackDescription
from rewas_engine.runtime.execution import Execution
from rewas_engine.runtime.memory import release_memory, reserve_blas_buffers
from rewas_engine.runtime.memory_errors import is_out_of_memory
from rewas_engine.runtime.offloading import PackComponents
from rewas_engine.runtime.precision import DTYPES, replace_emulated_precision, resolve_precision

_log = logging.getLogger("rewas.engine")
_DENOISING_ROLES = ("denoiser", "adapter")
_CONVOLUTIONAL_ROLES = (*_DENOISING_ROLES, "codec")
LoadedT = TypeVar("LoadedT")

LOADING_MEMORY_REMEDY = "Close other programs, or convert the pack with --dtype bf16."


def load_components(description: PackDescription, device: str, execution: Execution) -> PackComponents:
    """Load the components of a pack with the loaders of its family onto a device.

    Raises PackError, and the errors of `load_component` if memory runs out.
    """
    loaders = find_family((description.lender or description).family).loaders

    def load(role: str) -> Any:
        dtype = DTYPES[component_precision(role, description, device, execution)]
        component = load_component(description.component_folder, role, description.components[role], dtype, loaders)
        if not isinstance(component, torch.nn.Module):
            return component
        component.to(device)
        if execution.channels_last and role in _CONVOLUTIONAL_ROLES:
            component.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if execution.compiled and role in _DENOISING_ROLES:
            component.compile()
        return component

    # A CLIP model is not needed for generation; `rewas_engine.matching.selection` loads it on demand.
    roles = [role for role in description.components if role != CONFLICT_ROLE]
    return PackComponents(load, roles, low_memory=execution.low_memory)


def component_precision(role: str, description: PackDescription, device: str, execution: Execution) -> str:
    """Return the precision of a component's heavy layers, a key of `rewas_engine.runtime.precision.DTYPES`.

    The pack states it for the components that take most of the time; all others use float32. A CPU that can only
    emulate the pack's precision uses float32 throughout, unless low_memory is set.
    """
    sampling, picture = description.sampling, description.picture
    own = {
        **dict.fromkeys(_DENOISING_ROLES, sampling.get("precision", "float32")),
        "codec": sampling.get("codec_precision", "float32"),
        "video_encoder": picture.get("precision", "float32"),
    }
    if role not in own:
        return "float32"
    if execution.precision is None and not execution.low_memory:
        return resolve_precision(replace_emulated_precision(str(own[role]), device), device)
    return resolve_precision(execution.precision or str(own[role]), device)


def load_with_memory_fallback(load: Callable[[Execution], LoadedT], wanted: Execution, pack: str) -> LoadedT:
    """Load a pack; if memory runs out, try once more with low_memory. Raises InsufficientMemoryError."""
    smaller = replace(wanted, low_memory=True, compiled=False, shares_batches=False)
    for execution in dict.fromkeys((wanted, smaller)):
        try:
            reserve_blas_buffers()
            return load(execution)
        except Exception as error:  # each library has its own type for it
            if not is_out_of_memory(error):
                raise
        release_memory()
        if execution != smaller:
            _log.warning("Out of memory while loading the pack %s; trying again with low memory.", pack)
    raise InsufficientMemoryError(f"loading the pack {pack}", LOADING_MEMORY_REMEDY)
