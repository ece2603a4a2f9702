"""Real clips with known sound, motion and estimate: the pack and the baselines are each compared with the sound."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from bench_fixtures import values_of
from curve_fixtures import ACROSS, STEPS, following
from scipy.ndimage import gaussian_filter1d
from video_fixtures import LOUD, MOVING, SAMPLES, STILL, ScriptedClip, ScriptedModel

from rewas_engine.evaluation import real_clips
from rewas_engine.evaluation.bench import Watch
from rewas_engine.evaluation.figures import Section
from rewas_engine.evaluation.real_clips import real_clips_section
from rewas_engine.evaluation.real_manifest import ManifestEntry

UPSIDE_DOWN = LOUD - 2 * STEPS
FLAT = np.full_like(LOUD, -5)
SMOOTH = float(np.corrcoef(STEPS, gaussian_filter1d(STEPS, 2))[0, 1])
"""Correlation of STEPS with itself after smoothing over 0.08 s, which are 2 values."""
MeasureClips = Callable[..., Section]


@pytest.fixture
def measure_clips(monkeypatch: pytest.MonkeyPatch) -> MeasureClips:
    """The section of chosen clips, in files named by their numbers."""

    def section(*clips: ScriptedClip) -> Section:
        model = ScriptedModel(clips)
        monkeypatch.setattr(real_clips, "read_frames", lambda path, **options: model.frames_of(int(path.stem)))
        monkeypatch.setattr(real_clips, "read_audio", lambda path, **options: model.of(path).sound)
        monkeypatch.setattr(real_clips, "probe_video", lambda path: SimpleNamespace(start_s=0))
        entries = [ManifestEntry(Path(f"{number}.mp4")) for number in range(len(clips))]
        return real_clips_section(model, entries, Watch())

    return section


def test_a_correct_pack_is_correct_at_lag_0(measure_clips: MeasureClips) -> None:
    section = measure_clips(ScriptedClip(LOUD, LOUD - 2))
    figures = values_of(section)
    assert figures["real_clips_zero_lag"] == pytest.approx(1)
    assert figures["real_clips_best_lag"] == pytest.approx(1)
    (row,) = section.details["clips"]
    assert row["picture"] == {"zero_lag": 1.0, "best_lag": 1.0, "best_lag_s": 0.0}
    assert (row["name"], row["seconds"]) == ("0.mp4", 5.12)


@pytest.mark.parametrize("late", [3, -3])
def test_a_shifted_estimate_is_correct_at_its_lag(measure_clips: MeasureClips, late: int) -> None:
    section = measure_clips(ScriptedClip(LOUD, np.roll(LOUD, late)))
    figures = values_of(section)
    assert figures["real_clips_zero_lag"] == pytest.approx(5 / 8)
    assert figures["real_clips_best_lag"] == pytest.approx(1)
    (row,) = section.details["clips"]
    assert row["picture"] == {"zero_lag": 5 / 8, "best_lag": 1.0, "best_lag_s": late / 25}


def test_figures_are_means_in_which_a_still_estimate_counts_as_0(measure_clips: MeasureClips) -> None:
    section = measure_clips(
        ScriptedClip(LOUD, LOUD),
        ScriptedClip(LOUD, np.roll(LOUD, 3)),
        ScriptedClip(LOUD, FLAT),
        ScriptedClip(LOUD, following(-0.6)),
    )
    assert values_of(section)["real_clips_zero_lag"] == pytest.approx((1 + 5 / 8 + 0 - 0.6) / 4, abs=1e-5)
    assert [row["picture"]["zero_lag"] for row in section.details["clips"]] == [1.0, 0.625, None, -0.6]


def test_motion_is_compared_with_the_sound_whatever_the_pack_estimates(measure_clips: MeasureClips) -> None:
    figures = values_of(measure_clips(ScriptedClip(LOUD, following(0.28), MOVING)))
    assert figures["real_clips_zero_lag"] == pytest.approx(0.28, abs=1e-5)
    assert figures["real_clips_frame_difference_zero_lag"] == pytest.approx(1)
    assert figures["real_clips_frame_difference_best_lag"] == pytest.approx(1)
    # ln(1 + x) of two levels is two levels again.
    assert figures["real_clips_log_difference_zero_lag"] == pytest.approx(SMOOTH, abs=1e-5)


def test_motion_that_stops_where_it_sounds_counts_against_the_baselines(measure_clips: MeasureClips) -> None:
    against = ScriptedClip(UPSIDE_DOWN, UPSIDE_DOWN, MOVING)
    figures = values_of(
        measure_clips(against, against, ScriptedClip(LOUD, LOUD, MOVING), ScriptedClip(LOUD, LOUD, STILL))
    )
    assert figures["real_clips_zero_lag"] == pytest.approx(1)
    assert figures["real_clips_frame_difference_zero_lag"] == pytest.approx((-1 - 1 + 1 + 0) / 4)
    assert figures["real_clips_log_difference_zero_lag"] == pytest.approx(-SMOOTH / 4, abs=1e-5)


def test_chance_is_the_correlation_of_the_shifted_curve(measure_clips: MeasureClips) -> None:
    # Rotated by n values it correlates by 1 - n / 8 up and down: 1 once in 32, 7/8 or more three times in 32.
    figures = values_of(measure_clips(ScriptedClip(LOUD, LOUD), ScriptedClip(LOUD, FLAT), ScriptedClip(LOUD, ACROSS)))
    # A constant curve has no chance; 8 low and 8 high values never match 16 and 16, wherever they are.
    assert figures["real_clips_chance"] == pytest.approx((7 / 8 + 0 + 0) / 3, abs=1e-5)


def test_after_the_end_of_the_sound_nothing_counts(measure_clips: MeasureClips) -> None:
    # The last quarter is silent: 96 values have sound; the last of them, which the window reaches, is left out too.
    true = LOUD.copy()
    true[96:] = -np.inf
    estimated = LOUD.copy()
    estimated[95:] = 3 * ACROSS[95:]
    section = measure_clips(ScriptedClip(true, estimated))
    assert len(ScriptedClip(true, estimated).sound) == 128 * SAMPLES
    assert values_of(section)["real_clips_zero_lag"] == pytest.approx(1)
    assert section.details["clips"][0]["seconds"] == 95 / 25


def test_a_clip_with_constant_sound_is_listed_and_not_measured(measure_clips: MeasureClips) -> None:
    section = measure_clips(ScriptedClip(FLAT, LOUD), ScriptedClip(LOUD, LOUD))
    assert list(section.details["unread"]) == ["0.mp4"]
    assert [row["name"] for row in section.details["clips"]] == ["1.mp4"]
    assert values_of(section)["real_clips_zero_lag"] == pytest.approx(1)


def test_what_is_heard_is_the_prompt_of_the_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = []

    class ReadingModel(ScriptedModel):
        sound_kinds = SimpleNamespace(character=lambda prompt: "varied")

        def estimate_energy_from_frames(self, frames, prompt=""):
            prompts.append(prompt)
            return super().estimate_energy_from_frames(frames)

        def apply_typical_level(self, energy, prompt):
            return energy

    model = ReadingModel([ScriptedClip(LOUD, LOUD), ScriptedClip(LOUD, LOUD)])
    monkeypatch.setattr(real_clips, "read_frames", lambda path, **options: model.frames_of(int(path.stem)))
    monkeypatch.setattr(real_clips, "read_audio", lambda path, **options: model.of(path).sound)
    monkeypatch.setattr(real_clips, "probe_video", lambda path: SimpleNamespace(start_s=0))
    entries = [ManifestEntry(Path("0.mp4"), heard="a dog barks"), ManifestEntry(Path("1.mp4"))]
    real_clips_section(model, entries, Watch())
    assert prompts == ["a dog barks", ""]
