"""The classes that a pack is measured on, and the figures of those with a picture."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench_fixtures import ScriptedJudge, clicks, figures_of, make_bench, make_clip, mels_of, strike_clip, values_of
from curve_fixtures import STEPS, following
from pack_fixtures import tiny_model

from rewas_engine import ReWaS, Sampling
from rewas_engine.evaluation.control_following import energy_section
from rewas_engine.evaluation.energy_from_video import energy_from_video_section
from rewas_engine.evaluation.figures_with_picture import figure_with_picture
from rewas_engine.evaluation.known_classes import known_classes
from rewas_engine.evaluation.onset_control import onset_section
from rewas_engine.evaluation.prompt_adherence import prompt_section
from rewas_engine.evaluation.splits import DEVELOPMENT
from rewas_engine.evaluation.suite import EvaluationPlan, evaluate
from rewas_engine.evaluation.video_to_sound import align_section
from rewas_engine.world import ALL_CLASSES, CLASS_NAMES

UNSEEN = ("thunder", "siren")
"""Two classes without a picture, one of them struck."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ReWaS:
    return tiny_model(tmp_path_factory.mktemp("pack"))


def test_a_pack_is_measured_on_the_classes_that_it_names_in_the_order_of_the_world(model: ReWaS) -> None:
    pack = replace(model.pack, kinds=("siren", "hum of a ship", "rain", "thunder"))
    assert known_classes(pack) == ("rain", "thunder", "siren")
    assert known_classes(replace(pack, kinds=ALL_CLASSES)) == ALL_CLASSES


@pytest.mark.parametrize("kinds", [(), ("hum of a ship", "groan of a ship"), ("rain",)])
def test_a_pack_that_names_too_few_is_measured_on_those_with_a_picture(kinds: tuple[str, ...], model: ReWaS) -> None:
    assert known_classes(replace(model.pack, kinds=kinds)) == CLASS_NAMES


def test_a_plan_can_name_any_classes(model: ReWaS) -> None:
    pack = replace(model.pack, kinds=("rain", "thunder"))
    assert EvaluationPlan().classes_for(pack) == ("rain", "thunder")
    assert EvaluationPlan(classes=("siren", "bell")).classes_for(pack) == ("bell", "siren")
    assert EvaluationPlan(classes=ALL_CLASSES).classes_for(pack) == ALL_CLASSES


def test_a_figure_is_repeated_only_where_it_differs() -> None:
    log_mel = np.zeros((4, 64), np.float32)
    clips = [make_clip(name, log_mel) for name in ("rain", "thunder", "bell")]
    (figure,) = figure_with_picture("loss", "Loss", clips, [1.0, 9.0, 2.0], "nats")
    assert (figure.key, figure.value, figure.unit, figure.note) == ("loss_with_picture", 1.5, "nats", "2 clips")
    assert figure.label == "Loss, classes with a picture"
    assert figure_with_picture("loss", "Loss", clips[::2], [1.0, 2.0]) == ()
    assert figure_with_picture("loss", "Loss", clips[1:2], [9.0]) == ()


def test_words_and_energy_have_figures_of_the_classes_with_a_picture(model: ReWaS) -> None:
    asked = -5 + STEPS
    clips = [make_clip(name, mels_of([asked])[0]) for name in ("rain", "thunder")]
    mels = {
        "plain": mels_of([-5 + following(0.8), -5 + following(0.28)]),
        "plain_vocoded": mels_of([-4 + following(0.96), -4 + following(0.6)]),
        "uncontrolled": mels_of([asked, asked]),
        "swapped": mels_of([-3 + following(0.8), -3 + following(0.6)]),
        "paraphrased": mels_of([-2 + following(0.8), -2 + following(0.6)]),
    }
    judge = ScriptedJudge(ALL_CLASSES)
    judge.set_classes(mels_of([asked]), ["rain"])
    for name, answers in {"plain": ["bell", "thunder"], "plain_vocoded": ["rain", "rain"]}.items():
        judge.set_classes(mels[name], answers)
    judge.set_classes(mels["swapped"], ["rain", "bell"])
    judge.set_classes(mels["paraphrased"], ["bell", "bell"])
    bench = make_bench(model, clips, judge, **mels)

    def shown(figures: dict[str, float | None]) -> dict[str, float | None]:
        return {key: value for key, value in figures.items() if key.endswith("_with_picture")}

    assert shown(values_of(prompt_section(bench))) == {
        "real_class_with_picture": 1.0,
        "class_with_picture": 0.0,
        "vocoded_class_with_picture": 1.0,
        "class_swapped_with_picture": 1.0,
        "class_paraphrased_with_picture": 0.0,
    }
    energy = shown(values_of(energy_section(bench)))
    assert set(energy) == {
        f"{key}_with_picture"
        for key in ("energy_correlation_mean", "energy_mae_nats", "vocoded_correlation_mean", "vocoded_mae_nats")
    }
    assert energy["energy_correlation_mean_with_picture"] == pytest.approx(0.8, abs=1e-5)
    assert energy["vocoded_correlation_mean_with_picture"] == pytest.approx(0.96, abs=1e-5)


def test_struck_classes_without_a_picture_have_onsets(model: ReWaS) -> None:
    clips = [strike_clip("drum_hit"), strike_clip("thunder"), make_clip("siren", np.zeros((4, 64), np.float32))]
    section = onset_section(make_bench(model, clips, plain_waveforms=[clicks(np.array([0.5]))] * 3))
    assert section.details["clips"] == 2
    assert set(section.details["f1_by_class"]["energy"]) == {"drum_hit", "thunder"}


def test_figures_of_the_picture_are_not_measured_without_one(model: ReWaS) -> None:
    clips = [make_clip(name, np.zeros((4, 64), np.float32)) for name in UNSEEN]
    bench = make_bench(model, clips)
    for section in (align_section(bench), energy_from_video_section(model, DEVELOPMENT, 0, bench.watch)):
        (figure,) = figures_of(section).values()
        assert (figure.value, figure.note) == (None, "not measured: no such clips")


@pytest.mark.slow
def test_a_pack_is_evaluated_on_its_own_classes(tmp_path: Path) -> None:
    model = tiny_model(tmp_path)
    model.pack = replace(model.pack, kinds=("rain", *UNSEEN))
    settings = model.sampling_settings(Sampling(num_inference_steps=1, guidance_scale=1.5))
    found = evaluate(model, EvaluationPlan(("energy", "picture"), 1), settings)
    assert found.setting["classes"] == ["rain", "thunder", "siren"]
    assert set(found.sections[0].details["correlation_by_class"]) == {"rain", "thunder", "siren"}
    assert found.sections[1].details["clips"]["visible"] + found.sections[1].details["clips"]["even"] == 1
