"""The OpenTimelineIO plugin for .blend files reads them as timelines with Blender, in a separate process."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import opentimelineio as otio
import pytest
from installed_plugins import search_path

from rewas_otio.blender_process import BlendError, find_extension, read_blend
from rewas_server.blender_program import BlenderError, find_blender

ROOT = Path(__file__).resolve().parents[2]
RunTool = Callable[..., subprocess.CompletedProcess[str]]
VERSIONS = ("4.2", "4.5", "5.0", "5.2")
EXTENSION = ROOT / "addon" / "rewas_nle"
BALL = EXTENSION / "sample" / "ball.mp4"
MAKE = """
import os, sys
from pathlib import Path
import bpy
folder, extension, ball = map(Path, sys.argv[1:4])
sys.path.insert(0, str(folder))
import importlib.util
spec = importlib.util.spec_from_file_location("blend_timelines", extension / "blender" / "blend_timelines.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)
script.load_extension()
def add(scene, name, start):
    scene.render.fps, scene.render.fps_base = 24, 1.001
    editor = scene.sequence_editor_create()
    strips = editor.strips if hasattr(editor, "strips") else editor.sequences
    strip = strips.new_movie(name, str(ball), 3, start)
    strip.rewas.prompt = f"the sound of {name}"
def save(name):
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / name), compress=False)
bpy.ops.wm.read_factory_settings(use_empty=True)
save("empty.blend")
scene = bpy.context.scene
scene.name = "Edit"
add(scene, "ball", 10)
text = bpy.data.texts.new("startup.py")
text.write(f"open({str(folder / 'scripts_ran')!r}, 'w').close()")
text.use_module = True
save("one.blend")
bpy.data.scenes.new("Unused")
add(bpy.data.scenes.new("Reel 2"), "second", 1)
save("two.blend")
os._exit(0)
"""


def python_of(version: str) -> str:
    python = ROOT / f".venv-blender-{version}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"Blender {version} is not set up here; `make test` does it")
    return str(python)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder with the .blend files that a version of Blender has saved."""
    made: dict[str, Path] = {}

    def make(version: str) -> Path:
        if version not in made:
            folder = tmp_path_factory.mktemp(f"blends-{version}")
            command = [python_of(version), "-I", "-c", MAKE, str(folder), str(EXTENSION), str(BALL)]
            subprocess.run(command, check=True, capture_output=True, text=True)
            made[version] = folder
        return made[version]

    return make


@pytest.fixture
def run_tool(tmp_path: Path) -> RunTool:
    """Run one of OpenTimelineIO's commands with the plugins installed."""
    environment = {**os.environ, "PYTHONPATH": search_path(tmp_path / "site")}

    def run(name: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).with_name(name), *arguments],
            env={**environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.parametrize("version", VERSIONS)
def test_otioconvert_converts_a_blend_file(
    version: str, files: Callable[[str], Path], run_tool: RunTool, tmp_path: Path
) -> None:
    blend, output = files(version) / "one.blend", tmp_path / "film.otio"
    converted = run_tool("otioconvert", "-i", str(blend), "-o", str(output), REWAS_BLENDER=python_of(version))
    assert converted.returncode == 0, converted.stderr
    timeline = otio.adapters.read_from_file(str(output))
    assert isinstance(timeline, otio.schema.Timeline)
    assert timeline.name == "Edit"
    assert timeline.metadata["blender"]["rate"] == "24000/1001"
    gap, clip = timeline.tracks[0]
    assert gap.duration().to_seconds() == pytest.approx(9 * 1.001 / 24, abs=1e-12)
    assert clip.name == "ball"
    assert clip.metadata["rewas"]["prompt"] == "the sound of ball"
    assert Path(clip.media_reference.target_url) == BALL
    # Scripts in the file do not run.
    assert not (files(version) / "scripts_ran").exists()


def test_plugin_discovery_lists_the_adapter(run_tool: RunTool) -> None:
    listed = run_tool("otiopluginfo", "blender")
    assert listed.returncode == 0, listed.stderr
    assert "blender_adapter.py" in listed.stdout
    assert "reads the video sequencer of .blend files" in listed.stdout


def test_a_file_with_several_timelines_is_a_collection(files: Callable[[str], Path]) -> None:
    blend, blender = files("5.0") / "two.blend", python_of("5.0")
    named = {json.loads(text)["name"] for text in read_blend(blend, blender=blender)}
    assert named == {"Edit", "Reel 2"}
    (only,) = read_blend(blend, "Reel 2", blender)
    assert json.loads(only)["name"] == "Reel 2"


@pytest.mark.parametrize(
    ("name", "scene", "what", "remedy"),
    [
        ("empty.blend", "", "No scene of empty.blend has strips in its sequencer.", "Choose a .blend file with"),
        ("two.blend", "Reel", 'The scene "Reel" of two.blend does not exist.', 'Choose one of "Edit", "Reel 2".'),
        ("two.blend", "Unused", 'The scene "Unused" of two.blend has no strips in its', 'Choose one of "Edit", "R'),
        ("missing.blend", "", "missing.blend (No such file or directory).", "Check the path."),
    ],
)
def test_a_file_without_the_timeline_is_explained(
    files: Callable[[str], Path], name: str, scene: str, what: str, remedy: str
) -> None:
    with pytest.raises(BlendError) as raised:
        read_blend(files("4.5") / name, scene, python_of("4.5"))
    assert what in raised.value.what
    assert raised.value.remedy.startswith(remedy)


def test_a_damaged_file_is_explained(files: Callable[[str], Path], tmp_path: Path) -> None:
    whole = (files("4.5") / "one.blend").read_bytes()
    damaged = tmp_path / "damaged.blend"
    damaged.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BlendError) as raised:
        read_blend(damaged, blender=python_of("4.5"))
    assert raised.value.what.startswith("Blender 4.5.15 LTS cannot open damaged.blend (")
    assert raised.value.remedy == "Open it in the version of Blender that saved it, and save it again."


