"""Spotting sheets of timelines: a written sheet leads to the same sounds when it is read."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import opentimelineio as otio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewas_api.errors import ProblemError
from rewas_server.otio.planning import ClipList, FindOptions, list_clips
from rewas_server.otio.prompts import PromptOptions
from rewas_server.otio.sheet_writing import count_prompts, sheet_lines
from rewas_server.otio.spotting_sheet import SpottingSheet, format_sheet, parse_sheet

RATES = [Fraction(24), Fraction(25), Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001)]
TEXTS = st.sampled_from(["rain", "a door, slammed", "=SUM(A1)", "-", "“quoted”; 扉", "SFX: x"])


def clip(name: str, frames: int, rate: Fraction, start: int = 0, rewas: Any = None) -> otio.schema.Clip:
    def span(first: int, length: int) -> otio.opentime.TimeRange:
        return otio.opentime.TimeRange(
            otio.opentime.RationalTime(first, float(rate)), otio.opentime.RationalTime(length, float(rate))
        )

    media = otio.schema.ExternalReference(f"/media/{name}.mov", span(0, 100_000))
    return otio.schema.Clip(name, media, span(start, frames), {} if rewas is None else {"rewas": rewas})


def timeline(*clips: otio.schema.Clip, rate: Fraction, start: int = 86400) -> otio.schema.Timeline:
    made = otio.schema.Timeline("reel", None, otio.opentime.RationalTime(start, float(rate)))
    made.tracks.append(otio.schema.Track("V1", list(clips), kind=otio.schema.TrackKind.Video))
    return made


def sounds(found: ClipList) -> list[tuple[Any, ...]]:
    return [
        (each.picture.path, each.clip.settings, each.clip.track, each.clip.position_s, each.clip.duration_s)
        for each in found.clips
        if each.clip is not None
    ]


def write(made: otio.schema.Timeline, **options: Any) -> SpottingSheet:
    lines = sheet_lines(made, list_clips(made, FindOptions(prompts=PromptOptions(**options))), options.get("sheet"))
    earlier = options.get("sheet")
    return parse_sheet(format_sheet(lines, earlier.own_columns if earlier else ()), "reel.csv")


@settings(max_examples=60)
@given(
    rate=st.sampled_from(RATES),
    start=st.sampled_from([0, 86400, 107892]),
    shots=st.lists(
        st.tuples(
            st.sampled_from(["a", "a", "b", "=c"]),
            st.integers(1, 4000),
            st.fixed_dictionaries(
                {},
                optional={
                    "prompt": TEXTS,
                    "seed": st.integers(0, 2**63 - 1),
                    "takes": st.integers(1, 9),
                    "gain_db": st.just(-6.0),
                },
            ),
            st.none() | st.tuples(st.sampled_from(["SFX: a bell", "AMB: rain", "FOLEY: steps"]), st.integers(0, 50)),
        ),
        max_size=6,
    ),
)
def test_a_sheet_gives_the_same_sounds_without_metadata_and_markers(
    rate: Fraction, start: int, shots: list[tuple[str, int, dict[str, Any], tuple[str, int] | None]]
) -> None:
    clips = [clip(name, frames, rate, rewas=rewas) for name, frames, rewas, _ in shots]
    for shot, (_, frames, _, marked) in zip(clips, shots, strict=True):
        if marked is not None:
            first = min(marked[1], frames - 1)
            length = min(max(marked[1], 1), frames - first)
            shot.markers.append(
                otio.schema.Marker(
                    marked[0],
                    otio.opentime.TimeRange(
                        otio.opentime.RationalTime(first, float(rate)), otio.opentime.RationalTime(length, float(rate))
                    ),
                )
            )
    made = timeline(*clips, rate=rate, start=start)
    expected = sounds(list_clips(made))
    sheet = write(made)
    assert count_prompts(sheet_lines(made, list_clips(made))) == len(expected)
    again = list_clips(made, FindOptions(prompts=PromptOptions(sheet=sheet)))
    assert sounds(again) == expected
    for shot in clips:
        shot.metadata.clear()
        shot.markers.clear()
    bare = list_clips(made, FindOptions(prompts=PromptOptions(sheet=sheet)))
    assert (bare.problems, bare.notes) == ((), ())
    assert sounds(bare) == expected


def test_a_sheet_lists_all_visible_clips() -> None:
    made = timeline(clip("a", 24, RATES[0], rewas={"prompt": "rain"}), clip("b", 48, RATES[0]), rate=RATES[0])
    made.tracks.append(otio.schema.Track("V2", [clip("over", 12, RATES[0])], kind="Video"))
    lines = sheet_lines(made, list_clips(made))
    assert [(line.begin, line.end, line.clip, line.picture_track, dict(line.values)) for line in lines] == [
        ("01:00:00:00", "01:00:00:12", "over", "V2", {}),
        ("01:00:00:12", "01:00:01:00", "a", "V1", {"prompt": "rain"}),
        ("01:00:01:00", "01:00:03:00", "b", "V1", {}),
    ]


def test_an_earlier_sheet_keeps_its_contents_when_the_timeline_is_edited() -> None:
    earlier = parse_sheet(
        "Ann,in,out,clip,prompt,seed\n"
        "done,01:00:00:00,01:00:01:00,a,rain,7\n"
        "ask Bob,01:00:01:00,01:00:03:00,gone,a bell,\n"
        ",01:00:03:00,01:00:04:00,b,,\n",
        "reel.csv",
    )
    made = timeline(clip("new", 24, RATES[0]), clip("b", 24, RATES[0]), clip("a", 24, RATES[0]), rate=RATES[0])
    sheet = write(made, sheet=earlier, prompt="for all")
    assert sheet.own_columns == ("Ann",)
    assert [(row.begin, row.clip, row.values, row.own) for row in sheet.rows] == [
        ("01:00:00:00", "new", {"prompt": "for all"}, {}),
        ("01:00:01:00", "b", {"prompt": "for all"}, {}),
        ("01:00:02:00", "a", {"prompt": "rain", "seed": 7}, {"Ann": "done"}),
        ("01:00:01:00", "gone", {"prompt": "a bell"}, {"Ann": "ask Bob"}),
    ]


def test_a_wrong_cell_is_not_lost() -> None:
    earlier = parse_sheet("in,clip,prompt,seed\n01:00:00:00,a,rain,seven\n", "reel.csv")
    with pytest.raises(ProblemError, match=r'The cell "seed" in row 2 of reel\.csv is "seven"'):
        write(timeline(clip("a", 24, RATES[0]), rate=RATES[0]), sheet=earlier)


@pytest.mark.parametrize(
    ("drop_frame", "expected"), [(None, "00:01:00;02"), (True, "00:01:00;02"), (False, "00:01:00:00")]
)
def test_the_editor_chooses_drop_frame(drop_frame: bool | None, expected: str) -> None:
    made = timeline(clip("a", 1800, RATES[3]), clip("b", 24, RATES[3], rewas={"prompt": "x"}), rate=RATES[3], start=0)
    lines = sheet_lines(made, list_clips(made), drop_frame=drop_frame)
    assert lines[1].begin == expected
    sheet = parse_sheet(format_sheet(lines), "reel.csv")
    assert sounds(list_clips(made, FindOptions(prompts=PromptOptions(sheet=sheet)))) == sounds(list_clips(made))


def test_non_drop_is_refused_if_the_earlier_sheet_is_drop_frame() -> None:
    made = timeline(clip("a", 1800, RATES[3]), clip("b", 24, RATES[3]), rate=RATES[3], start=0)
    drops, counts_all = (
        parse_sheet(format_sheet(sheet_lines(made, list_clips(made), drop_frame=each)), "reel.csv")
        for each in (None, False)
    )
    with pytest.raises(ProblemError, match=r"reel\.csv has drop-frame timecode.*--non-drop"):
        sheet_lines(made, list_clips(made), drops, drop_frame=False)
    again = sheet_lines(made, list_clips(made), counts_all, drop_frame=False)
    assert [line.begin for line in again] == ["00:00:00:00", "00:01:00:00"]


@pytest.mark.parametrize("media", ["missing", "too short"])
def test_a_clip_that_cannot_get_a_sound_keeps_its_prompt_in_the_sheet(media: str) -> None:
    def span(first: int, length: int) -> otio.opentime.TimeRange:
        return otio.opentime.TimeRange(otio.opentime.RationalTime(first, 24), otio.opentime.RationalTime(length, 24))

    asks = {"prompt": "rain", "seed": 7, "track": "FOLEY"}
    made = timeline(clip("a", 24, RATES[0], rewas=asks), clip("b", 24, RATES[0]), rate=RATES[0])
    broken, unasked = made.tracks[0]
    unasked.media_reference = otio.schema.MissingReference()
    whole = broken.media_reference.deepcopy()
    if media == "missing":
        broken.media_reference = otio.schema.MissingReference()
    else:
        broken.media_reference.available_range = span(0, 5)
    broken.markers.append(otio.schema.Marker("SFX: a bell", span(6, 12)))
    lines = sheet_lines(made, list_clips(made))
    assert [(line.begin, line.end, line.clip, dict(line.values)) for line in lines] == [
        ("01:00:00:00", "01:00:01:00", "a", asks),
        ("01:00:00:06", "01:00:00:18", "", {"prompt": "a bell", "track": "FX"}),
        ("01:00:01:00", "01:00:02:00", "b", {}),
    ]
    sheet = parse_sheet(format_sheet(lines), "reel.csv")
    broken.metadata.clear()
    broken.markers.clear()
    broken.media_reference = whole
    found = list_clips(made, FindOptions(prompts=PromptOptions(sheet=sheet)))
    assert [(each[1].prompt, each[1].seed, each[2]) for each in sounds(found)] == [
        ("rain", 7, "FOLEY"),
        ("a bell", None, "FX"),
    ]


def test_recordings_and_tails_have_columns_that_the_timeline_completes() -> None:
    performance = {"place": 1, "tail": "natural", "timing_variation_s": 0.01}
    made = timeline(
        clip("door", 48, Fraction(24), rewas={"prompt": "door", "performance": performance}),
        clip("rain", 48, Fraction(24), rewas={"prompt": "rain"}),
        rate=Fraction(24),
    )
    text = format_sheet(sheet_lines(made, list_clips(made, FindOptions())))
    header, door, rain = text.splitlines()
    assert header.endswith(",recording,tail")
    assert (door.split(",")[-2:], rain.split(",")[-2:]) == (["1", "natural"], ["", ""])
    edited = parse_sheet(text.replace(",1,natural", ",4,-"), "reel.csv")
    found = list_clips(made, FindOptions(prompts=PromptOptions(sheet=edited)))
    first, second = (each.clip.settings for each in found.clips if each.clip is not None)
    assert first.performance is not None
    assert first.performance.to_metadata() == {"place": 4, "timing_variation_s": 0.01}
    assert second.performance is None
    wrong = parse_sheet(text.replace(",1,natural", ",-1,long"), "reel.csv")
    problem = wrong.rows[0].problem
    assert problem is not None
    assert (problem.what, problem.remedy) == (
        'The cell "recording" in row 2 of reel.csv is "-1".', "Set a whole number from 0 to 1000000."
    )  # fmt: skip


def test_a_clip_completes_its_performance_from_its_track() -> None:
    made = timeline(
        clip("door", 48, Fraction(24), rewas={"prompt": "door", "performance": {"place": 1}}), rate=Fraction(24)
    )
    made.tracks[0].metadata["rewas"] = {"performance": {"place": 5, "tail": "natural"}}
    (found,) = (each.clip.settings for each in list_clips(made, FindOptions()).clips if each.clip is not None)
    assert found.performance is not None
    assert found.performance.to_metadata() == {"place": 1, "tail": "natural"}
