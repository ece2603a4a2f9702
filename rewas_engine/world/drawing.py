"""Anti-aliased drawing of many frames at once, with shapes as signed distance fields.

World coordinates: origin in the centre of the frame, x to the right, y down, frame height 1. Every parameter of a
shape is a number for all frames or an array [F] with one per frame. A canvas with one channel uses the brightness of
each colour.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.floating[Any]]
Colour = tuple[float, float, float] | FloatArray


LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""


@dataclass(frozen=True)
class Shape:
    """A signed distance (negative inside) and the bounding box of a shape.

    Attributes:
        distance: Maps x, y grids [F or 1, h, w] to [F or 1, h, w].
        bounds: Smallest x, largest x, smallest y, largest y over all frames.
    """

    distance: Callable[[FloatArray, FloatArray], FloatArray]
    bounds: tuple[float, float, float, float]


def _per_frame(value: ArrayLike) -> FloatArray:
    return np.asarray(value, dtype=np.float32).reshape(-1, 1, 1)


def _length(x: FloatArray, y: FloatArray) -> FloatArray:
    """Euclidean length; several times faster than numpy.hypot, which guards against overflow."""
    return np.asarray(np.sqrt(x * x + y * y))


def _around(
    x: FloatArray, y: FloatArray, reach_x: FloatArray, reach_y: FloatArray
) -> tuple[float, float, float, float]:
    return (
        float((x - reach_x).min()),
        float((x + reach_x).max()),
        float((y - reach_y).min()),
        float((y + reach_y).max()),
    )


def ellipse(x: ArrayLike, y: ArrayLike, radius_x: ArrayLike, radius_y: ArrayLike | None = None) -> Shape:
    """An ellipse around x, y; a disc if only one radius is given."""
    centre_x, centre_y, width, height = map(_per_frame, (x, y, radius_x, radius_x if radius_y is None else radius_y))
    width, height = np.maximum(width, 1e-4), np.maximum(height, 1e-4)

    def distance(grid_x: FloatArray, grid_y: FloatArray) -> FloatArray:
        return (_length((grid_x - centre_x) / width, (grid_y - centre_y) / height) - 1) * np.minimum(width, height)

    return Shape(distance, _around(centre_x, centre_y, width, height))


def box(
    x: ArrayLike,
    y: ArrayLike,
    half_width: ArrayLike,
    half_height: ArrayLike,
    angle: ArrayLike = 0.0,
    corner: float = 0.0,
) -> Shape:
    """A box around x, y, rotated clockwise by angle (radians), with rounded corners."""
    centre_x, centre_y, width, height, turn = map(_per_frame, (x, y, half_width, half_height, angle))
    cos, sin = np.cos(turn), np.sin(turn)

    def distance(grid_x: FloatArray, grid_y: FloatArray) -> FloatArray:
        dx, dy = grid_x - centre_x, grid_y - centre_y
        side_x = np.abs(cos * dx + sin * dy) - width + corner
        side_y = np.abs(cos * dy - sin * dx) - height + corner
        outside = _length(np.maximum(side_x, 0), np.maximum(side_y, 0))
        return np.asarray(outside + np.minimum(np.maximum(side_x, side_y), 0) - corner)

    reach_x = np.abs(cos) * width + np.abs(sin) * height
    reach_y = np.abs(sin) * width + np.abs(cos) * height
    return Shape(distance, _around(centre_x, centre_y, reach_x, reach_y))


def capsule(x0: ArrayLike, y0: ArrayLike, x1: ArrayLike, y1: ArrayLike, radius: ArrayLike) -> Shape:
    """A line with round ends from x0, y0 to x1, y1."""
    start_x, start_y, end_x, end_y, thickness = map(_per_frame, (x0, y0, x1, y1, radius))
    along_x, along_y = end_x - start_x, end_y - start_y
    length_squared = along_x**2 + along_y**2 + 1e-9

    def distance(grid_x: FloatArray, grid_y: FloatArray) -> FloatArray:
        dx, dy = grid_x - start_x, grid_y - start_y
        share = np.clip((dx * along_x + dy * along_y) / length_squared, 0, 1)
        return _length(dx - along_x * share, dy - along_y * share) - thickness

    bounds = (
        float(np.minimum(start_x, end_x).min() - thickness.max()),
        float(np.maximum(start_x, end_x).max() + thickness.max()),
        float(np.minimum(start_y, end_y).min() - thickness.max()),
        float(np.maximum(start_y, end_y).max() + thickness.max()),
    )
    return Shape(distance, bounds)


def polygon(points: Sequence[tuple[ArrayLike, ArrayLike]]) -> Shape:
    """A convex polygon with its corners in clockwise order on the screen."""
    corners = [(_per_frame(x), _per_frame(y)) for x, y in points]

    def distance(grid_x: FloatArray, grid_y: FloatArray) -> FloatArray:
        farthest: FloatArray | None = None
        for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
            length = _length(x1 - x0, y1 - y0) + 1e-9
            side = ((grid_x - x0) * (y1 - y0) - (grid_y - y0) * (x1 - x0)) / length
            farthest = side if farthest is None else np.maximum(farthest, side)
        assert farthest is not None
        return farthest

    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return Shape(
        distance,
        (
            float(min(x.min() for x in xs)),
            float(max(x.max() for x in xs)),
            float(min(y.min() for y in ys)),
            float(max(y.max() for y in ys)),
        ),
    )


def below(surface: Callable[[FloatArray], FloatArray], least_y: float) -> Shape:
    """The area below a surface y(x) that never rises above least_y; surface maps [F or 1, 1, w] to [F, 1, w]."""

    def distance(grid_x: FloatArray, grid_y: FloatArray) -> FloatArray:
        return np.asarray(surface(grid_x[:, :1, :]), dtype=np.float32) - grid_y

    return Shape(distance, (-1e9, 1e9, least_y, 1e9))


class Canvas:
    """Frames being painted: `pixels` [F, H, W, C] float32 in 0..1, with three channels or brightness only.

    Shapes are in the coordinates of the last `place`, and move with the camera unless stated otherwise.
    """

    def __init__(
        self,
        background: FloatArray,
        camera_x: FloatArray,
        camera_y: FloatArray,
        zoom: FloatArray | None = None,
        aspect: float | None = None,
    ) -> None:
        """Create a canvas.

        Args:
            background: [F, H, W, 3 or 1].
            camera_x, camera_y: [F], centre of the frame in the world.
            zoom: [F], magnification.
            aspect: Width over height of the view; if it differs from that of the pixels, the view is squeezed into
                them.
        """
        self.pixels = background
        frames, height, width, channels = background.shape
        self.frames, self.height, self.width = int(frames), int(height), int(width)
        self.aspect = float(width / height) if aspect is None else aspect
        self._grey = channels == 1
        self._pixel = np.float32(1.0 / height)
        self._screen_x = (((np.arange(width) + 0.5) / width - 0.5) * self.aspect).astype(np.float32)[None, None, :]
        self._screen_y = ((np.arange(height) + 0.5) / height - 0.5).astype(np.float32)[None, :, None]
        moves = np.ptp(camera_x) > 0 or np.ptp(camera_y) > 0
        self._camera_x = _per_frame(camera_x if moves else camera_x[:1])
        self._camera_y = _per_frame(camera_y if moves else camera_y[:1])
        self._zoom = _per_frame(1.0 if zoom is None else zoom if np.ptp(zoom) > 0 else zoom[:1])
        self.place(0.0, 0.0, 1.0)

    def place(self, x: ArrayLike, y: ArrayLike, scale: float, mirrored: bool = False) -> None:
        """Set origin, scale and orientation of the following shapes; mirrored shapes face left."""
        self._origin_x = (_per_frame(x) - self._camera_x) * self._zoom
        self._origin_y = (_per_frame(y) - self._camera_y) * self._zoom
        self._scale = self._zoom * np.float32(scale)
        self._direction = np.float32(-1.0 if mirrored else 1.0)

    def paint(self, shape: Shape, colour: Colour, opacity: ArrayLike = 1.0, softness: float = 0.0) -> None:
        """Paint a shape.

        Args:
            shape: The shape.
            colour: [3], or [F, 3] with one per frame, in 0..1.
            opacity: A number, or [F].
            softness: Width of a soft edge, in the shape's units.
        """
        rim = np.maximum(self._pixel / self._scale, np.float32(softness))
        columns, rows = self._slices(shape.bounds, float(rim.max()))
        if columns.start >= columns.stop or rows.start >= rows.stop:
            return
        x = (self._screen_x[:, :, columns] - self._origin_x) * (self._direction / self._scale)
        y = (self._screen_y[:, rows, :] - self._origin_y) / self._scale
        cover = np.clip(0.5 - shape.distance(x, y) / rim, 0, 1) * _per_frame(opacity)
        region = self.pixels[:, rows, columns]
        region += cover[..., None] * (self._pigment(colour) - region)

    def tint(self, colour: Colour, opacity: ArrayLike) -> None:
        """Blend the whole frame towards a colour. opacity: a number, or [F]."""
        share = _per_frame(opacity)[..., None]
        self.pixels += share * (self._pigment(colour) - self.pixels)

    def overlay(self, cover: FloatArray, colour: Colour) -> None:
        """Blend in a colour with a full-screen mask [F, H, W]."""
        self.pixels += cover[..., None] * (self._pigment(colour) - self.pixels)

    @property
    def screen(self) -> tuple[FloatArray, FloatArray]:
        """x [1, 1, W] and y [1, H, 1] of the pixels, without camera and place."""
        return self._screen_x, self._screen_y

    def _pigment(self, colour: Colour) -> FloatArray:
        paint = np.asarray(colour, dtype=np.float32).reshape(-1, 3)
        return (paint @ LUMA)[:, None, None, None] if self._grey else paint[:, None, None, :]

    def _slices(self, bounds: tuple[float, float, float, float], rim: float) -> tuple[slice, slice]:
        small, large = float(self._scale.min()), float(self._scale.max())
        reach = [
            bound * (small if (bound > 0) == (side == 0) else large)
            for side, bound in zip((0, 1, 0, 1), bounds, strict=True)
        ]
        if self._direction < 0:
            reach[0], reach[1] = -reach[1], -reach[0]
        margin = rim * large + float(self._pixel) * max(1.0, self.aspect * self.height / self.width)
        left = ((reach[0] + float(self._origin_x.min()) - margin) / self.aspect + 0.5) * self.width
        right = ((reach[1] + float(self._origin_x.max()) + margin) / self.aspect + 0.5) * self.width
        top = (reach[2] + float(self._origin_y.min()) - margin + 0.5) * self.height
        bottom = (reach[3] + float(self._origin_y.max()) + margin + 0.5) * self.height
        columns = np.clip((left, np.ceil(right)), 0, self.width).astype(int)
        rows = np.clip((top, np.ceil(bottom)), 0, self.height).astype(int)
        return slice(int(columns[0]), int(columns[1])), slice(int(rows[0]), int(rows[1]))