def test_a_file_of_another_kind_does_not_start_blender(tmp_path: Path) -> None:
    other = tmp_path / "film.blend"
    other.write_text("<xml/>", encoding="utf-8")
    with pytest.raises(BlendError, match=r"^film\.blend is not a Blender file\. Choose a file that Blender has saved"):
        read_blend(other, blender=sys.executable)


@pytest.mark.parametrize(("saved", "opened"), [("4.5", "4.2"), ("5.2", "5.0"), ("5.2", "4.5")])
def test_a_file_of_a_newer_blender_is_refused(files: Callable[[str], Path], saved: str, opened: str) -> None:
    with pytest.raises(BlendError) as raised:
        read_blend(files(saved) / "one.blend", blender=python_of(opened))
    assert raised.value.what.startswith(f"one.blend was saved by Blender {saved}, which is newer than this Blender")
    assert raised.value.remedy == f"Use Blender {saved} or later."


def test_a_program_that_is_not_blender_is_explained(files: Callable[[str], Path]) -> None:
    true = shutil.which("true")
    assert true is not None
    with pytest.raises(BlendError, match=r"true ended before it had read one\.blend"):
        read_blend(files("5.0") / "one.blend", blender=true)


def test_blender_has_a_time_limit(files: Callable[[str], Path]) -> None:
    with pytest.raises(BlendError, match=r"^Blender did not read one\.blend within 0\.01 s"):
        read_blend(files("5.0") / "one.blend", blender=python_of("5.0"), time_limit_s=0.01)


def test_blender_is_found_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "blender"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("REWAS_BLENDER", raising=False)
    assert find_blender("", "read files") == program
    monkeypatch.setenv("REWAS_BLENDER", sys.executable)
    assert find_blender("", "read files") == Path(sys.executable)
    assert find_blender(str(program), "read files") == program
    monkeypatch.setenv("REWAS_BLENDER", "/no/blender")
    with pytest.raises(BlenderError, match=r"program /no/blender \(REWAS_BLENDER\) does not exist\. Enter the path"):
        find_blender("", "read files")
    for name, what in ((tmp_path, "is a folder"), (tmp_path / "notes.txt", "cannot be run")):
        (tmp_path / "notes.txt").touch(mode=0o600)
        monkeypatch.setenv("REWAS_BLENDER", str(name))
        with pytest.raises(BlenderError, match=rf"The program {name} \(REWAS_BLENDER\) {what}\. Enter the path"):
            find_blender("", "read files")
    monkeypatch.delenv("REWAS_BLENDER")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        BlenderError, match=r"Blender was not found, and only Blender can read files\. .*set REWAS_BLENDER to its path"
    ):
        find_blender("", "read files")


def test_the_extension_is_found_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("REWAS_EXTENSION", raising=False)
    assert find_extension() == EXTENSION
    monkeypatch.setenv("REWAS_EXTENSION", str(tmp_path))
    with pytest.raises(BlendError, match=r"The folder .* \(REWAS_EXTENSION\) does not contain the ReWaS extension"):
        find_extension()
    shutil.copytree(EXTENSION, tmp_path / "rewas_nle", ignore=shutil.ignore_patterns("__pycache__", "sample"))
    assert find_extension(str(tmp_path / "rewas_nle")) == tmp_path / "rewas_nle"
