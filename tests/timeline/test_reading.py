"""Reading OpenTimelineIO: exact times, and clear errors for invalid input."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import opentimelineio as otio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_api.errors import ProblemError, ProblemKind
from rewas_server.otio.clips import PromptedClip, parse_clip, parse_timeline, read_clip_source, timeline_start_s
from rewas_server.otio.exact_times import exact_rate, exact_seconds
from rewas_server.otio.planning import find_clips, ready_clips, refused_clips
from rewas_server.otio.reading import open_timeline
from rewas_server.otio.schemas import restore_schemas

OWNER = 'The clip "shot"'
NTSC_FILM = Fraction(24000, 1001)
RATES = [Fraction(n) for n in (24, 25, 30, 48, 50, 60, 120)] + [Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120)]


def time(frames: float, rate: float = 24) -> otio.opentime.RationalTime:
    return otio.opentime.RationalTime(frames, rate)


def span(start: float, frames: float, rate: float = 24) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(time(start, rate), time(frames, rate))


def make_clip(
    name: str = "shot",
    source: otio.opentime.TimeRange | None = None,
    available: otio.opentime.TimeRange | None = None,
    prompt: str | None = None,
) -> otio.schema.Clip:
    reference = otio.schema.ExternalReference(target_url=f"/media/{name}.mov", available_range=available)
    clip = otio.schema.Clip(name=name, media_reference=reference, source_range=source)
    if prompt is not None:
        clip.metadata["rewas"] = {"prompt": prompt}
    return clip


def make_timeline(*items: otio.core.Composable) -> otio.schema.Timeline:
    timeline = otio.schema.Timeline(name="reel")
    timeline.tracks.append(otio.schema.Track(name="V1", kind=otio.schema.TrackKind.Video, children=list(items)))
    return timeline


def find_prompted_clips(timeline: otio.schema.Timeline) -> list[PromptedClip]:
    """The clips that get a sound. Raises the problem of the first that is refused."""
    listed = find_clips(timeline)
    for refused in refused_clips(listed):
        assert refused.problem is not None
        raise refused.problem
    return ready_clips(listed)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (23.976, NTSC_FILM),
        (23.98, NTSC_FILM),
        (24000 / 1001, NTSC_FILM),
        (29.97, Fraction(30000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (119.88, Fraction(120000, 1001)),
        (24.0, Fraction(24)),
        (12.5, Fraction(25, 2)),
        (48000, Fraction(48000)),
        (1, Fraction(1)),
    ],
)
def test_rates_are_read_exactly(written: float, expected: Fraction) -> None:
    assert exact_rate(written, OWNER, "start") == expected


@pytest.mark.parametrize("rate", [0.0, -24.0, math.nan, math.inf, 1e17, 1e308])
def test_invalid_rates_are_refused(rate: float) -> None:
    with pytest.raises(ProblemError, match='"shot" has a start at a rate of'):
        exact_rate(rate, OWNER, "start")


@given(rate=st.sampled_from(RATES), frames=st.integers(0, 24 * 3600 * 120))
def test_frame_times_are_exact_at_every_rate(rate: Fraction, frames: int) -> None:
    assert exact_seconds(time(frames, float(rate)), OWNER, "start") == frames / rate


@given(
    rate=st.sampled_from(RATES),
    media_start=st.integers(0, 10_000_000),
    offset=st.integers(0, 100_000),
    frames=st.integers(1, 100_000),
    handle=st.integers(0, 1000),
)
def test_the_start_is_counted_from_the_timecode_of_the_media(
    rate: Fraction, media_start: int, offset: int, frames: int, handle: int
) -> None:
    clip = make_clip(
        source=span(media_start + offset, frames, float(rate)),
        available=span(media_start, offset + frames + handle, float(rate)),
    )
    source = read_clip_source(parse_clip(clip.to_json_string()))
    assert source.start_s == offset / rate
    assert source.duration_s == frames / rate
    assert source.frame_rate == rate
    assert source.timecode_s == (media_start + offset) / rate


def test_a_clip_without_ranges_covers_the_whole_media() -> None:
    source = read_clip_source(make_clip())
    assert (source.start_s, source.duration_s, source.frame_rate) == (0, None, None)


def test_a_clip_without_a_source_range_covers_the_available_range() -> None:
    source = read_clip_source(make_clip(available=span(86400, 48)))
    assert (source.start_s, source.duration_s) == (0, 2)


def broken_clips() -> list[tuple[str, otio.schema.Clip, str]]:
    retimed = make_clip(source=span(0, 24))
    retimed.effects.append(otio.schema.TimeEffect(effect_name="TimeEffect"))
    frozen = make_clip(source=span(0, 24))
    frozen.effects.append(otio.schema.LinearTimeWarp(time_scalar=math.inf))
    missing = otio.schema.Clip(name="shot", source_range=span(0, 24))
    bars = otio.schema.Clip(name="shot", source_range=span(0, 24))
    bars.media_reference = otio.schema.GeneratorReference(generator_kind="SMPTEBars")
    sequence = otio.schema.Clip(name="shot", source_range=span(0, 24))
    sequence.media_reference = otio.schema.ImageSequenceReference("file:///show/", "shot.", ".exr")
    return [
        ("variable speed", retimed, "changes its speed as it plays (TimeEffect)"),
        ("impossible speed", frozen, "plays at inf times its speed"),
        ("missing", missing, "no media file"),
        ("generator", bars, "SMPTEBars"),
        ("image sequence without a length", sequence, "image sequence without an available range"),
        ("empty", make_clip(source=span(0, 0)), "duration of 0 s"),
        ("backwards", make_clip(source=span(0, -5)), "duration of"),
        ("beyond the end", make_clip(source=span(20, 10), available=span(0, 25)), "spans 00:00:00:00 to 00:00:01:01"),
        ("before the start", make_clip(source=span(5, 10), available=span(10, 25)), "shows 00:00:00:05 to 00:00:00:15"),
        ("before the file", make_clip(source=span(-5, 10)), "before its media"),
        ("rate 0", make_clip(source=span(0, 24, 0)), "rate of 0"),
        ("not a number", make_clip(source=span(math.nan, 24)), "nan"),
    ]


@pytest.mark.parametrize(("clip", "reason"), [pytest.param(c, r, id=n) for n, c, r in broken_clips()])
def test_a_broken_clip_is_refused_with_name_and_reason(clip: otio.schema.Clip, reason: str) -> None:
    with pytest.raises(ProblemError) as caught:
        read_clip_source(clip)
    assert '"shot"' in caught.value.what
    assert reason in caught.value.what
    assert caught.value.remedy
    assert caught.value.kind is ProblemKind.TIMELINE


@pytest.mark.parametrize(
    ("start", "duration", "field"),
    [
        ((1e30, 24), (24, 24), "start of 1e+30"),
        ((-1e30, 24), (24, 24), "start of -1e+30"),
        ((24, 1e-300), (24, 24), "start of 24 at a rate of 1e-300"),
        ((0, 1e308), (24, 24), "start at a rate of 1e+308"),
        ((0, 24), (1e308, 24), "duration of 1e+308"),
        ((0, 24), (24, 1e308), "duration at a rate of 1e+308"),
    ],
)
def test_huge_times_are_refused_with_clip_and_field(start, duration, field: str) -> None:
    ranges = otio.opentime.TimeRange(time(*start), time(*duration))
    for clip, owner in (
        (make_clip(source=ranges), 'The clip "shot" has a '),
        (make_clip(available=ranges), 'The clip "shot" has a '),
        (make_clip(source=span(0, 24), available=ranges), 'The clip "shot" has a media '),
    ):
        with pytest.raises(ProblemError) as caught:
            read_clip_source(clip)
        assert owner + field in caught.value.what
        assert caught.value.remedy


def test_a_huge_gap_is_refused_by_its_kind() -> None:
    gap = otio.schema.Gap(duration=time(1e30))
    expected = r'"shot" has no known position\. A gap without a name has a duration of 1e\+30'
    with pytest.raises(ProblemError, match=expected):
        find_prompted_clips(make_timeline(gap, make_clip(source=span(0, 24), prompt="rain")))


@pytest.mark.parametrize("slot", ["media", "generator", "missing"])
def test_another_media_reference_is_proposed(slot: str) -> None:
    references = {
        "media": otio.schema.ExternalReference(),
        "generator": otio.schema.GeneratorReference(generator_kind="SMPTEBars"),
        "missing": otio.schema.MissingReference(),
    }
    clip = otio.schema.Clip(name="shot", source_range=span(0, 24), media_reference=references[slot])
    with pytest.raises(ProblemError) as alone:
        read_clip_source(clip)
    proxy = otio.schema.ExternalReference(target_url="file:///show/proxy/shot.mov")
    clip.set_media_references({"DEFAULT_MEDIA": references[slot].clone(), "low": proxy}, "DEFAULT_MEDIA")
    with pytest.raises(ProblemError) as caught:
        read_clip_source(clip)
    assert caught.value.what == alone.value.what
    assert caught.value.remedy == 'Make its media reference "low" (shot.mov) the active one.'
    clip.active_media_reference_key = "low"
    assert read_clip_source(clip).target_url == "file:///show/proxy/shot.mov"


STRANGE = {"OTIO_SCHEMA": "Sparkle.1", "metadata": {}, "name": "x", "effect_name": "x"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"effects": [STRANGE | {"OTIO_SCHEMA": "Clip.1"}]}, "is not valid OpenTimelineIO JSON"),
        ({"effects": 5}, "is not valid OpenTimelineIO JSON"),
        ({"source_range": 5}, "is not valid OpenTimelineIO JSON"),
        ({"source_range": STRANGE}, 'has an object of the schema "Sparkle.1", which'),
        ({"effects": [STRANGE | {"name": 5}]}, "is not valid OpenTimelineIO JSON"),
        ({"name": 5}, "is not valid OpenTimelineIO JSON"),
    ],
)
def test_what_opentimelineio_cannot_read_is_named_without_its_types(change, expected: str, tmp_path: Path) -> None:
    document = json.loads(make_clip(source=span(0, 24), prompt="rain").to_json_string()) | change
    timeline = json.loads(make_timeline().to_json_string())
    timeline["tracks"]["children"][0]["children"] = [document]
    file = tmp_path / "reel.otio"
    file.write_text(json.dumps(timeline))
    for parse in (
        lambda: parse_clip(json.dumps(document)),
        lambda: parse_timeline(json.dumps(timeline)),
        lambda: open_timeline(file),
    ):
        with pytest.raises(ProblemError) as caught:
            parse()
        assert expected in caught.value.what
        assert caught.value.remedy
        assert "opentime" not in caught.value.what
        assert "type l" not in caught.value.what


NEWER = {"OTIO_SCHEMA": "LinearTimeWarp.9", "name": "", "time_scalar": 2.0, "curve": [0.30000000000000004, 1e-9]}


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"effects": [STRANGE]}, 'The clip "shot" has an effect of the schema "Sparkle.1", which'),
        ({"effects": [STRANGE | {"inner": STRANGE}]}, 'The clip "shot" has an effect of the schema "Sparkle.1", which'),
        ({"effects": [NEWER]}, 'The clip "shot" has an effect of the schema "LinearTimeWarp.9", which'),
        ({"markers": [STRANGE]}, 'The clip "shot" has a marker of the schema "Sparkle.1", which'),
        ({"media_references": {"DEFAULT_MEDIA": STRANGE}}, 'The clip "shot" has a media reference of the schema'),
        ({"OTIO_SCHEMA": "Clip.7", "shape": {"x": 2**53}}, 'The track "V1" has a child of the schema "Clip.7", which'),
        ({"OTIO_SCHEMA": "Sparkle.1", "shape": None}, 'The track "V1" has a child of the schema "Sparkle.1", which'),
        (
            {"metadata": {"x": {"OTIO_SCHEMA": "Clip.7", "y": 1}}},
            'The clip "shot" has an object of the schema "Clip.7"',
        ),
        ({"metadata": {"x": STRANGE}}, None),
    ],
)
def test_objects_that_this_opentimelineio_does_not_know_are_read_and_survive(change, note: str, tmp_path: Path) -> None:
    clip = json.loads(make_clip(source=span(0, 24), prompt="rain").to_json_string()) | change
    timeline = json.loads(make_timeline(make_clip("other", source=span(0, 24), prompt="wind")).to_json_string())
    timeline["tracks"]["children"][0]["children"].insert(0, clip)
    file = tmp_path / "reel.otio"
    file.write_text(json.dumps(timeline))
    opened = open_timeline(file)
    assert len(opened.notes) == (note is not None)
    assert all(note in each and "is known" not in each for each in opened.notes)
    other = find_clips(opened.timeline)[-1].picture
    assert (other.name, other.position_s) == ("other", 1)
    again = json.loads(restore_schemas(opened.timeline.clone().to_json_string()))
    assert again["tracks"]["children"][0]["children"][0] == clip


def test_a_newer_time_warp_counts() -> None:
    document = json.loads(make_clip(source=span(0, 24), prompt="rain").to_json_string()) | {"effects": [NEWER]}
    assert read_clip_source(parse_clip(json.dumps(document))).speed == 2


def test_an_object_that_contains_itself_is_refused() -> None:
    timeline = json.loads(make_timeline().to_json_string())
    timeline["OTIO_REF_ID"] = "T"
    timeline["metadata"] = {"self": {"OTIO_SCHEMA": "SerializableObjectRef.1", "id": "T"}}
    with pytest.raises(ProblemError, match="The timeline contains an object that contains itself"):
        parse_timeline(json.dumps(timeline))


def test_record_times_as_negative_track_starts_lose_no_clip() -> None:
    """OTIO's EDL adapter writes them like this, even into .otio files that were converted from an EDL."""
    timeline = make_timeline(make_clip("a", span(0, 24), prompt="rain"))
    timeline.tracks[0].source_range = span(-86400, 24)
    later = make_timeline(make_clip("b", span(0, 24), prompt="rain")).tracks[0].clone()
    later.source_range = span(-86448, 24)
    timeline.tracks.append(later)
    read = parse_timeline(timeline.to_json_string())
    assert timeline_start_s(read) == 3600
    assert [(clip.source.name, clip.position_s, clip.duration_s) for clip in find_prompted_clips(read)] == [
        ("a", 0, 1),
        ("b", 2, 1),
    ]


