"""Reference sounds in requests: their files, their uploads, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import opentimelineio as otio
import pytest

from rewas_api.clip_settings import ClipSettings, read_clip_settings, write_clip_settings
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.layer_settings import LayerSettings
from rewas_api.v1 import rewas_pb2
from rewas_engine import flat_texture
from rewas_server.delivery.provenance import Provenance, reference_name
from rewas_server.files.media import MediaLibrary
from rewas_server.work.requests import SoundRequest, TimelineRequest, parse_request
from rewas_server.work.timeline import plan_timeline
from rewas_server.work.translation import texture_message

SHA256 = "ab" * 32


def make_clip(url: str, **settings: Any) -> otio.schema.Clip:
    time = otio.opentime.RationalTime
    clip = otio.schema.Clip(
        "shot 7", otio.schema.ExternalReference(url), otio.opentime.TimeRange(time(0, 24), time(24, 24))
    )
    write_clip_settings(clip, ClipSettings(prompt="rain", **settings))
    return clip


def sound_request(url: str, settings: ClipSettings, **fields: Any) -> rewas_pb2.SubmitJobRequest:
    work = rewas_pb2.SoundWork(clip_otio_json=make_clip(url).to_json_string(), settings=settings.to_proto(), **fields)
    return rewas_pb2.SubmitJobRequest(sound=work)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    for name in ("shot.mov", "rain.wav", "street.wav"):
        (folder / name).write_bytes(b"media")
    return folder


@pytest.fixture
def library(folder: Path, tmp_path: Path) -> MediaLibrary:
    (tmp_path / "uploads").mkdir()
    return MediaLibrary([folder], tmp_path / "uploads")


def test_references_survive_metadata_and_contract() -> None:
    settings = ClipSettings(
        prompt="rain", like="/sounds/rain.wav", layers=(LayerSettings("ambience", "wind", like="/sounds/street.wav"),)
    )
    assert ClipSettings.from_proto(settings.to_proto()) == settings
    clip = make_clip("/a.mov")
    write_clip_settings(clip, settings)
    assert read_clip_settings(clip) == settings
    assert settings.references == ("/sounds/rain.wav", "/sounds/street.wav")
    moved = settings.with_references(lambda like: like.replace("/sounds", "/other"))
    assert moved.references == ("/other/rain.wav", "/other/street.wav")
    assert ClipSettings(prompt="rain", like="").like is None
    assert ClipSettings(prompt="door").over(settings).like == "/sounds/rain.wav"


@pytest.mark.parametrize("like", [7, "x" * 5000])
def test_a_location_that_is_no_text_or_too_long_is_refused(like: Any) -> None:
    with pytest.raises(ProblemError, match="like of the clip") as refused:
        ClipSettings(prompt="rain", like=like)
    assert refused.value.kind is ProblemKind.SETTINGS
    with pytest.raises(ProblemError, match="like of the layer ambience of the clip"):
        LayerSettings("ambience", "wind", like=like)


def test_a_request_finds_its_references(folder: Path, library: MediaLibrary) -> None:
    layers = (LayerSettings("ambience", "wind", like=(folder / "street.wav").as_uri()),)
    settings = ClipSettings(prompt="rain", like=str(folder / "rain.wav"), layers=layers)
    request = parse_request(sound_request(str(folder / "shot.mov"), settings))
    assert isinstance(request, SoundRequest)
    request.check_media(library.locate)
    found = request.reference_sounds(library.locate)
    assert {url: (sound.path, sound.name) for url, sound in found.items()} == {
        str(folder / "rain.wav"): (folder / "rain.wav", "rain.wav"),
        (folder / "street.wav").as_uri(): (folder / "street.wav", "street.wav"),
    }


@pytest.mark.parametrize(
    "like",
    [
        "/elsewhere/my rain.wav",
        "C:\\film\\my rain.wav",
        "file:///C:/film/my%20rain.wav",
        "file://nas/film/my%20rain.wav",
    ],
)
def test_an_uploaded_reference_keeps_its_name(folder: Path, library: MediaLibrary, tmp_path: Path, like: str) -> None:
    (tmp_path / "uploads" / SHA256).write_bytes(b"sound")
    settings = ClipSettings(prompt="rain", like=like)
    message = sound_request(str(folder / "shot.mov"), settings, uploaded_media={like: SHA256})
    request = parse_request(message)
    assert isinstance(request, SoundRequest)
    request.check_media(library.locate)
    (sound,) = request.reference_sounds(library.locate).values()
    assert (sound.path.name, sound.name) == (SHA256, "my rain.wav")


@pytest.mark.parametrize(
    ("like", "kind", "message"),
    [
        ("/etc/hostname", ProblemKind.PERMISSION, "outside the folders"),
        ("{folder}/missing.wav", ProblemKind.MEDIA, "does not exist"),
        ("{folder}", ProblemKind.MEDIA, "does not exist"),
        ("rain.wav", ProblemKind.TIMELINE, "is relative"),
        ("https://example.com/rain.wav", ProblemKind.TIMELINE, "not a file on this machine"),
    ],
)
def test_references_that_may_not_be_read_are_refused_with_the_clip(
    folder: Path, library: MediaLibrary, like: str, kind: ProblemKind, message: str
) -> None:
    settings = ClipSettings(prompt="rain", like=like.format(folder=folder))
    request = parse_request(sound_request(str(folder / "shot.mov"), settings))
    assert isinstance(request, SoundRequest)
    with pytest.raises(ProblemError, match=message) as refused:
        request.check_media(library.locate)
    assert refused.value.kind is kind
    assert 'The clip "shot 7"' in refused.value.what


def test_a_texture_and_a_reference_exclude_each_other(folder: Path) -> None:
    texture = texture_message(flat_texture(duration=1))
    settings = ClipSettings(prompt="rain", like=str(folder / "rain.wav"))
    with pytest.raises(ProblemError, match="texture and a reference sound both decide"):
        parse_request(sound_request(str(folder / "shot.mov"), settings, texture=texture))


def timeline_request(*clips: otio.schema.Clip, **fields: Any) -> TimelineRequest:
    timeline = otio.schema.Timeline("reel")
    timeline.tracks.append(otio.schema.Track("V1", list(clips), kind=otio.schema.TrackKind.Video))
    work = rewas_pb2.TimelineWork(timeline_otio_json=timeline.to_json_string(), **fields)
    request = parse_request(rewas_pb2.SubmitJobRequest(timeline=work))
    assert isinstance(request, TimelineRequest)
    return request


def test_the_clips_of_a_timeline_get_their_uploaded_references() -> None:
    uploads = {"/shot.mov": "01" * 32, "/rain.wav": "02" * 32, "/street.wav": "03" * 32, "/other.wav": "04" * 32}
    layered = make_clip("/shot.mov", layers=(LayerSettings("ambience", "wind", like="/street.wav"),))
    request = timeline_request(make_clip("/shot.mov", like="/rain.wav"), layered, uploaded_media=uploads)
    first, second = (planned.work for planned in plan_timeline(request, "starter"))
    assert dict(first.uploaded_media) == {url: uploads[url] for url in ("/shot.mov", "/rain.wav")}
    assert dict(second.uploaded_media) == {url: uploads[url] for url in ("/shot.mov", "/street.wav")}
    assert (first.settings.like, second.settings.layers[0].like) == ("/rain.wav", "/street.wav")


def test_a_missing_reference_fails_only_its_clip(folder: Path, library: MediaLibrary) -> None:
    shot = str(folder / "shot.mov")
    request = timeline_request(make_clip(shot, like=str(folder / "gone.wav")), make_clip(shot))
    problems = request.media_problems(library.locate)
    assert problems[0] is not None
    assert "gone.wav does not exist" in problems[0].what
    assert problems[1] is None


@pytest.mark.parametrize(
    ("like", "name"),
    [
        ("/sounds/my rain.wav", "my rain.wav"),
        ("file:///sounds/my%20rain.wav", "my rain.wav"),
        ("C:\\sounds\\rain.wav", "rain.wav"),
        ("/sounds/50%.wav", "50%.wav"),
        (None, ""),
    ],
)
def test_provenance_names_the_reference(like: str | None, name: str) -> None:
    layers = (LayerSettings("ambience", "wind"),)
    settings = ClipSettings(prompt="rain", like=like, layers=layers)
    assert reference_name(settings, "primary") == name
    assert reference_name(settings, "ambience") == reference_name(settings, "mix") == ""
    sentence = Provenance("rain", 7, "starter", "1.0.0", "CC0-1.0", reference=name).sentence()
    assert ("like=" in sentence) == bool(name)
    assert sentence.endswith("prompt=rain")
