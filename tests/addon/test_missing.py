"""A strip that was extended shows which frames have no sound, and which steps complete its take."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from rewas_nle.timeline.follow import Position
from rewas_nle.timeline.missing import fill_steps, missing_ranges, offset_s, prompt_of
from rewas_nle.timeline.strips import SelectedClip
from rewas_nle.timeline.takes import Stem, Take

RATES = st.sampled_from([Fraction(24), Fraction(25), Fraction(24000, 1001), Fraction(30000, 1001)])


def take_of(lead_in: int, frames: int, rate: Fraction = Fraction(25), roles: tuple[str, ...] = ("primary",)) -> Take:
    stems = tuple(Stem(role, f"/{role}.wav", 48000, 1, 1) for role in roles)
    return Take(id="a", scene_rate=rate, lead_in_frames=lead_in, frames=frames, stems=stems)


def clip_of(position: Position, rate: Fraction) -> SelectedClip:
    return SelectedClip(
        name="clip",
        path="/clip.mp4",
        prompt="rain",
        start_frame=position.start_frame,
        frames=position.frames,
        content_start_frame=position.content_start_frame,
        rate=rate,
        source_start_s=position.lead_in_frames / rate,
        source_duration_s=position.frames / rate,
        media_frames=1000,
        media_rate=rate,
    )


POSITIONS = st.builds(
    lambda content, head, length: Position(content, content + head, content + head + length),
    st.integers(-500, 500),
    st.integers(0, 200),
    st.integers(1, 200),
)


@given(POSITIONS, st.integers(0, 200), st.integers(1, 200))
def test_missing_and_existing_sound_cover_the_strip_exactly(picture: Position, lead_in: int, frames: int) -> None:
    take = take_of(lead_in, frames)
    shown = set(range(picture.lead_in_frames, picture.lead_out_frames))
    missing = [set(range(part.start_frame, part.end_frame)) for part in missing_ranges(picture, take)]
    assert sum(map(len, missing)) == len(set().union(*missing))
    assert set().union(*missing) == shown - set(range(lead_in, lead_in + frames))


@given(POSITIONS, st.integers(0, 200), st.integers(1, 200), RATES)
def test_the_steps_generate_the_missing_ranges_of_each_stem(
    picture: Position, lead_in: int, frames: int, rate: Fraction
) -> None:
    take, clip = take_of(lead_in, frames, rate, ("primary", "ambience")), clip_of(picture, rate)
    steps = fill_steps(take, clip)
    missing = missing_ranges(picture, take)
    overlaps = picture.lead_in_frames < lead_in + frames and lead_in < picture.lead_out_frames
    assert [step.role for step in steps] == [role for role in take.roles for _ in missing if overlaps]
    for role in take.roles if steps else ():
        ranges = [(step.start_s, step.end_s) for step in steps if step.role == role]
        expected = [
            ((part.start_frame - picture.lead_in_frames) / rate, (part.end_frame - picture.lead_in_frames) / rate)
            for part in missing
        ]
        assert sorted(ranges) == sorted(expected)
        # The sound must reach each range, or the server refuses the gap: the head comes after the tail.
        reached_s = offset_s(take, clip) + frames / rate
        for start_s, end_s in ranges:
            assert start_s <= reached_s
            reached_s = max(reached_s, end_s)


def test_each_stem_has_the_prompt_of_its_layer() -> None:
    take = Take(
        id="a",
        scene_rate=Fraction(25),
        lead_in_frames=0,
        frames=1,
        stems=(),
        prompt="a dog barks",
        settings={"layers": [{"name": "ambience", "prompt": "rain"}]},
    )
    assert prompt_of(take, "primary") == "a dog barks"
    assert prompt_of(take, "ambience") == "rain"
