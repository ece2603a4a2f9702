"""Hostile media through a real server and worker: it fails its own job alone, soon, and with a sentence."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import opentimelineio as otio
import pytest
from server_process import ServerProcess, children_of, is_running, wait_until_ended
from sliding_square import FRAME_RATE, write_video

from rewas_api.client import FINAL_STATES, RewasClient
from rewas_api.errors import JobFailed, ProblemKind
from rewas_api.v1 import rewas_pb2

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]

MAX_PIXELS = 20_000_000
"""The limit of the server, which is not the default."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from rewas_engine.recipes.untrained_starter import write_untrained_pack

    folder = tmp_path_factory.mktemp("hostile")
    (folder / "media").mkdir()
    (folder / "private").mkdir()
    write_video(folder / "media" / "shot.mp4")
    write_video(folder / "private" / "secret.mp4")
    write_untrained_pack(folder / "packs" / "tiny", seed=0)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    started = ServerProcess(
        folder / "state",
        [folder / "media"],
        packs_dir=folder / "packs",
        default_pack="tiny",
        cancel_grace_s=30.0,
        settings={"decoding": {"pixels": MAX_PIXELS}},
    )
    with started as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[RewasClient]:
    with server.client() as client:
        yield client


def energy_of(path: Path | str, uploads: dict[str, str] | None = None) -> rewas_pb2.EnergyWork:
    rate = float(FRAME_RATE)
    shown = otio.opentime.TimeRange(otio.opentime.RationalTime(0, rate), otio.opentime.RationalTime(10, rate))
    clip = otio.schema.Clip("shot 7", otio.schema.ExternalReference(str(path)), shown)
    return rewas_pb2.EnergyWork(clip_otio_json=clip.to_json_string(), uploaded_media=uploads or {})


def failure(client: RewasClient, work: rewas_pb2.EnergyWork) -> str:
    job = client.submit(work)
    with pytest.raises(JobFailed) as raised:
        client.wait(job.id)
    assert raised.value.kind is ProblemKind.MEDIA
    return raised.value.what


def playlists(folder: Path) -> dict[str, str]:
    secret = folder / "private" / "secret.mp4"
    return {
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{secret}\n#EXT-X-ENDLIST\n",
        "growing.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{secret}.missing\n",
        "list.ffconcat": f"ffconcat version 1.0\nfile '{secret}'\n",
        "disguised.mp4": f"ffconcat version 1.0\nfile '{secret}'\n",
    }


@pytest.mark.parametrize("name", ["list.m3u8", "growing.m3u8", "list.ffconcat", "disguised.mp4"])
def test_a_playlist_in_a_readable_folder_reads_no_other_file(name: str, client: RewasClient, folder: Path) -> None:
    path = folder / "media" / name
    path.write_text(playlists(folder)[name], encoding="utf-8")
    assert "is a playlist" in failure(client, energy_of(path))


def test_a_failed_job_does_not_name_the_target_of_a_link(client: RewasClient, folder: Path) -> None:
    target = folder / "media" / "inner" / "target-of-the-link.mp4"
    target.parent.mkdir()
    target.write_text("not a video")
    link = folder / "media" / "link.mp4"
    link.symlink_to(target)
    what = failure(client, energy_of(link))
    assert "link.mp4" in what
    assert "target" not in what
    assert "inner" not in what


def test_an_uploaded_playlist_reads_no_other_file(client: RewasClient, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "list.mp4"
    path.write_text(playlists(folder)["list.ffconcat"], encoding="utf-8")
    url = "file:///another/machine/list.mp4"
    assert "is a playlist" in failure(client, energy_of(url, {url: client.upload_media(path)}))


def test_a_small_file_with_huge_frames_is_refused(client: RewasClient, folder: Path) -> None:
    frame = b"!\xf9\x04\0\x01\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0"
    head = b"GIF89a" + struct.pack("<HH", 16_000, 16_000) + b"\x80\0\0\0\0\0\xff\xff\xff"
    path = folder / "media" / "huge.gif"
    path.write_bytes(head + frame * 200 + b";")
    assert f"has frames of 16000 x 16000 pixels; the limit is {MAX_PIXELS}" in failure(client, energy_of(path))


def stopped_decoders(server: ServerProcess, client: RewasClient, folder: Path) -> tuple[int, list[int]]:
    """The worker, and its decoders, which are stopped and will not answer."""
    client.wait(client.submit(energy_of(folder / "media" / "shot.mp4")).id)
    (worker,) = server.worker_pids()
    decoders = children_of(worker)
    assert decoders
    for pid in decoders:
        os.kill(pid, signal.SIGSTOP)
    return worker, decoders


def hanging_job(server: ServerProcess, client: RewasClient, folder: Path) -> tuple[int, list[int], rewas_pb2.Job]:
    """The worker, its stopped decoders, and a job that waits for one of them."""
    worker, decoders = stopped_decoders(server, client, folder)
    while True:
        job = client.submit(energy_of(folder / "media" / "shot.mp4"))
        if is_called(decoders, lambda job=job: client.get_job(job.id).state in FINAL_STATES):
            return worker, decoders, job
        # The worker has used a decoder that it had not started yet when the others were stopped.
        new = [pid for pid in children_of(worker) if pid not in decoders]
        for pid in new:
            os.kill(pid, signal.SIGSTOP)
        decoders += new


def is_called(decoders: list[int], has_ended: Callable[[], bool]) -> bool:
    """Wait until the worker has asked one of the stopped decoders, or until `has_ended`. Returns whether it has."""
    inputs = [os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NONBLOCK) for pid in decoders]
    deadline_s = time.monotonic() + 50
    try:
        while not any(struct.unpack("i", fcntl.ioctl(file, termios.FIONREAD, bytes(4)))[0] for file in inputs):
            if has_ended():
                return False
            assert time.monotonic() < deadline_s
            threading.Event().wait(0.05)
        return True
    finally:
        for file in inputs:
            os.close(file)


def test_a_decoder_that_dies_fails_its_job_and_not_the_worker(
    server: ServerProcess, client: RewasClient, folder: Path
) -> None:
    worker, decoders, job = hanging_job(server, client, folder)
    for pid in decoders:
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(JobFailed, match=r"could not be decoded within the limits on memory and time\.") as raised:
        client.wait(job.id)
    assert raised.value.kind is ProblemKind.MEDIA
    assert client.wait(client.submit(energy_of(folder / "media" / "shot.mp4")).id).attempt == 1
    assert server.worker_pids() == [worker]


def test_a_job_whose_decoder_hangs_can_be_cancelled(server: ServerProcess, client: RewasClient, folder: Path) -> None:
    worker, decoders, job = hanging_job(server, client, folder)
    client.cancel(job.id)
    states = [snapshot.state for snapshot in client.watch(job.id)]
    assert states[-1] == rewas_pb2.JOB_STATE_CANCELLED
    assert any(not is_running(pid) for pid in decoders)
    for pid in filter(is_running, decoders):
        os.kill(pid, signal.SIGCONT)
    client.wait(client.submit(energy_of(folder / "media" / "shot.mp4")).id)
    assert server.worker_pids() == [worker]


def test_decoders_end_with_a_worker_that_is_killed(server: ServerProcess, client: RewasClient, folder: Path) -> None:
    worker, decoders = stopped_decoders(server, client, folder)
    os.kill(worker, signal.SIGKILL)
    assert all(wait_until_ended(pid) for pid in decoders)
