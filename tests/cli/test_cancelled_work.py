"""Work that is cancelled, at every stage of it: it ends at once, and nothing half-written remains."""

from __future__ import annotations

import threading
from pathlib import Path

import opentimelineio as otio
import pytest

from rewas_api.v1 import rewas_pb2
from rewas_engine import Cancelled, ReWaS
from rewas_server.tasks import WorkContext, WorkProgress, run_work

STAGES = {name: number for name, number in rewas_pb2.Stage.items() if number}


@pytest.fixture(scope="module")
def model(packs: Path) -> ReWaS:
    return ReWaS.from_pretrained(packs / "starter", device="cpu")


def clip_json(media: Path) -> str:
    reference = otio.schema.ExternalReference(target_url=str(media / "ball.mp4"))
    return str(otio.schema.Clip(name="ball", media_reference=reference).to_json_string())


def work(kind: str, media: Path) -> rewas_pb2.SubmitJobRequest:
    settings = rewas_pb2.SoundSettings(
        prompt="rain", takes=2, num_steps=2, seed=1, new_sound_at_cuts=True, layers=[{"name": "wind", "prompt": "wind"}]
    )
    if kind == "sound":
        sound = rewas_pb2.SoundWork(clip_otio_json=clip_json(media), settings=settings)
        return rewas_pb2.SubmitJobRequest(idempotency_key="a", sound=sound)
    if kind == "energy":
        energy = rewas_pb2.EnergyWork(clip_otio_json=clip_json(media), find_cuts=True)
        return rewas_pb2.SubmitJobRequest(idempotency_key="a", energy=energy)
    duration = otio.opentime.RationalTime(24, 24)
    clips = []
    for name in ("one", "two"):
        reference = otio.schema.ExternalReference(target_url=str(media / "ball.mp4"))
        part = otio.opentime.TimeRange(otio.opentime.RationalTime(0, 24), duration)
        clips.append(otio.schema.Clip(name=name, media_reference=reference, source_range=part))
        clips[-1].metadata["rewas"] = {"prompt": "rain", "num_steps": 2}
    timeline = otio.schema.Timeline(name="reel")
    timeline.tracks.append(otio.schema.Track(kind=otio.schema.TrackKind.Video, children=clips))
    reel = rewas_pb2.TimelineWork(timeline_otio_json=timeline.to_json_string(), defaults={})
    return rewas_pb2.SubmitJobRequest(idempotency_key="a", timeline=reel)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("kind", "stage"),
    [
        ("energy", "STAGE_DECODE"),
        ("energy", "STAGE_ENERGY"),
        *(
            ("sound", stage)
            for stage in ("STAGE_DECODE", "STAGE_ENERGY", "STAGE_SAMPLE", "STAGE_VOCODE", "STAGE_DELIVER")
        ),
        ("timeline", "STAGE_SAMPLE"),
        ("timeline", "STAGE_DELIVER"),
    ],
)
def test_cancelled_at_any_stage_nothing_remains(
    model: ReWaS, media: Path, tmp_path: Path, kind: str, stage: str, last: bool
) -> None:
    """last: at the last word of the stage and not at its first."""
    told: list[WorkProgress] = []
    request = work(kind, media)
    context = WorkContext(lambda name: model, "tiny", tmp_path / "a" / "b" / "stems", lambda url, uploaded: Path(url))
    run_work(request, context, on_progress=told.append, cancel=threading.Event())
    of_stage = [number for number, progress in enumerate(told) if progress.stage == STAGES[stage]]
    stop_at, heard, cancel = of_stage[-1 if last else 0], [], threading.Event()

    def listen(progress: WorkProgress) -> None:
        assert not cancel.is_set(), "it went on after it was asked to stop"
        heard.append(progress)
        if len(heard) == stop_at + 1:
            cancel.set()

    empty = tmp_path / "empty"
    empty.mkdir()
    context = WorkContext(context.engine, "tiny", empty / "c" / "d" / "stems", context.locate_media)
    with pytest.raises(Cancelled):
        run_work(request, context, on_progress=listen, cancel=cancel)
    assert list(empty.iterdir()) == []
