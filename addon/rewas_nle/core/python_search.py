# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds what can create the server's environment: uv, or a Python that the server runs on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

PYTHON_VERSIONS = ((3, 11), (3, 12), (3, 13))
"""Versions of Python that the server runs on, in order of preference: the most tested one first."""

_PROBE_TIMEOUT_S = 20.0
_PROBE = (
    "import importlib.util as u, json, sys; print(json.dumps([sys.version_info[:2], sys.maxsize > 2**32, "
    "all(u.find_spec(name) for name in ('venv', 'ensurepip')), sys.executable]))"
)


@dataclass(frozen=True)
class FoundPython:
    """A Python. has_venv: whether it can create environments; Linux distributions may leave that out."""

    path: Path
    version: tuple[int, int]
    has_venv: bool


def clean_environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment variables without those that Blender or the user has set for another Python."""
    found = os.environ if variables is None else variables
    unwanted = (
        "PYTHON",
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_ROOT",
        "PIP_USER",
        "PIP_REQUIRE",
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
    )
    return {name: value for name, value in found.items() if not name.startswith((*unwanted, "__PYVENV"))}


def find_uv() -> Path | None:
    """Return a working uv, or None."""
    name = "uv.exe" if sys.platform == "win32" else "uv"
    folders = [
        *os.environ.get("PATH", "").split(os.pathsep),
        *map(str, _extra_folders()),
        str(Path.home() / ".cargo/bin"),
    ]
    for folder in dict.fromkeys(filter(None, folders)):
        path = Path(folder, name)
        if path.is_file() and _run([str(path), "--version"]) is not None:
            return path
    return None


def find_python(candidates: Iterable[Path] | None = None, *, own_python: Path | None = None) -> FoundPython | None:
    """Return the best Python for the server, or None.

    Args:
        candidates: Programs to try; None means those of this platform.
        own_python: Blender's own Python, used only if no other one can create an environment: an update of Blender
            may remove it.
    """
    usable: list[FoundPython] = []
    for path in _candidates() if candidates is None else candidates:
        found = probe_python(path)
        if found is not None and found.version in PYTHON_VERSIONS:
            usable.append(found)
            if found.has_venv and found.version == PYTHON_VERSIONS[0]:
                break
    ordered = sorted(usable, key=lambda each: (not each.has_venv, PYTHON_VERSIONS.index(each.version)))
    if not ordered or not ordered[0].has_venv:
        own = probe_python(own_python) if own_python is not None else None
        if own is not None and own.version in PYTHON_VERSIONS and own.has_venv:
            return own
    return ordered[0] if ordered else None


def probe_python(path: Path) -> FoundPython | None:
    """Run a program and return which Python it is. None if it is not a working 64-bit Python."""
    printed = _run([str(path), "-I", "-c", _PROBE])
    try:
        version, is_64_bit, has_venv, executable = json.loads(printed or "")
    except ValueError:
        return None
    # sys.executable, because a version manager's shim may later point at another version.
    return FoundPython(Path(executable), (version[0], version[1]), has_venv) if is_64_bit else None


def _run(command: list[str]) -> str | None:
    try:
        finished = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
            env=clean_environment(),
            creationflags=NO_WINDOW,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return finished.stdout if finished.returncode == 0 else None


NO_WINDOW: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)
"""Windows: start console programs without a window."""


def _candidates() -> Iterable[Path]:
    """Yield the Pythons of this platform. The search path of a desktop program lacks folders that a terminal has."""
    names = [f"python{major}.{minor}" for major, minor in PYTHON_VERSIONS] + ["python3", "python"]
    seen: set[Path] = set()
    for path in [*_named(names), *_installed_by_platform()]:
        # On Windows, python.exe in WindowsApps is not a Python: it opens the Store.
        if path not in seen and path.is_file() and "WindowsApps" not in path.parts:
            seen.add(path)
            yield path


def _named(names: Iterable[str]) -> Iterable[Path]:
    folders = os.pathsep.join([os.environ.get("PATH", ""), *map(str, _extra_folders())])
    for name in names:
        found = shutil.which(name, path=folders)
        if found is not None:
            yield Path(found)


def _extra_folders() -> list[Path]:
    home = Path.home()
    if sys.platform == "win32":
        return [home / ".local" / "bin"]
    return [home / ".local" / "bin", Path("/opt/homebrew/bin"), Path("/usr/local/bin"), Path("/usr/bin")]


def _installed_by_platform() -> Iterable[Path]:
    home = Path.home()
    for major, minor in PYTHON_VERSIONS:
        if sys.platform == "win32":
            local = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
            programs = [local / "Programs" / "Python", Path(os.environ.get("PROGRAMFILES") or "C:/Program Files")]
            yield from (folder / f"Python{major}{minor}" / "python.exe" for folder in programs)
        elif sys.platform == "darwin":
            yield Path(f"/Library/Frameworks/Python.framework/Versions/{major}.{minor}/bin/python{major}.{minor}")
        yield from sorted((home / ".pyenv" / "versions").glob(f"{major}.{minor}.*/bin/python{major}.{minor}"))
