"""The fixtures of the tests in a real window: a server, films, and Blender with the extension from its zip.

`make gui-test` runs these tests. They need a Blender program, Xvfb, xdotool and ImageMagick, and fail without them.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from blender_window import HEIGHT_PX, OBSERVER, WIDTH_PX, BlenderWindow, WindowError, virtual_screen

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "build" / "gui"

sys.path[:0] = [str(ROOT / "scripts" / "demo"), str(ROOT / "scripts" / "dev"), str(ROOT / "tests" / "timeline")]
from make_demo_clips import DRAWN_CLIPS, encode  # noqa: E402
from run_demo import running_server  # noqa: E402

from rewas_api.access import read_token_file  # noqa: E402
from rewas_api.client import RewasClient  # noqa: E402
from rewas_engine.world import render_video  # noqa: E402

FPS = Fraction(24)
LOADS_WITHIN_S = 240.0


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder under /tmp, which a Blender inside a Debian tree sees under the same path."""
    with tempfile.TemporaryDirectory(prefix="rewas-gui-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def films(folder: Path) -> dict[str, Path]:
    """Silent clips at 24 fps with known contacts: "ball" and "hammer" of the demo."""
    target = folder / "films"
    target.mkdir()
    paths = {}
    for clip in DRAWN_CLIPS:
        path = target / clip.file_name
        encode(render_video(clip.scene(), frame_rate=FPS, width=640, height=360), path, FPS)
        paths[path.stem] = path
    return paths


@pytest.fixture(scope="session")
def server(folder: Path, profile: dict[str, str]) -> Iterator[str]:
    """The address of a server process with the starter pack, run by the user of the profile."""
    # On a busy machine, two threads that wait for each other are many times slower than one.
    variables = {**profile, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    with running_server(folder / "server-state", folder, variables) as address:
        port = address.rpartition(":")[2]
        token = read_token_file(Path(profile["HOME"], ".local", "state", "rewas", "servers", f"{port}.token"))
        with RewasClient(address, token=token) as client:
            # Importing torch takes seconds, or minutes on a busy machine. This must not count towards a time limit.
            deadline_s = time.monotonic() + LOADS_WITHIN_S
            while not client.get_server_info().worker_ready:
                assert time.monotonic() < deadline_s, "The server does not load its pack."
                time.sleep(0.1)
        yield address


@pytest.fixture(scope="session")
def blender() -> str:
    """The program in the environment variable BLENDER, or the one on PATH."""
    program = os.environ.get("BLENDER", "blender")
    found = shutil.which(program)
    if found is None:
        raise WindowError(f"The program {program} was not found. Set the path of Blender: make gui-test BLENDER=...")
    return found


@pytest.fixture(scope="session")
def profile(folder: Path) -> dict[str, str]:
    """The environment variables of a user who has never started Blender."""
    home, temporary = folder / "home", folder / "temporary"
    home.mkdir()
    temporary.mkdir()
    hidden = ("PYTHON", "BLENDER_", "XDG_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden) or name == "BLENDER_TREE"}
    return {**kept, "HOME": str(home), "TMPDIR": str(temporary), "LIBGL_ALWAYS_SOFTWARE": "1"}


@pytest.fixture(scope="session")
def extension(blender: str, profile: dict[str, str], folder: Path) -> Path:
    """The zip of the extension, installed with Blender's own command."""
    build = [sys.executable, ROOT / "scripts" / "dev" / "build_extension.py", "--output", folder / "zips"]
    subprocess.run(build, check=True, capture_output=True)
    archive = next((folder / "zips").glob("rewas_nle-*-linux-x64.zip"))
    command = [blender, "--command", "extension", "install-file", "--repo", "user_default", "--enable", str(archive)]
    done = subprocess.run(command, env=profile, capture_output=True, text=True, check=False, timeout=55)
    if done.returncode != 0:
        raise WindowError(f"Blender did not install {archive.name}:\n{done.stdout}{done.stderr}")
    return archive


@pytest.fixture(scope="session")
def window(blender: str, profile: dict[str, str], extension: Path, folder: Path) -> Iterator[BlenderWindow]:
    """The window of a Blender that has just been started."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    for old in PICTURES.glob("*.png"):
        old.unlink()
    script, port_file, log = folder / "observer.py", folder / "observer-port", folder / "blender.log"
    shutil.copyfile(OBSERVER, script)
    with virtual_screen() as display, log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(blender, "-noaudio", "--python", str(script)),
                *("--window-geometry", "0", "0", str(WIDTH_PX), str(HEIGHT_PX)),
            ],
            env={**profile, "DISPLAY": display, "REWAS_OBSERVER": str(port_file)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        opened = BlenderWindow(display, PICTURES, process, log)
        try:
            opened.connect(port_file)
            yield opened
        finally:
            opened.close()
            shutil.copyfile(log, PICTURES / "blender.log")
