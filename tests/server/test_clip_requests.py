"""Requests about clips and timelines: audio tracks, huge numbers, and errors that name the clip."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import opentimelineio as otio
import pytest

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.files.media import MediaLibrary, local_path
from rewas_server.work.requests import EnergyRequest, parse_request
from rewas_server.work.translation import rational


def make_clip(url: str = "/media/a.mov") -> otio.schema.Clip:
    time = otio.opentime.RationalTime
    clip = otio.schema.Clip(
        "shot 7", otio.schema.ExternalReference(url), otio.opentime.TimeRange(time(0, 24), time(24, 24))
    )
    clip.metadata["rewas"] = {"prompt": "rain"}
    return clip


def timeline_work(
    clip: otio.schema.Clip, start: otio.opentime.RationalTime | None = None
) -> rewas_pb2.SubmitJobRequest:
    timeline = otio.schema.Timeline("reel", global_start_time=start)
    timeline.tracks.append(otio.schema.Track("V1", [clip], kind=otio.schema.TrackKind.Video))
    return rewas_pb2.SubmitJobRequest(timeline=rewas_pb2.TimelineWork(timeline_otio_json=timeline.to_json_string()))


def energy_work(**fields: Any) -> rewas_pb2.SubmitJobRequest:
    return rewas_pb2.SubmitJobRequest(
        energy=rewas_pb2.EnergyWork(clip_otio_json=make_clip().to_json_string(), **fields)
    )


def test_an_audio_track_is_optional() -> None:
    for fields, expected in (({}, None), ({"audio_track": 2}, 2)):
        request = parse_request(energy_work(source=rewas_pb2.ENERGY_SOURCE_AUDIO, **fields))
        assert isinstance(request, EnergyRequest)
        assert request.audio_track == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"audio_track": 0, "source": rewas_pb2.ENERGY_SOURCE_AUDIO}, 'The audio track of "shot 7" is 0'),
        ({"audio_track": 1}, 'An audio track is chosen for "shot 7", but'),
        ({"audio_track": 1, "energy": rewas_pb2.EnergyInput(flat_nats=-4)}, "is not measured on its sound"),
    ],
)
def test_an_audio_track_without_effect_is_refused(fields: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ProblemError) as refused:
        parse_request(energy_work(**fields))
    assert message in refused.value.what
    assert refused.value.kind is ProblemKind.SETTINGS


@pytest.mark.parametrize(
    ("value", "rate", "message"),
    [
        (1e30, 24, r'The timeline "reel" has a start timecode of 1e\+30 at a rate of 24, which is longer'),
        (-1e30, 24, r"start timecode of -1e\+30"),
        (0, 1e308, r'The timeline "reel" has a start timecode at a rate of 1e\+308'),
        (24, 0, "start timecode at a rate of 0"),
    ],
)
def test_a_huge_start_timecode_is_refused_before_any_work(value: float, rate: float, message: str) -> None:
    with pytest.raises(ProblemError, match=message) as refused:
        parse_request(timeline_work(make_clip(), otio.opentime.RationalTime(value, rate)))
    assert refused.value.kind is ProblemKind.TIMELINE
    assert refused.value.remedy
    parse_request(timeline_work(make_clip(), otio.opentime.RationalTime(86_400, 24)))


@pytest.mark.parametrize("value", [Fraction(10**30, 3), Fraction(1, 3**60), Fraction(10**9 * 7**20 + 1, 7**20)])
def test_a_fraction_that_does_not_fit_is_rounded(value: Fraction) -> None:
    if value > 10**18:
        with pytest.raises(ValueError, match="range"):
            rational(value)
        return
    message = rational(value)
    assert abs(Fraction(message.numerator, message.denominator) - value) < Fraction(1, 10**9)


@pytest.mark.parametrize(
    "url", ["file:///X:/show/a.mov", "X:\\show\\a.mov", "https://example.org/a.mov", "a.mov", "/nowhere/a.mov"]
)
def test_errors_about_the_location_of_media_name_the_clip(url: str, tmp_path: Path) -> None:
    library = MediaLibrary([tmp_path], tmp_path / "uploads")
    clip = make_clip(url)
    energy = rewas_pb2.EnergyWork(clip_otio_json=clip.to_json_string())
    # A timeline is refused only if none of its clips has media.
    checks = (
        parse_request(rewas_pb2.SubmitJobRequest(energy=energy)).check_media,
        parse_request(timeline_work(clip)).media_problems,
    )
    for check in checks:
        with pytest.raises(ProblemError, match=r'^The clip "shot 7": ') as refused:
            check(library.locate)
        assert "a.mov" in refused.value.what
    with pytest.raises(ProblemError, match=r'^The clip "shot 7": '):
        parse_request(rewas_pb2.SubmitJobRequest(energy=energy)).video_clip(lambda url, _: local_path(url + "\0"))
