"""Final Cut Pro X XML: every project of every event, retimed, disabled and connected clips, compound clips."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import opentimelineio as otio
import pytest

from rewas_api.errors import ProblemError
from rewas_server.otio.clips import timeline_start_s
from rewas_server.otio.fcpxml_reading import read_fcpxml
from rewas_server.otio.pictures import Picture, find_pictures

RESOURCES = """
<format id="r1" frameDuration="100/2500s" width="64" height="36"/>
<asset id="r2" name="a" src="file:///media/a.mov" start="0s" duration="100s" hasVideo="1" format="r1"/>
<asset id="r3" name="b" src="file:///media/b.mov" start="3600s" duration="100s" hasVideo="1" format="r1"/>
<media id="r4" name="inner"><sequence format="r1" duration="4s" tcStart="0s"><spine>
  <asset-clip ref="r2" name="inside" offset="0s" start="10s" duration="4s" format="r1"/>
</spine></sequence></media>
"""


def project(name: str, *clips: str, start: str = "3600s") -> str:
    spine = "".join(clips)
    return (
        f'<project name="{name}"><sequence format="r1" duration="60s" tcStart="{start}"><spine>{spine}</spine>'
        "</sequence></project>"
    )


def document(body: str) -> str:
    return (
        f'<?xml version="1.0"?><!DOCTYPE fcpxml><fcpxml version="1.9"><resources>{RESOURCES}</resources>{body}</fcpxml>'
    )


def clip(name: str, offset: str, start: str, duration: str, inner: str = "", extra: str = "", ref: str = "r2") -> str:
    return (
        f'<asset-clip ref="{ref}" name="{name}" offset="{offset}" start="{start}" duration="{duration}" format="r1" '
        f"{extra}>{inner}</asset-clip>"
    )


def retime(*points: tuple[str, str]) -> str:
    listed = "".join(f'<timept time="{time}" value="{value}" interp="linear"/>' for time, value in points)
    return f"<timeMap>{listed}</timeMap>"


def read(tmp_path: Path, body: str) -> otio.core.SerializableObject:
    file = tmp_path / "cut.fcpxml"
    file.write_text(document(body), "utf-8")
    return read_fcpxml(file)


def only(timeline: otio.core.SerializableObject) -> Picture:
    (picture,) = find_pictures(timeline)
    return picture


def test_every_project_of_every_event_is_found(tmp_path: Path) -> None:
    one, two = (project(name, clip(name, "3600s", "0s", "2s")) for name in ("One", "Two"))
    found = read(tmp_path, f'<library><event name="a">{one}</event><event name="b">{two}</event></library>')
    assert [timeline.name for timeline in found] == ["One", "Two"]
    assert [only(timeline).name for timeline in found] == ["One", "Two"]


def test_the_start_timecode_is_not_a_gap(tmp_path: Path) -> None:
    timeline = read(tmp_path, project("One", clip("a", "3602s", "5s", "2s")))
    assert timeline_start_s(timeline) == 3600
    picture = only(timeline)
    assert picture.source is not None
    assert (picture.position_s, picture.duration_s, picture.source.start_s) == (2, 2, 5)


@pytest.mark.parametrize(
    ("points", "start", "expected"),
    [
        ((("0s", "0s"), ("4s", "8s")), "0s", (2, 0)),
        # The start is in the time of the clip, which is half that of the media.
        ((("0s", "0s"), ("40s", "80s")), "10s", (2, 20)),
        ((("0s", "0s"), ("40s", "10s")), "8s", (Fraction(1, 4), 2)),
        ((("0s", "40s"), ("40s", "0s")), "10s", (-1, 30)),
        ((("0s", "7s"), ("40s", "7s")), "0s", (0, 7)),
        ((("0s", "0s"), ("10s", "20s"), ("20s", "40s")), "0s", (2, 0)),
    ],
)
def test_retimed_clips_show_the_media_at_their_speed(
    points: tuple[tuple[str, str], ...], start: str, expected: tuple[Fraction, Fraction], tmp_path: Path
) -> None:
    picture = only(read(tmp_path, project("One", clip("a", "3600s", start, "4s", retime(*points)))))
    assert picture.source is not None
    assert (picture.name, picture.duration_s) == ("a", 4)
    assert (picture.source.speed, picture.source.start_s) == expected


def test_a_map_that_counts_from_the_timecode_of_the_file_is_read(tmp_path: Path) -> None:
    for first, second in ((("0s", "0s"), ("4s", "8s")), (("3600s", "3600s"), ("3604s", "3608s"))):
        body = project("One", clip("b", "3600s", "3602s", "2s", retime(first, second), ref="r3"))
        picture = only(read(tmp_path, body))
        assert picture.source is not None
        assert (picture.source.speed, picture.source.start_s) == (2, 4)


def test_a_clip_of_two_speeds_becomes_two_clips(tmp_path: Path) -> None:
    varied = clip("a", "3600s", "1s", "3s", retime(("0s", "0s"), ("2s", "2s"), ("4s", "8s")))
    pictures = find_pictures(read(tmp_path, project("One", varied, clip("b", "3603s", "0s", "2s"))))
    sources = [picture.source for picture in pictures if picture.source is not None]
    assert [(each.name, each.speed, each.start_s, each.duration_s) for each in sources] == [
        ("a", 1, 1, 1),
        ("a", 3, 2, 2),
        ("b", 1, 0, 2),
    ]
    assert [picture.position_s for picture in pictures] == [0, 1, 3]


RATES = (
    ("1001/24000s", "23.98"),
    ("100/2400s", "24"),
    ("100/2500s", "25"),
    ("1001/30000s", "29.97"),
    ("100/6000s", "60"),
)


@pytest.mark.parametrize(
    ("sequence", "media", "speed"),
    [
        ("23.98", "24", Fraction(1000, 1001)),
        ("23.98", "25", Fraction(24000, 1001) / 25),
        ("24", "23.98", Fraction(1001, 1000)),
        ("25", "23.98", Fraction(25025, 24000)),
        ("25", "24", Fraction(25, 24)),
        ("29.97", "23.98", Fraction(1)),
        ("29.97", "60", Fraction(1000, 1001)),
        ("29.97", "25", Fraction(1)),
        ("60", "23.98", Fraction(1001, 1000)),
        ("60", "24", Fraction(1)),
        ("60", "29.97", Fraction(1001, 1000)),
    ],
)
def test_a_conformed_clip_plays_as_in_the_chart_of_final_cut_pro(
    sequence: str, media: str, speed: Fraction, tmp_path: Path
) -> None:
    frame_duration = {name: duration for duration, name in RATES}[sequence]
    conform = f'<conform-rate srcFrameRate="{media}"/>'
    body = project("One", clip("a", "3600s", "12s", "4s", conform), clip("b", "3604s", "0s", "1s"))
    file = tmp_path / "cut.fcpxml"
    file.write_text(document(body).replace('frameDuration="100/2500s"', f'frameDuration="{frame_duration}"'), "utf-8")
    first, second = find_pictures(read_fcpxml(file))
    assert first.source is not None
    assert (first.source.speed, first.source.start_s, first.duration_s) == (speed, 12, 4)
    assert second.position_s == 4


def test_a_ramp_is_refused_for_this_clip(tmp_path: Path) -> None:
    points = retime(("0s", "0s"), ("2s", "2s"), ("4s", "8s")).replace('interp="linear"', 'interp="smooth"')
    varied = clip("a", "3600s", "0s", "4s", points)
    first, second = find_pictures(read(tmp_path, project("One", varied, clip("b", "3604s", "0s", "2s"))))
    assert first.problem is not None
    assert 'The clip "a" changes its speed as it plays (a ramp from 0.00 s to 4.00 s' in first.problem.what
    assert second.source is not None


def test_disabled_and_connected_clips_keep_their_places(tmp_path: Path) -> None:
    above = clip("above", "3606s", "0s", "1s", extra='lane="1"')
    off = clip("off", "3602s", "0s", "2s", extra='enabled="0"')
    under = clip("under", "3604s", "3604s", "4s", retime(("0s", "0s"), ("4s", "8s")) + above, ref="r3")
    pictures = find_pictures(read(tmp_path, project("One", clip("a", "3600s", "0s", "2s"), off, under)))
    places = [(p.name, p.position_s, p.duration_s, p.hidden) for p in pictures]
    assert places == [
        ("a", 0, 2, ""),
        ("off", 2, 2, "It is disabled."),
        ("under", 4, 2, ""),
        ("above", 6, 1, ""),
        ("under", 7, 1, ""),
    ]


def test_a_gap_keeps_its_markers(tmp_path: Path) -> None:
    inner = '<marker start="3601s" duration="1/24s" value="SFX: a door"/>' + clip(
        "over", "3600s", "0s", "2s", extra='lane="1"'
    )
    timeline = read(tmp_path, project("One", f'<gap offset="3600s" start="3600s" duration="4s">{inner}</gap>'))
    (gap,) = timeline.tracks[0]
    assert [(marker.name, marker.marked_range.start_time.to_seconds()) for marker in gap.markers] == [
        ("SFX: a door", 1)
    ]
    assert only(timeline).name == "over"


def test_a_retimed_compound_clip_retimes_what_is_inside(tmp_path: Path) -> None:
    body = '<ref-clip ref="r4" name="nest" offset="3600s" start="1s" duration="1s">{}</ref-clip>'
    twice = body.format(retime(("0s", "0s"), ("2s", "4s")))
    plain = body.format("").replace('offset="3600s"', 'offset="3601s"')
    first, second = find_pictures(read(tmp_path, project("One", twice, plain)))
    assert first.source is not None
    assert second.source is not None
    assert (first.name, first.source.speed, first.source.start_s) == ("inside", 2, 12)
    assert (second.source.speed, second.source.start_s) == (1, 11)


@pytest.mark.parametrize("body", ["", "<library/>", project("One", clip("a", "nonsense", "0s", "2s"))])
def test_a_file_without_a_readable_project_raises(body: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r".+"):
        read(tmp_path, body)


def test_a_wrong_time_in_a_map_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match='A clip has the time "never"'):
        read(tmp_path, project("One", clip("a", "3600s", "0s", "2s", retime(("0s", "never"), ("1s", "1s")))))
