"""Sound sources are recognisable at 64 x 64 pixels: large enough, with contrast, and with visible strength."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rewas_engine.world import Scene, render_brightness, sample_scene
from rewas_engine.world.backdrops import Backdrop
from rewas_engine.world.camera import LEAST_CONTRAST, LEAST_SCALE, Film, Shot, draw_camera
from rewas_engine.world.drawing import LUMA, Canvas, ellipse
from rewas_engine.world.figure_lighting import LEAST_DIFFERENCE, separate_from_backdrop
from rewas_engine.world.motion import Strikes, Walk
from rewas_engine.world.painting import FloatArray
from rewas_engine.world.palette import contrast_with

NONE = np.empty(0)
CLEAR_LEVELS = 25
"""Of 255: a change that a viewer notices through grain."""


def visible_effect(scene: Scene) -> NDArray[np.float32]:
    calm = replace(scene, event_times_s=NONE, event_strengths=NONE, envelope=np.zeros_like(scene.envelope))
    return render_brightness(scene).astype(np.float32) - render_brightness(calm)


def clearly_changed_pixels(scene: Scene) -> int:
    """Number of pixels that the sound source clearly changes in the frame with the largest change."""
    return int((np.abs(visible_effect(scene)) > CLEAR_LEVELS).sum(axis=(1, 2)).max())


def far_scenes(class_name: str, count: int, pattern: str) -> list[Scene]:
    scenes = (sample_scene(seed, class_name, pattern=pattern) for seed in range(count))
    return [replace(scene, distance=1.0, off_screen=False, ambience=None) for scene in scenes]


@pytest.mark.parametrize(("class_name", "least"), [("ball_bounce", 100), ("wood_knock", 150), ("typing", 220)])
def test_strikes_are_visible_at_the_greatest_distance(class_name: str, least: int) -> None:
    changed = [clearly_changed_pixels(scene) for scene in far_scenes(class_name, 10, "bursts")]
    assert np.quantile(changed, 0.2) >= least


@pytest.mark.parametrize(("class_name", "least"), [("bird_song", 50), ("dog_bark", 90), ("alarm_beep", 180)])
def test_singing_and_barking_are_visible_at_the_greatest_distance(class_name: str, least: int) -> None:
    changed = [clearly_changed_pixels(scene) for scene in far_scenes(class_name, 10, "gated")]
    assert np.quantile(changed, 0.2) >= least


@pytest.mark.parametrize(
    ("class_name", "least"),
    [
        ("ball_bounce", 2.3),
        ("wood_knock", 2.2),
        ("drum_hit", 2.3),
        ("typing", 1.5),
        ("glass_clink", 1.6),
        ("gravel_steps", 1.65),
        ("snow_steps", 1.65),
        ("bell", 2.1),
        ("hammer", 1.8),
        ("metal_hit", 2.0),
    ],
)
def test_a_stronger_roll_moves_more(class_name: str, least: float) -> None:
    blows_s = np.arange(0.3, 4.9, 1 / 11)
    strengths = np.where(blows_s < 2.6, 0.25, 0.9)
    ratios = []
    for scene in far_scenes(class_name, 9, "single"):
        rolled = replace(scene, distance=0.2, event_times_s=blows_s, event_strengths=strengths)
        moved = np.abs(np.diff(visible_effect(rolled), axis=0)).mean(axis=(1, 2))
        ratios.append(np.median(moved[75:115]) / np.median(moved[15:55]))
    assert np.median(ratios) > least


@pytest.mark.parametrize(("class_name", "least"), [("wood_knock", 30), ("ball_bounce", 25), ("glass_clink", 20)])
def test_each_strike_of_a_roll_shows_its_strength(class_name: str, least: float) -> None:
    blows_s = np.arange(0.31, 4.9, 0.12)
    accents = np.arange(blows_s.size) % 4 == 0
    ratios = []
    for scene in far_scenes(class_name, 9, "single"):
        accented = replace(scene, distance=0.2, event_times_s=blows_s, event_strengths=np.where(accents, 1.0, 0.35))
        even = replace(accented, event_strengths=np.full(blows_s.size, 0.35))
        struck = np.floor(blows_s * 25).astype(int)
        differs = np.abs(render_brightness(accented).astype(np.float32) - render_brightness(even)).mean(axis=(1, 2))
        ratios.append(np.median(differs[struck[accents]]) / max(float(np.median(differs[struck[~accents]])), 0.02))
    assert np.median(ratios) > least


def seen_at(scene: Scene, level: float) -> NDArray[np.float32]:
    even = replace(scene, distance=0.5, envelope=np.full_like(scene.envelope, level))
    return render_brightness(even).astype(np.float32)


@pytest.mark.parametrize(("class_name", "least"), [("bird_song", 170), ("dog_bark", 180), ("helicopter", 450)])
def test_sustained_sounds_show_their_loudness(class_name: str, least: float) -> None:
    changed = [
        (np.abs(seen_at(scene, 0.8) - seen_at(scene, 0.5)) > CLEAR_LEVELS).sum(axis=(1, 2)).mean()
        for scene in far_scenes(class_name, 10, "steady")
    ]
    assert np.quantile(changed, 0.2) >= least


@pytest.mark.parametrize("class_name", ["bird_song", "dog_bark", "alarm_beep", "car_passing", "engine", "helicopter"])
def test_the_motion_of_steady_sounds_grows_with_loudness(class_name: str) -> None:
    def moved(scene: Scene, level: float) -> float:
        even = replace(scene, distance=0.2, envelope=np.full_like(scene.envelope, level))
        return float(np.abs(np.diff(visible_effect(even), axis=0)).mean())

    scenes = far_scenes(class_name, 9, "steady")
    loud, soft = (np.array([moved(scene, level) for scene in scenes]) for level in (0.9, 0.3))
    assert np.median(loud) > 2.5
    assert np.median(loud / soft) > 1.8


def test_a_faint_strike_does_not_end_the_motion_of_a_strong_one() -> None:
    blows = Strikes(np.array([1.0, 1.05]), np.array([1.0, 0.1]))
    assert blows.flash(np.array([1.06]), 0.15)[0] > 0.6


def test_struck_objects_move_with_the_strength_of_the_last_strike() -> None:
    blows = Strikes(np.array([1.0, 1.1]), np.array([1.0, 0.2]))
    moments_s = np.array([0.9, 1.0, 1.07, 1.1, 1.17])
    np.testing.assert_allclose(blows.recoil(moments_s, 0.07), [0, 1, np.exp(-1), 0.2, 0.2 * np.exp(-1)], atol=1e-6)
    assert not Strikes(blows.times_s, blows.strengths, touches=False).recoil(moments_s).any()


def test_tools_are_raised_higher_for_stronger_strikes_of_a_roll() -> None:
    times_s, blows_s = np.arange(1.0, 4.0, 0.01), np.arange(0.5, 4.5, 1 / 12)
    faint, strong = (Strikes(blows_s, np.full(blows_s.size, s)).lift(times_s).max() for s in (0.2, 1.0))
    assert strong > 2.5 * faint


def test_heavy_steps_are_longer_and_higher() -> None:
    steps_s, times_s = np.arange(0.5, 4.5, 0.4), np.arange(0.0, 5.0, 0.02)
    light, heavy = (Walk(Strikes(steps_s, np.full(steps_s.size, s)), 0.3) for s in (0.2, 1.0))
    assert heavy.body(times_s)[-1] > 1.5 * light.body(times_s)[-1]
    assert heavy.foot(0, times_s)[1].max() > 3 * light.foot(0, times_s)[1].max()


def test_nothing_is_drawn_too_small() -> None:
    for seed in range(200):
        camera = draw_camera(np.random.default_rng(seed), 5.12, 1.0, fixed=False, restless=False)
        assert min(shot.scale for shot in camera.shots) >= LEAST_SCALE


def test_films_keep_at_least_half_of_the_contrast() -> None:
    black, white = (np.full((1, 8, 8, 1), level, np.float32) for level in (0.0, 1.0))
    for seed in range(100):
        film = Film(np.random.default_rng(seed), 8, 8, fixed=True)
        dark, bright = (film.develop(tone.copy(), np.zeros(1), 0, 0.6).mean() for tone in (black, white))
        assert bright - dark >= 255 * LEAST_CONTRAST - 0.5


@given(tone=st.floats(0, 1), behind=st.floats(0, 1), least=st.floats(0.05, 0.4))
def test_colours_are_separated_and_stay_valid(tone: float, behind: float, least: float) -> None:
    colour, other = np.full(3, tone, np.float32), np.full(3, behind, np.float32)
    separated = contrast_with(colour, other, least)
    assert abs(float(separated @ LUMA) - float(other @ LUMA)) >= least - 1e-4
    assert separated.min() >= 0
    assert separated.max() <= 1 + 1e-6


@pytest.mark.parametrize("tone", [0.05, 0.3, 0.5, 0.8, 1.0])
def test_lighting_separates_a_moving_object_from_its_background(tone: float) -> None:
    def thing(canvas: Canvas, times_s: FloatArray) -> None:
        canvas.paint(ellipse(times_s - 2.5, 0.0, 0.15), (tone, tone, tone))

    shot = Shot(0.0, (0.0, 0.0), 1.0, False, (0.0, 0.0), (1.0, 1.0), 1.0)
    same = np.full(3, tone, np.float32)
    backdrop = Backdrop(np.zeros((40, 40), np.float32), (same, same), 24.0)
    lit = separate_from_backdrop(backdrop, shot, thing, 1.0)
    assert abs(float(lit.colours[0] @ LUMA) - tone) >= LEAST_DIFFERENCE - 1e-3
    apart_already = replace(backdrop, colours=(np.zeros(3, np.float32), np.zeros(3, np.float32)))
    if tone >= 0.3:
        assert separate_from_backdrop(apart_already, shot, thing, 1.0).colours[0].max() == 0
