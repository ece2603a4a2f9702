"""Ranges of takes that are generated again."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_nle.core.messages import GenerationInfo, ReceivedTake, StemFile, StemsReceived
from rewas_nle.core.received_takes import build_takes
from rewas_nle.core.sound_settings import KeptSounds, Regeneration, SoundSettings
from rewas_nle.timeline.ranges import MarkedRange, clip_of_take, range_between_markers, seconds_in_clip
from rewas_nle.timeline.strips import Proxy, Refusal, SelectedClip
from rewas_nle.timeline.takes import Stem, StemPack, Take, UsedRecording

CLIP = SelectedClip(
    "ball.mp4", "/film/ball.mp4", "a ball", 30, 24, 1, Fraction(24), Fraction(29, 24), Fraction(1), 480, Fraction(24)
)
TAKE = Take(
    "a" * 32,
    Fraction(24),
    10,
    48,
    (),
    number=2,
    media="/film/ball.mp4",
    source_start_s=Fraction(10, 24),
    source_duration_s=Fraction(2),
)


def test_the_clip_is_that_of_the_take_after_the_strip_was_trimmed() -> None:
    clip = clip_of_take(CLIP, TAKE)
    assert isinstance(clip, SelectedClip)
    assert (clip.start_frame, clip.frames) == (11, 48)
    assert (clip.source_start_s, clip.source_duration_s) == (Fraction(10, 24), 2)
    assert seconds_in_clip(MarkedRange(23, 35), clip) == (Fraction(1, 2), Fraction(1))


@pytest.mark.parametrize("change", [{"media": "/film/other.mp4"}, {"scene_rate": Fraction(25)}])
def test_other_media_or_another_rate_are_refused(change: dict[str, object]) -> None:
    assert isinstance(clip_of_take(CLIP, replace(TAKE, **change)), Refusal)  # type: ignore[arg-type]


@given(st.integers(-100, 200), st.integers(1, 100))
def test_a_range_stays_within_its_clip(start: int, frames: int) -> None:
    found = seconds_in_clip(MarkedRange(start, start + frames), CLIP)
    inside = start + frames > CLIP.start_frame and start < CLIP.start_frame + CLIP.frames
    assert (found is not None) == inside
    if found is not None:
        assert 0 <= found[0] < found[1] <= CLIP.source_duration_s


def test_a_strip_whose_picture_blender_renders_must_show_the_same_range() -> None:
    proxy = replace(CLIP, path="/proxies/ball.mp4", proxy=Proxy("plays backwards", "/film/ball.mp4"))
    same = replace(TAKE, lead_in_frames=CLIP.start_frame - CLIP.content_start_frame, frames=CLIP.frames)
    assert clip_of_take(proxy, same) == proxy
    trimmed = clip_of_take(proxy, replace(same, frames=12))
    assert isinstance(trimmed, Refusal)
    assert "has been trimmed since Take 2" in trimmed.what
    other = clip_of_take(proxy, replace(same, media="/film/dog.mp4"))
    assert isinstance(other, Refusal)
    assert "has changed" in other.what


def test_the_range_between_the_markers_around_the_current_frame() -> None:
    assert range_between_markers([40, 10, 25, 10], 25) == MarkedRange(25, 40)
    assert range_between_markers([40, 10, 25], 24) == MarkedRange(10, 25)
    assert range_between_markers([40, 10], 40) is None
    assert range_between_markers([40], 30) is None
    assert range_between_markers([], 30) is None


def test_a_regenerated_take_keeps_the_other_stems_and_remembers_its_settings() -> None:
    from pathlib import Path

    stem = StemFile("primary", Path("/film/new.wav"), 48000, 1, 96000)
    received = StemsReceived(
        "key",
        "job",
        GenerationInfo("pack", "1", "MIT", 2, 1.0, 1.0),
        Fraction(2),
        (ReceivedTake(1, 7, (stem,), 0, None),),
    )
    ambience = Stem("ambience", Path("/film/ambience.wav"), 48000, 1, 96000)
    again = Regeneration(Path("/film/old.wav"), Fraction(0), Fraction(1))
    kept = KeptSounds(
        (ambience,), (UsedRecording("ambience", "wind.wav"),), (StemPack("ambience", "foley", "2", "CC0"),)
    )
    (take,) = build_takes(CLIP, received, SoundSettings(seed=7, negative_prompt="speech", regenerate=again, kept=kept))
    assert take.roles == ("primary", "ambience")
    assert (take.recordings, take.layer_packs) == (kept.recordings, kept.packs)
    assert take.pack_of("primary") == StemPack("primary", "pack", "1", "MIT")
    assert take.pack_of("ambience").name == "foley"
    assert take.settings["chosen"]["negative_prompt"] == "speech"
    assert take.settings["chosen"]["regenerate"] is None
    assert Take.from_json(take.to_json()) == take
