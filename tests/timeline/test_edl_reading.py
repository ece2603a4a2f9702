"""Reading edit decision lists: rates, drop-frame, speeds, dissolves, and events that are wrong."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import opentimelineio as otio
import pytest

from rewas_api.errors import ProblemError
from rewas_server.otio.clips import timeline_start_s
from rewas_server.otio.edl_reading import read_edl
from rewas_server.otio.frame_timeline import is_drop_frame
from rewas_server.otio.pictures import find_pictures
from rewas_server.otio.reading import ReadOptions, open_timeline

PAL = Fraction(25)
DROP = Fraction(30000, 1001)


def edl(*events: str, fcm: str = "NON-DROP FRAME") -> str:
    return "\n".join(["TITLE: REEL", f"FCM: {fcm}", "", *events]) + "\n"


def event(number: int, source: tuple[str, str], record: tuple[str, str], *comments: str, edit: str = "C") -> str:
    lines = [f"{number:03}  AX       V     {edit:8} {' '.join(source)} {' '.join(record)}", *comments]
    return "\n".join([*lines, f"* FROM CLIP NAME: SHOT {number}", f"* FROM FILE: /media/{number}.mov"])


SIMPLE = event(1, ("00:00:10:00", "00:00:11:00"), ("01:00:00:00", "01:00:01:00"))


def read(text: str, rate: Fraction | None = None) -> tuple[otio.schema.Timeline, list[str]]:
    from rewas_server.otio.clips import move_track_offsets

    if rate is None and "FRAME RATE" not in text:
        text = f"* FRAME RATE: 24\n{text}"
    timeline, notes = read_edl(text, "reel.edl", rate)
    move_track_offsets(timeline)
    return timeline, notes


def sources(timeline: otio.schema.Timeline) -> list[tuple[str, Fraction, Fraction, Fraction, Fraction]]:
    """Name, position, duration, source start and speed of each picture."""
    found = []
    for picture in find_pictures(timeline):
        assert picture.source is not None, picture
        source = picture.source
        found.append((picture.name, picture.position_s, picture.duration_s, source.timecode_s, source.speed))
    return found


def test_record_times_from_one_hour_become_the_start_timecode() -> None:
    second = event(2, ("00:00:00:00", "00:00:00:12"), ("01:00:02:00", "01:00:02:12"))
    timeline, _ = read(edl(SIMPLE, second))
    assert timeline_start_s(timeline) == 3600
    assert sources(timeline) == [("SHOT 1", 0, 1, 10, 1), ("SHOT 2", 2, Fraction(1, 2), 0, 1)]
    assert timeline.name == "REEL"


def test_record_times_from_ten_frames_lose_nothing_at_the_end() -> None:
    timeline, _ = read(edl(event(1, ("00:00:00:00", "00:00:01:00"), ("00:00:00:10", "00:00:01:10"))))
    assert timeline_start_s(timeline) == Fraction(10, 24)
    assert sources(timeline) == [("SHOT 1", 0, 1, 0, 1)]


def test_tracks_keep_their_distance() -> None:
    later = SIMPLE.replace(" V  ", " V2 ").replace("01:00:00:00 01:00:01:00", "01:00:05:00 01:00:06:00")
    timeline, _ = read(edl(SIMPLE, later.replace("001 ", "002 ").replace("SHOT 1", "SHOT 2")))
    assert [found[:2] for found in sources(timeline)] == [("SHOT 1", 0), ("SHOT 2", 5)]


def long_edl(base: int, events: int) -> str:
    """An EDL whose timecodes have every frame number of a rate."""
    records = [f"01:00:{second:02}:{(second * 7) % base:02}" for second in range(events + 1)]
    listed = [
        event(number, (f"10:00:{number:02}:{base - 1:02}", f"10:00:{number + 1:02}:{base - 1:02}"), pair)
        for number, pair in enumerate(itertools.pairwise(records), start=1)
    ]
    return edl(*listed)


@pytest.mark.parametrize(
    ("text", "rate", "note"),
    [
        (edl(SIMPLE, fcm="DROP FRAME"), DROP, None),
        (edl(SIMPLE.replace("01:00:01:00", "01:00:01;00")), DROP, None),
        (edl(SIMPLE.replace("01:00:01:00", "01:00:01;45")), Fraction(60000, 1001), None),
        (edl("* FRAME RATE: 23.976", SIMPLE), Fraction(24000, 1001), None),
        (
            edl(SIMPLE.replace("* FROM", "M2   AX       050.0    00:00:10:00\n* FROM", 1).replace("11:00", "12:00")),
            PAL,
            None,
        ),
        (long_edl(25, 30), PAL, "read at 25 frames per second, because no frame number of its 62 timecodes is higher"),
        (long_edl(50, 30), Fraction(50), "read at 50 frames per second"),
    ],
)
def test_the_rate_is_found_in_the_file(text: str, rate: Fraction, note: str | None) -> None:
    timeline, notes = read_edl(text, "reel.edl", None)
    clip = timeline.find_clips()[0]
    assert abs(clip.source_range.duration.rate - float(rate)) < 1e-9
    assert len(notes) == (note is not None)
    assert all(note in each for each in notes)


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        (edl(SIMPLE), "23.976, 24, 25, 29.97, 30, 50, 59.94 or 60"),
        (edl(SIMPLE.replace("11:00", "11:24").replace("01:01:00", "01:01:24")), "25, 29.97, 30, 50, 59.94 or 60"),
        (long_edl(24, 30), "23.976, 24, 25"),
        (long_edl(30, 30), "29.97, 30, 50"),
        (long_edl(60, 30), "59.94 or 60"),
        # At 23.976 frames per second, the speed would be stated the same way.
        (edl(SIMPLE.replace("* FROM", "M2 AX 048.0 00:00:10:00\n* FROM", 1).replace("11:00", "12:00")), "23.976 or 24"),
    ],
)
def test_a_rate_that_the_file_does_not_prove_is_asked_for(text: str, choices: str) -> None:
    with pytest.raises(ProblemError, match=r"^reel\.edl does not state its frame rate") as caught:
        read_edl(text, "reel.edl", None)
    assert caught.value.remedy.startswith(f"Set it with --rate: {choices}")


@pytest.mark.parametrize("rate", [PAL, Fraction(24000, 1001), DROP, Fraction(60000, 1001), Fraction(48), Fraction(15)])
def test_any_rate_can_be_set(rate: Fraction) -> None:
    timeline, notes = read(edl(SIMPLE), rate)
    base = -(-rate.numerator // rate.denominator)
    assert notes == []
    assert timeline_start_s(timeline) == 3600 * base / rate
    assert sources(timeline)[0][2:4] == (base / rate, 10 * base / rate)


def test_late_timecodes_of_high_rates_do_not_start_again() -> None:
    late = event(1, ("23:00:00:00", "23:00:01:00"), ("22:00:00:00", "22:00:01:00"))
    timeline, _ = read(edl(late), Fraction(60))
    assert timeline_start_s(timeline) == 22 * 3600
    assert sources(timeline) == [("SHOT 1", 0, 1, 23 * 3600, 1)]


def test_drop_frame_times_are_counted_as_such_with_colons_too() -> None:
    timeline, _ = read(edl(SIMPLE, fcm="DROP FRAME"), DROP)
    assert timeline_start_s(timeline) == 107892 / DROP


@pytest.mark.parametrize(
    ("comment", "source_out", "speed"),
    [
        ("M2   AX       048.0                00:00:10:00", "00:00:12:00", 2),
        ("M2   AX       012.0                00:00:10:00", "00:00:10:12", Fraction(1, 2)),
        ("M2   AX      -024.0                00:00:10:00", "00:00:11:00", -1),
        ("M2   AX       000.0                00:00:10:00", "00:00:10:01", 0),
        ("* FREEZE FRAME", "00:00:11:00", 0),
        # M2 has one decimal and is less exact than the durations.
        ("M2   AX       033.1                00:00:10:00", "00:00:11:09", Fraction(33, 24)),
        # Without M2, different durations mean another speed.
        ("* A comment", "00:00:12:00", 2),
        ("* A comment", "00:00:10:00", 0),
        ("M2   AX      -048.0                00:00:12:00", "00:00:12:00", -2),
        ("M2   A REEL  048.0                 00:00:10:00", "00:00:12:00", 2),
    ],
)
def test_speeds_are_read(comment: str, source_out: str, speed: Fraction) -> None:
    timeline, _ = read(edl(event(1, ("00:00:10:00", source_out), ("01:00:00:00", "01:00:01:00"), comment)))
    assert sources(timeline) == [("SHOT 1", 0, 1, 10, speed)]
    (clip,) = timeline.find_clips()
    assert "REWAS" not in clip.to_json_string()


def test_a_backwards_event_may_state_its_source_from_the_end() -> None:
    comment = "M2   AX      -048.0                00:00:12:00"
    timeline, _ = read(edl(event(1, ("00:00:12:00", "00:00:10:00"), ("01:00:00:00", "01:00:01:00"), comment)))
    assert sources(timeline) == [("SHOT 1", 0, 1, 10, -2)]


DISSOLVE = [
    "002  AX       V     C        00:00:11:00 00:00:11:00 01:00:01:00 01:00:01:00",
    "002  BX       V     D    012 00:00:20:00 00:00:22:00 01:00:01:00 01:00:03:00",
]


@pytest.mark.parametrize(
    ("comments", "name", "url"),
    [
        (
            ["* FROM CLIP NAME: SHOT 1", "* FROM FILE: /1.mov", "* TO CLIP NAME: SHOT 2", "* TO FILE: /2.mov"],
            "SHOT 2",
            "/2.mov",
        ),
        (
            ["* FROM CLIP NAME: SHOT 1", "* FROM CLIP: /1.mov", "* TO CLIP NAME: SHOT 2", "* TO CLIP: /2.mov"],
            "SHOT 2",
            "/2.mov",
        ),
        (
            ["* FROM CLIP NAME: SHOT 1", "* SOURCE FILE: /1.mov", "* TO CLIP NAME: SHOT 2", "* SOURCE FILE: /2.mov"],
            "SHOT 2",
            "/2.mov",
        ),
        (["* FROM CLIP NAME: SHOT 1", "* FROM FILE: /media/1.mov", "* TO CLIP NAME: SHOT 2"], "SHOT 2", ""),
        (["* FROM CLIP NAME: SHOT 2", "* FROM FILE: /2.mov"], "SHOT 2", "/2.mov"),
    ],
)
@pytest.mark.parametrize("reel", ["BX", "AX"])
def test_a_dissolve_names_both_sides(reel: str, comments: list[str], name: str, url: str) -> None:
    locator = "* LOC: 01:00:02:00 RED SFX: A DOOR"
    dissolve = [line.replace("BX", reel) for line in DISSOLVE]
    timeline, _ = read(edl(SIMPLE, *dissolve, *comments, locator))
    first, second = timeline.find_clips()
    assert (first.name, second.name) == ("SHOT 1", name)
    assert first.media_reference.target_url == "/media/1.mov"
    assert getattr(second.media_reference, "target_url", "") == url
    assert [marker.name for marker in second.markers] == ["SFX: A DOOR"]


@pytest.mark.parametrize(
    ("speeds", "speed"),
    [
        (["M2   AX       048.0 00:00:10:00"], 1),
        (["M2   BX       048.0 00:00:20:00"], 2),
        (["M2   AX       012.0 00:00:10:00", "M2   BX       048.0 00:00:20:00"], 2),
    ],
)
def test_a_speed_in_a_dissolve_is_that_of_its_reel(speeds: list[str], speed: int) -> None:
    second = DISSOLVE[1] if speed == 1 else DISSOLVE[1].replace("00:00:22:00", "00:00:24:00")
    timeline, _ = read(edl(SIMPLE, DISSOLVE[0], second, "* FROM FILE: /2.mov", *speeds))
    assert [found[4] for found in sources(timeline)] == [1, speed]


@pytest.mark.parametrize("reel", ["A1234567", "A" * 32, "B" * 128, "MY REEL 01", "C", "V"])
def test_reels_of_any_length_and_with_spaces_are_kept(reel: str) -> None:
    timeline, notes = read(edl(SIMPLE.replace("AX      ", f"{reel} ")))
    (clip,) = timeline.find_clips()
    assert clip.metadata["cmx_3600"]["reel"] == reel
    assert notes == []


def test_a_note_of_resolve_has_no_colour_and_name_of_its_marker() -> None:
    comments = [
        "SFX: a door |C:ResolveColorBlue |M:Marker 1 |D:1",
        "* LOC: 01:00:00:12 RED SFX: steps |C:Red |M:x |D:1",
    ]
    timeline, _ = read(edl(event(1, ("00:00:10:00", "00:00:11:00"), ("01:00:00:00", "01:00:01:00"), *comments)))
    (clip,) = timeline.find_clips()
    assert list(clip.metadata["cmx_3600"]["comments"]) == ["SFX: a door"]
    assert [marker.name for marker in clip.markers] == ["SFX: steps"]


def test_a_programme_may_run_past_midnight() -> None:
    events = [
        event(1, ("23:59:59:00", "00:00:01:00"), ("23:59:58:00", "00:00:00:00")),
        event(2, ("00:00:20:00", "00:00:22:00"), ("00:00:00:00", "00:00:02:00")),
    ]
    timeline, notes = read(edl(*events))
    assert notes == []
    assert [found[:4] for found in sources(timeline)] == [("SHOT 1", 0, 2, 86399), ("SHOT 2", 2, 2, 20)]


def test_sounds_listed_after_the_pictures_of_a_programme_past_midnight_are_below_them() -> None:
    pictures = [
        event(1, ("00:00:00:00", "00:00:10:00"), ("23:59:50:00", "00:00:00:00")),
        event(2, ("00:00:10:00", "00:00:20:00"), ("00:00:00:00", "00:00:10:00")),
    ]
    sounds = [each.replace("AX       V ", "AX       A ") for each in pictures]
    timeline, notes = read(edl(*pictures, *sounds))
    assert notes == []
    assert [[(clip.name, clip.range_in_parent().start_time.value) for clip in track] for track in timeline.tracks] == [
        [("SHOT 1", 0), ("SHOT 2", 240)]
    ] * 2


def test_a_reel_is_never_taken_for_one_with_spaces() -> None:
    second = event(2, ("00:00:10:00", "00:00:11:00"), ("01:00:01:00", "01:00:02:00")).replace("AX      ", "CAM A ")
    timeline, _ = read(edl(SIMPLE.replace("AX      ", "REEL-1 "), second, second.replace("CAM A", "REEL-0")))
    reels = {clip.metadata["cmx_3600"]["reel"] for clip in timeline.find_clips()}
    assert reels == {"REEL-0", "REEL-1", "CAM A"}


def test_an_event_whose_source_ends_before_it_begins_is_left_out() -> None:
    wrong = event(2, ("00:00:12:00", "00:00:11:00"), ("01:00:01:00", "01:00:02:00"))
    timeline, notes = read(edl(SIMPLE, wrong))
    assert len(sources(timeline)) == 1
    assert "Its source out is before its source in." in notes[0]


def test_colons_beside_semicolons_are_not_drop_frame() -> None:
    text = edl(event(1, ("01:00:00:00", "01:00:01:00"), ("01:00:00;00", "01:00:01;00")), fcm="DROP FRAME")
    timeline, _ = read_edl(text, "reel.edl", None)
    (clip,) = timeline.find_clips()
    assert clip.source_range.start_time.value == 108000
    assert is_drop_frame(timeline, DROP)
    timeline, _ = read_edl(edl(SIMPLE), "reel.edl", DROP)
    assert not is_drop_frame(timeline, DROP)


def test_after_a_dissolve_the_clip_is_the_one_that_it_leads_to() -> None:
    dissolve = "\n".join(
        [
            "002  AX       V     C        00:00:11:00 00:00:11:00 01:00:01:00 01:00:01:00",
            "002  BX       V     D    012 00:00:20:00 00:00:22:00 01:00:01:00 01:00:03:00",
            "* FROM CLIP NAME: SHOT 1",
            "* TO CLIP NAME: SHOT 2",
            "* FROM FILE: /media/2.mov",
        ]
    )
    timeline, _ = read(edl(SIMPLE, dissolve))
    assert [found[:4] for found in sources(timeline)] == [("SHOT 1", 0, 1, 10), ("SHOT 2", 1, 2, 20)]
    assert [type(item).__name__ for item in timeline.tracks[0]] == ["Clip", "Transition", "Clip"]


def test_events_out_of_order_and_overlapping_ones_are_all_read() -> None:
    late = event(1, ("00:00:00:00", "00:00:01:00"), ("01:00:05:00", "01:00:06:00"))
    early = event(2, ("00:00:00:00", "00:00:02:00"), ("01:00:00:00", "01:00:02:00"))
    over = event(3, ("00:00:00:00", "00:00:02:00"), ("01:00:01:00", "01:00:03:00"))
    timeline, _ = read(edl(late, early, over))
    assert [found[:3] for found in sources(timeline)] == [("SHOT 2", 0, 1), ("SHOT 3", 1, 2), ("SHOT 1", 5, 1)]


def test_a_wrong_event_is_left_out_with_its_line_and_the_others_are_read() -> None:
    wrong = event(2, ("00:00:10:99", "00:00:11:00"), ("01:00:01:00", "01:00:02:00"))
    timeline, notes = read(edl(SIMPLE, wrong), Fraction(24))
    assert len(sources(timeline)) == 1
    assert notes == [
        "The event in line 7 of reel.edl was left out. The timecode 00:00:10:99 does not exist at 24 frames per second."
    ]


def test_notes_and_unknown_edits_before_the_first_event_do_not_matter() -> None:
    timeline, _ = read("TITLE: A\n* made by hand\nSOURCE TABLE\n" + SIMPLE.replace(" C ", " K B "), Fraction(24))
    assert len(sources(timeline)) == 1


@pytest.mark.parametrize("text", ["", "hello", "TITLE: nothing\n", "\0\0\0", "001 AX V C 1 2 3"])
def test_a_file_without_events_is_refused(text: str) -> None:
    with pytest.raises(ProblemError, match=r"reel\.edl does not contain EDL events"):
        read(text)


def test_black_is_a_generator() -> None:
    timeline, _ = read(edl(SIMPLE.replace("AX  ", "BL  ")))
    (picture,) = find_pictures(timeline)
    assert picture.problem is not None
    assert "shows a generator (black)" in picture.problem.what


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_an_edl_is_read_from_a_file_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "reel.edl"
    file.write_bytes(edl(SIMPLE.replace("SHOT 1", "Tür")).encode(encoding))
    opened = open_timeline(file, ReadOptions(rate=PAL))
    assert sources(opened.timeline) == [("Tür", 0, 1, 10, 1)]
    assert timeline_start_s(opened.timeline) == 3600


@pytest.mark.parametrize("rate", [24, 25, 30, 50, 60])
@pytest.mark.parametrize("hours", [0, 9, 10, 23])
def test_every_timecode_of_a_day_is_read_at_every_rate(rate: int, hours: int) -> None:
    lines = [
        "TITLE: reel",
        "FCM: NON-DROP FRAME",
        f"001  AX       V     C        {hours:02}:59:40:00 {hours:02}:59:42:00 {hours:02}:59:50:00 {hours:02}:59:52:00",
        "* FROM CLIP NAME: a",
    ]
    timeline, _ = read_edl("\n".join(lines), "reel.edl", Fraction(rate))
    begin = (hours * 3600 + 59 * 60 + 50) * rate
    assert timeline.tracks[0].source_range.start_time.value == -begin
    assert timeline.tracks[0][0].source_range.start_time.value == begin - 10 * rate
