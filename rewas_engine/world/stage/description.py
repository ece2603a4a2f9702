"""Staged scenes as JSON, the input of the renderer.

The document has these entries; lengths are in metres, colours linear RGB in 0..1, poses (x, y, z, and a quaternion
w, x, y, z), and lists over exposures have one entry for each exposure, or a single one if nothing changes:

| Entry | Contents |
| --- | --- |
| `format` | 1 |
| `width`, `height`, `samples` | Pixels, and rays per pixel |
| `exposures` | Number of exposures |
| `shots` | For each exposure, the number of its camera |
| `cameras` | `poses` and `lens_mm`, one for each exposure |
| `sky` | `colour` and `strength` |
| `lights` | As in `rooms.Light` |
| `materials` | As in `props.Material` |
| `things` | As in `props.Prop`, with the number of the material |
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rewas_engine.world.stage.acts import FloatArray
from rewas_engine.world.stage.props import Material, Prop
from rewas_engine.world.stage.rooms import Light
from rewas_engine.world.stage.staged_scene import StagedScene

FORMAT = 1
_DECIMALS = 4
_SAME_M = 1e-5


def describe_stage(staged: StagedScene, samples: int, frame_times_s: FloatArray | None = None) -> dict[str, Any]:
    """Describe a scene for the renderer.

    Args:
        staged: The scene.
        samples: Rays per pixel.
        frame_times_s: [T] times of the frames to render, ascending; None renders all frames.
    """
    shown_s = staged.frame_times_s if frame_times_s is None else frame_times_s
    times_s = staged.exposure_times_s(shown_s)
    looks: dict[int, int] = {}
    materials: list[Material] = []
    things = []
    for prop in staged.props(times_s):
        if id(prop.material) not in looks:
            looks[id(prop.material)] = len(materials)
            materials.append(prop.material)
        things.append(_thing(prop, looks[id(prop.material)]))
    cameras = []
    for number in range(len(staged.shots.shots)):
        poses, lens_mm = staged.shots.view(number, staged.act, times_s)
        cameras.append({"poses": _rounded(poses), "lens_mm": _rounded(lens_mm)})
    return {
        "format": FORMAT,
        "width": staged.width,
        "height": staged.height - 2 * staged.footage.bars,
        "samples": samples,
        "exposures": times_s.size,
        "shots": np.repeat(staged.shots.numbers(shown_s), staged.exposures).tolist(),
        "cameras": cameras,
        "sky": {"colour": _linear(staged.room.sky), "strength": staged.room.sky_strength},
        "lights": [_light(light) for light in staged.room.lights],
        "materials": [_material(material) for material in materials],
        "things": things,
    }


def _thing(prop: Prop, material: int) -> dict[str, Any]:
    return {
        "shape": prop.shape,
        "size_m": [round(float(each), _DECIMALS) for each in prop.size_m],
        "material": material,
        "poses": _rounded(_shortened(prop.poses)),
        "vertices": None if prop.vertices is None else _rounded(prop.vertices),
        "glows": None if prop.glows is None else _rounded(prop.glows),
        "casts_light": prop.casts_light,
    }


def _material(material: Material) -> dict[str, Any]:
    second = material.second_colour if material.second_colour is not None else material.colour
    return {
        "colour": _linear(material.colour),
        "second_colour": _linear(second),
        "pattern": material.pattern,
        "pattern_m": material.pattern_m,
        "roughness": material.roughness,
        "metallic": material.metallic,
        "clear": material.clear,
        "glow": material.glow,
    }


def _light(light: Light) -> dict[str, Any]:
    return {
        "kind": light.kind,
        "power_w": light.power_w,
        "size_m": light.size_m,
        "colour": _linear(light.colour),
        "pose": _rounded(light.pose[0]),
    }


def _shortened(poses: FloatArray) -> FloatArray:
    """A single pose if nothing moves."""
    return poses[:1] if np.abs(poses - poses[:1]).max() < _SAME_M else poses


def _rounded(values: FloatArray) -> list[Any]:
    return np.round(np.asarray(values, dtype=np.float64), _DECIMALS).tolist()


def _linear(colour: FloatArray) -> list[float]:
    """Linear RGB of a colour as displayed (sRGB, IEC 61966-2-1)."""
    shown = np.clip(np.asarray(colour, dtype=np.float64), 0.0, 1.0)
    return np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4).round(_DECIMALS).tolist()
