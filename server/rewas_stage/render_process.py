"""The process that renders scenes in Blender: one JSON object per line in, one per line out.

Start it with Blender (`--python render_process.py`) or with a Python that has the module bpy. A line
`{"scene": <JSON file>, "frames": <folder>}` is answered, when all frames are in the folder as 00000.png and so on, by
`{"frames": <number>}`, or by `{"error": <reason>}`. The process ends when its input ends.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TextIO


def serve(lines: TextIO, replies: TextIO) -> None:
    """Render the scene of each line, until the input ends."""
    rendering = _import("rendering")
    parent = os.getppid()

    def check() -> None:
        # When the parent has ended, another process becomes the parent. On Windows, the end of the input ends this one.
        if os.getppid() != parent:
            raise SystemExit

    print(json.dumps({"blender": rendering.blender_version()}), file=replies, flush=True)
    for line in lines:
        if not line.strip():
            continue
        try:
            request = json.loads(line)
            description = json.loads(Path(request["scene"]).read_text("utf-8"))
            reply = {"frames": rendering.render(description, Path(request["frames"]), check)}
        except Exception as error:  # any error concerns only this scene, so the process continues
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


def _import(name: str) -> ModuleType:
    """Import a module of this package, even if this file runs as a script."""
    if __package__:
        return importlib.import_module(f"{__package__}.{name}")
    folder = Path(__file__).resolve().parent
    package = folder.name
    spec = importlib.util.spec_from_file_location(
        package, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[package] = module
    spec.loader.exec_module(module)
    return importlib.import_module(f"{package}.{name}")


def main() -> None:
    """Serve standard input. Blender prints to standard output, so replies have a separate descriptor."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, replies)


if __name__ == "__main__":
    main()
