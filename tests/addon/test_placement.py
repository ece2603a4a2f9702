"""Channels of sounds, without Blender: named after the role, free and unlocked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_nle.timeline.placement import MAX_CHANNEL, NoFreeChannelError, Span, find_channel, find_channel_pair

LENGTHS = st.integers(1, 10_000)


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


channels = st.integers(1, MAX_CHANNEL)


@given(
    channel=channels,
    spans=st.lists(st.builds(Span, channels, st.integers(0, 20), st.integers(21, 40)), max_size=12),
    locked=st.sets(channels, max_size=5),
)
def test_a_picture_and_its_sound_get_the_nearest_free_channels(
    channel: int, spans: list[Span], locked: set[int]
) -> None:
    picture, sound = find_channel_pair(channel, start_frame=10, end_frame=30, occupied=spans, locked=locked)
    taken = {span.channel for span in spans if span.overlaps(10, 30)} | locked | {channel}
    assert picture != sound
    assert not {picture, sound} & taken
    if picture > channel:
        assert not [number for number in range(channel + 1, picture) if number not in taken]
    if sound < channel < picture:
        assert not [number for number in range(sound + 1, channel) if number not in taken]


def test_both_go_to_the_side_with_room() -> None:
    assert find_channel_pair(MAX_CHANNEL, start_frame=0, end_frame=9, occupied=[]) == (127, 126)
    assert find_channel_pair(1, start_frame=0, end_frame=9, occupied=[]) == (2, 3)
    full = [Span(number, 0, 9) for number in range(1, MAX_CHANNEL)]
    with pytest.raises(NoFreeChannelError):
        find_channel_pair(3, start_frame=0, end_frame=9, occupied=full)
    assert find_channel_pair(3, start_frame=9, end_frame=12, occupied=full) == (4, 2)
