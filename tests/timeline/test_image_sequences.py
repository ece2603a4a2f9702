"""Image sequences in timelines: the pictures that a media reference names, and how they reach the engine."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import opentimelineio as otio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.files.media import MediaLibrary
from rewas_server.otio.clip_media import media_files, reference_for
from rewas_server.otio.clips import read_clip_source
from rewas_server.otio.image_sequences import has_number, read_sequence, sequence_from_name, sequence_url
from rewas_server.work.requests import EnergyRequest, parse_request


def span(start: float, frames: float, rate: float = 24) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(otio.opentime.RationalTime(start, rate), otio.opentime.RationalTime(frames, rate))


def make_reference(folder: str, frames: int, **changes: object) -> otio.schema.ImageSequenceReference:
    values = {"name_prefix": "shot.", "name_suffix": ".png", "start_frame": 1, "rate": 24, "frame_zero_padding": 4}
    values["available_range"] = span(0, frames)
    return otio.schema.ImageSequenceReference(target_url_base=folder, **{**values, **changes})


@given(st.integers(1, 500), st.integers(0, 100_000), st.integers(1, 5), st.sampled_from([24, 25, 23.976, 59.94]))
def test_the_pictures_are_those_that_otio_names(frames: int, first: int, step: int, rate: float) -> None:
    reference = make_reference(
        "/show/", frames, start_frame=first, frame_step=step, rate=rate, available_range=span(0, frames, rate)
    )
    found = read_sequence(reference, "The clip")
    assert found.count == -(-frames // step)
    for index in range(min(found.count, reference.number_of_images_in_sequence())):
        url = reference.target_url_for_image_number(index)
        assert url == f"/show/{found.file_name(index)}"
    assert found.picture_rate * step in (24, 25, Fraction(24_000, 1001), Fraction(60_000, 1001))


@pytest.mark.parametrize("policy", ["error", "hold", "black"])
def test_the_policy_for_missing_pictures_is_read(policy: str) -> None:
    reference = make_reference("/show", 5)
    reference.missing_frame_policy = getattr(otio.schema.ImageSequenceReference.MissingFramePolicy, policy)
    assert read_sequence(reference, "The clip").missing == policy
    assert sequence_url(reference) == "/show/shot.####.png"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"available_range": None}, "its length is not known"),
        ({"frame_step": 0}, "every 0th picture"),
        ({"rate": 0}, "at a rate of 0"),
        ({"name_prefix": "../../etc/"}, "contain a folder"),
        ({"available_range": span(0, 1e12)}, "is longer than any film"),
        ({"available_range": span(0, 1e9)}, "has 1000000000 pictures"),
    ],
    ids=str,
)
def test_an_impossible_sequence_is_refused_by_its_clip(changes: dict[str, object], what: str) -> None:
    with pytest.raises(ProblemError, match=r"The clip .shot") as caught:
        read_sequence(make_reference("/show", 5, **changes), 'The clip "shot"')
    assert what in caught.value.what
    assert caught.value.kind in (ProblemKind.TIMELINE, ProblemKind.SETTINGS)


@pytest.mark.parametrize(
    ("pattern", "first", "step"),
    [("shot.%04d.png", 1001, 1), ("shot.####.png", 1001, 1), ("shot.[1001-1010].png", 1001, 1), ("a_%d.jpg", 8, 2)],
)
def test_a_name_with_a_number_placeholder_is_a_sequence(pattern: str, first: int, step: int, tmp_path: Path) -> None:
    assert has_number(pattern)
    prefix, suffix = ("shot.", ".png") if pattern.startswith("shot") else ("a_", ".jpg")
    for number in range(first, first + 10 * step, step):
        (tmp_path / f"{prefix}{number}{suffix}").touch()
    (tmp_path / f"{prefix}x{suffix}").touch()
    reference = sequence_from_name(tmp_path, pattern, 24)
    found = read_sequence(reference, "The clip")
    assert (found.start_number, found.step, found.count, found.prefix) == (first, step, 10, prefix)
    assert found.paths(tmp_path, Fraction(0), found.duration_s) == [
        tmp_path / f"{prefix}{number}{suffix}" for number in range(first, first + 10 * step, step)
    ]
    assert sequence_from_name(tmp_path / "none", pattern, 24) is None


@pytest.mark.parametrize("name", ["shot.mov", "take#1.mov", "100%.png", "shot.png", "a##b##.png"])
def test_other_names_are_files(name: str) -> None:
    assert not has_number(name)


def make_request(folder: Path, **changes: object) -> EnergyRequest:
    clip = otio.schema.Clip(
        name="shot", media_reference=make_reference(f"{folder}/", 10, **changes), source_range=span(2, 4)
    )
    work = rewas_pb2.EnergyWork(clip_otio_json=clip.to_json_string())
    request = parse_request(rewas_pb2.SubmitJobRequest(energy=work))
    assert isinstance(request, EnergyRequest)
    return request


def test_a_sequence_in_a_request_is_located_picture_by_picture(tmp_path: Path) -> None:
    shows, other = tmp_path / "shows", tmp_path / "other"
    for folder in (shows / "a b", other):
        folder.mkdir(parents=True)
        for number in range(1, 11):
            (folder / f"shot.{number:04d}.png").touch()
    library = MediaLibrary([shows], tmp_path / "uploads")
    clip = make_request(shows / "a b").video_clip(library.locate)
    assert clip.path == shows / "a b" / "shot.####.png"
    assert clip.sequence is not None
    assert (clip.start_s, clip.sequence.count) == (Fraction(1, 12), 10)
    assert make_request(Path(f"file://{shows}/a%20b")).video_clip(library.locate).path == clip.path
    with pytest.raises(ProblemError, match="outside the folders") as caught:
        make_request(other).video_clip(library.locate)
    assert "Image sequences cannot be uploaded" in caught.value.remedy
    # A link among the pictures must not lead out of the allowed folders.
    link = shows / "a b" / "shot.0004.png"
    link.unlink()
    with pytest.raises(ProblemError, match=r'The clip "shot": The picture shot.0004.png of the image sequence'):
        make_request(shows / "a b").check_media(library.locate)
    link.symlink_to(other / "shot.0004.png")
    with pytest.raises(ProblemError, match="outside the folders"):
        make_request(shows / "a b").check_media(library.locate)
    # Only the pictures that the clip shows count.
    link.unlink()
    (other / "shot.0004.png").rename(link)
    (shows / "a b" / "shot.0009.png").unlink()
    make_request(shows / "a b").check_media(library.locate)


def test_a_clip_of_a_sequence_keeps_its_speed() -> None:
    clip = otio.schema.Clip(name="shot", media_reference=make_reference("/show", 48), source_range=span(0, 24))
    clip.effects.append(otio.schema.LinearTimeWarp(time_scalar=-2))
    source = read_clip_source(clip)
    assert (source.speed, source.start_s, source.target_url) == (-2, 2, "/show/shot.####.png")


@pytest.mark.parametrize("step", [1, 3])
def test_a_sequence_survives_reading_and_writing(step: int, tmp_path: Path) -> None:
    reference = make_reference(f"{tmp_path}/", 48, start_frame=1001, frame_step=step, rate=24)
    reference.missing_frame_policy = otio.schema.ImageSequenceReference.MissingFramePolicy.hold
    clip = otio.schema.Clip(name="shot", media_reference=reference, source_range=span(12, 6))
    source = read_clip_source(clip)
    clip.media_reference = reference_for(source, span(0, 48))
    assert read_clip_source(clip) == source
    for number in range(1001, 1049):
        (tmp_path / f"shot.{number}.png").touch()
    numbers = range(1013, 1019) if step == 1 else (1013, 1016)
    assert media_files(source) == [tmp_path / f"shot.{number}.png" for number in numbers]
