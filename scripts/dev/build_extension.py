"""Build the Blender extension: one zip per platform that contains all wheels that it needs.

    scripts/dev/build_extension.py [--platform linux-x64|windows-x64|macos-arm64|all] [--output dist/]

The zip contains the add-on from `addon/rewas_nle`, its manifest with the list of wheels added, the pinned packages of
the server that the add-on can install, and the wheels: `rewas_api` built from `proto/`, and pinned releases of grpcio,
protobuf and typing_extensions for Python 3.11 (Blender 4.2 to 5.0), 3.13 (Blender 5.1 and later) and 3.14 (Blender in
Linux distributions). Wheels are kept in `build/wheels`, so a second run downloads nothing. If Blender is installed as a
Python module (`.venv-blender-*`), its own tool checks the result.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ADDON = ROOT / "addon" / "rewas_nle"
PROTO = ROOT / "proto"
WHEELS = ROOT / "build" / "wheels"

SERVER_PINS = ROOT / "scripts" / "dev" / "constraints" / "release.txt"

PINNED_REQUIREMENTS = ("grpcio==1.85.1", "protobuf==7.36.2", "typing_extensions==4.16.0")
PYTHON_TAGS = ("311", "313", "314")
WHEEL_TAGS = {
    "linux-x64": ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64"),
    "windows-x64": ("win_amd64",),
    "macos-arm64": ("macosx_11_0_arm64", "macosx_11_0_universal2", "macosx_10_9_universal2", "macosx_12_0_arm64"),
}
EXCLUDED_PATTERNS = ("__pycache__", "*.pyc", ".*", "blender_manifest.toml")
TIMESTAMP = (2026, 1, 1, 0, 0, 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--platform", choices=[*WHEEL_TAGS, "all"], default=this_platform())
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="folder for the zips")
    arguments = parser.parse_args()
    chosen = list(WHEEL_TAGS) if arguments.platform == "all" else [arguments.platform]
    try:
        for name in chosen:
            path = build(name, arguments.output)
            print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    except BuildError as error:
        print(f"build_extension: {error}", file=sys.stderr)
        return 1
    return 0


class BuildError(Exception):
    """The extension cannot be built. The message explains why, and what to do."""


def this_platform() -> str:
    """Return the platform of this machine, as Blender names it."""
    if sys.platform == "win32":
        return "windows-x64"
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return "macos-arm64"
    return "linux-x64"


def build(platform_name: str, output: Path) -> Path:
    """Build the zip of one platform and return its path. Raises BuildError."""
    wheels = [api_wheel(), *download_wheels(platform_name)]
    manifest = (ADDON / "blender_manifest.toml").read_text(encoding="utf-8")
    version = tomllib.loads(manifest)["version"]
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"rewas_nle-{version}-{platform_name}.zip"
    unfinished = path.with_suffix(f".{os.getpid()}.unfinished.zip")
    try:
        write_zip(unfinished, add_wheels_to_manifest(manifest, wheels, platform_name), wheels)
        validate(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def add_wheels_to_manifest(manifest: str, wheels: list[Path], platform_name: str) -> str:
    """Return the manifest with its platform and wheels, which must come before the first table."""
    top, table, tables = manifest.partition("\n[")
    listed = "".join(f'  "./wheels/{wheel.name}",\n' for wheel in wheels)
    return f'{top}\nplatforms = ["{platform_name}"]\nwheels = [\n{listed}]\n{table}{tables}'


def write_zip(path: Path, manifest: str, wheels: list[Path]) -> None:
    """Write the zip. The same sources give the same bytes."""
    ignored = shutil.ignore_patterns(*EXCLUDED_PATTERNS)
    with zipfile.ZipFile(path, "w") as archive:
        add(archive, "blender_manifest.toml", manifest.encode())
        add(archive, "LICENSE", (ADDON.parent / "LICENSE").read_bytes())
        add(archive, "server_requirements.txt", SERVER_PINS.read_bytes())
        for folder, folder_names, file_names in os.walk(ADDON):
            left_out = ignored(folder, [*folder_names, *file_names])
            folder_names[:] = sorted(set(folder_names) - left_out)
            for name in sorted(set(file_names) - left_out):
                file = Path(folder, name)
                add(archive, file.relative_to(ADDON).as_posix(), file.read_bytes())
        for wheel in wheels:
            add(archive, f"wheels/{wheel.name}", wheel.read_bytes(), zipfile.ZIP_STORED)


def add(archive: zipfile.ZipFile, name: str, content: bytes, compression: int = zipfile.ZIP_DEFLATED) -> None:
    entry = zipfile.ZipInfo(name, TIMESTAMP)
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content, compression)


def api_wheel() -> Path:
    """Return the wheel of `rewas_api`, built from `proto/` unless a current one exists."""
    sources = sorted([PROTO / "pyproject.toml", *(PROTO / "rewas_api").rglob("*.py*")])
    sources = [source for source in sources if "__pycache__" not in source.parts]
    digest = hashlib.sha256()
    for source in sources:
        digest.update(f"{source.relative_to(PROTO)}\0".encode() + source.read_bytes())
    folder = WHEELS / f"rewas_api-{digest.hexdigest()[:16]}"
    if not (built := sorted(folder.glob("*.whl"))):
        # Build from a copy, because setuptools leaves a build folder and stale modules in its working folder.
        with tempfile.TemporaryDirectory() as copy:
            shutil.copytree(PROTO, f"{copy}/proto", ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
            run_pip("wheel", "--no-deps", "--wheel-dir", str(folder), f"{copy}/proto")
        built = sorted(folder.glob("*.whl"))
    return built[0]


def download_wheels(platform_name: str) -> list[Path]:
    """Return the pinned wheels for a platform and every Python, from `build/wheels` or the package index."""
    found: dict[str, Path] = {}
    for python in PYTHON_TAGS:
        folder = WHEELS / f"{platform_name}-cp{python}"
        complete = folder / ("-".join(PINNED_REQUIREMENTS).replace("=", "") + ".complete")
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            tags = [word for tag in WHEEL_TAGS[platform_name] for word in ("--platform", tag)]
            abis = [word for abi in (f"cp{python}", "abi3", "none") for word in ("--abi", abi)]
            run_pip(
                *("download", "--only-binary", ":all:", "--no-deps", "--dest", str(folder)),
                *("--python-version", python, "--implementation", "cp", *tags, *abis, *PINNED_REQUIREMENTS),
            )
            complete.touch()
        found |= {wheel.name: wheel for wheel in folder.glob("*.whl")}
    return [found[name] for name in sorted(found)]


def run_pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        reason = "\n".join((finished.stderr or finished.stdout).strip().splitlines()[-6:])
        raise BuildError(f"pip {arguments[0]} failed. Check the connection to the package index.\n{reason}")


def validate(path: Path) -> None:
    """Check the zip with the tool of the newest Blender that is installed as a Python module."""
    tools = sorted(ROOT.glob(".venv-blender-*/lib/*/site-packages/bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py"))
    if not tools:
        return
    tool = tools[-1]
    python = ROOT / tool.relative_to(ROOT).parts[0] / "bin" / "python"
    finished = subprocess.run([python, tool, "validate", path], capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise BuildError(f"Blender rejects the extension: {(finished.stdout + finished.stderr).strip()}")


if __name__ == "__main__":
    sys.exit(main())
