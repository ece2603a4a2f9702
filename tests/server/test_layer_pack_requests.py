"""Packs of layers and performances in requests: their names are checked, and refusals name the clip and the layer."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import opentimelineio as otio
import pytest
import soundfile
from sliding_square import FRAME_RATE, FRAMES, write_video

from rewas_api.clip_settings import ClipSettings, write_clip_settings
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.layer_settings import LayerSettings
from rewas_api.performance_settings import PerformanceSettings
from rewas_api.v1 import rewas_pb2
from rewas_engine import ReWaS, installed_packs
from rewas_engine.packs.description import find_pack, read_pack
from rewas_engine.recordings.library_pack import LibraryTerms, make_library
from rewas_server.checking.messages import CheckingSettings
from rewas_server.checking.run import RequestReader
from rewas_server.work.context import WorkContext
from rewas_server.work.dispatch import run_work
from rewas_server.work.requests import parse_request
from rewas_server.work.translation import pack_message

RATE_HZ = 48_000
BOTH = ClipSettings(
    prompt="hammer on wood",
    pack="foley",
    seed=3,
    performance=PerformanceSettings(tail="natural"),
    layers=(LayerSettings("ambience", "wind", pack="starter"), LayerSettings("echo", "mallet on wood", pack="foley")),
)


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the library foley of two recordings, each with its own terms."""
    folder, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    for name in ("hammer", "mallet"):
        whole = np.zeros(4 * RATE_HZ)
        for second in range(4):
            decay = np.exp(-np.arange(RATE_HZ // 2) / (0.05 * RATE_HZ))
            whole[second * RATE_HZ + 4800 :][: RATE_HZ // 2] = 0.2 * rng.standard_normal(RATE_HZ // 2) * decay
        soundfile.write(folder / f"{name}.wav", whole, RATE_HZ, subtype="PCM_24")
    (folder / "captions.csv").write_text(
        "file,description,licence,credit\nhammer.wav,hammer on wood,CC-BY-4.0,H. Smith\nmallet.wav,mallet on wood,,\n",
        "utf-8",
    )
    packs = tmp_path_factory.mktemp("packs")
    terms = LibraryTerms("CC0-1.0", "the field team", is_non_commercial=True)
    make_library([folder], packs / "foley", terms, lambda words: np.ones((len(words), 384)))
    return packs


@pytest.fixture(autouse=True)
def installed(packs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWAS_PACKS", str(packs))


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("media") / "shot.mp4"
    write_video(path)
    return path


def make_clip(media: Path, name: str = "shot 7") -> otio.schema.Clip:
    begin, length = (otio.opentime.RationalTime(frames, float(FRAME_RATE)) for frames in (0, FRAMES))
    return otio.schema.Clip(name, otio.schema.ExternalReference(str(media)), otio.opentime.TimeRange(begin, length))


def sound_request(media: Path, settings: ClipSettings, **fields: Any) -> rewas_pb2.SubmitJobRequest:
    work = rewas_pb2.SoundWork(clip_otio_json=make_clip(media).to_json_string(), settings=settings.to_proto(), **fields)
    return rewas_pb2.SubmitJobRequest(idempotency_key="key", sound=work)


def timeline_request(media: Path, *settings: ClipSettings) -> rewas_pb2.SubmitJobRequest:
    track = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    for number, each in enumerate(settings, start=1):
        clip = make_clip(media, f"shot {number}")
        write_clip_settings(clip, each)
        track.append(clip)
    timeline = otio.schema.Timeline("film")
    timeline.tracks.append(track)
    return rewas_pb2.SubmitJobRequest(
        idempotency_key="key", timeline=rewas_pb2.TimelineWork(timeline_otio_json=timeline.to_json_string())
    )


@pytest.fixture
def reader(media: Path, tmp_path: Path) -> RequestReader:
    return RequestReader(
        CheckingSettings((media.parent,), tmp_path / "uploads", "starter", time_limit_s=60, memory_limit_bytes=2**30)
    )


def test_a_request_names_the_packs_of_its_layers(reader: RequestReader, media: Path) -> None:
    assert reader._check(sound_request(media, BOTH)).packs == {"foley", "starter"}
    timeline = timeline_request(media, BOTH, ClipSettings(prompt="rain"))
    checked = reader._check(timeline)
    assert checked.packs == {"foley", "starter", ""}
    (child, _) = checked.children
    assert ClipSettings.from_proto(child.request.sound.settings).layer_packs == BOTH.layer_packs


def test_an_unknown_pack_is_refused_by_clip_and_layer(reader: RequestReader, media: Path) -> None:
    settings = ClipSettings(prompt="rain", layers=(LayerSettings("ambience", "wind", pack="gone"),))
    for request, name in ((sound_request(media, settings), "shot 7"), (timeline_request(media, settings), "shot 1")):
        with pytest.raises(ProblemError) as refused:
            reader._check(request)
        assert refused.value.kind is ProblemKind.PACK
        assert refused.value.what == (
            f"The layer ambience of the clip \"{name}\" needs the pack gone. The pack 'gone' is not installed."
        )
    with pytest.raises(ProblemError, match=r"^The pack 'gone' is not installed\. Choose"):
        reader._check(sound_request(media, ClipSettings(prompt="rain", pack="gone")))


def test_a_value_of_a_performance_is_refused_by_clip_and_field(media: Path) -> None:
    request = sound_request(media, ClipSettings(prompt="rain"))
    request.sound.settings.performance.timing_variation_s = 0.2
    with pytest.raises(ProblemError, match=r'performance\.timing_variation_s of the clip "shot 7" is 0\.2'):
        parse_request(request)
    request.sound.settings.ClearField("performance")
    request.sound.settings.layers.add(name="wind", prompt="wind", pack="p" * 201)
    with pytest.raises(ProblemError, match="pack name has 201 characters"):
        parse_request(request)


def test_libraries_are_listed_as_such() -> None:
    listed = {pack.name: pack_message(pack) for pack in installed_packs()}
    foley = listed["foley"]
    assert (foley.is_library, foley.scores_text, foley.sample_rate_hz) == (True, False, 48_000)
    assert foley.permitted_use == "Non-commercial use only. Credit: the field team."
    assert foley.content_sha256 == read_pack(find_pack("foley")).info.content_sha256
    assert not listed["starter"].is_library


def test_a_clip_takes_its_layers_from_other_packs(media: Path, tmp_path: Path) -> None:
    loaded: list[str] = []

    def engine(pack: str) -> ReWaS:
        loaded.append(pack)
        return ReWaS.from_pretrained(pack, device="cpu")

    def run(settings: ClipSettings) -> rewas_pb2.SoundResult:
        context = WorkContext(engine, "starter", tmp_path / "stems", lambda url, uploads: Path(url))
        energy = rewas_pb2.EnergyInput(flat_nats=-5)
        result = run_work(
            parse_request(sound_request(media, settings, energy=energy)),
            context,
            on_progress=lambda progress: None,
            cancel=threading.Event(),
        )
        assert isinstance(result, rewas_pb2.SoundResult)
        return result

    result = run(BOTH)
    assert loaded == ["foley", "starter"]
    assert (result.pack.name, result.pack.is_library) == ("foley", True)
    used = ClipSettings.from_proto(result.settings)
    assert used.performance == PerformanceSettings(
        place=0, tail="natural", pitch_variation_cents=20.0, timing_variation_s=0.0, room="in"
    )
    assert (used.num_inference_steps, used.sampler) == (None, None)
    (take,) = result.takes
    (hammer,) = take.recordings
    assert (hammer.name, hammer.words, hammer.licence, hammer.credit) == (
        "hammer.wav", "hammer on wood", "CC-BY-4.0", "H. Smith"
    )  # fmt: skip
    assert len(hammer.content_sha256) == 64
    ambience, echo = take.layers
    assert (ambience.pack.name, list(ambience.recordings)) == ("starter", [])
    assert (echo.pack.name, echo.recordings[0].name, echo.recordings[0].licence) == ("foley", "mallet.wav", "CC0-1.0")
    with pytest.raises(ProblemError, match=r'^The layer wind of the clip "shot 7" needs the pack gone\. The pack'):
        run(ClipSettings(prompt="hammer", pack="foley", layers=(LayerSettings("wind", "wind", pack="gone"),)))
