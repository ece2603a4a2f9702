"""Work cancelled at every stage: it ends at once and leaves no partial files."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import opentimelineio as otio
import pytest
import soundfile

import rewas_engine
from rewas_api.v1 import rewas_pb2
from rewas_engine import Cancelled, Execution, ReWaS, flat_texture
from rewas_engine.runtime.progress import Progress
from rewas_server.work.context import WorkContext
from rewas_server.work.dispatch import run_work
from rewas_server.work.requests import parse_request
from rewas_server.work.translation import texture_message

SHIPPED = Path(rewas_engine.__file__).parent / "data" / "packs" / "starter"
TO_THE_END = ("sample", "vocode", "deliver")
Loaded = Callable[[str], ReWaS]


@pytest.fixture(scope="module")
def loaded(packs: Path) -> Loaded:
    """Loads packs by name: "tiny", or the shipped "starter", which supports the conflict check and texture."""
    models: dict[str, ReWaS] = {}

    def load(name: str) -> ReWaS:
        if name not in models:
            models[name] = ReWaS.from_pretrained(
                packs / "starter" if name == "tiny" else SHIPPED,
                device="cpu",
                execution=Execution(precision="float32"),  # quick on every processor
            )
        return models[name]

    return load


def context_of(kind: str, loaded: Loaded, folder: Path) -> WorkContext:
    model = loaded("starter" if kind in ("conflict", "checked sound", "textured sound") else "tiny")
    # Video that was read before is not read again, so there would be fewer reports.
    model.clear_cache()
    return WorkContext(lambda name: model, "tiny", folder / "stems", lambda url, uploaded: Path(url))


@pytest.fixture(scope="module")
def complete_reports(
    loaded: Loaded, media: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], list[Progress]]:
    """Returns the reports of work that is not cancelled; each kind is done once."""

    @functools.cache
    def do(kind: str) -> list[Progress]:
        reports: list[Progress] = []
        context = context_of(kind, loaded, tmp_path_factory.mktemp("complete"))
        run_work(parse_request(work(kind, media)), context, on_progress=reports.append, cancel=threading.Event())
        return reports

    return do


def clip_json(media: Path) -> str:
    reference = otio.schema.ExternalReference(target_url=str(media / "ball.mp4"))
    return str(otio.schema.Clip(name="ball", media_reference=reference).to_json_string())


def _checked(work: rewas_pb2.SoundWork, media: Path) -> None:
    work.settings.conflict_policy = rewas_pb2.CONFLICT_POLICY_WARN


def _edited(work: rewas_pb2.SoundWork, media: Path) -> None:
    work.energy.edits.append("smooth 0.2")


def _again(work: rewas_pb2.SoundWork, media: Path) -> None:
    path = media / "earlier.wav"
    soundfile.write(path, np.random.default_rng(1).uniform(-0.1, 0.1, 32_000), 16_000)
    start_s, end_s = rewas_pb2.Rational(numerator=1, denominator=2), rewas_pb2.Rational(numerator=3, denominator=2)
    work.regenerate.CopyFrom(rewas_pb2.Regeneration(sound_url=str(path), start_s=start_s, end_s=end_s))


def _looped(work: rewas_pb2.SoundWork, media: Path) -> None:
    work.settings.loop = True


def _textured(work: rewas_pb2.SoundWork, media: Path) -> None:
    work.texture.CopyFrom(texture_message(flat_texture(duration=48 * 1001 / 24000, tilt_nats=2)))


ONE_SOUND = {
    "checked sound": _checked,
    "edited sound": _edited,
    "sound again": _again,
    "loop": _looped,
    "textured sound": _textured,
}


def work(kind: str, media: Path) -> rewas_pb2.SubmitJobRequest:
    settings = rewas_pb2.SoundSettings(
        prompt="rain",
        takes=2,
        num_inference_steps=2,
        seed=1,
        new_sound_at_cuts=True,
        layers=[{"name": "wind", "prompt": "wind"}],
    )
    if kind == "sound":
        sound = rewas_pb2.SoundWork(clip_otio_json=clip_json(media), settings=settings)
        return rewas_pb2.SubmitJobRequest(idempotency_key="a", sound=sound)
    if kind in ONE_SOUND:
        of_one = rewas_pb2.SoundSettings(prompt="rain", num_inference_steps=2, seed=1)
        sound = rewas_pb2.SoundWork(clip_otio_json=clip_json(media), settings=of_one)
        ONE_SOUND[kind](sound, media)
        return rewas_pb2.SubmitJobRequest(idempotency_key="a", sound=sound)
    if kind == "conflict":
        conflict = rewas_pb2.ConflictWork(clip_otio_json=clip_json(media), prompt="rain")
        return rewas_pb2.SubmitJobRequest(idempotency_key="a", conflict=conflict)
    if kind == "texture of sound":
        energy_work = rewas_pb2.EnergyWork(
            clip_otio_json=clip_json(media), source=rewas_pb2.ENERGY_SOURCE_AUDIO, measure_texture=True
        )
        return rewas_pb2.SubmitJobRequest(idempotency_key="a", energy=energy_work)
    assert kind == "energy"
    energy = rewas_pb2.EnergyWork(clip_otio_json=clip_json(media), find_cuts=True)
    return rewas_pb2.SubmitJobRequest(idempotency_key="a", energy=energy)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("kind", "stage"),
    [
        ("energy", "decode"),
        ("energy", "energy"),
        *(("sound", stage) for stage in ("decode", "energy", "sample", "vocode", "deliver")),
        ("texture of sound", "decode"),
        ("texture of sound", "energy"),
        ("conflict", "decode"),
        ("conflict", "conflict"),
        ("checked sound", "conflict"),
        ("edited sound", "energy"),
        *(("sound again", stage) for stage in ("energy", *TO_THE_END)),
        *(("loop", stage) for stage in TO_THE_END),
        *(("textured sound", stage) for stage in ("energy", *TO_THE_END)),
    ],
)
def test_cancelling_at_any_stage_leaves_no_files(
    loaded: Loaded, complete_reports: Callable[[str], list[Progress]],
    media: Path, tmp_path: Path, kind: str, stage: str, last: bool,
) -> None:  # fmt: skip
    """last: whether to cancel at the last report of the stage instead of the first."""
    of_stage = [number for number, progress in enumerate(complete_reports(kind)) if progress.stage == stage]
    received: list[Progress] = []
    stop_at, cancel = of_stage[-1 if last else 0], threading.Event()

    def listen(progress: Progress) -> None:
        assert not cancel.is_set(), "the work continued after it was cancelled"
        received.append(progress)
        if len(received) == stop_at + 1:
            cancel.set()

    context = context_of(kind, loaded, tmp_path / "c" / "d")
    with pytest.raises(Cancelled):
        run_work(parse_request(work(kind, media)), context, on_progress=listen, cancel=cancel)
    assert received[-1].stage == stage
    assert list(tmp_path.iterdir()) == []
