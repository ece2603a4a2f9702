"""Figures and their targets, and the report page."""

import json

import pytest

from rewas_engine.evaluation.figures import TARGETS, Evaluation, Figure, Section, Target, unsupported_figure
from rewas_engine.evaluation.report import format_target, format_value, format_verdict, markdown, table

SETTING = {
    "split": "test",
    "clips_per_class": 2,
    "clips": 54,
    "num_steps": 10,
    "guidance_scale": 1.5,
    "onsets_guidance_scale": 2.0,
    "device": "cpu",
}
PACK = {"name": "mine", "version": "1.2", "licence": "Apache-2.0", "controls": ["energy"]}


def evaluation(*figures: Figure, **details: object) -> Evaluation:
    return Evaluation(PACK, SETTING, "cpu", (Section("energy", "Energy", figures, details),))


@pytest.mark.parametrize(
    ("target", "value", "trained", "met"),
    [
        (Target(0.9, 0.95), 0.9, "cpu", True),
        (Target(0.9, 0.95), 0.94, "gpu", False),
        (Target(0.2, 0.1, at_least=False), 0.2, "cpu", True),
        (Target(0.2, 0.1, at_least=False), 0.15, "gpu", False),
        (Target(0.2, 0.1, at_least=False), float("nan"), "cpu", False),
    ],
)
def test_a_target_is_met_in_its_direction(target: Target, value: float, trained: str, met: bool) -> None:
    assert target.is_met_by(value, trained) is met


def test_no_target_is_easier_for_packs_trained_on_a_gpu() -> None:
    for target in TARGETS.values():
        assert target.gpu >= target.cpu if target.at_least else target.gpu <= target.cpu


def test_a_figure_is_formatted_with_its_target() -> None:
    passed, missed = Figure("class", "Right class", 0.9), Figure("energy_mae_nats", "Error", 0.31, "nats")
    assert (format_value(missed), format_target(missed, "cpu"), format_verdict(missed, "cpu")) == (
        "0.310 nats",
        "≤ 0.2",
        "miss",
    )
    assert (format_verdict(passed, "cpu"), format_verdict(passed, "gpu")) == ("pass", "miss")
    reported = Figure("reported", "Reported only", 1.0)
    assert (format_target(reported, "cpu"), format_verdict(reported, "cpu"), reported.passed("cpu")) == ("", "", None)


def test_an_unsupported_figure_is_neither_passed_nor_missed() -> None:
    figure = unsupported_figure("onset_f1", "Onset F1", "the pack has no onset control")
    assert figure.passed("cpu") is None
    assert format_value(figure) == "not supported: the pack has no onset control"
    page = markdown(evaluation(figure), {})
    assert "| Onset F1 | not supported: the pack has no onset control | ≥ 0.85 |" in page
    assert f"0 of {len(TARGETS)} targets are measured; all of them are met." in page
    assert "guidance scale 1.5 (2 with onsets alone)" in page


def test_the_page_names_missed_targets_and_shows_plots() -> None:
    page = markdown(
        evaluation(Figure("class", "Right class", 0.2), correlation_by_class={"rain": 0.5, "sea_waves": 0.25}),
        {"energy": [("energy.png", "Energy")]},
    )
    assert f"1 of {len(TARGETS)} targets are measured. Missed:\n\n- Right class\n" in page
    assert "![Energy](energy.png)" in page
    assert "| sea waves | 0.25 |" in page


def test_a_report_is_json_with_every_figure_once() -> None:
    report = evaluation(
        Figure("class", "Right class", 0.2), unsupported_figure("onset_f1", "Onset F1", "none")
    ).report()
    again = json.loads(json.dumps(report, allow_nan=False))
    assert again["figures"]["class"] == {
        "label": "Right class",
        "value": 0.2,
        "unit": "",
        "note": "",
        "target": 0.88,
        "at_least": True,
        "passed": False,
    }
    assert again["figures"]["onset_f1"]["value"] is None
    assert again["setting"]["targets"] == "cpu"


def test_a_vertical_bar_in_a_cell_does_not_break_the_table() -> None:
    assert table(["a"], [["|r|"]]).splitlines()[-1] == "| /r/ |"
