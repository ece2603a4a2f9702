"""Figures against their bars, and the page that tells them."""

import json

import pytest

from rewas_engine.evaluation.figures import BARS, Bar, Evaluation, Figure, Section, not_supported
from rewas_engine.evaluation.report import markdown, shown_bar, shown_value, shown_verdict, table

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
    ("bar", "value", "trained", "met"),
    [
        (Bar(0.9, 0.95), 0.9, "cpu", True),
        (Bar(0.9, 0.95), 0.94, "gpu", False),
        (Bar(0.2, 0.1, at_least=False), 0.2, "cpu", True),
        (Bar(0.2, 0.1, at_least=False), 0.15, "gpu", False),
        (Bar(0.2, 0.1, at_least=False), float("nan"), "cpu", False),
    ],
)
def test_a_bar_is_met_from_its_own_side(bar: Bar, value: float, trained: str, met: bool) -> None:
    assert bar.met_by(value, trained) is met


def test_no_bar_is_easier_for_packs_that_had_a_gpu() -> None:
    for bar in BARS.values():
        assert bar.gpu >= bar.cpu if bar.at_least else bar.gpu <= bar.cpu


def test_a_figure_says_what_it_is_and_what_it_must_be() -> None:
    passed, missed = Figure("class", "Right class", 0.9), Figure("energy_mae_nats", "Error", 0.31, "nats")
    assert (shown_value(missed), shown_bar(missed, "cpu"), shown_verdict(missed, "cpu")) == (
        "0.310 nats",
        "≤ 0.2",
        "miss",
    )
    assert (shown_verdict(passed, "cpu"), shown_verdict(passed, "gpu")) == ("pass", "miss")
    told = Figure("told", "Told and not judged", 1.0)
    assert (shown_bar(told, "cpu"), shown_verdict(told, "cpu"), told.passed("cpu")) == ("", "", None)


def test_what_is_not_supported_is_said_and_neither_passed_nor_missed() -> None:
    figure = not_supported("onset_f1", "Onset F1", "the pack has no onset control")
    assert figure.passed("cpu") is None
    assert shown_value(figure) == "not supported: the pack has no onset control"
    page = markdown(evaluation(figure), {})
    assert "| Onset F1 | not supported: the pack has no onset control | ≥ 0.85 |" in page
    assert f"0 of {len(BARS)} bars are measured, none of them is missed." in page
    assert "guidance 1.5 (2 where onsets alone steer)" in page


def test_the_page_names_what_was_missed_and_shows_its_plots() -> None:
    page = markdown(
        evaluation(Figure("class", "Right class", 0.2), correlation_by_class={"rain": 0.5, "sea_waves": 0.25}),
        {"energy": [("energy.png", "Energy")]},
    )
    assert f"1 of {len(BARS)} bars are measured. Missed:\n\n- Right class\n" in page
    assert "![Energy](energy.png)" in page
    assert "| sea waves | 0.25 |" in page


def test_a_report_is_json_with_every_figure_once() -> None:
    report = evaluation(Figure("class", "Right class", 0.2), not_supported("onset_f1", "Onset F1", "none")).report()
    again = json.loads(json.dumps(report, allow_nan=False))
    assert again["figures"]["class"] == {
        "label": "Right class",
        "value": 0.2,
        "unit": "",
        "note": "",
        "bar": 0.88,
        "at_least": True,
        "passed": False,
    }
    assert again["figures"]["onset_f1"]["value"] is None
    assert again["setting"]["bars"] == "cpu"


def test_a_bar_in_a_cell_does_not_break_the_table() -> None:
    assert table(["a"], [["|r|"]]).splitlines()[-1] == "| /r/ |"
