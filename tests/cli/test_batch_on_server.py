"""`rewas batch --server`: the same sounds as in the own process, even if the client or its job is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import opentimelineio as otio
import pytest
import soundfile
from rewas_command import Rewas, command, environment, write_clip

from rewas_api.client import FINAL_STATES, RewasClient
from rewas_api.v1 import rewas_pb2

RATE = 24


def write_timeline(path: Path, media: Path, count: int, frames: int = 6) -> Path:
    """A timeline of `count` shots of a ball, each with its own prompt."""
    track = otio.schema.Track(name="V1", kind=otio.schema.TrackKind.Video)
    for number in range(count):
        span = otio.opentime.TimeRange(
            otio.opentime.RationalTime(number * frames, RATE), otio.opentime.RationalTime(frames, RATE)
        )
        reference = otio.schema.ExternalReference(str(media))
        track.append(otio.schema.Clip(f"shot {number}", reference, span, {"rewas": {"prompt": f"door {number}"}}))
    timeline = otio.schema.Timeline("reel")
    timeline.tracks.append(track)
    otio.adapters.write_to_file(timeline, str(path))
    return path


@pytest.fixture(scope="module")
def ball(media: Path) -> Path:
    """A clip in the folder that the server may read."""
    return write_clip(media / "four seconds.mp4", frames=96, rate=Fraction(RATE))


@pytest.fixture
def arguments(tmp_path: Path, ball: Path, server: str) -> list[object]:
    timeline = write_timeline(tmp_path / "reel.otio", ball, 3)
    return [
        "batch", timeline, "-o", tmp_path / "out.otio", "--stems", tmp_path / "stems", "--steps", 1, "--json",
        "--server", server,
    ]  # fmt: skip


@pytest.fixture
def client(server: str) -> Iterator[RewasClient]:
    with RewasClient(server) as opened:
        yield opened


def origins(report: dict[str, Any]) -> list[str]:
    return [clip["origin"] for clip in report["clips"]]


def timeline_jobs(client: RewasClient) -> list[rewas_pb2.Job]:
    return [job for job in client.list_jobs() if job.child_count]


def test_a_sound_is_generated_once_in_this_process_or_on_the_server_and_is_the_same(
    rewas: Rewas, arguments: list[object], tmp_path: Path
) -> None:
    remote = rewas(*arguments)
    assert remote.code == 0, remote.errors
    assert origins(remote.json()) == ["generated"] * 3
    here = rewas(*arguments[:-2])
    assert origins(here.json()) == ["kept"] * 3
    assert here.json()["clips"][0]["takes"] == remote.json()["clips"][0]["takes"]
    elsewhere = [tmp_path / "other" if each == tmp_path / "stems" else each for each in arguments[:-2]]
    again = rewas(*elsewhere)
    assert origins(again.json()) == ["generated"] * 3
    for first, second in zip(remote.json()["clips"], again.json()["clips"], strict=True):
        paths = [clip["takes"][0]["stems"]["primary"]["path"] for clip in (first, second)]
        sounds = [soundfile.read(path)[0] for path in paths]
        assert (sounds[0] == sounds[1]).all()


@pytest.mark.parametrize("has_ended", [False, True])
def test_a_detached_batch_continues_and_the_same_command_fetches_it(
    rewas: Rewas, arguments: list[object], client: RewasClient, tmp_path: Path, has_ended: bool
) -> None:
    # Another seed makes it another job.
    arguments = [*arguments, "--seed", str(7 + has_ended)]
    before = len(timeline_jobs(client))
    detached = rewas(*arguments, "--detach")
    assert detached.code == 0, detached.errors
    report = detached.json()
    assert report["clips"] == 3
    assert not (tmp_path / "out.otio").exists()
    if has_ended:
        client.wait(report["job"])
    # The key of the job is derived from its content, so the command finds it again even without a record.
    (tmp_path / "stems" / ".rewas" / "record.sqlite").unlink()
    fetched = rewas(*arguments)
    assert fetched.code == 0, fetched.errors
    assert origins(fetched.json()) == ["generated"] * 3
    jobs = timeline_jobs(client)
    assert len(jobs) == before + 1
    assert report["job"] in {job.id for job in jobs}


def test_a_client_that_is_killed_finds_its_job_again(
    rewas: Rewas, arguments: list[object], client: RewasClient, packs: Path, tmp_path: Path, ball: Path
) -> None:
    write_timeline(tmp_path / "reel.otio", ball, 4, frames=8)
    known = {job.id for job in timeline_jobs(client)}
    process = subprocess.Popen(
        command(*arguments), env=environment(packs, tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        # The first line of progress shows that the server has the job.
        assert b"Clip 1 of 4" in process.stderr.readline()
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    (job,) = (job for job in timeline_jobs(client) if job.id not in known)
    result = rewas(*arguments)
    assert result.code == 0, result.errors
    assert {*origins(result.json())} <= {"generated", "kept"}
    assert [each.id for each in timeline_jobs(client) if each.id not in known] == [job.id]
    assert client.get_job(job.id).state == rewas_pb2.JOB_STATE_SUCCEEDED


def test_a_job_that_was_cancelled_is_continued(rewas: Rewas, arguments: list[object], client: RewasClient) -> None:
    known = {job.id for job in timeline_jobs(client)}
    job_id = rewas(*arguments, "--seed", 5, "--detach").json()["job"]
    client.cancel(job_id)
    for job in client.watch(job_id):
        if job.state in FINAL_STATES:
            break
    result = rewas(*arguments, "--seed", 5)
    assert result.code == 0, result.errors
    assert [clip["takes"][0]["seed"] for clip in result.json()["clips"]] == [5] * 3
    assert {job.id for job in timeline_jobs(client)} - known == {job_id}
