"""The files of a server belong to its user alone, from their first byte, whatever the umask of its terminal."""

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import opentimelineio as otio
import pytest
from server_process import ServerProcess
from sliding_square import FRAME_RATE, FRAMES, write_video

from rewas_api.access import announced_token_path
from rewas_api.v1 import rewas_pb2
from rewas_server.files.private_files import tighten_state_folder, write_private_text


def open_to_others(folder: Path) -> dict[str, str]:
    """The files and folders that other users may reach if the folder itself were open, with their modes."""
    found = {}
    for path in (folder, *folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            mode = path.lstat().st_mode
            if not stat.S_ISLNK(mode) and mode & 0o077:
                found[str(path.relative_to(folder))] = oct(stat.S_IMODE(mode))
    return found


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.slow
def test_no_file_of_a_jobs_life_is_open_to_others(tmp_path: Path, no_umask: None) -> None:
    from rewas_engine.recipes.untrained_starter import write_untrained_pack

    (tmp_path / "media").mkdir()
    media = tmp_path / "media" / "shot 7.mp4"
    write_video(media)
    write_untrained_pack(tmp_path / "packs" / "tiny", seed=0)
    state_dir = tmp_path / "state"
    state_dir.mkdir(mode=0o777)
    stopped = threading.Event()
    ever_open: dict[str, str] = {}

    def watch() -> None:
        while not stopped.wait(0.02):
            ever_open.update(open_to_others(state_dir))

    with ServerProcess(
        state_dir,
        [tmp_path / "media"],
        packs_dir=tmp_path / "packs",
        default_pack="tiny",
        settings={"upload_limit_bytes": 2**30},
    ) as server:
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            with server.client() as client:
                time = otio.opentime.RationalTime
                clip = otio.schema.Clip(
                    "shot 7",
                    otio.schema.ExternalReference(str(media)),
                    otio.opentime.TimeRange(time(0, float(FRAME_RATE)), time(FRAMES, float(FRAME_RATE))),
                )
                settings = rewas_pb2.SoundSettings(prompt="a ball bounces", num_inference_steps=2)
                work = rewas_pb2.SoundWork(
                    clip_otio_json=clip.to_json_string(),
                    settings=settings,
                    uploaded_media={str(media): client.upload_media(media)},
                )
                job = client.wait(client.submit(work).id)
                artifact = job.sound.takes[0].stems[0].artifact
                stem = client.fetch_artifact(job.id, artifact, tmp_path / "stem.wav")
        finally:
            stopped.set()
            watcher.join()
        assert open_to_others(announced_token_path(server.port).parent) == {}
    # The folder itself was open before the server started.
    assert ever_open == {}
    assert open_to_others(state_dir) == {}
    names = {path.name for path in state_dir.rglob("*")}
    assert {"jobs.sqlite3", "token", artifact.name, job.id} <= names
    # The copy that the client writes is the user's own: it has the modes of the user's other files.
    assert stat.S_IMODE(stem.stat().st_mode) == 0o666


def test_an_open_state_folder_is_closed_at_the_start(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    with ServerProcess(state_dir, loads_pack=False):
        pass
    (state_dir / "artifacts" / "job").mkdir(parents=True)
    (state_dir / "artifacts" / "job" / "stem.wav").write_bytes(b"sound")
    outside = tmp_path / "outside"
    outside.write_text("of another program")
    outside.chmod(0o644)
    (state_dir / "artifacts" / "link").symlink_to(outside)
    for path in (state_dir, *state_dir.rglob("*")):
        if not path.is_symlink() and path.name != "token":
            path.chmod(0o777 if path.is_dir() else 0o666)
    assert len(open_to_others(state_dir)) > 4
    with ServerProcess(state_dir, loads_pack=False):
        assert open_to_others(state_dir) == {}
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644


def test_a_folder_of_other_programs_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"picture")
    for path in (tmp_path, tmp_path / "photo.jpg"):
        path.chmod(0o755)
    tighten_state_folder(tmp_path)
    assert len(open_to_others(tmp_path)) == 2


def test_a_private_text_is_never_readable_by_others(tmp_path: Path, no_umask: None) -> None:
    """Not even for an instant: strace would show the mode of each file that is created."""
    write_private_text(tmp_path / "folder" / "token", "secret")
    assert open_to_others(tmp_path / "folder") == {}
    assert (tmp_path / "folder" / "token").read_text() == "secret"
    strace = shutil.which("strace")
    if strace is None:
        return
    code = "import sys; from pathlib import Path; from rewas_server.files.private_files import write_private_text; "
    code += "write_private_text(Path(sys.argv[1]), 'secret')"
    command = [strace, "-f", "-e", "trace=openat,open,creat,chmod,fchmod", sys.executable, "-c", code]
    traced = subprocess.run([*command, str(tmp_path / "traced")], capture_output=True, text=True, check=True)
    created = [line for line in traced.stderr.splitlines() if "O_CREAT" in line and "traced" in line]
    assert len(created) == 1
    assert ", 0600)" in created[0]
