"""Energy from video with known results: estimates that are correct, late, constant, inverted or wrong."""

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import pytest
from bench_fixtures import figures_of, values_of
from curve_fixtures import ACROSS, STEPS, following
from scipy.ndimage import gaussian_filter1d
from video_fixtures import LOUD, MOVING, PEAK_NATS, SILENT, STILL, ScriptedClip, ScriptedModel, ScriptedSplit

from rewas_engine.curves.energy import FloatArray
from rewas_engine.evaluation import energy_from_video as pictures
from rewas_engine.evaluation.bench import Watch
from rewas_engine.evaluation.energy_from_video import energy_from_video_section
from rewas_engine.evaluation.figures import Section
from rewas_engine.world import Scene

SILENCE = np.full_like(STEPS, np.log(1e-5))
MIDDLE_NATS = PEAK_NATS - 1
UPSIDE_DOWN = MIDDLE_NATS - STEPS
PERFECT = ScriptedClip(LOUD, LOUD)
MeasureVideo = Callable[..., Section]


@pytest.fixture
def measure_video(monkeypatch: pytest.MonkeyPatch) -> MeasureVideo:
    """The section of chosen clips: visible ones, silent motion, and sources off screen."""

    def section(
        visible: Sequence[ScriptedClip], silent: Sequence[ScriptedClip] = (), hidden: Sequence[ScriptedClip] = ()
    ) -> Section:
        model = ScriptedModel([*visible, *silent, *hidden])

        def shown(scene: Scene, native_rate: Fraction, frame_format: tuple[Fraction, int, int]) -> FloatArray:
            return model.frames_of(scene.seed)

        monkeypatch.setattr(pictures, "render_at_pack_rate", shown)
        monkeypatch.setattr(pictures, "render_sound", lambda scene: model.clips[scene.seed].sound)
        counts = len(visible), len(silent), len(hidden)
        split = ScriptedSplit("given", 0, counts, tuple(clip.class_name for clip in model.clips))
        return energy_from_video_section(model, split, len(visible), Watch())

    return section


def estimates(*curves: FloatArray) -> list[ScriptedClip]:
    return [ScriptedClip(LOUD, curve) for curve in curves]


@pytest.mark.parametrize(
    ("estimated", "correlation", "best", "error_nats"),
    [
        (LOUD, 1, 1, 0),
        (LOUD - 1.5, 1, 1, 1.5),  # right except for its level
        (np.roll(LOUD, 3), 5 / 8, 1, 2 * 3 / 16),  # 0.12 s late: 3 values of 16 are wrong, by 2 nats
        (np.roll(LOUD, -3), 5 / 8, 1, 2 * 3 / 16),
        (np.full_like(LOUD, MIDDLE_NATS), 0, 0, 1),
        (SILENCE, 0, 0, MIDDLE_NATS - np.log(1e-5)),
    ],
)
def test_an_estimate_is_compared_with_the_sound(
    measure_video: MeasureVideo, estimated: FloatArray, correlation: float, best: float, error_nats: float
) -> None:
    figures = values_of(measure_video(estimates(estimated)))
    assert figures["picture_visible"] == pytest.approx(correlation, abs=1e-5)
    assert figures["picture_visible_best_lag"] == pytest.approx(best, abs=1e-5)
    assert figures["picture_visible_mae_nats"] == pytest.approx(error_nats, abs=1e-5)


def test_an_inverted_estimate_has_correlation_minus_1_smoothed_or_not(measure_video: MeasureVideo) -> None:
    figures = values_of(measure_video(estimates(UPSIDE_DOWN)))
    assert figures["picture_visible"] == pytest.approx(-1)
    assert figures["picture_visible_smoothed"] == pytest.approx(-1)
    assert values_of(measure_video([PERFECT]))["picture_visible_smoothed"] == pytest.approx(1)


def test_smoothing_removes_fast_ripple(measure_video: MeasureVideo) -> None:
    trembling = LOUD + 0.5 * np.where(np.arange(LOUD.size) % 2, -1, 1).astype(np.float32)
    figures = values_of(measure_video(estimates(trembling)))
    # The ripple has a quarter of the power of the curve it is added to.
    assert figures["picture_visible"] == pytest.approx(1 / 1.25**0.5, abs=1e-5)
    assert figures["picture_visible_smoothed"] > 0.98


