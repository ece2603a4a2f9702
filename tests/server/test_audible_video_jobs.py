"""Videos with sound from a sentence, through a real server, a real worker and a real, hardly trained model."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from server_process import ServerProcess

from rewas_api.client import RewasClient
from rewas_api.errors import JobCancelled, JobFailed, ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_cli.app import run
from rewas_server.work.requests import AudibleVideoRequest, parse_request

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "audible_video"))

from tiny_audible_video import train_tiny_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny_model(tmp_path_factory.mktemp("tavd"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("state"), settings={"video_model": str(model)}) as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[RewasClient]:
    with server.client() as client:
        yield client


def test_a_sentence_becomes_a_video(client: RewasClient, tmp_path: Path) -> None:
    assert client.get_server_info().makes_audible_video
    work = rewas_pb2.AudibleVideoWork(
        prompt=" rain on the roof ", seed=3, num_inference_steps=3, sound_lag=1.0, height_pixels=65
    )
    snapshots: list[rewas_pb2.Job] = []
    submitted = client.submit(work)
    assert submitted.name == "rain on the roof"
    job = client.wait(submitted.id, on_snapshot=snapshots.append)
    video = job.audible_video
    fetched = client.fetch_artifact(job.id, video.file, tmp_path / "shot.mp4")
    with av.open(str(fetched)) as container:
        picture = container.streams.video[0]
        assert (picture.width, picture.height) == (video.width_pixels, video.height_pixels) == (66, 66)
        assert picture.average_rate == Fraction(video.frame_rate.numerator, video.frame_rate.denominator)
        assert sum(1 for _ in container.decode(picture)) == video.frames == 4
        assert len(container.streams.audio) == 1
    assert Fraction(video.duration_s.numerator, video.duration_s.denominator) == Fraction(4 * 4, 25)
    assert (video.prompt, video.seed, list(video.kinds)) == ("rain on the roof", 3, ["hammer", "rain"])
    # The sound is wholly behind the video, so there are twice as many steps.
    assert {snapshot.total_steps for snapshot in snapshots if snapshot.stage == rewas_pb2.STAGE_SAMPLE} == {6}
    work.frame_rate.numerator, work.frame_rate.denominator = 24000, 1001
    faster = client.wait(client.submit(work).id).audible_video
    with av.open(str(client.fetch_artifact(job.id, video.file, tmp_path / "again.mp4"))) as container:
        assert container.streams.video[0].average_rate == Fraction(25, 4)
    assert (faster.frames, faster.frame_rate.numerator, faster.frame_rate.denominator) == (15, 24000, 1001)
    work.ClearField("frame_rate")
    again = client.wait(client.submit(work).id).audible_video
    assert again.file.sha256 == video.file.sha256
    other = client.wait(client.submit(rewas_pb2.AudibleVideoWork(prompt="rain", num_inference_steps=1)).id)
    assert other.audible_video.seed >= 0
    assert other.audible_video.height_pixels == 256
    assert next(each for each in client.list_jobs() if each.id == job.id).WhichOneof("result") is None


def test_a_video_can_be_cancelled(client: RewasClient) -> None:
    job = client.submit(rewas_pb2.AudibleVideoWork(prompt="rain", num_inference_steps=1000, sound_lag=1.0))
    for snapshot in client.watch(job.id):
        if snapshot.stage == rewas_pb2.STAGE_SAMPLE:
            client.cancel(job.id)
            break
    with pytest.raises(JobCancelled):
        client.wait(job.id)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompt": " "}, "The video: The prompt is empty"),
        ({"prompt": "rain " * 500}, "2500 characters"),
        ({"prompt": "rain", "num_inference_steps": 0}, "num_inference_steps is 0"),
        ({"prompt": "rain", "guidance_scale": float("nan")}, "guidance_scale"),
        ({"prompt": "rain", "sound_lag": 1.5}, "sound_lag"),
        ({"prompt": "rain", "height_pixels": 2000}, "height_pixels"),
        ({"prompt": "rain", "seed": -1}, "seed"),
        ({"prompt": "rain", "frame_rate": rewas_pb2.Rational(numerator=1000, denominator=1)}, "frame_rate is 1000"),
        ({"prompt": "rain", "frame_rate": rewas_pb2.Rational(numerator=1)}, "frame_rate"),
    ],
)
def test_impossible_videos_are_refused(client: RewasClient, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ProblemError, match=message) as raised:
        client.submit(rewas_pb2.AudibleVideoWork(**settings))
    assert raised.value.kind is ProblemKind.SETTINGS


def test_settings_have_defaults() -> None:
    request = parse_request(rewas_pb2.SubmitJobRequest(audible_video=rewas_pb2.AudibleVideoWork(prompt="rain")))
    assert request == AudibleVideoRequest("rain", None, 50, 3.0, None, 256)


def test_a_server_without_a_model_refuses_at_once(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, loads_pack=False) as plain, plain.client() as client:
        assert not client.get_server_info().makes_audible_video
        with pytest.raises(ProblemError, match="no model for audible video"):
            client.submit(rewas_pb2.AudibleVideoWork(prompt="rain"))


def test_a_damaged_model_fails_the_job(tmp_path: Path, model: Path) -> None:
    (tmp_path / "model").mkdir()
    settings = {"video_model": str(tmp_path / "model")}
    with (
        ServerProcess(tmp_path / "state", settings=settings) as server,
        server.client() as client,
        pytest.raises(JobFailed, match="cannot be read"),
    ):
        client.wait(client.submit(rewas_pb2.AudibleVideoWork(prompt="rain")).id)


def test_the_command_uses_a_server(server: ServerProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "shot.mp4"
    command = ["dream", "a hammer hits a nail", "--server", server.address, "--steps", "2", "--json"]
    assert run([*command, "--output", str(output)]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 4
    assert list(tmp_path.iterdir()) == [output]
