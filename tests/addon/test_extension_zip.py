"""The zips of the extension: one for each platform, valid for Blender, without executables, with short paths."""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from toy_server import write_wheel

ROOT = Path(__file__).resolve().parents[2]
PLATFORMS = ("linux-x64", "windows-x64", "macos-arm64")
PYTHONS = ("3.11", "3.13", "3.14")
LONGEST_PATH = 120
"""Windows allows 260 characters, and the folder of extensions needs about half of them."""
LARGEST_ZIP_BYTES = 60_000_000
EXECUTABLE_STARTS = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"#!")
BLENDERS = sorted(ROOT.glob(".venv-blender-*/bin/python"))

needs_blender = pytest.mark.skipif(not BLENDERS, reason="no environment with Blender")


@pytest.fixture(scope="module")
def zips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, ROOT / "scripts" / "dev" / "build_extension.py", "--platform", "all", "--output", folder]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return {name: next(folder.glob(f"rewas_nle-*-{name}.zip")) for name in PLATFORMS}


def wheels_of(path: Path) -> dict[str, zipfile.ZipFile]:
    with zipfile.ZipFile(path) as archive:
        return {
            name: zipfile.ZipFile(BytesIO(archive.read(name))) for name in archive.namelist() if name.endswith(".whl")
        }


@pytest.mark.slow
@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_zip_has_only_what_it_needs(zips: dict[str, Path], platform: str) -> None:
    path = zips[platform]
    assert path.stat().st_size < LARGEST_ZIP_BYTES
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        manifest = tomllib.loads(archive.read("blender_manifest.toml").decode())
        plain = {name: archive.read(name) for name in names if not name.endswith(".whl")}
    assert manifest["platforms"] == [platform]
    assert {f"./{name}" for name in names if name.endswith(".whl")} == set(manifest["wheels"])
    assert not any(content.startswith(EXECUTABLE_STARTS) for content in plain.values())
    assert {Path(name).suffix for name in plain} <= {".py", ".toml", ".txt", ".mp4", ""}
    assert [name for name in plain if not Path(name).suffix] == ["LICENSE"]
    assert not any("__pycache__" in name or "\\" in name or name.startswith("/") for name in names)
    wheels = wheels_of(path)
    for name, wheel in wheels.items():
        inner = wheel.namelist()
        # Virus scanners remove command-line programs inside wheels.
        assert not [each for each in inner if each.endswith(".exe") or ".data/scripts/" in each], name
        assert max(map(len, inner)) < LONGEST_PATH, name
    assert max(map(len, names)) < LONGEST_PATH
    packages = sorted(name.removeprefix("wheels/").split("-")[0] for name in wheels)
    assert packages == sorted(["grpcio"] * len(PYTHONS) + ["protobuf", "rewas_api", "typing_extensions"])


# Blender's own code chooses the wheels to install. It asks for the platform and the version of Python that it runs on.
CHOOSE_WHEELS = """
import json, sys, sysconfig, bpy
import bl_pkg.bl_extension_ops as operators
from bl_pkg.bl_extension_utils import python_versions_from_wheels
class Version(tuple):
    pass
chosen = {}
wheels, systems, pythons = json.loads(sys.argv[1])
for platform, names in wheels.items():
    sysconfig.get_platform = lambda: systems[platform]
    for python in pythons:
        sys.version_info = Version([*map(int, python.split(".")), 0, "final", 0])
        chosen[f"{platform} {python}"] = operators._extensions_wheel_filter_for_this_system(names)
versions = [sorted(map(list, python_versions_from_wheels(names))) for names in wheels.values()]
print("CHOSEN" + json.dumps([chosen, versions]))
"""
SYSTEMS = {"linux-x64": "linux-x86_64", "windows-x64": "win-amd64", "macos-arm64": "macosx-11.0-arm64"}


@needs_blender
@pytest.mark.slow
def test_each_blender_finds_one_wheel_of_each_package(zips: dict[str, Path]) -> None:
    wheels = {}
    for platform, path in zips.items():
        with zipfile.ZipFile(path) as archive:
            wheels[platform] = tomllib.loads(archive.read("blender_manifest.toml").decode())["wheels"]
    argument = json.dumps([wheels, SYSTEMS, PYTHONS])
    command = [BLENDERS[-1], "-c", CHOOSE_WHEELS, argument]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    found = re.search("^CHOSEN(.*)$", ran.stdout, re.MULTILINE)
    assert found is not None, ran.stdout + ran.stderr
    chosen, versions = json.loads(found[1])
    assert set(chosen) == {f"{platform} {python}" for platform in PLATFORMS for python in PYTHONS}
    for case, names in chosen.items():
        packages = [name.removeprefix("./wheels/").split("-")[0] for name in names]
        assert sorted(packages) == ["grpcio", "protobuf", "rewas_api", "typing_extensions"], case
        assert f"-cp{case.split()[1].replace('.', '')}-" in " ".join(names), case
    assert versions == [[[3, 11], [3, 13], [3, 14]]] * 3


