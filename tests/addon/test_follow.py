"""How a sound follows changes of its picture, and which of the editor's own changes are kept."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_nle.timeline.follow import Position, SoundPosition, change_take, follow_picture, place_sound

FRAMES = st.integers(-200, 200)
PICTURE = Position(100, 110, 180)
"""Ten frames of content before it, and its sound under all of it."""
SOUND = Position(110, 110, 180)
SOUND_FRAMES = 70


def positions() -> st.SearchStrategy[Position]:
    return st.builds(
        lambda start, head, length: Position(start, start + head, start + head + length),
        FRAMES,
        st.integers(0, 99),
        st.integers(1, 100),
    )


@given(positions(), st.integers(-50, 50), st.integers(1, 150))
def test_a_placed_sound_is_under_its_picture_and_nowhere_else(picture: Position, alignment: int, frames: int) -> None:
    place = place_sound(picture, alignment, frames)
    content = range(picture.content_start_frame + alignment, picture.content_start_frame + alignment + frames)
    heard = sorted(set(content) & set(range(picture.start_frame, picture.end_frame)))
    assert place.position.content_start_frame == content.start
    assert place.is_hidden == (not heard)
    if heard:
        assert (place.position.start_frame, place.position.end_frame) == (heard[0], heard[-1] + 1)
    else:
        assert place.position.frames == 1


@given(positions(), positions())
def test_an_untouched_sound_ends_where_it_would_be_placed(old: Position, new: Position) -> None:
    frames = old.frames
    sound = place_sound(old, old.lead_in_frames, frames).position
    assert follow_picture(old, sound, new, sound, frames) == place_sound(new, old.lead_in_frames, frames)


@given(positions(), positions(), st.integers(-20, 20))
def test_following_twice_changes_nothing(old: Position, new: Position, moved: int) -> None:
    sound = place_sound(old, old.lead_in_frames, old.frames).position
    followed = follow_picture(old, sound, new, sound.moved(moved), old.frames).position
    again = follow_picture(new, followed, new, followed, old.frames)
    assert again.position == followed


@pytest.mark.parametrize(
    ("picture", "sound", "expected"),
    [
        (PICTURE.moved(5), SOUND, SOUND.moved(5)),
        (PICTURE.moved(5), SOUND.moved(5), SOUND.moved(5)),
        (PICTURE, SOUND.moved(3), SOUND.moved(3)),
        (replace(PICTURE, start_frame=130), SOUND, replace(SOUND, start_frame=130)),
        (replace(PICTURE, start_frame=130), replace(SOUND, start_frame=130), replace(SOUND, start_frame=130)),
        (replace(PICTURE, start_frame=105), SOUND, SOUND),
        (replace(PICTURE, end_frame=190), SOUND, SOUND),
        (replace(PICTURE, end_frame=150), SOUND, replace(SOUND, end_frame=150)),
        (PICTURE, replace(SOUND, end_frame=160), replace(SOUND, end_frame=160)),
        (replace(PICTURE, content_start_frame=95), SOUND, Position(105, 110, 175)),
    ],
    ids=[
        "moved",
        "moved together",
        "sound moved",
        "head trimmed",
        "both trimmed",
        "head extended",
        "tail extended",
        "tail trimmed",
        "sound trimmed",
        "slipped",
    ],
)
def test_the_sound_follows_its_picture(picture: Position, sound: Position, expected: Position) -> None:
    assert follow_picture(PICTURE, SOUND, picture, sound, SOUND_FRAMES) == SoundPosition(expected)


def test_a_handle_that_the_editor_has_set_stays_inside_the_picture() -> None:
    short = replace(SOUND, start_frame=120, end_frame=160)
    trimmed = replace(PICTURE, start_frame=115, end_frame=170)
    assert follow_picture(PICTURE, short, trimmed, short, SOUND_FRAMES) == SoundPosition(short)
    narrow = replace(PICTURE, start_frame=130, end_frame=150)
    assert follow_picture(PICTURE, short, narrow, short, SOUND_FRAMES).position == Position(110, 130, 150)


def test_another_take_keeps_the_handles_and_the_shift() -> None:
    kept = {"old_frames": SOUND_FRAMES, "shift_frames": 0, "new_frames": SOUND_FRAMES}
    assert change_take(PICTURE, SOUND, **kept) == SoundPosition(SOUND)
    assert change_take(PICTURE, replace(SOUND, end_frame=150), **kept).position.end_frame == 150
    assert change_take(PICTURE, SOUND.moved(2), **kept) == SoundPosition(SOUND.moved(2))
    # The new take begins ten frames earlier, before the picture, and ends with it.
    longer = change_take(PICTURE, SOUND, old_frames=SOUND_FRAMES, shift_frames=-10, new_frames=80)
    assert longer == SoundPosition(Position(100, 110, 180))
    shorter = change_take(PICTURE, SOUND, old_frames=SOUND_FRAMES, shift_frames=20, new_frames=30)
    assert shorter == SoundPosition(Position(130, 130, 160))
