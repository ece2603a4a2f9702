"""Weights generated from the names of tensors: the same on every machine, without files."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from rewas_engine.conversion.parts import released_parts, released_shape
from rewas_engine.conversion.sizes import ReleasedSizes

_RECIPE_PREFIXES = {"vocoder": "vocoder."}
"""Role -> prefix of its names in the recipe. In the release, the vocoder is part of the VAE."""


def recipe_weight(key: str, shape: Sequence[int]) -> torch.Tensor:
    """Generate the float32 tensor of a released name.

    Its values are standard normal numbers, seeded by the CRC-32 of the name. With two or more axes, they are divided by
    the root of the fan-in; otherwise they are divided by 10, and a weight is shifted to a mean of 1.
    """
    noise = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(tuple(shape))
    if len(shape) >= 2:
        noise /= math.sqrt(math.prod(shape[1:]))
    else:
        noise = 0.1 * noise + key.endswith("weight")
    return torch.from_numpy(np.asarray(noise, np.float32))


def recipe_part(role: str, sizes: ReleasedSizes, prefix: str = "") -> dict[str, torch.Tensor]:
    """Generate the tensors of one network under our names. `prefix`: added to every key of the recipe."""
    part = released_parts(sizes)[role]
    stored = part.released_shapes(sizes)
    tensors = {}
    for name, wanted in part.expected_tensors(sizes).items():
        released = part.released_name(name)
        if released in stored:
            key = prefix + _RECIPE_PREFIXES.get(role, "") + released
            tensors[name] = recipe_weight(key, released_shape(role, name, wanted)).reshape(wanted.shape)
        else:
            tensors[name] = part.constant_value(name, wanted)
    return tensors


def recipe_module(role: str, sizes: ReleasedSizes, prefix: str = "") -> nn.Module:
    """Build one network with weights from the recipe, in evaluation mode."""
    module = sizes.build_on_meta(role)
    # Assigned instead of copied, so that memory holds the weights only once.
    module.load_state_dict(recipe_part(role, sizes, prefix), assign=True)
    return module.eval().requires_grad_(False)


def released_recipe(role: str, sizes: ReleasedSizes, prefix: str = "") -> dict[str, torch.Tensor]:
    """Generate the tensors of one network in their released names and shapes, without the container's prefix."""
    stored: Mapping[str, tuple[int, ...]] = released_parts(sizes)[role].released_shapes(sizes)
    before = prefix + _RECIPE_PREFIXES.get(role, "")
    return {released: recipe_weight(before + released, shape) for released, shape in stored.items()}
