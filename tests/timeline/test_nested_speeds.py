"""The clips of a retimed nested timeline keep its speed in every format, pictures and sounds alike."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import opentimelineio as otio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewas_server.otio.clips import constant_speed
from rewas_server.otio.exact_times import exact_seconds
from rewas_server.otio.frame_timeline import placed_clips
from rewas_server.otio.losses import describe_losses
from rewas_server.otio.pictures import find_pictures
from rewas_server.otio.reading import ReadOptions, open_timeline
from rewas_server.otio.writing import check_output, write_timeline

RATE = 24
VIDEO, AUDIO = otio.schema.TrackKind.Video, otio.schema.TrackKind.Audio
SPEEDS = st.sampled_from([1.0, 0.5, 2.0, 1.5, -1.0, -0.5, 0.0])


def span(start: float, duration: float) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(otio.opentime.RationalTime(start, RATE), otio.opentime.RationalTime(duration, RATE))


def at_speed(item: otio.core.Item, speed: float) -> otio.core.Item:
    if speed != 1:
        item.effects.append(otio.schema.LinearTimeWarp(time_scalar=speed) if speed else otio.schema.FreezeFrame())
    return item


@st.composite
def nested_timelines(draw: st.DrawFn) -> otio.schema.Timeline:
    """A track with a clip and a nested timeline, whose clips may be in a nested timeline again."""
    count = draw(st.integers(1, 3))

    def clips(prefix: str) -> list[otio.schema.Clip]:
        made = []
        for number in range(count):
            media = otio.schema.ExternalReference("film.mov", span(0, 10_000))
            shown = span(draw(st.integers(1000, 1100)), draw(st.integers(1, 40)))
            made.append(at_speed(otio.schema.Clip(f"{prefix}{number}", media, shown), draw(SPEEDS)))
        return made

    inside = otio.schema.Track("inside", kind=VIDEO, children=clips("inner"))
    for _ in range(draw(st.integers(1, 2))):
        length = int(inside.duration().value)
        nested = otio.schema.Stack("nested", children=[inside])
        first = draw(st.integers(0, length - 1))
        speed = draw(SPEEDS)
        fits = max(1, int((length - first) // (abs(speed) or 1)))
        nested.source_range = span(first, draw(st.integers(1, fits)))
        inside = otio.schema.Track("around", kind=VIDEO, children=[*clips("outer"), at_speed(nested, speed)])
    return otio.schema.Timeline("reel", tracks=[inside])


@settings(max_examples=50, deadline=None)
@given(nested_timelines())
def test_the_clips_are_shown_as_the_pictures_of_the_timeline(timeline: otio.schema.Timeline) -> None:
    pictures = [
        (one.name, one.position_s, one.duration_s, one.source.speed, one.source.timecode_s)
        for one in find_pictures(timeline)
        if one.source is not None
    ]
    placed = [
        (
            one.item.name,
            one.start_s,
            one.duration_s,
            constant_speed(one.item),
            exact_seconds(one.item.source_range.start_time, "clip", "start") + one.hidden_media_s(),
        )
        for one in placed_clips(timeline.tracks[0])
    ]
    assert [one[:4] for one in placed] == [one[:4] for one in pictures]
    for one, other in zip(placed, pictures, strict=True):
        # A frozen clip shows one frame. The exact time within the frame is not defined.
        assert abs(one[4] - other[4]) < (Fraction(1, RATE) + Fraction(1, 10**6) if one[3] == 0 else Fraction(1, 10**6))
    sounding = timeline.clone()
    for track in sounding.find_children(descended_from_type=otio.schema.Track):
        track.kind = AUDIO
    sounds = list(placed_clips(sounding.tracks[0]))
    heard = {one.name for one in find_pictures(timeline) if one.source is not None and one.source.speed}
    assert {one.item.name for one in sounds} >= heard


def make_reel(speed: float) -> otio.schema.Timeline:
    reel = otio.schema.Timeline("reel", global_start_time=otio.opentime.RationalTime(86400, RATE))
    for kind, name in ((VIDEO, "film.mov"), (AUDIO, "sound.wav")):
        inside = otio.schema.Track("inside", kind=kind)
        for number in range(3):
            media = otio.schema.ExternalReference(name, span(0, 10_000))
            inside.append(otio.schema.Clip(f"{kind} {number}", media, span(100 * number, 30)))
        nested = otio.schema.Stack("nested", children=[inside], source_range=span(0, 90 / abs(speed)))
        before = otio.schema.Clip(f"{kind} before", otio.schema.ExternalReference(name, span(0, 10_000)), span(7, 20))
        reel.tracks.append(otio.schema.Track(kind, kind=kind, children=[before, at_speed(nested, speed)]))
    return reel


@pytest.mark.parametrize("speed", [0.5, 1.5, 2.0, -1.0])
@pytest.mark.parametrize("suffix", [".xml", ".edl", ".rpp"])
def test_sounds_and_pictures_have_the_speed_of_their_nested_timeline(tmp_path: Path, suffix: str, speed: float) -> None:
    reel = make_reel(speed)
    output = tmp_path / f"reel{suffix}"
    assert not any("speed" in loss for loss in check_output(output, timeline=reel))
    write_timeline(reel, output)
    found = open_timeline(output, ReadOptions(rate=Fraction(RATE))).timeline
    for before, after in zip(reel.tracks, found.tracks, strict=True):
        expected, read = list(placed_clips(before)), list(placed_clips(after))
        assert [one.item.name for one in read] == [one.item.name for one in expected]
        assert [one.start_s for one in read] == [one.start_s for one in expected]
        assert [one.duration_s for one in read] == [one.duration_s for one in expected]
        assert [constant_speed(one.item) for one in read][1:] == [Fraction(speed)] * 3
        first_s = [one.item.source_range.start_time.to_seconds() + float(one.hidden_media_s()) for one in read]
        wanted_s = [one.item.source_range.start_time.to_seconds() + float(one.hidden_media_s()) for one in expected]
        # The media of a retimed clip in Final Cut Pro 7 XML starts at a frame of its speed.
        assert first_s == pytest.approx(wanted_s, abs=abs(speed) / RATE if suffix == ".xml" else 1e-6)
    assert not any("speed" in loss or "place" in loss for loss in describe_losses(reel, found))


@pytest.mark.parametrize("suffix", [".xml", ".aaf", ".edl", ".rpp"])
def test_a_variable_speed_of_a_nested_timeline_is_reported(tmp_path: Path, suffix: str) -> None:
    reel = make_reel(1)
    reel.tracks[1][1].effects.append(otio.schema.TimeEffect("ramp", "Time Remap"))
    assert "1 variable speed" in check_output(tmp_path / f"reel{suffix}", timeline=reel)


def test_a_clip_directly_in_a_nested_stack_is_written(tmp_path: Path) -> None:
    reel = make_reel(1)
    nested = reel.tracks[0][1]
    nested[:] = [nested[0][0].deepcopy()]
    write_timeline(reel, tmp_path / "reel.xml")
    found = open_timeline(tmp_path / "reel.xml", ReadOptions()).timeline
    assert [clip.name for clip in found.tracks[0].find_clips()] == ["Video before", "Video 0"]
