"""Prompts: where each clip gets its sound from, and in which order the sources count."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import opentimelineio as otio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_api.errors import ProblemError
from rewas_server.otio.planning import ClipList, ClipState, FindOptions, list_clips
from rewas_server.otio.prompts import PromptOptions, parse_prompt_rule
from rewas_server.otio.spotting_sheet import parse_sheet

RATE = 24


def at(frames: float, rate: float = RATE) -> otio.opentime.RationalTime:
    return otio.opentime.RationalTime(frames, rate)


def span(start: float, frames: float, rate: float = RATE) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(at(start, rate), at(frames, rate))


def clip(name: str, frames: float = 48, start: float = 0, rewas: Mapping[str, Any] | None = None) -> otio.schema.Clip:
    media = otio.schema.ExternalReference(f"/media/{name}.mov", span(0, 1000))
    return otio.schema.Clip(name, media, span(start, frames), {"rewas": dict(rewas)} if rewas is not None else {})


def marker(
    name: str, start: float = 0, frames: float = 1, note: str = "", colour: str = "GREEN", rate: float = RATE
) -> otio.schema.Marker:
    return otio.schema.Marker(name, span(start, frames, rate), colour, comment=note)


def timeline(*items: otio.core.Composable, rewas: Mapping[str, Any] | None = None) -> otio.schema.Timeline:
    made = otio.schema.Timeline("reel", None, at(86400), {"rewas": dict(rewas)} if rewas is not None else {})
    made.tracks.append(otio.schema.Track("V1", list(items), kind=otio.schema.TrackKind.Video))
    return made


def chosen(made: otio.schema.Timeline, **options: Any) -> ClipList:
    return list_clips(made, FindOptions(prompts=PromptOptions(**options)))


def prompts(made: otio.schema.Timeline, **options: Any) -> list[tuple[str, str]]:
    """The prompt of each sound, and its origin."""
    found = chosen(made, **options)
    assert found.problems == ()
    return [(each.clip.settings.prompt, each.prompt_origin) for each in found.clips if each.clip is not None]


def places(found: ClipList) -> list[tuple[str, Fraction, Fraction]]:
    """The prompt of each sound, its start and its end, in frames of the timeline."""
    return [
        (sound.settings.prompt, sound.position_s * RATE, (sound.position_s + sound.duration_s) * RATE)
        for each in found.clips
        if (sound := each.clip) is not None
    ]


def sheet(*rows: str, header: str = "in,out,clip,prompt,ambience,track,seed,pack") -> Any:
    return parse_sheet("\n".join([header, *rows]), "cut.csv")


def test_each_source_counts_only_if_those_before_it_have_no_prompt() -> None:
    made = timeline(clip("door", rewas={"prompt": "own"}), rewas={"prompt": "of the timeline"})
    shot = made.tracks[0][0]
    shot.markers.append(marker("SFX: marked"))
    made.tracks[0].metadata["rewas"] = {"prompt": "of the track"}
    options: dict[str, Any] = {
        "sheet": sheet("01:00:00:00,01:00:02:00,door,from the sheet"),
        "rules": (parse_prompt_rule("do*=by the rule"),),
        "prompt": "for all",
        "suggestions": {((0, 0), 1): "a suggestion"},
    }
    assert prompts(made, **options) == [("from the sheet", "row 2 of cut.csv")]
    del options["sheet"]
    assert prompts(made, **options) == [("own", "the clip")]
    del shot.metadata["rewas"]
    assert prompts(made, **options) == [("marked", "the marker “SFX: marked”")]
    del shot.markers[0]
    assert prompts(made, **options) == [("by the rule", "the rule do*")]
    del options["rules"]
    assert prompts(made, **options) == [("of the track", 'the track "V1"')]
    del made.tracks[0].metadata["rewas"]
    made.tracks.metadata["rewas"] = {"prompt": "of the stack"}
    assert prompts(made, **options) == [("of the stack", 'the stack "tracks"')]
    del made.tracks.metadata["rewas"]
    assert prompts(made, **options) == [("of the timeline", 'the timeline "reel"')]
    del made.metadata["rewas"]
    assert prompts(made, **options) == [("for all", "--prompt")]
    del options["prompt"]
    assert prompts(made, **options) == [("a suggestion", "suggested")]
    del options["suggestions"]
    assert [each.state for each in chosen(made, **options).clips] == [ClipState.NO_PROMPT]


def test_each_clip_gets_its_own_suggestion() -> None:
    made = timeline(*(clip(f"shot {number}") for number in range(20)), rewas={"seed": 3})
    suggestions = {((0, number), 1): f"sound {number // 2}" for number in range(20)}
    assert prompts(made, suggestions=suggestions) == [(f"sound {number // 2}", "suggested") for number in range(20)]


def test_every_setting_comes_from_the_first_source_that_has_it() -> None:
    made = timeline(clip("door", rewas={"seed": 7}), rewas={"pack": "studio", "takes": 3, "seed": 1})
    (each,) = chosen(made, sheet=sheet(",,door,a door,a quiet room,FOLEY")).clips
    assert each.clip is not None
    settings = each.clip.settings
    assert (settings.prompt, settings.seed, settings.pack, settings.takes) == ("a door", 7, "studio", 3)
    assert [(layer.name, layer.prompt) for layer in settings.layers or ()] == [("ambience", "a quiet room")]
    assert each.clip.track == "FOLEY"


def test_nested_stacks_have_prompts_for_their_clips() -> None:
    inner = otio.schema.Stack(
        "kitchen", [otio.schema.Track("x", [clip("pan")])], metadata={"rewas": {"prompt": "pans"}}
    )
    assert prompts(timeline(inner, rewas={"prompt": "all"})) == [("pans", 'the stack "kitchen"')]


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        ("DOOR*=x", True),
        ("door 0?=x", True),
        ("*.mov=x", True),
        ("v1=x", True),
        ("clip:*.mov=x", False),
        ("media:*.MOV=x", True),
        ("track:V*=x", True),
        ("track:door*=x", False),
        ("window*=x", False),
        ("door 0[1=]=x", False),
    ],
)
def test_rules_match_names_of_clips_media_and_tracks(rule: str, matches: bool) -> None:
    assert bool(prompts(timeline(clip("Door 01")), rules=(parse_prompt_rule(rule),))) == matches


def test_the_first_rule_that_matches_counts() -> None:
    rules = (parse_prompt_rule("door*=first"), parse_prompt_rule("*=second"))
    assert prompts(timeline(clip("door"), clip("pan")), rules=rules) == [
        ("first", "the rule door*"), ("second", "the rule *")
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "door", "=x", "door=", "door=   ", f"door={'x' * 2001}"])
def test_a_wrong_rule_is_refused_with_a_clear_error(text: str) -> None:
    with pytest.raises(ProblemError, match=r"--prompt-for is|is empty|has 2001 characters"):
        parse_prompt_rule(text)


@pytest.mark.parametrize(
    ("name", "note", "expected"),
    [
        ("SFX: footsteps on gravel", "", "footsteps on gravel"),
        ("sfx:door", "", "door"),
        ("* FX - a car horn", "", "a car horn"),
        ("FOLEY： 足音", "", "足音"),
        ("Prompt: rain", "", "rain"),
        ("SFX", "a heavy door", "a heavy door"),
        ("Marker 1", "SFX: a heavy door", "a heavy door"),
        ("fix the colour", "", None),
        ("SFX-12", "", None),
        ("effects: none", "", None),
    ],
)
def test_a_labelled_marker_is_a_prompt(name: str, note: str, expected: str | None) -> None:
    made = timeline(clip("door"))
    made.tracks[0][0].markers.append(marker(name, note=note))
    assert [prompt for prompt, _ in prompts(made)] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("which", "expected"),
    [("labelled", ["b"]), ("none", []), ("all", ["a", "b"]), ("red", ["a", "b"]), ("BLUE", ["b"])],
)
def test_the_editor_chooses_which_markers_count(which: str, expected: list[str]) -> None:
    made = timeline(clip("one"), clip("two"))
    made.tracks[0][0].markers.append(marker("a", colour="RED"))
    made.tracks[0][1].markers.append(marker("SFX: b"))
    assert [prompt for prompt, _ in prompts(made, markers=which)] == expected


def test_names_that_programs_give_to_markers_are_not_prompts() -> None:
    made = timeline(clip("one"), clip("two"), clip("three"))
    for shot, named in zip(made.tracks[0], ["Marker 1", "", "Marker 3"], strict=True):
        shot.markers.append(marker(named, note="a bell" if named == "Marker 3" else ""))
    assert prompts(made, markers="all") == [("a bell", "the marker “Marker 3”")]


def test_several_markers_of_a_clip_are_layers_of_one_sound() -> None:
    made = timeline(clip("door"))
    made.tracks[0][0].markers.extend(
        [marker("AMB: rain"), marker("FOLEY: steps"), marker("SFX: a door"), marker("SFX: a bell")]
    )
    (each,) = chosen(made).clips
    assert each.clip is not None
    settings = each.clip.settings
    assert (settings.prompt, each.clip.track) == ("steps", "FOLEY")
    assert [(layer.name, layer.prompt, layer.energy) for layer in settings.layers or ()] == [
        ("ambience", "rain", None),
        ("fx", "a door", "following"),
        ("fx-2", "a bell", "following"),
    ]


def test_an_ambience_alone_is_a_steady_sound() -> None:
    made = timeline(clip("street"))
    made.tracks[0][0].markers.append(marker("AMB: traffic"))
    (each,) = chosen(made).clips
    assert each.clip is not None
    assert (each.clip.settings.prompt, each.clip.settings.loop, each.clip.track) == ("traffic", True, "AMB")


@pytest.mark.parametrize("owner", ["clip", "track", "timeline"])
def test_a_marker_with_a_range_is_a_sound_of_this_range(owner: str) -> None:
    made = timeline(
        clip("pan", 24), clip("door", 48, start=100, rewas={"prompt": "a room", "seed": 5, "pack": "studio"})
    )
    item, start = {"clip": (made.tracks[0][1], 112), "track": (made.tracks[0], 36), "timeline": (made.tracks, 36)}[
        owner
    ]
    item.markers.append(marker("SFX: a bang", start, 10))
    found = chosen(made, prompt="for all")
    assert places(found) == [("for all", 0, 24), ("a room", 24, 72), ("a bang", 36, 46)]
    bang = found.clips[2].clip
    assert bang is not None
    assert (bang.settings.seed, bang.settings.pack, bang.track) == (None, "studio", "FX")
    assert bang.source.start_s == Fraction(112, RATE)


def test_a_marker_over_a_cut_is_a_sound_for_each_clip() -> None:
    made = timeline(clip("pan", 24), clip("door", 48))
    made.tracks.markers.append(marker("SFX: rain", 12, 24))
    assert places(chosen(made, prompt="for all")) == [("rain", 12, 24), ("rain", 24, 36)]


def test_markers_of_the_timeline_may_be_timecodes() -> None:
    made = timeline(clip("pan", 24), clip("door", 48))
    made.tracks.markers.append(marker("SFX: a door", 86400 + 30))
    assert places(chosen(made)) == [("a door", 24, 72)]


def test_a_clip_that_was_cut_in_two_uses_each_of_its_markers_once() -> None:
    first, second = clip("door", 24, start=0), clip("door", 24, start=24)
    for shot in (first, second):
        shot.markers.extend([marker("SFX: opens", 10), marker("SFX: closes", 40)])
    assert places(chosen(timeline(first, second))) == [("opens", 0, 24), ("closes", 24, 48)]


def test_a_marker_on_a_gap_is_for_the_picture_below() -> None:
    made = timeline(clip("pan", 24), clip("door", 48))
    gap = otio.schema.Gap(source_range=span(100, 60))
    gap.markers.extend([marker("SFX: a bang", 130), marker("SFX: rain", 100, 24)])
    made.tracks.append(otio.schema.Track("V2", [gap, clip("over", 12)], kind=otio.schema.TrackKind.Video))
    found = chosen(made)
    assert found.problems == ()
    assert places(found) == [("rain", 0, 24), ("a bang", 24, 60)]


@pytest.mark.parametrize("owner", ["stack", "track", "gap"])
@pytest.mark.parametrize("speed", [1, 2, -1])
def test_a_marker_inside_a_nested_timeline_is_for_its_clips(owner: str, speed: int) -> None:
    """The stack shows its content from frame 24 on, at its speed, between frames 24 and 48 of the timeline."""
    below = otio.schema.Track("inner", [clip("one", 48), clip("two", 96)], kind=otio.schema.TrackKind.Video)
    gap = otio.schema.Gap(source_range=span(0, 144))
    above = otio.schema.Track("above", [gap], kind=otio.schema.TrackKind.Video)
    stack = otio.schema.Stack("nested", [below, above], span(24, 24))
    if speed != 1:
        stack.effects.append(otio.schema.LinearTimeWarp(time_scalar=speed))
    made = timeline(clip("before", 24), stack, clip("after", 24))
    # Markers on a stack have times like its range. Those inside have times of its content: frames 24 to 48 or 72.
    item = {"stack": stack, "track": below, "gap": gap}[owner]
    item.markers.append(marker("SFX: a bang", 30 if owner == "stack" else 32))
    item.markers.append(marker("SFX: lost", 200))
    found = chosen(made)
    assert [(prompt, begin) for prompt, begin, _ in places(found)] == [("a bang", 24)]
    assert [each.picture.name for each in found.clips if each.clip is not None] == ["one"]
    assert ["SFX: lost" in str(problem) for problem in found.problems] == [True]


def test_markers_that_lie_on_no_picture_are_told() -> None:
    made = timeline(otio.schema.Gap(source_range=span(0, 24)), clip("door"))
    made.tracks[0][1].markers.append(marker("SFX: lost", 500))
    made.tracks.markers.append(marker("SFX: nowhere", 3))
    made.tracks.markers.append(marker("SFX:", 30))
    assert [str(problem) for problem in chosen(made).problems] == [
        'The marker “SFX: lost” of the clip "door" is not on a visible picture. '
        "Move it onto the clip that needs the sound.",
        "The marker “SFX:” of the timeline does not describe a sound. Describe the sound after the label, for example "
        "“SFX: footsteps on gravel”.",
        "The marker “SFX: nowhere” of the timeline is not on a visible picture. "
        "Move it onto the clip that needs the sound.",
    ]


def test_a_marker_may_hold_all_settings() -> None:
    made = timeline(clip("door"))
    noted = marker("do not touch")
    noted.metadata["rewas"] = {"prompt": "a door", "seed": 3, "track": "FOLEY"}
    made.tracks[0][0].markers.append(noted)
    (each,) = chosen(made).clips
    assert each.clip is not None
    assert (each.clip.settings.prompt, each.clip.settings.seed, each.clip.track) == ("a door", 3, "FOLEY")


@pytest.mark.parametrize(
    "metadata",
    [
        {"cmx_3600": {"comments": ["* SFX: a door"]}},
        {"fcp_xml": {"comments": {"mastercomment1": "SFX: a door"}}},
        {"fcpx": {"note": "SFX: a door"}},
        {"ALE": {"SFX": "a door", "Tape": "A001"}},
        {"ALE": {"Comments": "FX: a door"}},
        {"AAF": {"UserComments": {"SFX": "a door"}}},
    ],
)
def test_comments_of_other_programs_are_read(metadata: dict[str, Any]) -> None:
    shot = clip("door")
    shot.metadata.update(metadata)
    assert [prompt for prompt, _ in prompts(timeline(shot))] == ["a door"]


def test_a_row_finds_its_clip_by_timecode_and_name() -> None:
    made = timeline(clip("pan", 24), clip("pan", 24), clip("door", 48))
    rows = sheet("01:00:01:00,01:00:02:00,pan,second", "01:00:00:00,01:00:01:00,PAN,first", "01:00:02:00,,,door")
    assert places(chosen(made, sheet=rows)) == [("first", 0, 24), ("second", 24, 48), ("door", 48, 96)]


def test_rows_follow_their_clips_when_the_timeline_is_edited() -> None:
    rows = sheet(
        "01:00:00:00,01:00:01:00,pan,first", "01:00:01:00,01:00:02:00,pan,second", "01:00:02:00,01:00:04:00,door,d"
    )
    made = timeline(clip("door", 60), clip("new", 24), clip("pan", 20), clip("pan", 24))
    found = chosen(made, sheet=rows)
    assert places(found) == [("d", 0, 60), ("first", 84, 104), ("second", 104, 128)]
    assert found.problems == ()
    assert found.notes[0] == "Row 2 of cut.csv is for the clip “pan”, which now runs from 01:00:03:12 to 01:00:04:08."
    assert len(found.notes) == 3


def test_a_row_without_a_name_applies_to_its_range() -> None:
    made = timeline(clip("pan", 24), clip("door", 48), clip("end", 24))
    rows = sheet("01:00:00:12,01:00:03:00,,a siren", "01:00:03:06,01:00:03:12,,a click", "01:00:00:00,01:00:01:00,pan,")
    assert places(chosen(made, sheet=rows)) == [("a siren", 12, 24), ("a siren", 24, 72), ("a click", 78, 84)]


def test_a_copied_row_with_other_times_applies_to_part_of_the_clip() -> None:
    rows = sheet("01:00:00:00,01:00:01:00,door,a bang", "01:00:00:06,01:00:00:12,door,a click")
    assert places(chosen(timeline(clip("door", 24)), sheet=rows)) == [("a bang", 0, 24), ("a click", 6, 12)]


def test_rows_for_different_tracks_are_different_sounds() -> None:
    made = timeline(clip("door", 24))
    rows = sheet(",,door,a bang,,FX", ",,door,steps,,FOLEY")
    assert [(each.clip.settings.prompt, each.clip.track) for each in chosen(made, sheet=rows).clips if each.clip] == [
        ("a bang", "FX"), ("steps", "FOLEY")
    ]  # fmt: skip


def test_two_rows_for_one_sound_are_reported() -> None:
    made = timeline(clip("door", 24), clip("pan", 24, rewas={"prompt": "pans"}))
    found = chosen(made, sheet=sheet("01:00:00:00,01:00:01:00,door,a bang", "01:00:00:00,,,steps"))
    assert [each.state for each in found.clips] == [ClipState.REFUSED, ClipState.READY]
    assert "Rows 2 and 3 of cut.csv are for the same sound of the clip “door” at 01:00:00:00." in str(
        found.clips[0].problem
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "01:00:00:00,01:00:01:00,window,x",
            "Row 2 of cut.csv is for the clip “window” at 01:00:00:00, which is not on the timeline.",
        ),
        (",,window,x", "Row 2 of cut.csv is for the clip “window”, which is not on the timeline."),
        ("02:00:00:00,02:00:01:00,,x", "Row 2 of cut.csv is for 02:00:00:00, where the timeline shows no picture."),
        (",,,x", "Row 2 of cut.csv has neither a timecode nor the name of a clip."),
        ("1 o'clock,,door,x", 'Row 2 of cut.csv: "1 o\'clock" is not a timecode.'),
        ("01:00:00:24,,door,x", "Row 2 of cut.csv: The timecode 01:00:00:24 does not exist at 24 frames per second."),
        ("01:00:01:00,01:00:00:00,door,x", "Row 2 of cut.csv: it ends at 01:00:00:00, but begins at 01:00:01:00."),
    ],
)
def test_rows_without_a_clip_are_reported(row: str, message: str) -> None:
    found = chosen(timeline(clip("door", 24)), sheet=sheet(row))
    assert [problem.what for problem in found.problems] == [message]
    assert [each.state for each in found.clips] == [ClipState.NO_PROMPT]


def test_rows_without_settings_need_no_clip() -> None:
    found = chosen(timeline(clip("door", 24)), sheet=sheet("05:00:00:00,,gone,"))
    assert found.problems == ()


def test_a_wrong_cell_stops_only_its_clip() -> None:
    made = timeline(clip("door", 24), clip("pan", 24))
    found = chosen(made, sheet=sheet(",,door,a door,,,seven", ",,pan,pans"))
    assert [each.state for each in found.clips] == [ClipState.REFUSED, ClipState.READY]
    assert 'The cell "seed" in row 2 of cut.csv is "seven".' in str(found.clips[0].problem)


def test_a_hyphen_as_the_prompt_silences_a_clip() -> None:
    made = timeline(clip("door", 24, rewas={"prompt": "a door"}))
    (each,) = chosen(made, sheet=sheet(",,door,-"), prompt="for all").clips
    assert (each.state, each.note) == (ClipState.NO_PROMPT, "Row 2 of cut.csv asks for no sound.")


def test_a_sheet_may_count_drop_frame() -> None:
    made = otio.schema.Timeline("reel", None, at(107892, 30000 / 1001))
    made.tracks.append(otio.schema.Track("V1", kind="Video"))
    for name in ("one", "two"):
        shot = clip(name)
        shot.source_range = span(0, 1800, 30000 / 1001)
        shot.media_reference.available_range = span(0, 2000, 30000 / 1001)
        made.tracks[0].append(shot)
    for rows in (sheet("01:01:00;02,,,second"), sheet("01:00:59:28,,,second")):
        found = [each.clip.settings.prompt for each in chosen(made, sheet=rows).clips if each.clip is not None]
        assert found == ["second"]
        assert places(chosen(made, sheet=rows))[0][1] == Fraction(1800 * 1001, 30000) * RATE


@pytest.mark.parametrize(
    ("rewas", "message"),
    [
        ({"prompt": "  "}, 'The clip "door" has an empty prompt.'),
        ({"prompt": "x" * 2001}, 'The prompt of the clip "door" has 2001 characters.'),
        ({"prompt": 5}, 'prompt of the clip "door" is 5.'),
        ({"prompt": "x", "takes": 0}, 'takes of the clip "door" is 0.'),
        ({"prompt": "x", "loop": True, "new_sound_at_cuts": True}, 'The sound of the clip "door" cannot both loop'),
    ],
)
def test_a_wrong_prompt_is_reported_for_its_clip(rewas: dict[str, Any], message: str) -> None:
    found = chosen(timeline(clip("door", rewas=rewas), clip("pan", rewas={"prompt": "pans"})))
    assert [each.state for each in found.clips] == [ClipState.REFUSED, ClipState.READY]
    assert message in str(found.clips[0].problem)


def test_an_empty_prompt_is_filled() -> None:
    assert prompts(timeline(clip("door", rewas={"prompt": ""})), prompt="for all") == [("for all", "--prompt")]


def test_a_wrong_setting_of_a_track_names_the_track() -> None:
    made = timeline(clip("door", rewas={"prompt": "x"}))
    made.tracks[0].metadata["rewas"] = {"takes": 0}
    assert 'takes of the track "V1" is 0.' in str(chosen(made).clips[0].problem)


NUMBERS = st.floats() | st.integers(-(2**53), 2**53) | st.sampled_from([0, 12, 86400, 86412])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    times=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=4),
    held=VALUES,
    comments=VALUES,
    which=st.sampled_from(["labelled", "all", "red"]),
)
def test_no_marker_and_no_metadata_stops_the_others(
    times: list[tuple[float, float, float]], held: Any, comments: Any, which: str
) -> None:
    made = timeline(clip("door"), clip("pan", rewas={"prompt": "pans"}))
    for number, (start, frames, rate) in enumerate(times):
        marked = otio.opentime.TimeRange(at(start, rate), at(frames, rate))
        each = otio.schema.Marker("SFX: a bell", marked, "RED")
        [made.tracks[0][0], made.tracks[0], made.tracks, made.tracks[0][1]][number].markers.append(each)
    made.tracks[0][0].metadata["rewas"] = held
    made.tracks[0][0].metadata["cmx_3600"] = comments
    made.tracks[0][0].metadata["ALE"] = comments
    found = chosen(made, markers=which)
    assert any(each.picture.name == "pan" and each.clip is not None for each in found.clips)


def test_keys_in_the_metadata_of_a_clip_that_nothing_reads_are_noted() -> None:
    stem = {"role": "primary", "take": 1, "track": "FX", "licence": "x", "time_reference_samples": 5, "prompt": "rain"}
    made = timeline(
        clip("a", rewas={"promt": "rain", "ambience": "wind"}),
        clip("b", rewas={"prompt": "hail", "seed": 3, "track": "FOLEY", "layers": [], "timeline_number": 4}),
        clip("c", rewas={"promt": "snow", "zzzz": 1}),
        clip("d", rewas=stem),
    )
    assert chosen(made).notes == (
        'The clip "a" has "ambience" in metadata["rewas"], which is not a setting and is ignored. Write it as one of '
        'the "layers".',
        'The clip "a" and 1 more have "promt" in metadata["rewas"], which is not a setting and is ignored. Did you '
        'mean "prompt"?',
        'The clip "c" has "zzzz" in metadata["rewas"], which is not a setting and is ignored.',
    )
