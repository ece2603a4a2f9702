"""The shipped weights meet every target again, measured on the whole test split. `make test-weights` runs this.

`make test` measures six clips against wider bounds in `tests/engine/test_starter_pack.py`, and checks that the stored
figures belong to these weights and meet the targets.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rewas_engine import ReWaS
from rewas_engine.evaluation.figures import TARGETS
from rewas_engine.evaluation.suite import EvaluationPlan, evaluate

pytestmark = [pytest.mark.slow, pytest.mark.weights, pytest.mark.release]

SECTIONS = ("energy", "words", "vocoder", "onsets", "picture", "joint", "conflict")
OTHER_FIGURES = {"take_s", "real_clips_zero_lag", "real_clips_best_lag", "realism_nearness"}
"""Figures of the machine, and of clips and recordings that are not in the repository."""


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """All figures by key. REWAS_EVALUATION names a folder that keeps the sounds if the measurement breaks off."""
    sounds = Path(os.environ.get("REWAS_EVALUATION") or tmp_path_factory.mktemp("sounds"))
    found = evaluate(
        ReWaS.from_pretrained("starter", device="cpu"), EvaluationPlan(SECTIONS), sounds_folder=sounds
    ).figures()
    return {key: figure.value for key, figure in found.items() if figure.value is not None}


@pytest.mark.parametrize("key", sorted(TARGETS.keys() - OTHER_FIGURES))
def test_the_target_is_met(figures: dict[str, float], key: str) -> None:
    assert TARGETS[key].is_met_by(figures[key], "cpu"), figures[key]
