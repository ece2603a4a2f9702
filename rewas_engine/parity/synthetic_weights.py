"""Weights and inputs generated from names alone: the same on every machine, without files."""

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
"""What stands before a part's bare names in the recipe: the release's vocoder lives within its VAE."""


def recipe_weight(key: str, shape: Sequence[int]) -> torch.Tensor:
    """The float32 tensor that belongs to a released name.

    Standard normal numbers seeded by the name's CRC-32: divided by the root of the fan-in where there are two axes or
    more, else a tenth of them, about 1 for a weight and about 0 for a bias.
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
    made = {}
    for name, wanted in part.expected_tensors(sizes).items():
        released = part.released_name(name)
        if released in stored:
            key = prefix + _RECIPE_PREFIXES.get(role, "") + released
            made[name] = recipe_weight(key, released_shape(role, name, wanted)).reshape(wanted.shape)
        else:
            made[name] = part.constant_value(name, wanted)
    return made


def recipe_module(role: str, sizes: ReleasedSizes, prefix: str = "") -> nn.Module:
    """Build one network with weights from the recipe, ready for use."""
    module = sizes.build_on_meta(role)
    # Taken over and not copied: the memory holds the weights once.
    module.load_state_dict(recipe_part(role, sizes, prefix), assign=True)
    return module.eval().requires_grad_(False)


def released_recipe(role: str, sizes: ReleasedSizes, prefix: str = "") -> dict[str, torch.Tensor]:
    """Generate the same tensors under released names, without the container's prefix, in their released shapes."""
    stored: Mapping[str, tuple[int, ...]] = released_parts(sizes)[role].released_shapes(sizes)
    before = prefix + _RECIPE_PREFIXES.get(role, "")
    return {released: recipe_weight(before + released, shape) for released, shape in stored.items()}
