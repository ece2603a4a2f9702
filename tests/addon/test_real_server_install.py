"""The real server from installation to removal: wheels of this checkout, an environment created with pip, and a sound.

The environment sees the dependencies of this environment (torch and the like) through a .pth file: repacking them as
wheels would take minutes. The project's own packages are installed from their wheels.
"""

import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from rewas_api.client import RewasClient
from rewas_api.clip_settings import ClipSettings
from rewas_api.v1 import rewas_pb2
from rewas_nle.core import server_install
from rewas_nle.core.contract import UserProblemError
from rewas_nle.core.local_server import LocalServer, LocalServerStatus, find_answering_server
from rewas_nle.core.python_search import probe_python
from rewas_nle.core.server_install import ServerInstaller, ServerRelease
from rewas_nle.timeline.clips import clip_to_otio
from rewas_nle.timeline.sample import SAMPLE_FRAMES, SAMPLE_NAME, SAMPLE_PROMPT
from rewas_nle.timeline.strips import SelectedClip

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "addon" / "rewas_nle" / "sample" / SAMPLE_NAME
HIDDEN = ("rewas", "__editable__", "pip")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="links the dependencies")]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of both packages, built from a copy because building leaves files in the sources."""
    sources, wheels = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheels")
    ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    for name in ("rewas_engine", "server", "proto"):
        shutil.copytree(ROOT / name, sources / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    for folder in (sources / "proto", sources):
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", wheels, folder]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stdout + built.stderr
    return wheels


def show_dependencies(environment: Path, links: Path) -> None:
    """Let an environment see the packages of this one, except the project's own and its installers."""
    links.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith(HIDDEN) and path.suffix != ".pth":
            (links / path.name).symlink_to(path)
    (packages,) = environment.glob("lib/python*/site-packages")
    for older in packages.glob("setuptools*"):  # comes with Python, and would hide the newer one
        shutil.rmtree(older)
    (packages / "dependencies.pth").write_text(f"{links}\n", encoding="utf-8")


def wait(server: LocalServer, within_s: float = 180.0) -> LocalServerStatus:
    assert server.join(within_s), server.status
    return server.status


def sample_request() -> rewas_pb2.SoundWork:
    rate = Fraction(24)
    clip = SelectedClip(
        name=SAMPLE_NAME,
        path=str(SAMPLE),
        prompt=SAMPLE_PROMPT,
        start_frame=1,
        frames=SAMPLE_FRAMES,
        content_start_frame=1,
        rate=rate,
        source_start_s=Fraction(0),
        source_duration_s=SAMPLE_FRAMES / rate,
        media_frames=SAMPLE_FRAMES,
        media_rate=rate,
    )
    settings = ClipSettings(prompt=SAMPLE_PROMPT, pack="untrained", seed=7, num_inference_steps=2)
    return rewas_pb2.SoundWork(clip_otio_json=clip_to_otio(clip).to_json_string(), settings=settings.to_proto())


@pytest.fixture(scope="module")
def server(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """The server, installed and running on the CPU with an untrained pack. Its state is apart from the user's."""
    from rewas_engine.recipes.untrained_starter import write_untrained_pack

    folder = tmp_path_factory.mktemp("computer")
    write_untrained_pack(folder / "packs" / "untrained")
    version = next(wheels.glob("rewas_nle-*.whl")).name.split("-")[1]
    release = ServerRelease(version, ROOT / "scripts" / "dev" / "constraints" / "release.txt")
    server = LocalServer(folder / "data" / "server", release)
    server.use_uv = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REWAS_PACKS", str(folder / "packs"))
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setattr(server_install, "find_python", lambda **_: probe_python(Path(sys.executable)))
        # The first attempt makes the environment and finds that the dependencies are missing.
        with pytest.raises(UserProblemError, match=f"was not found in the folder {wheels}"):
            ServerInstaller(server.folder, release, wheelhouse=wheels, use_uv=False).install()
        show_dependencies(server.folder.environment, folder / "dependencies")
        server.install(wheelhouse=wheels, then_start=(f"127.0.0.1:{free_port()}", "cpu"))
        wait(server)
        yield server
        server.remove()
        assert server.join(120)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_server_is_installed_and_answers(server: LocalServer) -> None:
    status = server.status
    assert (status.phase, status.version, status.problem) == ("running", server.release.version, None)
    assert find_answering_server() == status.address
    # It runs from its own environment, not from the checkout.
    assert list(server.folder.environment.glob("lib/python*/site-packages/rewas_server/__pycache__/*"))


def test_it_generates_the_sound_of_the_sample_clip(server: LocalServer, tmp_path: Path) -> None:
    with RewasClient(server.status.address) as client:
        job = client.submit(sample_request(), project_folders=[str(SAMPLE.parent)])
        finished = client.wait(job.id)
        (take,) = finished.sound.takes
        (stem,) = take.stems
        path = client.fetch_artifact(job.id, stem.artifact, tmp_path / "ball.wav")
    assert stem.samples == SAMPLE_FRAMES // 24 * stem.sample_rate_hz
    assert path.stat().st_size > stem.samples * 3


def test_another_blender_uses_the_same_server(server: LocalServer, tmp_path: Path) -> None:
    other = LocalServer(tmp_path / "of another profile", server.release)
    other.start("127.0.0.1:1", "auto")
    assert wait(other).address == server.status.address
    assert not other.status.is_own


def test_it_stops_and_is_removed(server: LocalServer) -> None:
    address = server.status.address
    server.stop()
    assert wait(server) == LocalServerStatus("stopped", server.release.version)
    assert find_answering_server([address]) == ""
    server.remove()
    assert wait(server) == LocalServerStatus("absent")
    assert not server.folder.folder.exists()
    state = server.folder.folder.parents[1] / "state"
    assert list(state.rglob("jobs.sqlite3"))  # the jobs are kept
