"""The walk through a timeline: which clips are visible, where, and which frames of their media."""

from __future__ import annotations

from fractions import Fraction

import opentimelineio as otio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_api.errors import ProblemError
from rewas_server.otio.clips import ClipSource
from rewas_server.otio.pictures import Picture, find_pictures

RATE = 24


def time(frames: float, rate: float = RATE) -> otio.opentime.RationalTime:
    return otio.opentime.RationalTime(frames, rate)


def span(start: float, frames: float, rate: float = RATE) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(time(start, rate), time(frames, rate))


def shot(name: str, start: float, frames: float, speed: float | None = None, length: int = 10_000) -> otio.schema.Clip:
    """A clip of media of `length` frames, whose timecode begins at 0."""
    reference = otio.schema.ExternalReference(f"/media/{name}.mov", span(0, length))
    clip = otio.schema.Clip(name, reference, span(start, frames))
    if speed is not None:
        clip.effects.append(warp(speed))
    return clip


def warp(speed: float) -> otio.schema.LinearTimeWarp:
    return otio.schema.FreezeFrame() if speed == 0 else otio.schema.LinearTimeWarp(time_scalar=speed)


def gap(frames: float) -> otio.schema.Gap:
    return otio.schema.Gap(source_range=span(0, frames))


def track(*items: otio.core.Composable, name: str = "", source: otio.opentime.TimeRange | None = None):
    found = otio.schema.Track(name, kind=otio.schema.TrackKind.Video, source_range=source)
    found.extend(items)
    return found


def stack(*items: otio.core.Composable, source: otio.opentime.TimeRange | None = None, speed: float | None = None):
    found = otio.schema.Stack("nest", source_range=source)
    found.extend(items)
    if speed is not None:
        found.effects.append(warp(speed))
    return found


def reel(*tracks: otio.core.Composable) -> otio.schema.Timeline:
    timeline = otio.schema.Timeline("reel")
    timeline.tracks.extend(tracks)
    return timeline


def seen(timeline: otio.schema.Timeline, visible: str = "topmost") -> list[tuple[str, int, int, int]]:
    """Name, part, first and last frame of each visible picture."""
    found = [picture for picture in find_pictures(timeline, visible) if picture.source is not None]
    begins = [int(picture.position_s * RATE) for picture in found]
    lengths = [int(picture.duration_s * RATE) for picture in found]
    return [(p.name, p.part, begin, begin + length) for p, begin, length in zip(found, begins, lengths, strict=True)]


def only(timeline: otio.schema.Timeline) -> Picture:
    (picture,) = find_pictures(timeline)
    assert picture.problem is None, picture.problem
    return picture


