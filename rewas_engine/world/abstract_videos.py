"""Abstract out-of-domain videos with the statistics of real footage, in which no class of the world is recognisable.

A joint space that is trained only on known classes is confident about any video. These videos teach it not to be.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]

_LEAVES = 250
_SCENERY = 2.0
"""Size of the scenery that the camera moves over, in frame sizes."""
_ACTORS = (1, 4)


def render_abstract_videos(count: int, frames: int, size: int, seed: int) -> torch.Tensor:
    """Render abstract videos [count, frames, size, size] uint8 of clouds and leaves filmed by a moving camera.

    Dead leaves with sizes from an inverse cube law match the edge and scale statistics of photographs (Lee, Mumford &
    Huang 2001). One to three patches of other leaves move over them, smoothly, in jerks or at a beat.
    """
    videos = np.empty((count, frames, size, size), np.uint8)
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        videos[number] = _render_abstract_video(rng, frames, size)
    return torch.from_numpy(videos)


def dead_leaves(rng: np.random.Generator, size: int, leaves: int = _LEAVES) -> FloatArray:
    """Brightness [size, size] in 0..1 of opaque round and angular leaves on top of each other."""
    whole_y, whole_x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    smallest, largest = 0.015, 0.5
    share = rng.random(leaves)
    picture = np.full((size, size), rng.uniform(0.2, 0.8), np.float32)
    for radius in 1 / np.sqrt(share / largest**2 + (1 - share) / smallest**2):
        across, down, angle = rng.uniform(-0.1, 1.1), rng.uniform(-0.1, 1.1), rng.uniform(0, np.pi)
        # No leaf reaches further than the corners of a square around its middle.
        reach = np.sqrt(2) * radius * size + 1
        rows, columns = (
            slice(max(0, int(middle * size - reach)), max(0, int(middle * size + reach) + 1))
            for middle in (down, across)
        )
        y, x = whole_y[rows, columns], whole_x[rows, columns]
        along = (x - across) * np.cos(angle) + (y - down) * np.sin(angle)
        aside = (y - down) * np.cos(angle) - (x - across) * np.sin(angle)
        stretch = rng.uniform(0.3, 1.0)
        inside = (
            along**2 + (aside / stretch) ** 2 < radius**2
            if rng.random() < 0.6
            else np.maximum(np.abs(along), np.abs(aside) / stretch) < radius
        )
        shade = rng.uniform(0, 1) + rng.uniform(-0.3, 0.3) * (along / radius)
        picture[rows, columns][inside] = shade[inside]
    return picture.clip(0, 1)


def _render_abstract_video(rng: np.random.Generator, frames: int, size: int) -> NDArray[np.uint8]:
    whole = int(_SCENERY * size)
    scenery, actors = (_soften(rng, dead_leaves(rng, whole, leaves)) for leaves in (_LEAVES, 80))
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    room = whole - size - 1
    camera = 0.5 * room * (1 + _course(rng, frames) * rng.uniform(0, 0.9) ** 2)
    shots = scenery[_places(camera[:, 0], y, whole), _places(camera[:, 1], x, whole)]
    for _ in range(int(rng.integers(*_ACTORS))):
        radius, home = rng.uniform(0.06, 0.3) * size, rng.uniform(0.1, 0.9, 2) * size
        middle = home + _course(rng, frames) * rng.uniform(0, 0.4) * size
        down, across = (y[None] - middle[:, 0, None, None], x[None] - middle[:, 1, None, None])
        shown = down**2 + (across * rng.uniform(0.5, 2.0)) ** 2 < radius**2
        own = actors[_places(0.5 * room - middle[:, 0], y, whole), _places(0.5 * room - middle[:, 1], x, whole)]
        shots = np.where(shown, own, shots)
    light = 1 + rng.uniform(0, 0.3) ** 2 * _course(rng, frames)[:, :1, None]
    return np.clip(255 * light * shots + 0.5, 0, 255).astype(np.uint8)


def _soften(rng: np.random.Generator, picture: FloatArray) -> FloatArray:
    """Add cloudy texture and blur, because no edge in real footage is as sharp as that of a leaf."""
    size = len(picture)
    frequencies = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    frequencies[0, 0] = np.inf
    clouds = np.fft.ifft2(np.fft.fft2(rng.standard_normal((size, size))) / frequencies ** rng.uniform(0.8, 1.6)).real
    share = rng.uniform(0.05, 0.9)
    mixed = (1 - share) * picture + share * (0.5 + 0.25 * clouds / clouds.std())
    softness = rng.uniform(0.5, 1.5)
    softening = np.exp(-2 * (np.pi * softness * np.where(np.isinf(frequencies), 0, frequencies)) ** 2)
    return np.fft.ifft2(np.fft.fft2(mixed) * softening).real.clip(0, 1).astype(np.float32)


def _course(rng: np.random.Generator, frames: int) -> FloatArray:
    """A path in the plane, [frames, 2] in -1..1: smooth, in jerks, at a beat, or trembling."""
    time = np.arange(frames)[:, None]
    kind = int(rng.integers(4))
    if kind == 0:
        periods, phases = rng.uniform(20, 200, 2), rng.uniform(0, 2 * np.pi, 2)
        return np.sin(2 * np.pi * time / periods + phases).astype(np.float32)
    if kind == 1:
        holds = np.cumsum(rng.random(frames) < rng.uniform(0.02, 0.15))
        return rng.uniform(-1, 1, (frames + 1, 2))[holds].astype(np.float32)
    if kind == 2:
        period, direction = rng.uniform(4, 30), rng.normal(size=2)
        struck = np.abs(np.sin(np.pi * time / period + rng.uniform(0, np.pi))) ** rng.uniform(0.5, 4)
        return (struck * direction / np.linalg.norm(direction)).astype(np.float32)
    return (0.1 * rng.normal(size=(frames, 2))).clip(-1, 1).astype(np.float32)


def _places(offsets: FloatArray, grid: FloatArray, whole: int) -> NDArray[np.int64]:
    """Indices [F, H, W] into a scenery for a frame's rows or columns, shifted by offsets [F]."""
    return np.clip(np.round(grid[None] + offsets[:, None, None]), 0, whole - 1).astype(np.int64)
