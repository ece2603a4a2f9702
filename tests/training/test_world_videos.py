"""Videos of synthetic scenes: strikes are visible when they happen, and sustained sounds show motion."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rewas_engine.world import (
    CLASS_NAMES,
    STRUCK_CLASSES,
    SUSTAINED_CLASSES,
    Scene,
    render_brightness,
    render_sound,
    render_video,
    sample_scene,
)
from rewas_engine.world.looks import STRUCK_PAINTERS, SUSTAINED_PAINTERS
from rewas_engine.world.motion import Drive, Strikes, Walk

NONE = np.empty(0)
SWUNG_CLASSES = ("ball_bounce", "gravel_steps", "wood_floor_steps", "snow_steps")
"""Classes in which the way to the contact moves more than the contact itself."""


def make_visible(scene: Scene) -> Scene:
    """The scene with a visible source and no background."""
    return replace(scene, off_screen=False, ambience=None)


def visible_effect(scene: Scene) -> NDArray[np.float32]:
    """Difference [T, H, W] from the same clip without sound, which has the same camera and background."""
    calm = replace(scene, event_times_s=NONE, event_strengths=NONE, envelope=np.zeros_like(scene.envelope))
    return render_brightness(scene).astype(np.float32) - render_brightness(calm)


def single_strikes(class_name: str, count: int) -> list[Scene]:
    """Scenes with one strong strike in their middle part."""
    scenes = (make_visible(sample_scene(seed, class_name, pattern="single")) for seed in range(1000))
    suited = (replace(s, event_strengths=np.ones(1)) for s in scenes if s.event_times_s.size == 1)
    return [scene for scene, _ in zip((s for s in suited if 1 < s.event_times_s[0] < 4), range(count), strict=False)]


def test_every_class_has_looks() -> None:
    assert set(STRUCK_PAINTERS) == set(STRUCK_CLASSES)
    assert set(SUSTAINED_PAINTERS) == set(SUSTAINED_CLASSES)
    assert sum(len(looks) >= 2 for looks in (STRUCK_PAINTERS | SUSTAINED_PAINTERS).values()) >= len(CLASS_NAMES) - 1


@pytest.mark.parametrize("class_name", STRUCK_CLASSES)
def test_a_strike_is_visible_when_it_happens(class_name: str) -> None:
    lags, early = [], []
    for scene in single_strikes(class_name, 7):
        change = np.abs(np.diff(visible_effect(scene), axis=0)).mean(axis=(1, 2))
        contact = int(scene.event_times_s[0] * 25)
        lags.append(int(np.argmax(change)) + 1 - contact)
        early.append(change[: contact - 13].max() / change.max())
    # A cut may separate a strike from its after-effects, so single clips may differ.
    assert np.median(np.abs(lags)) <= (8 if class_name in SWUNG_CLASSES else 2)
    assert np.median(early) < 0.2


@pytest.mark.parametrize("class_name", SUSTAINED_CLASSES)
def test_sustained_sounds_show_motion(class_name: str) -> None:
    shares = []
    for seed in range(5):
        scene = make_visible(sample_scene(seed, class_name, pattern="gated"))
        level = scene.intensity_at((np.arange(128) + 0.5) / 25)
        effect = np.abs(visible_effect(scene)).mean(axis=(1, 2))
        shares.append(effect[level > 0.6 * level.max()].mean() / effect[level <= level.min() + 0.05].mean().clip(0.01))
    assert np.median(shares) > 1.5


def test_a_stronger_push_swings_a_bag_farther() -> None:
    times_s = np.linspace(0, 3, 76)
    soft, hard = (Strikes(np.array([1.0]), np.array([s])).swinging(times_s, 0.8, 1.0) for s in (0.3, 1.0))
    assert soft[times_s < 1].max() == 0
    assert hard.max() > 1.5 * soft.max() > 0


@given(seed=st.integers(0, 10**6), pattern=st.sampled_from(["irregular", "regular", "roll", "bursts"]))
@settings(max_examples=20, deadline=None)
def test_feet_touch_the_ground_at_steps_and_never_sink(seed: int, pattern: str) -> None:
    scene = sample_scene(seed, "gravel_steps", pattern=pattern)
    walk = Walk(Strikes(scene.event_times_s, scene.event_strengths), 0.3)
    for parity in (0, 1):
        steps_s = scene.event_times_s[parity::2]
        if steps_s.size:
            assert walk.foot(parity, steps_s)[1] == pytest.approx(0.0, abs=1e-9)
            assert (walk.foot(parity, steps_s - 0.01)[1] > 0.001).all()
        x, height = walk.foot(parity, np.linspace(0, 5.12, 500))
        assert height.min() >= -1e-12
        assert (np.diff(x) >= -1e-12).all()


@given(seed=st.integers(0, 10**6), pattern=st.sampled_from(["swell", "pulses", "gusts", "steady", "few"]))
@settings(max_examples=20, deadline=None)
def test_cars_pass_in_one_direction_and_are_invisible_in_silence(seed: int, pattern: str) -> None:
    scene = sample_scene(seed, "car_passing", pattern=pattern)
    times_s = np.arange(512) / 100
    course = Drive(scene).passing(times_s)
    assert np.abs(course).max() <= 1
    backwards = np.diff(course) < -1e-9
    assert (course[1:][backwards] <= 0.0).all(), "the car reverses while it is visible"
    assert (np.abs(course[scene.envelope[:512] < 0.02]) == 1).all()


@given(seed=st.integers(0, 10**6))
@settings(max_examples=6, deadline=None)
def test_the_same_seed_gives_the_same_video_and_rendering_keeps_the_sound(seed: int) -> None:
    scene = sample_scene(seed, duration_s=1.0)
    sound = render_sound(scene)
    first = render_brightness(scene)
    assert np.array_equal(first, render_brightness(sample_scene(seed, duration_s=1.0)))
    assert np.array_equal(sound, render_sound(scene))


@given(rate=st.fractions(15, 60, max_denominator=1001), width=st.integers(1, 90), height=st.integers(1, 60))
@settings(max_examples=15, deadline=None)
def test_videos_of_any_rate_and_size(rate: Fraction, width: int, height: int) -> None:
    scene = sample_scene(5, "drum_hit", duration_s=0.8)
    frames = render_video(scene, frame_rate=rate, width=width, height=height)
    assert frames.shape == (round(Fraction(4, 5) * rate), height, width, 3)
    assert render_brightness(scene, frame_rate=rate, width=width, height=height).shape == frames.shape[:3]


def test_a_larger_video_shows_the_same() -> None:
    scene = sample_scene(8, "bell", pattern="regular", duration_s=0.4)
    small = render_video(scene, width=64, height=36).astype(np.float32)
    large = render_video(scene, width=640, height=360, shutter_samples=2).astype(np.float32)
    shrunk = large.reshape(10, 36, 10, 64, 10, 3).mean(axis=(2, 4))
    assert np.abs(shrunk - small).mean() < 6.0


def test_off_screen_sources_are_not_visible() -> None:
    for seed in range(6):
        scene = replace(sample_scene(seed, "drum_hit", pattern="regular"), off_screen=True, ambience=None)
        assert not visible_effect(scene).any()


def test_an_ambience_is_visible_in_most_clips() -> None:
    differing = 0
    for seed in range(8):
        scene = replace(sample_scene(seed, "drum_hit", pattern="few"), ambience=None)
        rain = sample_scene(seed, "rain", pattern="steady")
        differing += not np.array_equal(render_brightness(scene), render_brightness(replace(scene, ambience=rain)))
    assert 3 <= differing < 8


def test_views_differ_widely_between_seeds() -> None:
    first = np.stack([render_brightness(sample_scene(seed, "hammer", 0.6))[0] for seed in range(40)]).astype(np.float32)
    assert first.mean(axis=(1, 2)).std() > 20
    contrast = first.std(axis=(1, 2))
    assert contrast.min() < 15 < 40 < contrast.max()