def media_frames(source: ClipSource) -> list[int]:
    """The media frame that is seen at the middle of each frame of a clip."""
    assert source.duration_s is not None
    count = int(source.duration_s * RATE)
    middles = (Fraction(2 * index + 1, 2 * RATE) for index in range(count))
    return [int((source.start_s + middle * source.speed) * RATE // 1) for middle in middles]


# What covers what


def test_the_topmost_picture_hides_those_below_it() -> None:
    timeline = reel(track(shot("below", 0, 48)), track(shot("above", 0, 48)))
    assert seen(timeline) == [("above", 1, 0, 48)]
    hidden = next(picture for picture in find_pictures(timeline) if picture.name == "below")
    assert hidden.hidden == "It is covered by the tracks above it."
    assert hidden.position_s == 0


def test_a_clip_that_is_covered_in_its_middle_has_two_parts() -> None:
    timeline = reel(track(shot("below", 100, 100)), track(gap(40), shot("above", 0, 20)))
    assert seen(timeline) == [("below", 1, 0, 40), ("above", 1, 40, 60), ("below", 2, 60, 100)]
    starts = [p.source.start_s * RATE for p in find_pictures(timeline) if p.name == "below" and p.source is not None]
    assert starts == [100, 160]


def test_a_half_covered_clip_is_seen_where_nothing_is_above_it() -> None:
    timeline = reel(track(shot("below", 10, 48)), track(shot("above", 0, 24)))
    assert seen(timeline) == [("above", 1, 0, 24), ("below", 1, 24, 48)]
    below = find_pictures(timeline)[1]
    assert below.source is not None
    assert (below.source.start_s, below.source.timecode_s) == (Fraction(34, 24), Fraction(34, 24))
    assert below.clip_begin_s == 0


def test_disabled_clips_tracks_and_generators_cover_nothing() -> None:
    off, title = shot("off", 0, 48), otio.schema.Clip("title", otio.schema.GeneratorReference("text"), span(0, 48))
    off.enabled = False
    above = track(shot("above", 0, 48), name="V3")
    above.enabled = False
    timeline = reel(track(shot("below", 0, 48)), track(off), above, track(title))
    assert seen(timeline) == [("below", 1, 0, 48)]
    reasons = {picture.name: picture.hidden for picture in find_pictures(timeline)}
    assert reasons == {"below": "", "off": "It is disabled.", "above": 'The track "V3" is disabled.', "title": ""}


def test_offline_media_cover_the_tracks_below() -> None:
    offline = otio.schema.Clip("offline", otio.schema.MissingReference(), span(0, 24))
    assert seen(reel(track(shot("below", 0, 48)), track(offline))) == [("below", 1, 24, 48)]


def test_all_clips_can_be_chosen() -> None:
    timeline = reel(track(shot("below", 0, 48)), track(shot("above", 0, 24)))
    assert seen(timeline, "all") == [("below", 1, 0, 48), ("above", 1, 0, 24)]


@pytest.mark.parametrize("wanted", ["Main", "2"])
def test_one_track_can_be_chosen_by_name_or_number(wanted: str) -> None:
    sound = otio.schema.Track("A1", [shot("sound", 0, 48)], kind=otio.schema.TrackKind.Audio)
    main = track(shot("main", 0, 24), name="Main")
    timeline = reel(track(shot("below", 0, 48)), sound, main, track(shot("top", 0, 48)))
    assert seen(timeline, wanted) == [("main", 1, 0, 24)]
    others = {picture.name: picture.hidden for picture in find_pictures(timeline, wanted) if picture.name != "main"}
    assert others == dict.fromkeys(("below", "top"), "Another track was chosen.")


@pytest.mark.parametrize(
    ("wanted", "what"), [("V9", "no video track"), ("0", "no video track"), ("B", "2 video tracks")]
)
def test_a_track_that_does_not_exist_is_named_with_those_that_do(wanted: str, what: str) -> None:
    timeline = reel(track(shot("a", 0, 24), name="B"), track(shot("b", 0, 24), name="B"), track(shot("c", 0, 24)))
    with pytest.raises(ProblemError, match=f'The timeline "reel" has {what} "{wanted}"') as caught:
        find_pictures(timeline, wanted)
    assert caught.value.remedy == "Choose one of its video tracks by number: 1 (B), 2 (B), 3 (V3)."


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30), st.booleans()), min_size=0, max_size=5),
        min_size=1,
        max_size=4,
    )
)
def test_each_frame_is_seen_once_and_from_the_topmost_clip(layout: list[list[tuple[int, int, bool]]]) -> None:
    expected: dict[int, str] = {}
    tracks = []
    for number, items in enumerate(layout):
        children, begin = [], 0
        for index, (space, frames, enabled) in enumerate(items):
            name = f"{number}.{index}"
            clip = shot(name, 0, frames)
            clip.enabled = enabled
            children += [gap(space), clip]
            begin += space
            if enabled:
                expected.update(dict.fromkeys(range(begin, begin + frames), name))
            begin += frames
        tracks.append(track(*children))
    found: dict[int, str] = {}
    for name, _, first, end in seen(reel(*tracks)):
        for frame in range(first, end):
            assert frame not in found
            found[frame] = name
    assert found == expected


# Time effects


@pytest.mark.parametrize(
    ("speed", "frames"),
    [
        (1, [100, 101, 102, 103]),
        (2, [101, 103, 105, 107]),
        (0.5, [100, 100, 101, 101]),
        (0, [100, 100, 100, 100]),
        (-1, [103, 102, 101, 100]),
        (-0.5, [101, 101, 100, 100]),
    ],
)
def test_a_retimed_clip_shows_the_media_at_its_speed(speed: float, frames: list[int]) -> None:
    picture = only(reel(track(shot("a", 100, 4, speed))))
    assert picture.source is not None
    assert (picture.position_s, picture.duration_s, picture.source.speed) == (0, Fraction(4, RATE), Fraction(speed))
    assert media_frames(picture.source) == frames


def test_speeds_of_a_clip_and_its_parents_multiply() -> None:
    # The nest shows its second 12 frames at double speed. Inside it, the clip plays at half speed.
    nest = stack(track(shot("before", 0, 12), shot("a", 100, 48, 0.5)), source=span(12, 12), speed=2)
    picture = next(found for found in find_pictures(reel(track(gap(24), nest))) if found.name == "a")
    assert picture.source is not None
    assert (picture.position_s, picture.duration_s, picture.source.speed) == (1, Fraction(1, 2), 1)
    assert media_frames(picture.source) == list(range(100, 112))


