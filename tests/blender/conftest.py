"""Tests that run in Blender's Python module, with the extension installed from its zip.

    .venv-blender-4.5/bin/python -m pytest tests/blender

The extension is built, installed into a new profile and enabled once. Each test begins with an empty file.
"""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAIN_PYTHON = ROOT / ".venv" / "bin" / "python"
ADDON = "bl_ext.user_default.rewas_nle"

if importlib.util.find_spec("bpy") is None:
    collect_ignore_glob = ["*"]
else:
    # The tests use the contents of the zip, not those of the checkout.
    folders = {str(ROOT / folder) for folder in ("proto", "server", "addon")}
    sys.path[:] = [entry for entry in sys.path if entry not in folders]
    PROFILE = tempfile.mkdtemp(prefix="rewas-blender-profile-")
    os.environ["BLENDER_USER_RESOURCES"] = PROFILE
    # The journal of jobs and the sounds of unsaved files.
    os.environ["XDG_DATA_HOME"] = str(Path(PROFILE) / "data")
    os.environ["XDG_CACHE_HOME"] = str(Path(PROFILE) / "cache")


def pytest_configure(config: pytest.Config) -> None:
    # A future version of Blender would fail where this one warns.
    config.addinivalue_line("filterwarnings", "error:.*expected to be removed in Blender:DeprecationWarning")


_status = 0


def pytest_sessionfinish(exitstatus: int) -> None:
    global _status
    _status = exitstatus


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    if "PROFILE" not in globals():
        return
    shutil.rmtree(PROFILE, ignore_errors=True)
    sys.stdout.flush()
    sys.stderr.flush()
    # When the process ends normally, Blender's module may wait forever for a thread that it started.
    os._exit(_status)


