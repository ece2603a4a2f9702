"""Figures of videos and real clips on cases with known results."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pack_fixtures import tiny_model
from scipy.ndimage import gaussian_filter

from rewas_engine import EnergyCurve, ReWaS, SettingsError
from rewas_engine.evaluation.bench import Watch
from rewas_engine.evaluation.energy_from_video import (
    average_energy,
    energy_from_video_section,
    follows_motion,
    has_variation,
    render_at_pack_rate,
)
from rewas_engine.evaluation.motion_baselines import frame_difference, optical_flow, smoothed_log_difference
from rewas_engine.evaluation.real_clips import count_values_with_sound, real_clips_section
from rewas_engine.evaluation.real_manifest import real_clip_entries
from rewas_engine.evaluation.splits import TEST
from rewas_engine.training.world_export import ClipFolder
from rewas_engine.world import render_brightness, sample_scene

SILENCE = -11.5


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ReWaS:
    return tiny_model(tmp_path_factory.mktemp("pack"))


@given(st.lists(st.floats(-11, 2, width=32), min_size=4, max_size=60))
def test_four_values_become_their_mean(values: list[float]) -> None:
    whole = values[: len(values) // 4 * 4]
    averaged = average_energy(EnergyCurve(np.array(whole), 100), Fraction(25), len(whole) // 4)
    np.testing.assert_allclose(averaged, np.array(whole).reshape(-1, 4).mean(axis=1), atol=1e-4)


@given(st.integers(10, 200), st.sampled_from(["24000/1001", "25", "30", "12"]), st.integers(1, 80))
def test_a_steady_energy_is_unchanged_at_any_rate_and_length(size: int, rate: str, count: int) -> None:
    averaged = average_energy(EnergyCurve(np.full(size, -3.0), 100), Fraction(rate), count)
    np.testing.assert_allclose(averaged, np.full(count, -3.0), atol=1e-4)


def test_frame_difference_has_time_and_amount() -> None:
    frames = np.zeros((5, 4, 4), np.uint8)
    frames[3:] = 10
    np.testing.assert_allclose(frame_difference(frames), [0, 0, 0, 10, 0])
    smooth = smoothed_log_difference(frame_difference(np.repeat(frames, 5, axis=0)), 25)
    assert int(smooth.argmax()) == 15
    assert np.all(smooth >= 0)


def test_a_still_estimate_follows_no_motion() -> None:
    motion = np.abs(np.sin(np.arange(100))).astype(np.float32)
    assert follows_motion(np.full(100, SILENCE, np.float32) + 0.01 * motion, motion) == 0.0
    assert follows_motion(SILENCE + 3 * motion, motion) == pytest.approx(1.0)
    assert follows_motion(-3 * motion, motion) == pytest.approx(-1.0)
    assert follows_motion(motion, np.zeros(100, np.float32)) == 0.0


@pytest.mark.parametrize("native", ["15", "24000/1001", "25", "60"])
def test_frames_are_resampled_as_a_player_shows_them(native: str) -> None:
    scene = sample_scene(3, "ball_bounce")
    shown = render_at_pack_rate(scene, Fraction(native), (Fraction(25), 16, 16))
    filmed = render_brightness(scene, frame_rate=Fraction(native), width=16, height=16)
    assert shown.shape == (128, 16, 16)
    for index in (0, 40, 127):
        held = int(Fraction(2 * index + 1, 50) * Fraction(native))
        np.testing.assert_array_equal(shown[index], filmed[min(held, len(filmed) - 1)])


def test_the_section_separates_all_kinds_of_clips(model: ReWaS) -> None:
    section = energy_from_video_section(model, TEST, 3, Watch())
    figures = {figure.key: figure for figure in section.figures}
    assert section.details["clips"] == {"visible": 3, "even": 0, "silent_motion": 2, "off_screen": 2}
    assert set(section.details["by_native_rate"]) == {"25", "23.976", "30"}
    assert figures.pop("picture_even_nats").value is None
    assert all(figure.value is not None and np.isfinite(figure.value) for figure in figures.values())
    assert figures["picture_visible"].target is not None


def test_an_even_sound_has_no_variation() -> None:
    grain = np.random.default_rng(0).normal(0, 0.1, 128).astype(np.float32)
    assert not has_variation(-4 + grain)
    assert has_variation(-4 + grain + np.linspace(0, 2, 128, dtype=np.float32))


def test_the_silent_end_of_a_file_does_not_count() -> None:
    sound = np.zeros(1000, np.float32)
    assert count_values_with_sound(sound, 10) == 0
    sound[300:500] = 0.1
    assert count_values_with_sound(sound, 10) == 4
    sound[990] = 0.1
    assert count_values_with_sound(sound, 10) == 10


@pytest.mark.slow
def test_real_clips_are_measured_and_unreadable_ones_listed(model: ReWaS, tmp_path: Path) -> None:
    ClipFolder(tmp_path, first_seed=7, width=64, height=48).write(1, 1)
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    (tmp_path / "notes.txt").write_text("not a film either")
    entries = real_clip_entries(tmp_path)
    assert {entry.path.suffix for entry in entries} == {".mp4"}
    section = real_clips_section(model, entries, Watch())
    (clip,) = section.details["clips"]
    assert list(section.details["unread"]) == ["broken.mp4"]
    assert "broken.mp4" in section.details["unread"]["broken.mp4"]
    figures = {figure.key: figure.value for figure in section.figures}
    assert figures["real_clips_zero_lag"] == pytest.approx(clip["picture"]["zero_lag"] or 0.0, abs=1e-4)
    assert figures["real_clips_best_lag"] >= figures["real_clips_zero_lag"]
    assert set(figures) >= {"real_clips_frame_difference_zero_lag", "real_clips_log_difference_best_lag"}


def test_without_readable_clips_there_is_no_figure(model: ReWaS, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    section = real_clips_section(model, real_clip_entries(tmp_path), Watch())
    assert [figure.value for figure in section.figures] == [None]
    assert "no clip could be read" in section.figures[0].note


def test_a_folder_without_films_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(SettingsError, match="no video file"):
            real_clip_entries(folder)


def test_optical_flow_measures_the_fastest_part_and_not_the_camera() -> None:
    texture = np.random.default_rng(2).integers(0, 255, (80, 80)).astype(np.uint8)
    texture = gaussian_filter(texture.astype(float), 2)
    texture = (255 * (texture - texture.min()) / np.ptp(texture)).astype(np.uint8)
    panned = np.stack([np.roll(texture, 2 * number, axis=1)[:64, :64] for number in range(5)])
    moving = np.repeat(texture[None, :64, :64], 5, axis=0)
    for number in range(5):
        moving[number, 20:44, 10 + 3 * number : 34 + 3 * number] = texture[50:74, 50:74]
    still, pan, motion = (optical_flow(frames) for frames in (np.repeat(moving[:1], 5, axis=0), panned, moving))
    assert still == pytest.approx(0, abs=0.05)
    assert motion[0] == 0
    assert motion[1:].min() > 1
    assert np.median(pan[1:]) < 0.5 * np.median(motion[1:])
    assert optical_flow(moving[:, :8, :8]) is None