@needs_blender
@pytest.mark.slow
def test_every_blender_accepts_every_zip(zips: dict[str, Path]) -> None:
    for python in BLENDERS:
        (tool,) = python.parents[1].glob("lib/*/site-packages/bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py")
        for path in zips.values():
            ran = subprocess.run([python, tool, "validate", path], capture_output=True, text=True, check=False)
            assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_texts_of_the_manifest_follow_blenders_rules() -> None:
    manifest = tomllib.loads((ROOT / "addon" / "rewas_nle" / "blender_manifest.toml").read_text(encoding="utf-8"))
    for text in (manifest["tagline"], *manifest["permissions"].values()):
        assert 10 < len(text) <= 64
        assert text[-1].isalnum()


OLDER_WHEELS = ("grpcio==1.70.0", "protobuf==5.29.5", "typing_extensions==4.12.2")
OTHER_MANIFEST = """\
schema_version = "1.0.0"
id = "other_extension"
version = "1.0.0"
name = "Another Extension"
tagline = "Carries other versions of the same wheels"
maintainer = "Nobody"
type = "add-on"
blender_version_min = "4.2.0"
license = ["SPDX:GPL-3.0-or-later"]
wheels = [{wheels}]
"""
OTHER_MODULE = "def register():\n    {register}\ndef unregister():\n    pass\n"

INSTALL_BOTH = """
import importlib, json, sys, bpy
other, ours = sys.argv[1:]
for path in (other, ours):
    bpy.ops.extensions.package_install_files(
        filepath=path, repo="user_default", enable_on_install=True, overwrite=True
    )
enabled = [addon.module for addon in bpy.context.preferences.addons if addon.module.startswith("bl_ext")]
contract = importlib.import_module("bl_ext.user_default.rewas_nle.core.contract")
problem = contract.find_dependency_problem()
from importlib.metadata import version
versions = {name: version(name) for name in ("grpcio", "protobuf", "typing_extensions")}
bpy.ops.preferences.addon_disable(module="bl_ext.user_default.other_extension")
print("RESULT" + json.dumps([enabled, str(problem or ""), versions]))
"""


def write_other_extension(path: Path, wheels: list[Path], register: str = "pass") -> Path:
    listed = ", ".join(f'"./wheels/{wheel.name}"' for wheel in wheels)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("blender_manifest.toml", OTHER_MANIFEST.format(wheels=listed))
        archive.writestr("__init__.py", OTHER_MODULE.format(register=register))
        for wheel in wheels:
            archive.write(wheel, f"wheels/{wheel.name}")
    return path


def install_both(zips: dict[str, Path], other: Path, folder: Path) -> tuple[list[str], str, dict[str, str]]:
    """Install another extension, then ours, into a new profile of a Blender that runs this version of Python."""
    library = Path("lib") / f"python{sys.version_info.major}.{sys.version_info.minor}"
    blender = [python for python in BLENDERS if (python.parents[1] / library).is_dir()][-1]
    command = [blender, "-c", INSTALL_BOTH, other, zips["linux-x64"]]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"BLENDER_USER_RESOURCES": str(folder), "XDG_DATA_HOME": str(folder / "data")}
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)
    found = re.search("^RESULT(.*)$", ran.stdout, re.MULTILINE)
    assert found is not None, ran.stdout + ran.stderr
    enabled, problem, versions = json.loads(found[1])
    return enabled, problem, versions


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="installs the zip for Linux")


@needs_blender
@on_linux
@pytest.mark.slow
def test_it_works_beside_an_extension_with_older_wheels(zips: dict[str, Path], tmp_path: Path) -> None:
    older = ROOT / "build" / "wheels" / "older"
    if len(list(older.glob("*.whl"))) != len(OLDER_WHEELS):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*command, "--python-version", "311", "--dest", older, *OLDER_WHEELS], check=True)
    # Its protobuf is loaded already when ours is installed.
    other = write_other_extension(tmp_path / "other.zip", sorted(older.glob("*.whl")), "import google.protobuf")
    enabled, problem, versions = install_both(zips, other, tmp_path)
    assert enabled == ["bl_ext.user_default.other_extension", "bl_ext.user_default.rewas_nle"]
    assert problem == ""
    assert versions == {"grpcio": "1.85.1", "protobuf": "7.36.2", "typing_extensions": "4.16.0"}


@needs_blender
@on_linux
@pytest.mark.slow
def test_an_incompatible_newer_library_is_reported_in_one_line(zips: dict[str, Path], tmp_path: Path) -> None:
    newer = write_wheel(
        tmp_path, "grpcio", {"grpc/__init__.py": "raise ImportError('needs another world')"}, version="99.0"
    )
    other = write_other_extension(tmp_path / "other.zip", [newer])
    enabled, problem, _ = install_both(zips, other, tmp_path)
    assert "bl_ext.user_default.rewas_nle" in enabled
    assert problem.startswith("The libraries of the ReWaS extension cannot be loaded (needs another world).")
