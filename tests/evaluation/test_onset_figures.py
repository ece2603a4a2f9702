"""Onset figures on sounds with known strikes: on time, early, late, too few, too many."""

from pathlib import Path

import numpy as np
import pytest
from bench_fixtures import SILENT, STRIKES_S, ScriptedSource, clicks, figures_of, make_bench, strike_clip, values_of
from pack_fixtures import full_model, tiny_model

from rewas_engine import ReWaS
from rewas_engine.conditioning.controls import Controls
from rewas_engine.curves.energy import FloatArray
from rewas_engine.evaluation.figures import Section
from rewas_engine.evaluation.onset_control import onset_section, strikes
from rewas_engine.evaluation.sound_store import Request


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ReWaS:
    return tiny_model(tmp_path_factory.mktemp("pack"))


def build_section(model: ReWaS, *sounds: FloatArray) -> Section:
    return onset_section(make_bench(model, [strike_clip()] * len(sounds), plain_waveforms=list(sounds)))


@pytest.mark.parametrize(
    ("late_s", "f1", "share"),
    [
        *((0.0, 1, 1), (0.04, 1, 1), (-0.04, 1, 1)),  # within ±50 ms
        *((0.06, 0, 1), (-0.06, 0, 1)),  # only within the 0.1 s of Greatest Hits
        *((0.12, 0, 0), (-0.12, 0, 0)),
    ],
)
def test_strikes_count_within_the_tolerance(model: ReWaS, late_s: float, f1: float, share: float) -> None:
    figures = values_of(build_section(model, clicks(STRIKES_S + late_s)))
    assert figures["onset_f1_energy"] == f1
    assert figures["onset_f1_real"] == 1
    assert figures["greatest_hits_matched_share_energy"] == share
    assert figures["greatest_hits_average_precision_energy"] == share
    assert figures["greatest_hits_number_accuracy_energy"] == 1


def test_figures_are_means_over_the_clips(model: ReWaS) -> None:
    section = build_section(model, clicks(STRIKES_S), clicks(STRIKES_S[:2]), SILENT, clicks(STRIKES_S + 0.2))
    figures = values_of(section)
    # All hit; two of four, where F1 is 2·2 / (4 + 2); nothing; as many in other places.
    assert figures["onset_f1_energy"] == pytest.approx((1 + 2 / 3 + 0 + 0) / 4)
    assert figures["greatest_hits_number_accuracy_energy"] == 2 / 4
    assert figures["greatest_hits_matched_share_energy"] == (1 + 1 / 2) / 4
    assert figures["greatest_hits_average_precision_energy"] == (1 + 1 / 2) / 4
    # With what is missed credited in the end: all right; two and then four of four; still nothing; four of eight.
    assert figures["greatest_hits_credited_average_precision_energy"] == pytest.approx((1 + 1 + 0 + 1 / 2) / 4)
    assert section.details["clips"] == 4
    assert section.details["f1_by_class"]["real"] == {"drum_hit": 1.0}


def test_the_requested_onsets_are_those_of_the_clip(tmp_path: Path) -> None:
    requests: list[Controls] = []

    def generate(request: Request) -> FloatArray:
        requests.extend(request.controls)
        return np.zeros((len(request.prompts), 1, 1), np.float32)

    def vocode(log_mels: FloatArray) -> list[FloatArray]:
        # A strike too few, and two too many.
        return [clicks(STRIKES_S[:3]), clicks(np.append(STRIKES_S, [0.75, 1.25]))]

    bench = make_bench(
        full_model(tmp_path),
        [strike_clip(), strike_clip()],
        plain_waveforms=[SILENT, SILENT],
        source=ScriptedSource(generate, vocode),
    )
    figures = figures_of(onset_section(bench))
    assert [controls.names for controls in requests] == [("onsets",)] * 2
    for controls in requests:
        np.testing.assert_array_equal(np.flatnonzero(controls.onsets), [50, 100, 150, 200])
    assert figures["onset_precision"].value == pytest.approx((1 + 4 / 6) / 2)
    assert figures["onset_recall"].value == pytest.approx((3 / 4 + 1) / 2)
    assert figures["onset_f1"].value == pytest.approx((6 / 7 + 8 / 10) / 2)
    assert figures["onset_f1_energy"].value == 0


def test_a_strike_is_in_its_frame_with_its_strength() -> None:
    clip = strike_clip()
    track = strikes(clip, 100.0)
    assert {place: float(track[place]) for place in np.flatnonzero(track)} == pytest.approx(
        {50: 1.0, 100: 0.8, 150: 0.6, 200: 0.4}
    )