def test_many_clips_have_mean_median_and_worse_tenth(measure_video: MeasureVideo) -> None:
    correlations = [1.0, 0.96, 0.8, 0.6, 0.28, -0.6]
    clips = [
        ScriptedClip(LOUD, following(correlation) - 3, class_name=name)
        for correlation, name in zip(correlations, ["rain", "bell"] * 3, strict=True)
    ]
    section = measure_video(clips)
    figures = figures_of(section)
    assert figures["picture_visible"].value == pytest.approx(3.04 / 6, abs=1e-5)
    assert figures["picture_visible_median"].value == pytest.approx(0.7, abs=1e-5)
    # The 10th percentile of six lies half way between the worst and the next.
    assert figures["picture_visible_worse_tenth"].value == pytest.approx((-0.6 + 0.28) / 2, abs=1e-5)
    deviation = (sum((each - 3.04 / 6) ** 2 for each in correlations) / 6) ** 0.5
    assert figures["picture_visible"].note == f"6 clips, standard error {deviation / 6**0.5:.3f}"
    assert section.details["by_class"] == {"bell": 0.32, "rain": 0.6933}
    by_rate = {"25": 1.0, "23.976": 0.96, "30": 0.8, "15": 0.6, "60": 0.28, "50": -0.6}
    assert section.details["by_native_rate"] == by_rate


def test_frame_difference_is_compared_with_the_sound_too(measure_video: MeasureVideo) -> None:
    figures = values_of(measure_video([ScriptedClip(LOUD, ACROSS, MOVING)]))
    assert figures["picture_visible"] == pytest.approx(0, abs=1e-5)
    assert figures["picture_frame_difference"] == pytest.approx(1)
    # ln(1 + x) of two levels is two levels again: the only loss is the smoothing over 0.08 s, 2 values.
    smooth = float(np.corrcoef(STEPS, gaussian_filter1d(STEPS, 2))[0, 1])
    assert figures["picture_log_difference"] == pytest.approx(smooth, abs=1e-5)


def test_motion_that_stops_where_it_sounds_counts_against_frame_difference(measure_video: MeasureVideo) -> None:
    against = ScriptedClip(UPSIDE_DOWN, UPSIDE_DOWN, MOVING)
    figures = values_of(
        measure_video([against, against, ScriptedClip(LOUD, LOUD, MOVING), ScriptedClip(LOUD, LOUD, STILL)])
    )
    assert figures["picture_visible"] == pytest.approx(1)
    assert figures["picture_frame_difference"] == pytest.approx((-1 - 1 + 1 + 0) / 4)
    assert figures["picture_log_difference"] < -0.2


def test_a_wrong_pack_is_misled_by_motion_that_makes_no_sound(measure_video: MeasureVideo) -> None:
    # The clips' own energy is silence, so the figures describe the estimate.
    silent = [ScriptedClip(SILENT, SILENCE + 2 + following(share), MOVING) for share in (0.6, -0.8)]
    figures = figures_of(measure_video([PERFECT], silent))
    assert figures["picture_silent_motion"].value == pytest.approx(-0.1, abs=1e-5)
    assert figures["picture_silent_motion"].note == "mean magnitude 0.700"
    assert figures["picture_silent_motion_nats"].value == pytest.approx(2, abs=1e-5)


def test_a_pack_that_keeps_silent_is_not_misled(measure_video: MeasureVideo) -> None:
    figures = figures_of(measure_video([PERFECT], [ScriptedClip(SILENT, SILENCE, MOVING)] * 2))
    assert figures["picture_silent_motion"].value == 0
    assert figures["picture_silent_motion_nats"].value == pytest.approx(0, abs=1e-5)


def test_sources_off_screen_have_their_own_figure(measure_video: MeasureVideo) -> None:
    hidden = [ScriptedClip(LOUD, following(0.6)), ScriptedClip(LOUD, SILENCE)]
    section = measure_video([PERFECT], hidden=hidden)
    assert values_of(section)["picture_off_screen"] == pytest.approx(0.3, abs=1e-5)
    assert values_of(section)["picture_visible"] == pytest.approx(1)
    assert section.plot_data["off_screen"] == pytest.approx([0.6, 0], abs=1e-5)


def test_even_sound_is_reported_separately(measure_video: MeasureVideo) -> None:
    even = np.full_like(LOUD, PEAK_NATS)
    clips = [PERFECT, ScriptedClip(even, 0.3 * STEPS - 4), ScriptedClip(even, 0.1 * ACROSS - 4)]
    section = measure_video(clips)
    figures = figures_of(section)
    assert figures["picture_visible"].value == pytest.approx(1)
    assert figures["picture_even_nats"].value == pytest.approx(0.2, abs=1e-5)
    assert figures["picture_even_nats"].note == "2 clips"
    assert section.details["clips"] == {"visible": 1, "even": 2, "silent_motion": 0, "off_screen": 0}
