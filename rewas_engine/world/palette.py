"""Colours of the world, as RGB in 0..1."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewas_engine.world.drawing import LUMA

FloatArray = NDArray[np.floating[Any]]


def bright_colour(rng: np.random.Generator, saturation: float | None = None) -> FloatArray:
    """A random hue, vivid unless a saturation is given."""
    chosen = rng.uniform(0.45, 1.0) if saturation is None else saturation * rng.uniform(0.6, 1.2)
    return np.array(colorsys.hsv_to_rgb(rng.random(), min(chosen, 1.0), rng.uniform(0.45, 0.95)), dtype=np.float32)


def wood_colour(rng: np.random.Generator) -> FloatArray:
    """A brown, from pale pine to dark oak."""
    return np.array(
        colorsys.hsv_to_rgb(rng.uniform(0.05, 0.11), rng.uniform(0.4, 0.75), rng.uniform(0.35, 0.8)), np.float32
    )


def skin_colour(rng: np.random.Generator) -> FloatArray:
    """A skin tone, from pale to dark."""
    depth = rng.random()
    return np.array([0.95 - 0.55 * depth, 0.78 - 0.55 * depth, 0.66 - 0.5 * depth], dtype=np.float32)


def leaf_colour(rng: np.random.Generator) -> FloatArray:
    """A green, from straw yellow to fir."""
    return np.array(
        colorsys.hsv_to_rgb(rng.uniform(0.16, 0.4), rng.uniform(0.35, 0.8), rng.uniform(0.3, 0.8)), np.float32
    )


def water_colour(rng: np.random.Generator) -> FloatArray:
    """A blue, from turquoise to slate."""
    return np.array(
        colorsys.hsv_to_rgb(rng.uniform(0.47, 0.64), rng.uniform(0.3, 0.85), rng.uniform(0.45, 0.9)), np.float32
    )


def dark(colour: ArrayLike) -> FloatArray:
    """The colour in shade."""
    return np.asarray(colour, dtype=np.float32) * np.float32(0.6)


def light(colour: ArrayLike) -> FloatArray:
    """The colour in bright light."""
    return np.float32(0.5) + np.asarray(colour, dtype=np.float32) * np.float32(0.5)


def grey(rng: np.random.Generator, least: float = 0.1, greatest: float = 0.9) -> FloatArray:
    """A grey with a hint of colour."""
    return np.clip(rng.uniform(least, greatest) * rng.uniform(0.92, 1.08, 3), 0, 1).astype(np.float32)


def contrast_with(colour: ArrayLike, behind: ArrayLike, least: float = 0.3) -> FloatArray:
    """Lighten or darken a colour as needed, so that its brightness differs from that of the background."""
    own = np.asarray(colour, dtype=np.float32)
    tone, other = float(own @ LUMA), float(np.asarray(behind, dtype=np.float32) @ LUMA)
    if abs(tone - other) >= least:
        return own
    if (tone < other and other >= least) or other + least > 1:
        return own * np.float32((other - least) / max(tone, 1e-3))
    return own + (1 - own) * np.float32((other + least - tone) / max(1 - tone, 1e-3))
