"""Backdrops: skies, walls, foliage, cluttered rooms and plain surfaces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from rewas_engine.world.flow_painters import ripples
from rewas_engine.world.painting import FloatArray
from rewas_engine.world.palette import bright_colour

MARGIN = 0.35
"""How far a backdrop extends beyond the frame on each side, in frame heights, so that the camera can move."""


@dataclass(frozen=True)
class Backdrop:
    """A still image of two colours.

    Attributes:
        shares: [rows, columns], share of the second colour, 0 to 1.
        colours: The two colours, [3] each.
        pixels_per_height: Rows per frame height. The centre of the image is the centre of the world.
    """

    shares: FloatArray
    colours: tuple[FloatArray, FloatArray]
    pixels_per_height: float

    def view(self, x: FloatArray, y: FloatArray, zoom: FloatArray, size: tuple[int, int], aspect: float) -> FloatArray:
        """Render the shares [F, H, W] float32 for a camera at x, y [F], in frames of a size (width, height)."""
        width, height = size
        columns = (np.arange(width) + 0.5) / width - 0.5
        rows = (np.arange(height) + 0.5) / height - 0.5
        middle_y, middle_x = (0.5 * (count - 1) for count in self.shares.shape)
        if np.ptp(x) == 0 and np.ptp(y) == 0 and np.ptp(zoom) == 0:
            x, y, zoom = x[:1], y[:1], zoom[:1]
        scale = self.pixels_per_height
        at_y = middle_y + scale * (y[:, None] + rows / zoom[:, None])
        at_x = middle_x + scale * (x[:, None] + columns * aspect / zoom[:, None])
        above, down = _cells(at_y, self.shares.shape[0])
        before, across = _cells(at_x, self.shares.shape[1])
        bands = self.shares[above]
        bands += down[..., None] * (self.shares[above + 1] - bands)
        starts = np.arange(x.size * height, dtype=np.int32).reshape(x.size, height, 1) * bands.shape[2]
        places = starts + before[:, None, :]
        view: FloatArray = bands.ravel()[places]
        view += across[:, None, :] * (bands.ravel()[places + 1] - view)
        return view


def _cells(places: FloatArray, count: int) -> tuple[NDArray[np.int32], FloatArray]:
    """Split fractional positions among `count` cells into cell index and offset in the cell, clamped at the ends."""
    held = np.clip(places, 0, count - 1.001)
    cells = held.astype(np.int32)
    return cells, (held - cells).astype(np.float32)


def draw_backdrop(rng: np.random.Generator, height: int, aspect: float) -> Backdrop:
    """Draw a random backdrop for frames of the given height in pixels."""
    pixels = float(min(height, 256))
    y = np.arange(-0.5 - MARGIN, 0.5 + MARGIN, 1 / pixels, dtype=np.float32)[:, None]
    x = np.arange(-0.5 * aspect - MARGIN, 0.5 * aspect + MARGIN, 1 / pixels, dtype=np.float32)[None, :]
    layers = _KINDS[int(rng.choice(len(_KINDS), p=_CHANCES))](rng, x, y)
    shares = np.clip(layers, 0, 1).astype(np.float32)
    saturation = rng.uniform(0.05, 0.6)
    dark_scene = rng.random() < 0.2
    light = np.float32(0.25 if dark_scene else 1.0)
    low, high = bright_colour(rng, saturation) * light, bright_colour(rng, saturation) * light
    return Backdrop(shares, (low, high), pixels)


Layers = Callable[[np.random.Generator, FloatArray, FloatArray], FloatArray]


def _gradient(rng: np.random.Generator, x: FloatArray, y: FloatArray) -> FloatArray:
    lean = rng.uniform(-0.5, 0.5)
    return 0.5 + rng.uniform(0.2, 0.9) * (y + lean * x)


def _stripes(rng: np.random.Generator, x: FloatArray, y: FloatArray) -> FloatArray:
    texture = np.zeros(np.broadcast_shapes(x.shape, y.shape), dtype=np.float32)
    for _ in range(int(rng.integers(1, 5))):
        frequency_x, frequency_y = rng.normal(0, 6, 2)
        texture += np.sin(2 * np.pi * rng.uniform(0.3, 1.0) * (frequency_x * x + frequency_y * y) + rng.uniform(0, 6))
    return _gradient(rng, x, y) + rng.uniform(0.03, 0.15) * texture


def _tiles(rng: np.random.Generator, x: FloatArray, y: FloatArray) -> FloatArray:
    across, down = rng.uniform(2, 9, 2)
    row = np.floor(y * down)
    brick = 0.5 * (row % 2) * rng.integers(0, 2)
    seams = (np.abs((x * across + brick) % 1.0 - 0.5) > 0.45) | (np.abs((y * down) % 1.0 - 0.5) > 0.44)
    checks = ((np.floor(x * across + brick) + row) % 2) * rng.uniform(0, 0.4)
    return _gradient(rng, x, y) + checks - rng.uniform(0, 0.4) * seams


def _noise(rng: np.random.Generator, x: FloatArray, y: FloatArray) -> FloatArray:
    """Clouds or foliage: noise whose fine detail is weaker."""
    field, total = ripples(rng), np.zeros(np.broadcast_shapes(x.shape, y.shape), dtype=np.float32)
    coarse, falloff = rng.uniform(10, 40), rng.uniform(0.35, 0.9)
    for octave in range(4):
        places = np.broadcast_arrays(coarse * 2**octave * y + 31 * octave, coarse * 2**octave * x + 57 * octave)
        total += falloff**octave * (map_coordinates(field, places, order=1, mode="wrap") - 0.5)
    return 0.5 + rng.uniform(0.3, 1.2) * total + 0.3 * (_gradient(rng, x, y) - 0.5)


def _clutter(rng: np.random.Generator, x: FloatArray, y: FloatArray) -> FloatArray:
    """A room or a street: a wall, a floor, and boxes, posts and round objects of all shades."""
    floor_y = rng.uniform(-0.1, 0.45)
    picture = np.where(y > floor_y, rng.uniform(0, 1), rng.uniform(0, 1)) + 0.15 * (_gradient(rng, x, y) - 0.5)
    for _ in range(int(rng.integers(3, 14))):
        middle_x, middle_y = rng.uniform(-1, 1), rng.uniform(-0.5, 0.6)
        wide, tall = np.exp(rng.uniform(np.log(0.02), np.log(0.4), 2))
        if rng.random() < 0.7:
            inside = (np.abs(x - middle_x) < wide) & (np.abs(y - middle_y) < tall)
        else:
            inside = ((x - middle_x) / wide) ** 2 + ((y - middle_y) / tall) ** 2 < 1
        picture = np.where(inside, rng.uniform(0, 1) + rng.uniform(-0.3, 0.3) * (y - middle_y), picture)
    return picture


def _spot(rng: np.random.Generator, x: FloatArray, y: FloatArray) -> FloatArray:
    """A dark hall lit from one side."""
    away = np.sqrt((x - rng.uniform(-0.6, 0.6)) ** 2 + (y - rng.uniform(-0.6, 0.2)) ** 2)
    return np.exp(-((away / rng.uniform(0.3, 0.9)) ** 2))


_KINDS: tuple[Layers, ...] = (_gradient, _stripes, _tiles, _noise, _clutter, _spot)
_CHANCES = (0.15, 0.13, 0.12, 0.25, 0.25, 0.1)
