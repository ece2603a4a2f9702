# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets a second Blender render what strips show."""

from __future__ import annotations

import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bpy

from ..core.proxies import ProxyMessage, ProxyRender, ProxyTask
from ..timeline.strips import StripSnapshot
from . import compat
from .strip_reading import Surroundings, applied_effects, shows_whole_picture

_SCRIPT = Path(__file__).with_name("render_proxies.py")


def blender_command() -> list[str]:
    """Return the command that runs a script in a second Blender of this version, without the script's argument."""
    if not bpy.app.binary_path:
        # Blender as a Python module
        return [sys.executable, str(_SCRIPT)]
    options = ["--background", "--factory-startup", "-noaudio", "--python", str(_SCRIPT)]
    return [bpy.app.binary_path, *options, "--"]


def describe_task(scene: Any, strip: Any, snapshot: StripSnapshot, surroundings: Surroundings) -> ProxyTask:
    """Return what to render for a strip, in the scene as it is now."""
    metas: list[str] = []
    parent = strip.parent_meta()
    while parent is not None:
        metas.insert(0, parent.name)
        parent = parent.parent_meta()
    return ProxyTask(
        key=Path(snapshot.proxy_path).stem,
        strip_name=strip.name,
        metas=tuple(metas),
        effects=tuple(effect.name for effect in applied_effects(scene, strip, surroundings)),
        first_frame=snapshot.start_frame,
        frames=snapshot.frames,
        is_whole=shows_whole_picture(scene, strip, surroundings),
        path=Path(snapshot.proxy_path),
    )


def start_rendering(scene: Any, tasks: Sequence[ProxyTask], *, post: Callable[[ProxyMessage], object]) -> ProxyRender:
    """Start to render proxies from a copy of the scene as it is now. Raises OSError if it cannot be written."""
    folder = Path(tempfile.gettempdir())
    scene_copy = folder / f"rewas-proxies-{uuid.uuid4().hex}.blend"
    try:
        compat.complete_view_layers()
        # Unlike saving a copy of the file, this writes only the scene and what it shows, and calls no handlers.
        bpy.data.libraries.write(str(scene_copy), {scene}, path_remap="ABSOLUTE", compress=False)
    except RuntimeError as error:
        raise OSError(str(error)) from None
    render = ProxyRender(blender_command(), scene_copy, scene.name, tasks, post=post)
    render.start()
    return render