def test_a_time_warp_of_factor_1_is_accepted() -> None:
    clip = make_clip(source=span(0, 24))
    clip.effects.append(otio.schema.LinearTimeWarp(time_scalar=1.0))
    clip.effects.append(otio.schema.Effect(name="blur"))
    assert read_clip_source(clip).duration_s == 1


@pytest.mark.parametrize(
    "text",
    ["", "no json", "{}", "[]", "null", "3", '{"OTIO_SCHEMA": "Gap.1"}', "\0", "{" * 500],
)
def test_text_without_clip_or_timeline_is_refused(text: str) -> None:
    for parse in (parse_clip, parse_timeline):
        with pytest.raises(ProblemError) as caught:
            parse(text)
        assert caught.value.kind is ProblemKind.TIMELINE


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=8
    )
)
def test_any_metadata_gives_a_clip_or_a_clear_error(value: object) -> None:
    clip = make_clip(source=span(0, 24))
    document = json.loads(clip.to_json_string())
    document["metadata"] = {"rewas": value}
    timeline = json.loads(make_timeline().to_json_string())
    timeline["tracks"]["children"][0]["children"] = [document]
    try:
        find_prompted_clips(parse_timeline(json.dumps(timeline)))
    except ProblemError as problem:
        assert problem.what  # noqa: PT017
        assert problem.remedy  # noqa: PT017


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"OTIO_SCHEMA":"Stack.1","children":['])
def test_deeply_nested_text_does_not_crash_the_process(opening: str) -> None:
    for parse in (parse_clip, parse_timeline):
        with pytest.raises(ProblemError):
            parse(opening * 500_000)


def test_only_enabled_clips_with_a_prompt_on_video_tracks_are_found() -> None:
    off = make_clip("off", span(0, 24), prompt="rain")
    off.enabled = False
    timeline = make_timeline(make_clip("silent", span(0, 48)), off, make_clip("loud", span(0, 24), prompt="rain"))
    audio_track = otio.schema.Track(
        kind=otio.schema.TrackKind.Audio, children=[make_clip("stem", span(0, 9), prompt="rain")]
    )
    timeline.tracks.append(audio_track)
    disabled_track = otio.schema.Track(
        kind=otio.schema.TrackKind.Video, children=[make_clip("hidden", span(0, 9), prompt="a")]
    )
    disabled_track.enabled = False
    timeline.tracks.append(disabled_track)
    (found,) = find_prompted_clips(timeline)
    assert (found.source.name, found.position_s, found.settings.prompt) == ("loud", 3, "rain")


def test_a_transition_does_not_move_clips() -> None:
    dissolve = otio.schema.Transition(in_offset=time(6), out_offset=time(6))
    timeline = make_timeline(
        make_clip("a", span(10, 24), span(0, 100), "rain"), dissolve, make_clip("b", span(10, 48), span(0, 100), "wind")
    )
    places = [(clip.source.name, clip.position_s, clip.duration_s) for clip in find_prompted_clips(timeline)]
    assert places == [("a", 0, 1), ("b", 1, 2)]


def test_a_nested_clip_has_its_visible_position_and_range() -> None:
    inner = otio.schema.Track(kind=otio.schema.TrackKind.Video)
    inner.extend([otio.schema.Gap(duration=time(24)), make_clip("deep", span(48, 96), span(0, 240), "rain")])
    nested = otio.schema.Stack(name="nest", children=[inner], source_range=span(36, 48))
    (found,) = find_prompted_clips(make_timeline(make_clip("before", span(0, 72)), nested))
    # The stack shows 1.5 s to 3.5 s of its content, in which the clip begins at 1 s.
    assert found.position_s == 3
    assert found.duration_s == 2
    assert found.source.start_s == Fraction(5, 2)
    assert found.source.timecode_s == Fraction(5, 2)


def test_a_clip_outside_the_range_of_its_stack_is_skipped() -> None:
    inner = otio.schema.Track(kind=otio.schema.TrackKind.Video)
    inner.extend([make_clip("seen", span(0, 24)), make_clip("hidden", span(0, 24), prompt="rain")])
    nested = otio.schema.Stack(children=[inner], source_range=span(0, 24))
    assert find_prompted_clips(make_timeline(nested)) == []


def test_a_neighbour_without_a_duration_is_named() -> None:
    with pytest.raises(ProblemError, match=r'"b" has no known position\. The clip "unknown" has no duration'):
        find_prompted_clips(make_timeline(otio.schema.Clip(name="unknown"), make_clip("b", span(0, 24), prompt="rain")))


@pytest.mark.parametrize("prompt", ["", "   "])
def test_an_empty_prompt_on_a_timeline_is_refused(prompt: str) -> None:
    with pytest.raises(ProblemError, match='"shot" has an empty prompt'):
        find_prompted_clips(make_timeline(make_clip(source=span(0, 24), prompt=prompt)))


def test_a_broken_clip_without_a_prompt_is_ignored() -> None:
    bars = otio.schema.Clip(name="bars", source_range=span(0, 24))
    bars.media_reference = otio.schema.GeneratorReference(generator_kind="SMPTEBars")
    timeline = make_timeline(bars, make_clip("b", span(0, 24), prompt="rain"))
    assert [clip.position_s for clip in find_prompted_clips(timeline)] == [1]


def test_too_deep_nesting_is_refused() -> None:
    item: otio.core.Composable = make_clip(source=span(0, 24), prompt="rain")
    for _ in range(100):
        item = otio.schema.Stack(children=[item])
    with pytest.raises(ProblemError, match="too deeply"):
        find_prompted_clips(make_timeline(item))
