"""The description of a clip as work of the contract: what it returns, which models do it, and what it refuses."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import opentimelineio as otio
import pytest
from PIL import Image
from tiny_language_models import write_audio_to_text_model, write_image_to_text_model, write_language_model

import rewas_engine
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_engine import Cancelled, ReWaS
from rewas_engine.runtime.progress import Progress
from rewas_engine.training.clip_series import encode_clip
from rewas_server.work import description
from rewas_server.work.context import DescriptionModels, WorkContext
from rewas_server.work.dispatch import run_work
from rewas_server.work.requests import DescriptionRequest, parse_request

SHIPPED = Path(rewas_engine.__file__).parent / "data" / "packs" / "starter"
RATE = 25
NO_MODELS = DescriptionModels()
Describe = Callable[..., rewas_pb2.DescriptionResult]


@pytest.fixture(scope="module")
def model() -> ReWaS:
    return ReWaS.from_pretrained(SHIPPED, device="cpu")


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with moving.mp4 (noise that can be heard), mute.mp4, still.png and broken.mp4."""
    folder = tmp_path_factory.mktemp("media")
    rng = np.random.default_rng(0)
    frames = np.zeros((2 * RATE, 64, 64, 3), np.uint8)
    for number, frame in enumerate(frames):
        row = abs(number % 24 - 12) * 4
        frame[row : row + 12, 26:38] = 255
    encode_clip(folder / "moving.mp4", frames, Fraction(RATE), 23, rng.normal(0, 0.1, 32_000).astype(np.float32))
    encode_clip(folder / "mute.mp4", frames, Fraction(RATE), 23, np.zeros(32_000, np.float32))
    Image.fromarray(frames[3]).save(folder / "still.png")
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


def work_for(path: Path, start: int | None = None, frames: int = RATE) -> rewas_pb2.SubmitJobRequest:
    shown = None
    if start is not None:
        shown = otio.opentime.TimeRange(
            otio.opentime.RationalTime(start, RATE), otio.opentime.RationalTime(frames, RATE)
        )
    clip = otio.schema.Clip("shot", otio.schema.ExternalReference(str(path)), shown)
    work = rewas_pb2.DescriptionWork(clip_otio_json=clip.to_json_string())
    return rewas_pb2.SubmitJobRequest(idempotency_key="key", description=work)


@pytest.fixture
def describe(model: ReWaS, tmp_path: Path) -> Describe:
    """Does the work on a file, as the worker of a server does it."""

    def run(
        path: Path,
        start: int | None = None,
        models: DescriptionModels = NO_MODELS,
        cancel: threading.Event | None = None,
        reports: list[Progress] | None = None,
    ) -> rewas_pb2.DescriptionResult:
        context = WorkContext(lambda name: model, "starter", tmp_path, lambda url, uploads: Path(url), models)
        request = parse_request(work_for(path, start))
        assert isinstance(request, DescriptionRequest)
        kept: list[Progress] = [] if reports is None else reports
        result = run_work(request, context, on_progress=kept.append, cancel=cancel or threading.Event())
        assert isinstance(result, rewas_pb2.DescriptionResult)
        return result

    return run


def test_a_clip_is_described_in_its_range_with_prompts_and_scores(describe: Describe, media: Path) -> None:
    reports: list[Progress] = []
    found = describe(media / "moving.mp4", 10, reports=reports)
    assert (found.clip.duration_s.numerator, found.clip.duration_s.denominator) == (1, 1)
    assert found.picture.startswith("Perhaps in the picture: ")
    assert found.sound.startswith("Perhaps in the sound: ")
    assert found.description == f"{found.picture} {found.sound}"
    assert found.suggestions
    assert all(each.HasField("score") and 0 <= each.score <= 1 for each in found.suggestions)
    assert len({each.prompt for each in found.suggestions}) == len(found.suggestions)
    assert found.suggestions[0].origin == rewas_pb2.PROMPT_ORIGIN_PICTURE
    assert {each.origin for each in found.suggestions} == {
        rewas_pb2.PROMPT_ORIGIN_PICTURE,
        rewas_pb2.PROMPT_ORIGIN_SOUND,
    }
    assert (found.pack.name, found.language_model) == ("starter", "templates")
    assert "starter" in found.sound_model
    fractions = [report.fraction for report in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert {report.stage for report in reports} == {"describe"}


def test_clips_without_sound_and_stills_are_described_by_their_picture(describe: Describe, media: Path) -> None:
    mute = describe(media / "mute.mp4")
    assert (mute.sound, list(mute.notes)) == ("", ["The sound is silent, or nothing known matches it."])
    still = describe(media / "still.png", 0)
    assert still.sound == ""
    assert "The clip has no sound." in still.notes
    assert not any(each.origin == rewas_pb2.PROMPT_ORIGIN_SOUND for each in (*mute.suggestions, *still.suggestions))


@pytest.mark.parametrize(("name", "start"), [("broken.mp4", None), ("moving.mp4", 90), ("missing.mp4", None)])
def test_what_cannot_be_read_fails_with_the_name_of_the_clip(
    describe: Describe, media: Path, name: str, start: int | None
) -> None:
    with pytest.raises(ProblemError) as raised:
        describe(media / name, start)
    assert raised.value.kind is ProblemKind.MEDIA
    assert "shot" in raised.value.what
    assert raised.value.remedy


def test_cancelled_work_stops_before_the_next_step(describe: Describe, media: Path) -> None:
    cancel, reports = threading.Event(), []

    class Stopping(list[Progress]):
        def append(self, report: Progress) -> None:
            super().append(report)
            if report.step == 1:
                cancel.set()

    reports = Stopping()
    with pytest.raises(Cancelled):
        describe(media / "moving.mp4", cancel=cancel, reports=reports)
    assert max(report.step for report in reports) == 1


def test_models_of_the_server_describe_and_their_prompts_have_no_score(
    describe: Describe, media: Path, tmp_path: Path
) -> None:
    models = DescriptionModels(
        write_image_to_text_model(tmp_path / "blip"),
        write_audio_to_text_model(tmp_path / "whisper"),
        write_language_model(tmp_path / "llm"),
    )
    found = describe(media / "moving.mp4", models=models)
    assert (found.picture_model, found.sound_model, found.language_model) == ("blip", "whisper", "llm")
    assert not any(each.HasField("score") for each in found.suggestions)
    # They are loaded once for all jobs.
    shutil.rmtree(tmp_path / "blip")
    assert describe(media / "moving.mp4", models=models).picture == found.picture


def test_loading_stops_between_models(describe: Describe, media: Path, tmp_path: Path) -> None:
    cancel = threading.Event()

    class Stopping(list[Progress]):
        def append(self, report: Progress) -> None:
            super().append(report)
            cancel.set()

    # The second folder would fail: it is not read any more.
    models = DescriptionModels(write_image_to_text_model(tmp_path / "blip"), tmp_path / "missing")
    reports = Stopping()
    with pytest.raises(Cancelled):
        describe(media / "moving.mp4", models=models, cancel=cancel, reports=reports)
    assert [report.stage for report in reports] == ["load"]


def test_a_job_that_waits_for_loading_can_be_cancelled(describe: Describe, media: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    with description._loading, pytest.raises(Cancelled):
        describe(media / "moving.mp4", cancel=cancel)


def test_a_folder_without_a_model_fails_the_work(describe: Describe, media: Path, tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="contains no image-to-text model") as raised:
        describe(media / "moving.mp4", models=DescriptionModels(picture=tmp_path))
    assert raised.value.kind is ProblemKind.PACK
