"""The margin of a setting is that of its worst figure relative to the target, on the requested clips."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from bench_fixtures import ScriptedJudge, make_bench, make_clip, mels_of
from pack_fixtures import tiny_model

from rewas_engine.conditioning.controls import Controls
from rewas_engine.evaluation.bench import Bench
from rewas_engine.evaluation.figures import Trained
from rewas_engine.evaluation.sampling_choice import TriedSetting, _try_setting
from rewas_engine.evaluation.sound_sources import Sounds

RISING = np.linspace(-8, -4, 50, dtype=np.float32)


def try_setting(
    folder: Path, generated: np.ndarray, plain: str, swapped: str, trained: Trained = "cpu"
) -> TriedSetting:
    """Evaluate a setting that generates these log-mels [10, T, bins] for ten clips of rain, one of which is always
    judged as rain.

    plain, swapped: the judge's answer for the others, with their own energy and with another class's.
    """
    judge, requested = ScriptedJudge(), mels_of([RISING + 0.01 * number for number in range(10)])
    foreign = mels_of([np.full(50, 5.0 + number, np.float32) for number in range(10)])
    judge.set_classes(generated, ["rain"] + [plain] * 9)
    judge.set_classes(foreign, ["rain"] + [swapped] * 9)
    clips = [make_clip("rain", log_mel) for log_mel in requested]
    bench = make_bench(tiny_model(folder), clips, judge, swapped=foreign)

    def generate(what: str, prompts: Sequence[str], controls: Sequence[Controls]) -> Sounds:
        assert what == "1 steps, guidance 1"
        assert list(prompts) == ["rain"] * 10
        for control, clip in zip(controls, bench.clips, strict=True):
            np.testing.assert_array_equal(control.energy, clip.energy)
        return bench.sounds(generated)

    vars(bench)["generate"] = generate
    assert isinstance(bench, Bench)
    return _try_setting(bench, trained)


def mels_off_by(error_nats: float) -> np.ndarray:
    return mels_of([RISING + 0.01 * number + error_nats for number in range(10)])


def test_the_margin_is_that_of_the_worst_figure(tmp_path: Path) -> None:
    row = try_setting(tmp_path, mels_off_by(0.1), "rain", "rain")
    assert (row.correlation_mean, row.correlation_worse_tenth) == pytest.approx((1, 1), abs=1e-4)
    assert row.mae_nats == pytest.approx(0.1, abs=1e-4)
    assert (row.right_class, row.right_class_swapped) == (1, 1)
    # Half the allowed error; the correlation is 0.04 above 0.96, which is the smallest margin.
    assert row.margin == pytest.approx(0.04 / 0.96, abs=1e-4)
    assert row.seconds_a_clip > 0


def test_an_error_above_its_target_is_a_negative_margin(tmp_path: Path) -> None:
    row = try_setting(tmp_path, mels_off_by(0.3), "rain", "rain")
    assert row.mae_nats == pytest.approx(0.3, abs=1e-4)
    assert row.margin == pytest.approx((0.2 - 0.3) / 0.2, abs=1e-3)


def test_each_condition_has_its_own_target(tmp_path: Path) -> None:
    wrong_class = try_setting(tmp_path / "plain", mels_off_by(0.0), "bell", "rain")
    assert (wrong_class.right_class, wrong_class.right_class_swapped) == (0.1, 1)
    assert wrong_class.margin == pytest.approx((0.1 - 0.88) / 0.88)
    swapped = try_setting(tmp_path / "swapped", mels_off_by(0.0), "rain", "bell")
    assert (swapped.right_class, swapped.right_class_swapped) == (1, 0.1)
    assert swapped.margin == pytest.approx((0.1 - 0.60) / 0.60)
    on_a_gpu = try_setting(tmp_path / "gpu", mels_off_by(0.0), "rain", "bell", "gpu")
    assert on_a_gpu.margin == pytest.approx((0.1 - 0.75) / 0.75)


def test_one_bad_clip_in_ten_affects_worse_tenth_and_mean(tmp_path: Path) -> None:
    generated = mels_off_by(0.0)
    generated[4] = generated[4, ::-1]
    row = try_setting(tmp_path, generated, "rain", "rain")
    assert row.correlation_mean == pytest.approx(0.8, abs=1e-3)
    # The 10th percentile of nine 1 and one -1 lies between the lowest two, a tenth of the way.
    assert row.correlation_worse_tenth == pytest.approx(0.8, abs=1e-3)
    # On average it differs by half of its rise.
    assert row.mae_nats == pytest.approx(0.1 * np.abs(RISING - RISING[::-1]).mean(), abs=1e-3)