def shared_folder(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for files that no test changes. `make test` gives every version of Blender the same one."""
    if "REWAS_BLENDER_FILES" not in os.environ:
        return tmp_path_factory.mktemp(name)
    folder = Path(os.environ["REWAS_BLENDER_FILES"]) / name
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def extension_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shared_folder("dist", tmp_path_factory)
    if built_before := list(folder.glob("rewas_nle-*.zip")):
        return built_before[0]
    python = MAIN_PYTHON if MAIN_PYTHON.exists() else Path(sys.executable)
    command = [python, ROOT / "scripts" / "dev" / "build_extension.py", "--output", folder]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return next(folder.glob("rewas_nle-*.zip"))


@pytest.fixture(scope="session")
def installed(extension_zip: Path) -> str:
    import bpy

    result = bpy.ops.extensions.package_install_files(
        filepath=str(extension_zip), repo="user_default", enable_on_install=True, overwrite=True
    )
    assert result == {"FINISHED"}
    assert ADDON in bpy.context.preferences.addons
    return ADDON


def part(name: str) -> ModuleType:
    """Import a module of the installed extension."""
    return importlib.import_module(f"{ADDON}.{name}")


@pytest.fixture
def scene(installed: str, tmp_path: Path) -> Iterator[Any]:
    """The scene of an empty file at 24000/1001 fps, with preferences that point at a port without a server."""
    import bpy

    bpy.ops.wm.read_homefile(use_empty=True)
    preferences = bpy.context.preferences.addons[ADDON].preferences
    preferences.server_address = "127.0.0.1:9"
    preferences.stems_folder = str(tmp_path / "stems")
    preferences.pack = ""
    shutil.rmtree(part("core.folders").data_folder(), ignore_errors=True)
    scene = bpy.context.scene
    scene.sequence_editor_create()
    set_rate(scene, 24, 1.001)
    yield scene
    assert part("blender.shared_session").session().close()
    part("blender.shared_session").close_session()


def set_rate(scene: Any, fps: int, fps_base: float) -> None:
    scene.render.fps = fps
    scene.render.fps_base = fps_base


def strips_of(holder: Any) -> Any:
    return holder.strips if hasattr(holder, "strips") else holder.sequences


def add_movie(scene: Any, path: Path, *, channel: int = 1, start: int = 1, prompt: str = "a ball bounces") -> Any:
    strip = strips_of(scene.sequence_editor).new_movie(path.name, str(path), channel, start)
    strip.rewas.prompt = prompt
    strip.select = True
    scene.sequence_editor.active_strip = strip
    return strip


_MAKE_CLIP = """
import sys, av, numpy as np
from fractions import Fraction
path, rate, frames = sys.argv[1], Fraction(sys.argv[2]), int(sys.argv[3])
with av.open(path, "w") as container:
    stream = container.add_stream("libx264", rate=rate)
    stream.width = stream.height = 64
    stream.pix_fmt = "yuv420p"
    for index in range(frames):
        picture = np.zeros((64, 64, 3), np.uint8)
        row = abs(index % 24 - 12) * 4
        picture[row : row + 12, 26:38] = 255
        for packet in stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")):
            container.mux(packet)
    for packet in stream.encode():
        container.mux(packet)
"""


@pytest.fixture(scope="session")
def make_clip(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function make_clip(rate, frames) that writes a small H.264 clip of a ball moving up and down."""
    folder = tmp_path_factory.mktemp("clips")

    def make(rate: Fraction, frames: int) -> Path:
        path = folder / f"ball-{rate.numerator}-{rate.denominator}-{frames}.mp4"
        if not path.exists():
            command = [MAIN_PYTHON, "-c", _MAKE_CLIP, path, str(rate), str(frames)]
            subprocess.run(command, check=True, capture_output=True)
        return path

    return make


@pytest.fixture
def ball(make_clip: Any) -> Path:
    """48 frames at 24000/1001 fps."""
    return make_clip(Fraction(24000, 1001), 48)


def wait_for_worker(address: str, within_s: float = 240.0) -> None:
    """Importing torch takes seconds, and minutes on a machine that is busy. No test's time limit should include it."""
    from rewas_api.client import RewasClient

    deadline_s = time.monotonic() + within_s
    with RewasClient(address) as client:
        while not client.get_server_info().worker_ready:
            assert time.monotonic() < deadline_s, "The worker did not start."
            threading.Event().wait(0.1)


def engine_environment() -> dict[str, str]:
    """The variables of a process that uses the checkout."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in ("", "proto", "server"))}


@pytest.fixture(scope="session")
def packs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a library named foley and tiny packs with random weights: untrained and, reading words, worded."""
    packs = shared_folder("packs", tmp_path_factory)
    if not (packs / "untrained").exists():
        program = (
            "import sys; from pathlib import Path; "
            "from rewas_engine.recipes.untrained_starter import write_untrained_pack;"
            "write_untrained_pack(Path(sys.argv[1]), reads_words=sys.argv[1].endswith('worded'))"
        )
        for name in ("untrained", "worded"):
            command = [MAIN_PYTHON, "-c", program, packs / name]
            subprocess.run(command, check=True, cwd=ROOT, env=engine_environment())
    if not (packs / "foley").exists():
        program = str(Path(__file__).with_name("write_recorded_library.py"))
        subprocess.run([MAIN_PYTHON, program, packs / "foley"], check=True, cwd=ROOT, env=engine_environment())
    return packs


@pytest.fixture(scope="session")
def server_address(installed: str, packs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server process with a running worker and a tiny untrained pack."""
    with run_server(packs, tmp_path_factory.mktemp("state"), tmp_path_factory.getbasetemp()) as address:
        yield address


@contextlib.contextmanager
def run_server(packs: Path, state: Path, media_root: Path, *more: str) -> Iterator[str]:
    """Run a server with a tiny untrained pack and further options, and yield its address."""
    options = ["--port", "0", "--state-dir", state, "--pack", "untrained", "--allow-root", media_root, *more]
    process = subprocess.Popen(
        [MAIN_PYTHON, "-m", "rewas_cli.main", "serve", *options],
        cwd=ROOT,
        env={
            **engine_environment(),
            "REWAS_PACKS": str(packs),
            # On a busy machine, two threads that wait for each other are many times slower than one.
            "OMP_NUM_THREADS": "1",
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        output: list[str] = []
        for line in process.stderr:
            output.append(line)
            if "listens on" in line:
                address = line.split("listens on ")[1].split(". ")[0].strip()
                wait_for_worker(address)
                yield address
                break
        else:
            pytest.fail("The server did not start:\n" + "".join(output))
    finally:
        process.terminate()
        try:
            process.communicate(timeout=120)
        finally:
            process.kill()
