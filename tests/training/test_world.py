"""Synthetic scenes: video, sound and caption agree, and the class does not determine the energy."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rewas_engine.conditioning.levels import normalise
from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig
from rewas_engine.curves.energy import SILENCE_NATS
from rewas_engine.errors import SettingsError
from rewas_engine.world import (
    ALL_CLASSES,
    CLASS_NAMES,
    EVENT_PATTERNS,
    PATTERNS,
    STRUCK_CLASSES,
    SUSTAINED_CLASSES,
    UNSEEN_STRUCK_CLASSES,
    UNSEEN_SUSTAINED_CLASSES,
    Scene,
    captions,
    has_picture,
    held_out_captions,
    render_sound,
    render_video,
    sample_scene,
)
from rewas_engine.world.motion import Strikes
from rewas_engine.world.vocabulary import further_captions

FRONT_END = AudioFrontEnd(MelConfig())


def energy_of(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    return FRONT_END.measure_energy(normalise(sound)).values


def scene_with_silence_and_events(class_name: str, first_seed: int = 0) -> Scene:
    """A dry scene with at least one second of digital silence before its first event."""
    for seed in range(first_seed, first_seed + 500):
        scene = replace(sample_scene(seed, class_name, pattern="few"), ambience=None)
        dry = scene.reverb_s == 0 and scene.floor == 0
        if dry and scene.event_times_s[0] > 1.0 and scene.event_strengths.max() > 0.6:
            return scene
    raise AssertionError(f"no such scene of {class_name}")


@given(seed=st.integers(0, 10**6))
@settings(max_examples=8, deadline=None)
def test_the_same_seed_gives_the_same_clip(seed: int) -> None:
    first, again = sample_scene(seed), sample_scene(seed)
    assert (first.class_name, first.caption, first.pattern) == (again.class_name, again.caption, again.pattern)
    assert np.array_equal(first.event_times_s, again.event_times_s)
    assert np.array_equal(render_sound(first), render_sound(again))
    assert np.array_equal(render_video(first, width=32, height=32), render_video(again, width=32, height=32))


def test_seeds_give_different_clips() -> None:
    sounds = {render_sound(sample_scene(seed, "drum_hit", pattern="regular")).tobytes() for seed in range(8)}
    assert len(sounds) == 8


@pytest.mark.parametrize("class_name", ALL_CLASSES)
def test_every_class_sounds_in_every_pattern(class_name: str) -> None:
    for index, pattern in enumerate(PATTERNS):
        scene = sample_scene(100 + index, class_name, pattern=pattern)
        sound = render_sound(scene)
        assert sound.shape == (81_920,)
        assert sound.dtype == np.float32
        assert np.isfinite(sound).all()
        assert 0.0005 < np.abs(sound).max() <= 1.0
        assert ((scene.envelope >= 0) & (scene.envelope <= 1)).all()
        assert (np.diff(scene.event_times_s) > 0).all()


@pytest.mark.parametrize("class_name", ALL_CLASSES)
def test_energy_rises_from_silence_at_the_first_event(class_name: str) -> None:
    scene = scene_with_silence_and_events(class_name)
    energy = energy_of(render_sound(scene))
    onset = int(scene.event_times_s[0] * 100)
    # A mel frame is 64 ms wide, so it includes an event up to 4 frames early.
    assert energy[: onset - 5] == pytest.approx(SILENCE_NATS, abs=0.02)
    assert energy[onset : onset + 6].max() > SILENCE_NATS + 2.5


@pytest.mark.parametrize("class_name", STRUCK_CLASSES + UNSEEN_STRUCK_CLASSES)
def test_a_strike_sounds_at_its_contact(class_name: str) -> None:
    scene = scene_with_silence_and_events(class_name)
    loud = np.abs(render_sound(scene)) > 1e-5
    assert np.argmax(loud) / 16_000 == pytest.approx(scene.event_times_s[0], abs=0.002)


@pytest.mark.parametrize("class_name", SUSTAINED_CLASSES + UNSEEN_SUSTAINED_CLASSES)
def test_energy_follows_a_free_envelope(class_name: str) -> None:
    scenes = (sample_scene(seed, class_name, pattern="ramp") for seed in range(99))
    scene = next(s for s in scenes if s.reverb_s == 0 and s.ambience is None)
    energy = energy_of(render_sound(scene))
    frames_s = (np.arange(energy.size) + 0.5) / 100
    inside = (scene.intensity_at(frames_s - 0.04) > 0.1) & (scene.intensity_at(frames_s + 0.04) > 0.1)
    assert np.corrcoef(energy[inside], scene.intensity_at(frames_s[inside]))[0, 1] > 0.8


@pytest.mark.parametrize("pattern", ["single", "irregular", "accelerating", "bursts", "roll", "gusts"])
def test_tools_touch_only_at_events(pattern: str) -> None:
    scene = sample_scene(4, "wood_knock", pattern=pattern)
    strikes = Strikes(scene.event_times_s, scene.event_strengths)
    for height in (strikes.lift, strikes.bounce):
        assert height(scene.event_times_s) == pytest.approx(0.0, abs=1e-9)
        assert (height(scene.event_times_s - 0.01) > 0.001).all()
        assert (height(scene.event_times_s + 0.01) > 0.001).all()
    missing = Strikes(scene.event_times_s, scene.event_strengths, touches=False)
    assert missing.lift(np.linspace(0, 5.12, 2000)).min() > 0.2


def test_silent_scenes_have_no_sound_and_are_marked() -> None:
    scenes = [sample_scene(seed) for seed in range(600)]
    moving, still = [s for s in scenes if s.silent_motion], [s for s in scenes if s.still]
    assert 25 <= len(moving) <= 75
    assert 6 <= len(still) <= 35
    for scene in (*moving[:6], *still[:3]):
        assert not render_sound(scene).any()
        assert scene.event_times_s.size == 0
        assert any(word in scene.caption for word in ("silen", "no sound", "nothing"))
    assert all(np.abs(np.diff(render_video(s).astype(np.int16), axis=0)).max() > 20 for s in moving[:6])
    for scene in still[:3]:
        frames = render_video(scene, width=48, height=48).reshape(128, -1)
        assert (frames == frames[0]).mean() > 0.9


@pytest.mark.slow
def test_classes_share_their_patterns_and_levels() -> None:
    scenes = [s for s in (sample_scene(seed) for seed in range(4000)) if not s.is_silent]
    for class_name in CLASS_NAMES:
        own = [s for s in scenes if s.class_name == class_name]
        assert {s.pattern for s in own} == set(PATTERNS)
        assert sum(s.envelope.max() < 0.65 for s in own) / len(own) == pytest.approx(0.15, abs=0.12)
        assert any((s.envelope > 0).mean() < 0.5 for s in own)


def test_scenes_of_other_durations() -> None:
    scene = sample_scene(1, "rain", 2.0)
    assert render_sound(scene).shape == (32_000,)
    assert render_video(scene, width=16, height=16).shape[0] == 50


@pytest.mark.parametrize("class_name", ALL_CLASSES)
def test_held_out_words_are_held_out(class_name: str) -> None:
    training, held_out = captions(class_name), held_out_captions(class_name)
    further = further_captions(class_name)
    assert len(set(training)) >= 9
    assert len(set(further) - set(training)) == len(further) >= (100 if has_picture(class_name) else 55)
    assert len(set(held_out)) >= (6 if has_picture(class_name) else 3)
    for phrase in held_out:
        for trained in training + further:
            stems = _content_words(phrase)
            shared = stems & _content_words(trained)
            assert len(shared) < min(2, len(stems)), f"{phrase!r} and {trained!r} share {shared}"


_EMPTY_WORDS = "a an the of on in to at and with his from through over is are by up for into while it goes along"


def _content_words(phrase: str) -> set[str]:
    """Word stems, without words that do not describe the sound."""
    words = re.findall(r"[a-z]+", phrase)
    stems = {re.sub(r"(ing|ers|er|es|s|ed)$", "", word) if len(word) > 4 else word for word in words}
    return stems - set(_EMPTY_WORDS.split())


def test_captions_are_correct() -> None:
    for seed in range(1500):
        scene = sample_scene(seed)
        words = scene.caption.split(", ")
        if "once" in words or "a single time" in words:
            assert scene.event_times_s.size == 1
        if "getting faster" in words:
            assert scene.pattern == "accelerating"
        if "in a room" in words:
            assert scene.reverb_s > 0
        if "far away" in words:
            assert scene.distance > 0.5
        if "getting louder" in words:
            levels = scene.envelope[scene.envelope > 0.05]
            assert levels[levels.size // 2 :].mean() > levels[: levels.size // 2].mean()


def test_invalid_requests_are_refused() -> None:
    with pytest.raises(SettingsError, match="unicorn"):
        sample_scene(0, "unicorn")
    with pytest.raises(SettingsError, match="unicorn"):
        captions("unicorn")
    with pytest.raises(SettingsError, match="polka"):
        sample_scene(0, pattern="polka")
    with pytest.raises(SettingsError, match="duration"):
        sample_scene(0, duration_s=0.0)
    with pytest.raises(SettingsError, match="0 x 64"):
        render_video(sample_scene(0), width=0)


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**31), st.floats(0.2, 12.0), st.sampled_from(EVENT_PATTERNS))
def test_events_lie_within_the_clip_at_any_length(seed: int, duration_s: float, pattern: str) -> None:
    scene = sample_scene(seed, duration_s=duration_s, pattern=pattern)
    assert scene.event_times_s.size > 0
    assert scene.event_times_s.min() >= 0
    assert scene.event_times_s.max() < duration_s
    assert np.isfinite(render_sound(scene)).all()


def test_jitter_keeps_events_within_the_clip() -> None:
    earliest = min(float(sample_scene(seed, pattern="regular").event_times_s.min()) for seed in range(2000))
    assert earliest >= 0


@pytest.mark.parametrize("pattern", EVENT_PATTERNS)
def test_a_span_too_short_for_a_pattern_still_has_an_event(pattern: str) -> None:
    for seed in range(200):
        assert sample_scene(seed, duration_s=0.21, pattern=pattern).event_times_s.size > 0


def test_no_phrase_names_two_classes() -> None:
    classes_of: dict[str, set[str]] = {}
    for name in ALL_CLASSES:
        for phrase in (*captions(name), *further_captions(name), *held_out_captions(name)):
            classes_of.setdefault(phrase, set()).add(name)
    assert not {phrase: names for phrase, names in classes_of.items() if len(names) > 1}


def test_classes_without_a_picture_are_only_drawn_on_request() -> None:
    assert all(has_picture(sample_scene(seed).class_name) for seed in range(300))
    scenes = [sample_scene(seed, classes=ALL_CLASSES) for seed in range(600)]
    unseen = [scene for scene in scenes if not has_picture(scene.class_name)]
    assert {scene.class_name for scene in unseen} > set(ALL_CLASSES[-5:])
    assert all(scene.off_screen and not scene.is_silent for scene in unseen)
    assert render_video(unseen[0], width=16, height=16).shape == (128, 16, 16, 3)
    with pytest.raises(SettingsError, match="no class 'moo'"):
        sample_scene(1, classes=("rain", "moo"))
