# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the timelines of a .blend file as OpenTimelineIO, for a program that has started Blender for this purpose.

    blender --background --factory-startup --disable-autoexec --python blend_timelines.py -- BLEND FOLDER [SCENE]
    python -I blend_timelines.py -- BLEND FOLDER [SCENE]

The second form is for a Python with the module bpy. FOLDER receives one .otio file for each scene with strips, or only
for the scene SCENE, and report.json: {"timelines": [file names], "notes": [sentences]}, or {"what": …, "remedy": …} if
the file cannot be read. Scripts in the .blend file do not run. The extension need not be installed: this script
registers the parts that it needs.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bpy

REPORT = "report.json"
_PACKAGE = "rewas_nle"
_HEADER = re.compile(rb"BLENDER(?:[-_][vV]|\d\d-\d\dv0)(\d{3})")
"""BLENDER-v405 up to 4.5, BLENDER17-01v0500 from 5.0 on."""
_HEADER_BYTES = 17
_ZSTANDARD = b"\x28\xb5\x2f\xfd"


class UnreadableError(Exception):
    """The timelines of a file cannot be read."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy


def write_timelines(blend: Path, folder: Path, scene_name: str = "") -> dict[str, Any]:
    """Open a .blend file and write its timelines to a folder. Returns the report. Raises UnreadableError.

    scene_name: the only scene to write; "" writes all scenes with strips.
    """
    bpy.ops.wm.read_factory_settings(use_empty=True)
    _open(blend)
    names = _chosen_scenes(blend, scene_name)
    # Imported here, because a script has no package until load_extension has run.
    from rewas_nle.blender.exchange_reading import read_scene
    from rewas_nle.core.exchange_files import ExchangeError, write_scene
    from rewas_nle.core.slices import run_all

    written, notes = [], []
    for number, name in enumerate(names, start=1):
        file_name = f"{number}.otio"
        scene = run_all(read_scene(name))
        assert scene is not None
        try:
            found = write_scene(scene, folder / file_name, relative=False)
        except ExchangeError as error:
            raise UnreadableError(error.what, error.remedy) from error
        notes += [str(note) for note in found]
        written.append(file_name)
    return {"timelines": written, "notes": notes}


def load_extension() -> Callable[[], None]:
    """Register the properties that the extension stores in files. Returns the function that unregisters them."""
    folder = Path(__file__).resolve().parents[1]
    spec = importlib.util.spec_from_file_location(
        _PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[_PACKAGE] = package
    spec.loader.exec_module(package)
    from rewas_nle.blender import properties

    properties.register()
    return properties.unregister


def _open(blend: Path) -> None:
    _check_version(blend, _header_version(blend))
    try:
        bpy.ops.wm.open_mainfile(filepath=str(blend), load_ui=False, use_scripts=False)
    except RuntimeError as error:
        reason = " ".join(str(error).removeprefix("Error:").split()).rstrip(".")
        raise UnreadableError(
            f"Blender {bpy.app.version_string} cannot open {blend.name} ({reason}).",
            "Open it in the version of Blender that saved it, and save it again.",
        ) from error
    saved_by: Any = bpy.data.version
    # Blender opens files of later minor versions, but leaves out what it does not know.
    _check_version(blend, tuple(saved_by)[:2])


def _header_version(blend: Path) -> tuple[int, int] | None:
    """Return the version of Blender that saved a file, or None if its header does not state it."""
    try:
        with blend.open("rb") as file:
            header = file.read(_HEADER_BYTES)
        if header.startswith(_ZSTANDARD):
            # Part of Blender's Python, for compressed files.
            import zstandard  # type: ignore[import-not-found]

            with zstandard.open(blend, "rb") as file:
                header = file.read(_HEADER_BYTES)
    except Exception:  # Whatever is wrong with the file, Blender describes it better.
        return None
    found = _HEADER.match(header)
    if found is None:
        return None
    version = int(found.group(1))
    return version // 100, version % 100


def _check_version(blend: Path, saved_by: tuple[int, ...] | None) -> None:
    if saved_by is not None and saved_by > bpy.app.version[:2]:
        version = ".".join(map(str, saved_by))
        raise UnreadableError(
            f"{blend.name} was saved by Blender {version}, which is newer than this Blender {bpy.app.version_string}.",
            f"Use Blender {version} or later.",
        )


def _chosen_scenes(blend: Path, scene_name: str) -> list[str]:
    with_strips = list(_scenes_with_strips())
    if scene_name:
        if scene_name in with_strips:
            return [scene_name]
        what = "has no strips in its sequencer" if scene_name in bpy.data.scenes else "does not exist"
        listed = ", ".join(f'"{name}"' for name in with_strips)
        raise UnreadableError(
            f'The scene "{scene_name}" of {blend.name} {what}.',
            f"Choose one of {listed}." if listed else "Choose a .blend file with an edit in the video sequencer.",
        )
    if not with_strips:
        raise UnreadableError(
            f"No scene of {blend.name} has strips in its sequencer.",
            "Choose a .blend file with an edit in the video sequencer.",
        )
    return with_strips


def _scenes_with_strips() -> Iterator[str]:
    from rewas_nle.blender.compat import strips_of

    for scene in bpy.data.scenes:
        if scene.sequence_editor is not None and len(strips_of(scene.sequence_editor)):
            yield scene.name


def _main(arguments: list[str]) -> None:
    blend, folder = Path(arguments[0]), Path(arguments[1])
    unload = load_extension()
    try:
        report = write_timelines(blend, folder, *arguments[2:])
    except UnreadableError as error:
        report = {"what": error.what, "remedy": error.remedy}
    unload()
    unfinished = folder / f".{REPORT}"
    unfinished.write_text(json.dumps(report), encoding="utf-8")
    unfinished.replace(folder / REPORT)


if __name__ == "__main__":
    try:
        _main(sys.argv[sys.argv.index("--") + 1 :])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    if not bpy.app.binary_path:
        # The module bpy may crash when Python exits, after everything is written.
        os._exit(0)
