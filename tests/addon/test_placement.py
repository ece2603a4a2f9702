"""Placement of sound, without Blender: frame-accurate under its clip, on a free channel, never over another strip."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_nle.timeline.placement import NoFreeChannelError, SoundPosition, Span, find_channel, position_under_clip
from rewas_nle.timeline.strips import SelectedClip

FRAMES = st.integers(-100_000, 100_000)
LENGTHS = st.integers(1, 10_000)


def clip_at(start_frame: int, frames: int, content_start_frame: int) -> SelectedClip:
    rate = Fraction(24000, 1001)
    return SelectedClip(
        name="ball.mp4",
        path="/media/ball.mp4",
        prompt="a ball",
        start_frame=start_frame,
        frames=frames,
        content_start_frame=content_start_frame,
        rate=rate,
        source_start_s=(start_frame - content_start_frame) / rate,
        source_duration_s=frames / rate,
        media_frames=start_frame - content_start_frame + frames,
        media_rate=rate,
    )


@st.composite
def clips(draw: st.DrawFn) -> SelectedClip:
    start_frame = draw(FRAMES)
    return clip_at(start_frame, draw(LENGTHS), start_frame - draw(st.integers(0, 5_000)))


@given(clips())
def test_sound_has_the_frames_of_an_unchanged_strip(clip: SelectedClip) -> None:
    place = position_under_clip(
        clip,
        start_frame=clip.start_frame,
        end_frame=clip.start_frame + clip.frames,
        content_start_frame=clip.content_start_frame,
    )
    assert place == SoundPosition(clip.start_frame, clip.frames, clip.start_frame, clip.start_frame + clip.frames)
    assert not place.is_trimmed


@given(clips(), st.integers(-50_000, 50_000))
def test_sound_moves_with_its_strip(clip: SelectedClip, moved_frames: int) -> None:
    place = position_under_clip(
        clip,
        start_frame=clip.start_frame + moved_frames,
        end_frame=clip.start_frame + clip.frames + moved_frames,
        content_start_frame=clip.content_start_frame + moved_frames,
    )
    assert place is not None
    assert place.start_frame == place.content_start_frame == clip.start_frame + moved_frames
    assert place.end_frame - place.start_frame == place.content_frames == clip.frames


@given(clips(), st.integers(-500, 500), st.integers(-500, 500), st.integers(-500, 500))
def test_sound_stays_within_its_original_frames(
    clip: SelectedClip, moved_frames: int, left_frames: int, right_frames: int
) -> None:
    start_frame = clip.start_frame + moved_frames + left_frames
    end_frame = clip.start_frame + clip.frames + moved_frames + right_frames
    place = position_under_clip(
        clip,
        start_frame=start_frame,
        end_frame=end_frame,
        content_start_frame=clip.content_start_frame + moved_frames,
    )
    original = range(clip.start_frame + moved_frames, clip.start_frame + moved_frames + clip.frames)
    shown = sorted(set(original) & set(range(start_frame, max(start_frame, end_frame))))
    if place is None:
        assert not shown
    else:
        assert [place.start_frame, place.end_frame - 1] == [shown[0], shown[-1]]
        assert place.content_start_frame == original.start


SPANS = st.lists(
    st.builds(
        lambda channel, start, length: Span(channel, start, start + length),
        st.integers(1, 12),
        st.integers(-300, 300),
        st.integers(1, 200),
    ),
    max_size=40,
)
NAMES = st.dictionaries(st.integers(1, 12), st.sampled_from(["primary", "primary 2", "Ambience", "dialogue"]))


@given(SPANS, NAMES, st.sets(st.integers(1, 12)), st.integers(-300, 300), LENGTHS)
def test_the_channel_is_free_unlocked_and_named_after_the_role(
    occupied: list[Span], names: dict[int, str], locked: set[int], start_frame: int, frames: int
) -> None:
    end_frame = start_frame + frames
    chosen = find_channel(
        "primary", start_frame=start_frame, end_frame=end_frame, occupied=occupied, names=names, locked=locked
    )
    assert chosen.channel not in locked
    assert not any(span.channel == chosen.channel and span.overlaps(start_frame, end_frame) for span in occupied)
    assert chosen.name.startswith("primary")
    assert names.get(chosen.channel, chosen.name) == chosen.name


@pytest.mark.parametrize(
    ("names", "occupied", "expected"),
    [
        ({}, [], (1, "primary")),
        ({}, [Span(1, 0, 10)], (2, "primary")),
        ({4: "primary"}, [Span(1, 0, 10)], (4, "primary")),
        ({4: "Primary"}, [Span(4, 50, 60)], (4, "Primary")),
        ({4: "primary"}, [Span(4, 5, 6)], (1, "primary 2")),
        ({4: "primary", 7: "primary 2"}, [Span(4, 0, 9)], (7, "primary 2")),
        ({1: "dialogue"}, [Span(2, 90, 95)], (3, "primary")),
    ],
)
def test_a_role_reuses_its_channels(names: dict[int, str], occupied: list[Span], expected: tuple[int, str]) -> None:
    chosen = find_channel("primary", start_frame=0, end_frame=10, occupied=occupied, names=names)
    assert (chosen.channel, chosen.name) == expected


def test_a_full_timeline_is_reported() -> None:
    everywhere = [Span(channel, 0, 10) for channel in range(1, 129)]
    with pytest.raises(NoFreeChannelError):
        find_channel("primary", start_frame=5, end_frame=6, occupied=everywhere, names={})
    assert find_channel("primary", start_frame=10, end_frame=11, occupied=everywhere, names={}).channel == 1
