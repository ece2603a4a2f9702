"""Blender as a program: where it is, and how a script runs in it with an empty profile."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from rewas_api.errors import ProblemError, ProblemKind

BLENDER_VARIABLE = "REWAS_BLENDER"
OTHER_PROGRAM = "Enter the path of Blender 4.2 or later (on a Mac: Blender.app/Contents/MacOS/Blender)."
_OWN_VARIABLES = ("BLENDER_USER_", "BLENDER_SYSTEM_", "PYTHON")


class BlenderError(ProblemError):
    """Blender cannot be found.

    Args:
        what: One sentence on what happened.
        remedy: One sentence on what to do about it.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy, ProblemKind.SETTINGS)


def find_blender(chosen: str, task: str) -> Path:
    """Return the path of Blender, or of a Python with the module bpy.

    Args:
        chosen: What the user entered, or "".
        task: What Blender is needed for, as an infinitive without "to", for the error.

    Raises BlenderError if there is none.
    """
    for origin, name in (("", chosen), (f" ({BLENDER_VARIABLE})", os.environ.get(BLENDER_VARIABLE, ""))):
        if not name:
            continue
        path = Path(name).expanduser()
        found = shutil.which(path)
        if found is None:
            what = "is a folder" if path.is_dir() else "cannot be run" if path.exists() else "does not exist"
            raise BlenderError(f"The program {name}{origin} {what}.", OTHER_PROGRAM)
        return Path(found)
    found = shutil.which("blender") or next(map(str, filter(Path.is_file, _usual_places())), None)
    if found is not None:
        return Path(found)
    if importlib.util.find_spec("bpy") is not None:
        return Path(sys.executable)
    raise BlenderError(
        f"Blender was not found, and only Blender can {task}.",
        f"Install Blender 4.2 or later, or set {BLENDER_VARIABLE} to its path.",
    )


def version_in(path: Path) -> tuple[int, ...]:
    """Return the version of Blender in a path, (0,) if there is none."""
    for part in reversed(path.parts):
        numbers = part.removeprefix("Blender ").split(".")
        if len(numbers) > 1 and all(number.isdecimal() for number in numbers):
            return tuple(map(int, numbers))
    return (0,)


def _usual_places() -> list[Path]:
    """Return where the installers of Blender put it, newest version first."""
    installed = Path(os.environ.get("PROGRAMFILES", r"C:\Program Files"), "Blender Foundation")
    return [
        Path("/Applications/Blender.app/Contents/MacOS/Blender"),
        *sorted(installed.glob("Blender */blender.exe"), key=version_in, reverse=True),
    ]


def blender_command(program: Path, script: Path) -> list[str]:
    """Return the command that runs a script in Blender, or in a Python with the module bpy."""
    if program.name.lower().startswith("python"):
        return [str(program), "-I", str(script)]
    return [
        str(program),
        "--background",
        "--factory-startup",
        "--disable-autoexec",
        "-noaudio",
        "--python-exit-code",
        "1",
        "--python",
        str(script),
    ]


def blender_environment(profile: Path) -> Mapping[str, str]:
    """Return the environment of Blender: with an empty profile, so that it does not read or change the user's."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(_OWN_VARIABLES)}
    return kept | {"BLENDER_USER_RESOURCES": str(profile)}