def test_a_reversed_nest_shows_its_clips_backwards_from_the_last() -> None:
    nest = stack(track(shot("a", 100, 4), shot("b", 200, 4)), source=span(2, 4), speed=-1)
    pictures = find_pictures(reel(track(nest)))
    assert [(p.name, p.position_s * RATE, p.duration_s * RATE) for p in pictures] == [("b", 0, 2), ("a", 2, 2)]
    assert [media_frames(p.source) for p in pictures if p.source] == [[201, 200], [103, 102]]


def test_a_reversed_clip_in_a_reversed_nest_plays_forwards() -> None:
    nest = stack(track(shot("a", 100, 4, -1)), source=span(0, 4), speed=-1)
    picture = only(reel(track(nest)))
    assert picture.source is not None
    assert picture.source.speed == 1
    assert media_frames(picture.source) == [100, 101, 102, 103]


@pytest.mark.parametrize(("speed", "frame"), [(None, 102), (2, 104), (-1, 105)])
def test_a_frozen_nest_shows_one_frame_of_one_clip(speed: float | None, frame: int) -> None:
    nest = stack(track(shot("before", 0, 4), shot("a", 100, 8, speed), shot("after", 0, 8)), source=span(6, 3), speed=0)
    pictures = find_pictures(reel(track(nest)))
    picture = next(found for found in pictures if found.name == "a")
    assert picture.source is not None
    assert (picture.duration_s, picture.source.speed) == (Fraction(3, RATE), 0)
    assert media_frames(picture.source) == [frame] * 3
    assert {found.name for found in pictures if found.hidden} == {"before", "after"}


speeds = st.sampled_from([None, -2.0, -1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 2.0, 3.0])


@given(
    inner=st.lists(st.tuples(st.integers(1, 12), speeds), min_size=1, max_size=4),
    window=st.none() | st.tuples(st.integers(0, 20), st.integers(1, 20)),
    nest_speed=speeds,
    outer=st.none() | st.tuples(st.integers(0, 10), st.integers(1, 20)),
    outer_speed=speeds,
)
def test_nested_windows_and_speeds_show_what_a_frame_by_frame_walk_shows(
    inner: list[tuple[int, float | None]],
    window: tuple[int, int] | None,
    nest_speed: float | None,
    outer: tuple[int, int] | None,
    outer_speed: float | None,
) -> None:
    clips = [shot(str(index), 1000 * (index + 1), frames, speed) for index, (frames, speed) in enumerate(inner)]
    nest = stack(track(*clips), source=window and span(*window), speed=nest_speed)
    whole = stack(track(nest), source=outer and span(*outer), speed=outer_speed)

    def local(time_s: Fraction, frames: int, first: int, speed: float | None) -> Fraction:
        """Map a time of an item to one of its content."""
        rate = Fraction(1 if speed is None else speed)
        return first + time_s * rate if rate >= 0 else first - frames * rate + time_s * rate

    def media_at(time_s: Fraction) -> tuple[str, Fraction] | None:
        """The clip and the time of its media that a time of the timeline shows, in frames."""
        nest_frames = sum(frames for frames, _ in inner)
        inside = local(
            time_s, outer[1] if outer else window[1] if window else nest_frames, outer[0] if outer else 0, outer_speed
        )
        length = window[1] if window else nest_frames
        if not 0 <= inside < length:
            return None
        content, begin = local(inside, length, window[0] if window else 0, nest_speed), 0
        for index, (frames, speed) in enumerate(inner):
            if begin <= content < begin + frames:
                return str(index), local(content - begin, frames, 1000 * (index + 1), speed)
            begin += frames
        return None

    pictures = [picture for picture in find_pictures(reel(whole)) if picture.source is not None]
    shown_frames = outer[1] if outer else window[1] if window else sum(frames for frames, _ in inner)
    # An odd denominator keeps the times off the borders of frames at every speed.
    for step in range(shown_frames * 3):
        time_s = Fraction(step, 3) + Fraction(1, 7 * 3)
        expected = media_at(time_s)
        at = [
            (
                picture.name,
                (picture.source.start_s + (time_s / RATE - picture.position_s) * picture.source.speed) * RATE,
            )
            for picture in pictures
            if picture.position_s <= time_s / RATE < picture.position_s + picture.duration_s
        ]
        if expected is None:
            assert at == []
            continue
        assert [name for name, _ in at] == [expected[0]]
        # A frozen picture that was reversed shows the frame that ends there.
        assert abs(at[0][1] - expected[1]) <= (1 if 0 in (nest_speed, outer_speed) else 0)


