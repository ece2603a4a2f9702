"""Figures of a joint space on cases with known results."""

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewas_engine import PackError, ReWaS, SettingsError
from rewas_engine.evaluation.joint_retrieval import (
    JointFigures,
    calibration_table,
    measure_joint,
    pair_figures,
    ranking_auc,
    relations,
)
from rewas_engine.matching.embedding import JointScorer
from rewas_engine.models.joint import JointSpace
from rewas_engine.packs.components import save_component
from rewas_engine.packs.description import write_description
from rewas_engine.recipes.untrained_starter import write_untrained_pack
from rewas_engine.world import sample_scene

SCORES = arrays(np.float64, st.integers(1, 30), elements=st.floats(-1, 1).map(lambda value: round(value, 1)))


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        ([3, 4, 5], [0, 1, 2], 1.0),
        ([0, 1, 2], [3, 4, 5], 0.0),
        ([1, 1], [1, 1, 1], 0.5),
        ([2, 0], [1], 0.5),
        ([1, 2], [1, 0], 0.875),
        ([np.inf], [-np.inf], 1.0),
    ],
)
def test_the_area_under_the_curve_of_known_cases(right, wrong, expected: float) -> None:
    assert ranking_auc(np.array(right, float), np.array(wrong, float)) == expected


@settings(deadline=None)
@given(SCORES, SCORES)
def test_the_area_is_the_share_of_pairs_in_order(right: np.ndarray, wrong: np.ndarray) -> None:
    above, level = right[:, None] > wrong[None], right[:, None] == wrong[None]
    expected = (above + 0.5 * level).mean()
    assert ranking_auc(right, wrong) == pytest.approx(expected)
    assert ranking_auc(wrong, right) == pytest.approx(1 - expected)
    assert ranking_auc(np.tanh(2 * right) + 3, np.tanh(2 * wrong) + 3) == pytest.approx(expected)


@pytest.mark.parametrize("sides", [([], [1.0]), ([1.0], []), ([], [])])
def test_one_side_alone_is_refused(sides) -> None:
    with pytest.raises(SettingsError, match="no right or no wrong"):
        ranking_auc(np.array(sides[0]), np.array(sides[1]))


def test_true_probabilities_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.uniform(0, 1, 200_000)
    table = calibration_table(probabilities, rng.random(probabilities.size) < probabilities)
    assert len(table) == 10
    for number, tenth in enumerate(table):
        assert number / 10 <= tenth.probability <= (number + 1) / 10
        assert tenth.share == pytest.approx(tenth.probability, abs=0.02)
    assert sum(tenth.pairs for tenth in table) == probabilities.size


def test_right_and_wrong_pairs_are_weighted_equally() -> None:
    probabilities = np.array([0.5] * 10 + [1.0])
    truths = np.array([True] + [False] * 9 + [True])
    table = calibration_table(probabilities, truths)
    assert [(tenth.probability, tenth.pairs) for tenth in table] == [(0.5, 10), (1.0, 1)]
    # The right pair here has weight 1/4, the wrong pairs 1/2: the weighted share of right pairs is 1/3.
    assert [tenth.share for tenth in table] == [pytest.approx(1 / 3), 1.0]


@pytest.mark.parametrize("truths", [[True, True], [False, False]])
def test_pairs_of_one_kind_are_refused(truths) -> None:
    with pytest.raises(SettingsError, match="only right or only wrong"):
        calibration_table(np.array([0.2, 0.8]), np.array(truths))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ReWaS:
    """An untrained pack with an untrained joint space."""
    pack = write_untrained_pack(tmp_path_factory.mktemp("packs") / "joined")
    torch.manual_seed(0)
    space = JointSpace(picture_widths=(8, 8, 8, 8), sound_widths=(8, 8, 8, 8), features=16, known_words=("rain", "dog"))
    save_component(space, pack, "joint")
    document = tomllib.loads((pack / "pack.toml").read_text("utf-8"))
    document["components"]["joint"] = "JointSpace"
    write_description(pack, {key: value for key, value in document.items() if key not in ("format", "files")})
    return ReWaS.from_pretrained(pack, device="cpu")


def _scorer(model: ReWaS) -> JointScorer:
    assert model.joint_scorer is not None
    return model.joint_scorer


def test_a_perfect_an_inverted_and_a_constant_space(model: ReWaS) -> None:
    relation = np.where(np.arange(6)[:, None] % 3 == np.arange(6)[None] % 3, 1, -1)
    perfect = pair_figures(_scorer(model), "text_sound", 1.0 * relation, -1.0 * relation, relation)
    assert (perfect.auc, perfect.paraphrase_auc) == (1.0, 0.0)
    # One of the five other partners is of the same class and ties.
    assert perfect.shuffled_auc == pytest.approx(0.9)
    constant = pair_figures(_scorer(model), "picture_sound", np.zeros((6, 6)), None, relation)
    assert (constant.auc, constant.shuffled_auc, constant.paraphrase_auc) == (0.5, 0.5, None)


def test_a_background_class_is_neither_right_nor_wrong(model: ReWaS) -> None:
    bell, rain, dog = (sample_scene(7, name, pattern="steady") for name in ("bell", "rain", "dog_bark"))
    bell, rain, dog = (replace(scene, ambience=None) for scene in (bell, rain, dog))
    in_rain = replace(dog, ambience=rain)
    assert relations([bell, rain, dog, in_rain]).tolist() == [
        [1, -1, -1, -1],
        [-1, 1, -1, 0],
        [-1, -1, 1, 1],
        [-1, 0, 1, 1],
    ]
    relation = relations([bell, rain, in_rain])
    cosines = np.eye(3)
    cosines[1, 2] = cosines[2, 1] = 5.0
    assert pair_figures(_scorer(model), "text_sound", cosines, None, relation).auc == 1.0


def test_only_recognisable_scenes_are_measured(model: ReWaS) -> None:
    scenes = [
        replace(sample_scene(seed, name, duration_s=1.0, pattern="steady"), off_screen=off_screen)
        for seed, (name, off_screen) in enumerate([("rain", False), ("bell", False), ("engine", True), ("rain", False)])
    ]
    silent = replace(scenes[0], silent_motion=True, envelope=0 * scenes[0].envelope)
    progress: list[tuple[int, int]] = []
    figures = measure_joint(model, [*scenes, silent], on_scene=lambda done, total: progress.append((done, total)))
    assert (figures.heard, figures.seen) == (4, 3)
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert set(figures.pairs) == {"text_sound", "text_picture", "picture_sound"}
    for pair, found in figures.pairs.items():
        assert 0 <= found.auc <= 1
        assert (found.paraphrase_auc is None) == (pair == "picture_sound")
        assert figures.summary()[f"joint_{pair}_auc"] == pytest.approx(found.auc, abs=1e-4)
    assert measure_joint(model, [*scenes, silent]) == figures


def test_too_few_classes_are_refused(model: ReWaS, tmp_path: Path) -> None:
    rain = sample_scene(3, "rain", duration_s=1.0, pattern="steady")
    bell = replace(sample_scene(3, "bell", duration_s=1.0, pattern="steady"), off_screen=True)
    for scenes in ([], [rain, rain], [rain, bell]):
        with pytest.raises(SettingsError, match="fewer than two classes"):
            measure_joint(model, scenes)
    bare = ReWaS.from_pretrained(write_untrained_pack(tmp_path / "bare"), device="cpu")
    with pytest.raises(PackError, match="bare has no joint space"):
        measure_joint(bare, [rain, bell])
    assert JointFigures().summary() == {"joint_scenes_heard": 0, "joint_scenes_seen": 0}
