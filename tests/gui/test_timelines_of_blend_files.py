"""OpenTimelineIO reads .blend files with this Blender program, also while its window shows the file."""

import os
import subprocess
import sys
from pathlib import Path

import opentimelineio as otio
import pytest
from blender_window import BlenderWindow
from installed_plugins import search_path

NAMES = "sorted(strip.name for strip in strips() if strip.type in ('MOVIE', 'SOUND'))"


@pytest.fixture(scope="module")
def plugins(folder: Path, profile: dict[str, str], extension: Path) -> dict[str, str]:
    """The environment variables of a program that finds the plugins, and the extension that Blender has installed."""
    (script,) = Path(profile["HOME"]).rglob("rewas_nle/blender/blend_timelines.py")
    kept = {name: value for name, value in profile.items() if not name.startswith("REWAS_")}
    return {**kept, "PYTHONPATH": search_path(folder / "site"), "REWAS_EXTENSION": str(script.parents[1])}


def convert(source: Path, target: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("otioconvert"), "-i", source, "-o", target]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=120)


def program(folder: Path, blender: str, arguments: str = "") -> Path:
    """A program named blender that starts Blender with further arguments."""
    folder.mkdir()
    path = folder / "blender"
    path.write_text(f'#!/bin/sh\nexec "{Path(blender).absolute()}" {arguments} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def blend(window: BlenderWindow, folder: Path) -> Path:
    """The file that the window shows. It was saved with File > Save, and has changed since."""
    path = folder / "blend files" / "film.blend"
    path.parent.mkdir()
    window.ask("setattr(bpy.context.preferences.view, 'filebrowser_display_type', 'SCREEN')")
    window.press_over_timeline("ctrl+s")
    window.choose_file(path)
    window.wait_until("bpy.data.is_saved", "the saved file")
    return path


def test_a_file_that_is_open_in_a_window_is_read(
    window: BlenderWindow, blend: Path, plugins: dict[str, str], blender: str, tmp_path: Path
) -> None:
    names, scene = window.ask(NAMES), window.ask("scene().name")
    assert names
    # Last, because the program that starts a Blender in a Debian tree looks for this name, too.
    found_on_path = {"PATH": f"{os.environ['PATH']}{os.pathsep}{program(tmp_path / 'bin', blender).parent}"}
    target = tmp_path / "film.otio"
    converted = convert(blend, target, {**plugins, **found_on_path})
    assert converted.returncode == 0, converted.stderr
    read = otio.adapters.read_from_file(str(target))
    timelines = [read] if isinstance(read, otio.schema.Timeline) else list(read)
    (shown,) = (each for each in timelines if each.name == scene)
    assert sorted(clip.name for clip in shown.find_clips()) == names
    assert all(Path(clip.media_reference.target_url).is_absolute() for clip in shown.find_clips())
    # The window goes on showing the file, and saves it again.
    saved_ns = blend.stat().st_mtime_ns
    window.press_over_timeline("ctrl+s")
    window.wait_until(lambda: blend.stat().st_mtime_ns != saved_ns, "the saved file")


def test_a_crash_of_blender_is_explained(blend: Path, plugins: dict[str, str], blender: str, tmp_path: Path) -> None:
    crash = "--background --python-expr 'import os, signal; os.kill(os.getpid(), signal.SIGSEGV)'"
    crashing = program(tmp_path / "bin", blender, crash)
    converted = convert(blend, tmp_path / "film.otio", {**plugins, "REWAS_BLENDER": str(crashing)})
    assert converted.returncode != 0
    assert f"{crashing} ended before it had read film.blend (it was terminated by SIGSEGV)." in converted.stderr
    assert not (tmp_path / "film.otio").exists()


def test_a_damaged_file_is_explained(blend: Path, plugins: dict[str, str], blender: str, tmp_path: Path) -> None:
    damaged = blend.with_name("damaged.blend")
    whole = blend.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    used = str(program(tmp_path / "bin", blender))
    converted = convert(damaged, tmp_path / "film.otio", {**plugins, "REWAS_BLENDER": used})
    assert converted.returncode != 0
    assert "cannot open damaged.blend (" in converted.stderr, converted.stderr
    assert not (tmp_path / "film.otio").exists()