# Nesting, gaps and ranges


def test_the_range_of_a_track_trims_its_clips() -> None:
    timeline = reel(track(shot("a", 0, 24), shot("b", 100, 24), source=span(12, 24)))
    assert seen(timeline) == [("a", 1, 0, 12), ("b", 1, 12, 24)]


def test_positions_are_exact_at_mixed_rates() -> None:
    ntsc = otio.schema.Clip("ntsc", otio.schema.ExternalReference("/m/n.mov"), span(0, 1001, 23.976024627685547))
    film = otio.schema.Clip("film", otio.schema.ExternalReference("/m/f.mov"), span(0, 10, 25))
    pictures = find_pictures(reel(track(gap(1), ntsc, film)))
    assert [picture.position_s for picture in pictures] == [
        Fraction(1, 24),
        Fraction(1, 24) + Fraction(1001 * 1001, 24000),
    ]


@pytest.mark.parametrize("excess", [0.001, 0.5, 1])
def test_a_range_beyond_its_media_by_up_to_a_frame_is_shifted_into_it(excess: float) -> None:
    late, early = shot("late", 90 + excess, 10, length=100), shot("early", -excess, 10, length=100)
    for clip, start in ((late, 90), (early, 0)):
        picture = only(reel(track(clip)))
        assert picture.source is not None
        assert (picture.source.start_s * RATE, picture.duration_s * RATE) == (start, 10)


def test_a_range_beyond_its_media_is_refused_for_this_clip_only() -> None:
    timeline = reel(track(shot("bad", 95, 10, length=100), shot("good", 0, 10)))
    bad, good = find_pictures(timeline)
    assert good.source is not None
    assert bad.problem is not None
    assert bad.problem.what == (
        'The clip "bad" shows 00:00:03:23 to 00:00:04:09 of its media, which spans 00:00:00:00 to 00:00:04:04.'
    )


def test_only_what_is_visible_must_lie_within_the_media() -> None:
    timeline = reel(track(shot("below", 90, 20, length=100)), track(gap(10), shot("above", 0, 10)))
    assert seen(timeline) == [("below", 1, 0, 10), ("above", 1, 10, 20)]


def test_a_zero_length_clip_is_listed_and_moves_nothing() -> None:
    pictures = find_pictures(reel(track(shot("none", 0, 0), shot("a", 0, 24))))
    assert [(p.name, p.position_s, p.hidden) for p in pictures] == [("none", 0, "It has no duration."), ("a", 0, "")]


def test_one_item_without_a_duration_stops_only_what_follows_it() -> None:
    unknown = otio.schema.Clip("unknown", otio.schema.MissingReference())
    timeline = reel(track(shot("a", 0, 24), unknown, shot("c", 0, 24)), track(gap(48), shot("d", 0, 24)))
    problems = {picture.name: picture.problem and picture.problem.what for picture in find_pictures(timeline)}
    assert problems == {
        "a": None,
        "unknown": 'The clip "unknown" has no duration.',
        "c": 'The clip "c" has no known position. The clip "unknown" has no duration.',
        "d": None,
    }


def test_too_deep_nesting_is_refused_for_its_clips_only() -> None:
    item: otio.core.Composable = shot("deep", 0, 24)
    for _ in range(100):
        item = stack(item)
    pictures = find_pictures(reel(track(item), track(gap(24), shot("a", 0, 24))))
    assert [(p.name, p.problem is None) for p in pictures] == [("a", True), ("nest", False)]


def test_the_path_leads_to_the_clip() -> None:
    timeline = reel(track(gap(5), stack(track(shot("a", 0, 24)))))
    (picture,) = find_pictures(timeline)
    item: otio.core.Composable = timeline.tracks
    for index in picture.path:
        item = item[index]
    assert item.name == "a"
    assert picture.path == (0, 1, 0, 0)
    assert [type(parent).__name__ for parent in picture.parents] == ["Stack", "Track", "Stack", "Track"]


def test_a_clip_on_the_timeline_without_a_track_is_found() -> None:
    assert seen(reel(shot("a", 0, 24))) == [("a", 1, 0, 24)]
