"""Figures of the conflict check on cases with known results."""

from fractions import Fraction

import numpy as np
import pytest

from rewas_engine import ConflictReport, ConflictSpan, PackError, ReWaS, SettingsError
from rewas_engine.evaluation.conflict import CheckedPrompt, HalvedClip, build_section, judge_scenes
from rewas_engine.evaluation.joint_retrieval import calibration_error
from rewas_engine.evaluation.splits import DEVELOPMENT
from rewas_engine.matching.evidence import Evidence, EvidenceSpan


def test_the_calibration_error_of_known_cases() -> None:
    truths = np.array([True, False])
    assert calibration_error(np.array([1.0, 0.0]), truths) == 0
    assert calibration_error(np.array([0.0, 1.0]), truths) == 1
    assert calibration_error(np.array([0.5, 0.5]), truths) == 0
    # Right and wrong pairs are weighted equally, however many there are.
    many = np.array([True] + [False] * 9)
    assert calibration_error(np.where(many, 0.9, 0.1), many) == pytest.approx(0.1)


def half_result(spans_s: list[tuple[float, float]]) -> HalvedClip:
    conflict_spans = tuple(ConflictSpan(Fraction(begin), Fraction(end), 0.1, "rain") for begin, end in spans_s)
    evidence = Evidence(0.4, (EvidenceSpan(Fraction(0), Fraction(8), 0.5, "rain", 0.5),), (), 1.0)
    return HalvedClip(
        ConflictReport("unsure", 0.4, "Explained.", conflict_spans), evidence, "a bell", Fraction(4), Fraction(8)
    )


@pytest.mark.parametrize(
    ("spans_s", "overlap", "false_share"),
    [
        ([], 0, 0),
        ([(4, 8)], 1, 0),
        ([(0, 8)], 0.5, 1),
        ([(0, 4)], 0, 1),
        ([(3, 6)], 0.4, 0.25),
        ([(0, 1), (4, 8)], 0.8, 0.25),
    ],
)
def test_the_overlap_with_the_replaced_half(spans_s, overlap: float, false_share: float) -> None:
    found = half_result(spans_s)
    assert found.overlap == pytest.approx(overlap)
    assert found.false_share == pytest.approx(false_share)


def judged_prompt(own: bool, belongs: int, verdict: str, score: float, names_it: bool = False) -> CheckedPrompt:
    return CheckedPrompt(own, belongs, ConflictReport(verdict, score, "Explained."), names_it)


def test_figures_of_known_verdicts() -> None:
    judged_prompts = [
        judged_prompt(True, 1, "agree", 0.9),
        judged_prompt(True, 1, "conflict", 0.1),
        judged_prompt(False, -1, "conflict", 0.05, True),
        judged_prompt(False, -1, "agree", 0.95),
        judged_prompt(False, 0, "unsure", 0.5),
        judged_prompt(False, 1, "agree", 0.9),
    ]
    section = build_section(judged_prompts, [half_result([(4, 8)]), half_result([])])
    found = {figure.key.removeprefix("conflict_"): figure.value for figure in section.figures}
    assert found["auc"] == pytest.approx((0.5 + 1 + 0 + 1 + 1 + 0 + 0 + 0) / 8)
    assert (found["right_agree"], found["right_conflict"]) == (0.5, 0.5)
    assert (found["wrong_agree"], found["wrong_conflict"]) == (0.5, 0.5)
    assert (found["suggested"], found["half_found"], found["half_overlap"], found["half_false"]) == (1, 0.5, 0.5, 0)
    assert section.details["prompts"] == {"right": 2, "wrong": 4, "another_class": 2}


@pytest.mark.slow
@pytest.mark.weights
def test_the_shipped_pack_separates_right_from_wrong_prompts() -> None:
    model = ReWaS.from_pretrained("starter", device="cpu")
    progress = []
    scenes = DEVELOPMENT.visible(24)
    judged_prompts, halves = judge_scenes(model, scenes, lambda done, total: progress.append((done, total)))
    figures = {figure.key: figure.value for figure in build_section(judged_prompts, halves).figures}
    assert figures["conflict_auc_other_class"] > 0.9
    assert figures["conflict_wrong_conflict"] > 0.5 > figures["conflict_right_conflict"]
    assert figures["conflict_half_found"] > 0.5
    assert progress[-1] == (24, 24)
    with pytest.raises(SettingsError, match="too few clips"):
        judge_scenes(model, scenes[:3])


def test_a_pack_without_a_joint_space_is_not_measured(tmp_path) -> None:
    from pack_fixtures import tiny_model

    with pytest.raises(PackError, match="has no joint space for the conflict check"):
        judge_scenes(tiny_model(tmp_path), DEVELOPMENT.visible(6))
