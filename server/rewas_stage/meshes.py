"""Meshes of the shapes that scenes consist of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

_SEGMENTS, _RINGS = 16, 10

Geometry = tuple[NDArray[Any], list[tuple[int, ...]]]
"""Vertices [N, 3] in metres, and faces."""


def make_mesh(shape: str, size_m: Sequence[float], material: bpy.types.Material) -> bpy.types.Mesh:
    """A mesh of a shape with its full sizes, which the scene's format defines for each shape.

    The vertices of a sheet are all at the origin: `move_vertices` places them.
    """
    vertices, faces = _geometry(shape, size_m)
    mesh = bpy.data.meshes.new(shape)
    mesh.from_pydata(vertices.tolist(), [], faces)
    mesh.materials.append(material)
    if shape in ("ball", "capsule", "sheet"):
        mesh.polygons.foreach_set("use_smooth", [True] * len(mesh.polygons))
    mesh.update()
    return mesh


def make_grains(count: int, size_m: Sequence[float], material: bpy.types.Material) -> bpy.types.Mesh:
    """A mesh of many grains, each an octahedron, at the origin."""
    grain, faces = _grain(size_m)
    mesh = bpy.data.meshes.new("grains")
    every = [tuple(corner + 6 * index for corner in face) for index in range(count) for face in faces]
    mesh.from_pydata(np.tile(grain, (count, 1)).tolist(), [], every)
    mesh.materials.append(material)
    mesh.update()
    return mesh


def move_grains(mesh: bpy.types.Mesh, places: NDArray[np.float32], size_m: Sequence[float]) -> None:
    """Move the grains of a mesh to places [N, 3]."""
    grain, _ = _grain(size_m)
    move_vertices(mesh, (places[:, None] + grain[None].astype(np.float32)).reshape(-1, 3))


def move_vertices(mesh: bpy.types.Mesh, vertices: NDArray[np.float32]) -> None:
    """Move all vertices of a mesh to [N, 3]."""
    mesh.vertices.foreach_set("co", np.ascontiguousarray(vertices, np.float32).ravel())
    mesh.update()


def _geometry(shape: str, size_m: Sequence[float]) -> Geometry:
    if shape == "box":
        corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
        faces: list[tuple[int, ...]] = [
            (0, 1, 3, 2),
            (4, 6, 7, 5),
            (0, 4, 5, 1),
            (2, 3, 7, 6),
            (0, 2, 6, 4),
            (1, 5, 7, 3),
        ]
        return corners * np.asarray(size_m), faces
    if shape == "sheet":
        columns, rows = int(size_m[0]), int(size_m[1])
        faces = [
            (column * rows + row, (column + 1) * rows + row, (column + 1) * rows + row + 1, column * rows + row + 1)
            for column in range(columns - 1)
            for row in range(rows - 1)
        ]
        return np.zeros((columns * rows, 3)), faces
    profiles = {
        "ball": _arc(-np.pi / 2, np.pi / 2, _RINGS) * 0.5,
        "cylinder": np.array([[0.0, -0.5], [0.5, -0.5], [0.5, 0.5], [0.0, 0.5]]),
        "cone": np.array([[0.0, -0.5], [0.5, -0.5], [0.0, 0.5]]),
    }
    if shape == "capsule":
        low, high = _arc(-np.pi / 2, 0.0, 5), _arc(0.0, np.pi / 2, 5)
        radius, half = 0.5 * size_m[0], 0.5 * size_m[2]
        return _revolve(np.concatenate([radius * low - (0.0, half), radius * high + (0.0, half)]))
    vertices, faces = _revolve(profiles[shape])
    return vertices * np.asarray(size_m), faces


def _arc(start_rad: float, end_rad: float, count: int) -> NDArray[np.float64]:
    """Points (radius, height) on a unit circle."""
    angles = np.linspace(start_rad, end_rad, count)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _revolve(profile: NDArray[np.float64]) -> Geometry:
    """The body of revolution of a profile [R, 2] of (radius, height) from the bottom to the top."""
    angles = 2 * np.pi * np.arange(_SEGMENTS) / _SEGMENTS
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    vertices = np.concatenate(
        [np.column_stack([radius * ring, np.full(_SEGMENTS, height)]) for radius, height in profile]
    )
    faces: list[tuple[int, ...]] = []
    for level in range(len(profile) - 1):
        low, high = level * _SEGMENTS, (level + 1) * _SEGMENTS
        for here in range(_SEGMENTS):
            after = (here + 1) % _SEGMENTS
            faces.append((low + here, low + after, high + after, high + here))
    return vertices, faces


def _grain(size_m: Sequence[float]) -> Geometry:
    wide, tall = 0.5 * size_m[0], 0.5 * size_m[0] * size_m[1]
    corners = np.array(
        [[wide, 0, 0], [-wide, 0, 0], [0, wide, 0], [0, -wide, 0], [0, 0, tall], [0, 0, -tall]], dtype=np.float64
    )
    faces = [(0, 2, 4), (2, 1, 4), (1, 3, 4), (3, 0, 4), (2, 0, 5), (1, 2, 5), (3, 1, 5), (0, 3, 5)]
    return corners, [tuple(face) for face in faces]
