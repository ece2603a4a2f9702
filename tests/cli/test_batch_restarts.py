"""`rewas batch --server` while its server or its worker is killed, and started again at the same or another address."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import opentimelineio as otio
import pytest
from rewas_command import command, environment, write_clip

from rewas_api.client import RewasClient
from rewas_api.v1 import rewas_pb2

pytestmark = pytest.mark.slow
RATE = 24
CLIPS = 4


class Server:
    """`rewas serve` with a state folder. It can be killed and started again."""

    def __init__(self, home: Path, packs: Path, media: Path) -> None:
        self.home, self._packs, self._media = home, packs, media
        self.address = ""
        self.start()

    def start(self, port: str = "0") -> None:
        self._process = subprocess.Popen(
            command("serve", "--port", port, "--allow-root", self._media, "--state-dir", self.home / "state"),
            stderr=subprocess.PIPE,
            text=True,
            env=environment(self._packs, self.home),
        )
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if "listens on" in line:
                self.address = line.split("listens on ")[1].split(". ")[0]
                break
        else:
            raise AssertionError("The server exited before it was listening.")
        threading.Thread(target=self._process.stderr.read, daemon=True).start()  # A full pipe would stop the server.

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def kill_worker(self) -> None:
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
                is_worker = "rewas_server.worker.run" in (stat.parent / "cmdline").read_text()
            except OSError:
                continue
            if parent == self._process.pid and is_worker:
                os.kill(int(stat.parent.name), signal.SIGKILL)


@pytest.fixture
def server(tmp_path: Path, packs: Path) -> Iterator[Server]:
    (tmp_path / "media").mkdir()
    started = Server(tmp_path / "home", packs, tmp_path / "media")
    yield started
    started.kill()


@pytest.fixture
def start_batch(tmp_path: Path, packs: Path, server: Server) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start the command on a timeline of four clips."""
    ball = write_clip(tmp_path / "media" / "ball.mp4", frames=96, rate=Fraction(RATE))
    track = otio.schema.Track(name="V1", kind=otio.schema.TrackKind.Video)
    for number in range(CLIPS):
        span = otio.opentime.TimeRange(
            otio.opentime.RationalTime(number * 6, RATE), otio.opentime.RationalTime(6, RATE)
        )
        reference = otio.schema.ExternalReference(str(ball))
        track.append(otio.schema.Clip(f"shot {number}", reference, span, {"rewas": {"prompt": f"door {number}"}}))
    timeline = otio.schema.Timeline("reel")
    timeline.tracks.append(track)
    otio.adapters.write_to_file(timeline, str(tmp_path / "reel.otio"))
    started = []

    def start() -> subprocess.Popen[str]:
        arguments = [
            "batch", tmp_path / "reel.otio", "-o", tmp_path / "out.otio", "--stems", tmp_path / "stems", "--steps", 4,
            "--json", "--server", server.address,
        ]  # fmt: skip
        process = subprocess.Popen(
            command(*arguments), env=environment(packs, server.home), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for_clip(process: subprocess.Popen[str], number: int) -> None:
    """Read the progress until a clip is in progress, so that those before it have their sound."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("Clip ") and int(line.split()[1]) >= number:
            return
    raise AssertionError("The command ended.")


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    report = json.loads(output)
    assert isinstance(report, dict)
    return report


def timeline_jobs(server: Server) -> list[rewas_pb2.Job]:
    with RewasClient(server.address) as client:
        return [job for job in client.list_jobs() if job.child_count]


def test_a_batch_goes_on_when_worker_and_server_are_killed(
    start_batch: Callable[[], subprocess.Popen[str]], server: Server, tmp_path: Path
) -> None:
    process = start_batch()
    wait_for_clip(process, 2)
    server.kill_worker()
    wait_for_clip(process, 3)
    server.kill()
    server.start(server.address.rpartition(":")[2])
    report = finish(process)
    assert [(clip["origin"], clip["problem"]) for clip in report["clips"]] == [("generated", None)] * CLIPS
    assert (tmp_path / "out.otio").exists()
    assert len(timeline_jobs(server)) == 1


def test_a_job_is_found_again_at_another_address(
    start_batch: Callable[[], subprocess.Popen[str]], server: Server
) -> None:
    process = start_batch()
    wait_for_clip(process, 2)
    process.kill()
    process.communicate()
    server.kill()
    earlier = server.address
    server.start()
    assert server.address != earlier
    report = finish(start_batch())
    assert {clip["origin"] for clip in report["clips"]} <= {"kept", "generated"}
    assert len(timeline_jobs(server)) == 1


def test_without_its_server_a_batch_ends_with_a_sentence(
    start_batch: Callable[[], subprocess.Popen[str]], server: Server
) -> None:
    process = start_batch()
    wait_for_clip(process, 2)
    server.kill()
    assert process.stderr is not None
    for line in process.stderr:
        if "Press Ctrl-C to stop waiting" in line:
            break
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate()
    assert process.returncode == 130
    assert json.loads(output)["error"]["what"].startswith("Stopped on request. ")
    server.start()
    assert {clip["origin"] for clip in finish(start_batch())["clips"]} <= {"kept", "generated"}
