"""Builds a scene in Blender and renders its frames with Cycles.

The format of scenes is described in `rewas_engine.world.stage.description`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from rewas_stage.materials import make_material, set_glow
from rewas_stage.meshes import make_grains, make_mesh, move_grains, move_vertices

FORMAT = 1
_LAMP_W_PER_GLOW = 12.0
"""Power of the lamp in a glowing thing of 1 m with a glow of 1."""

FloatArray = NDArray[np.float32]


def blender_version() -> str:
    """Blender's version, such as "4.5.3"."""
    return ".".join(map(str, bpy.app.version))


def render(description: Mapping[str, Any], folder: Path, check: Callable[[], object] | None = None) -> int:
    """Render all exposures of a scene into a folder as 00000.png and so on. Returns their number.

    Args:
        description: The scene.
        folder: Existing folder.
        check: Called before each exposure; an exception that it raises ends the rendering.

    Raises:
        ValueError: The scene has another format.
    """
    if description.get("format") != FORMAT:
        raise ValueError(f"the scene has format {description.get('format')}, not {FORMAT}")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    _set_up(scene, description)
    things = [_Thing(scene, thing, description["materials"]) for thing in description["things"]]
    for lamp in description["lights"]:
        _add_light(scene, lamp)
    cameras = [_add_camera(scene) for _ in description["cameras"]]
    for exposure in range(description["exposures"]):
        if check is not None:
            check()
        number = description["shots"][exposure]
        camera, course = cameras[number], description["cameras"][number]
        scene.camera = camera
        _place(camera, np.asarray(course["poses"][exposure]))
        camera.data.lens = course["lens_mm"][exposure]
        for thing in things:
            thing.show(exposure)
        # Each frame has its own noise, as on a real sensor.
        scene.cycles.seed = exposure + 1
        scene.render.filepath = str(folder / f"{exposure:05d}.png")
        bpy.ops.render.render(write_still=True)
    return int(description["exposures"])


class _Thing:
    """A thing of the scene as an object of Blender, with its lamp if it has one."""

    def __init__(self, scene: bpy.types.Scene, thing: Mapping[str, Any], looks: list[Mapping[str, Any]]) -> None:
        look = looks[thing["material"]]
        self._glow = float(look["glow"])
        self._material = make_material(look)
        self._size_m = thing["size_m"]
        self._poses = np.asarray(thing["poses"], np.float32)
        self._vertices = np.asarray(thing["vertices"], np.float32) if thing["vertices"] is not None else None
        self._glows = thing["glows"]
        self._shape = thing["shape"]
        if self._shape == "grains":
            assert self._vertices is not None
            mesh = make_grains(self._vertices.shape[1], self._size_m, self._material)
        else:
            mesh = make_mesh(self._shape, self._size_m, self._material)
        self._object = bpy.data.objects.new(self._shape, mesh)
        self._object.rotation_mode = "QUATERNION"
        scene.collection.objects.link(self._object)
        self._lamp = None
        if thing["casts_light"]:
            data = bpy.data.lights.new("glow", "POINT")
            data.color, data.shadow_soft_size = look["colour"], 0.15
            self._lamp = bpy.data.objects.new("glow", data)
            scene.collection.objects.link(self._lamp)
            # The lamp is inside the thing and must shine through it.
            self._object.visible_shadow = False
        self._still = len(self._poses) == 1 and self._vertices is None and self._glows is None
        self.show(0, always=True)

    def show(self, exposure: int, *, always: bool = False) -> None:
        """Pose the thing as in an exposure."""
        if self._still and not always:
            return
        pose = self._poses[min(exposure, len(self._poses) - 1)]
        _place(self._object, pose)
        if self._vertices is not None:
            points = self._vertices[min(exposure, len(self._vertices) - 1)]
            if self._shape == "grains":
                move_grains(self._object.data, points, self._size_m)
            else:
                move_vertices(self._object.data, points)
        factor = self._glows[exposure] if self._glows is not None else 1.0
        if self._glows is not None:
            set_glow(self._material, self._glow * factor)
        if self._lamp is not None:
            self._lamp.location = pose[:3]
            self._lamp.data.energy = _LAMP_W_PER_GLOW * self._glow * factor


def _set_up(scene: bpy.types.Scene, description: Mapping[str, Any]) -> None:
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = description["samples"]
    # A few rays per pixel are noisy; the denoiser (OpenImageDenoise) is cheaper than the rays that would be needed.
    scene.cycles.use_denoising, scene.cycles.denoiser = True, "OPENIMAGEDENOISE"
    scene.cycles.denoising_input_passes, scene.cycles.denoising_prefilter = "RGB_ALBEDO", "NONE"
    scene.cycles.denoising_use_gpu = False
    scene.cycles.use_adaptive_sampling = False
    scene.cycles.max_bounces = 3
    scene.cycles.transmission_bounces = 3
    scene.cycles.caustics_reflective = scene.cycles.caustics_refractive = False
    scene.cycles.sample_clamp_indirect = 3.0
    scene.render.use_persistent_data = True
    scene.render.threads_mode, scene.render.threads = "FIXED", 1
    scene.render.resolution_x, scene.render.resolution_y = description["width"], description["height"]
    scene.render.resolution_percentage = 100
    scene.render.use_file_extension = False
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode, scene.render.image_settings.color_depth = "RGB", "8"
    scene.render.image_settings.compression = 0
    scene.view_settings.view_transform = "Standard"
    world = bpy.data.worlds.new("sky")
    if not world.use_nodes:
        world.use_nodes = True
    background = next(node for node in world.node_tree.nodes if node.type == "BACKGROUND")
    background.inputs["Color"].default_value = (*description["sky"]["colour"], 1.0)
    background.inputs["Strength"].default_value = description["sky"]["strength"]
    scene.world = world


def _add_light(scene: bpy.types.Scene, lamp: Mapping[str, Any]) -> None:
    data = bpy.data.lights.new(lamp["kind"], lamp["kind"].upper())
    data.color, data.energy = lamp["colour"], lamp["power_w"]
    if lamp["kind"] == "area":
        data.size = lamp["size_m"]
    else:
        data.angle = 0.02
    light = bpy.data.objects.new(lamp["kind"], data)
    light.rotation_mode = "QUATERNION"
    scene.collection.objects.link(light)
    _place(light, np.asarray(lamp["pose"]))


def _add_camera(scene: bpy.types.Scene) -> bpy.types.Object:
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.clip_start = 0.03
    camera.rotation_mode = "QUATERNION"
    scene.collection.objects.link(camera)
    return camera


def _place(thing: bpy.types.Object, pose: NDArray[np.floating[Any]]) -> None:
    thing.location = pose[:3]
    thing.rotation_quaternion = pose[3:]
