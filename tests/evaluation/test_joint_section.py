"""Which words, pictures and sounds are held against which, in a space that knows each by heart."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bench_fixtures import figures_of, make_bench, make_clip, values_of
from joint_fixtures import FixedScenes, ScriptedJoint
from pack_fixtures import tiny_model

from rewas_engine import ReWaS
from rewas_engine.conditioning.mel import normalise
from rewas_engine.evaluation.joint_retrieval import JointFigures, measure_joint
from rewas_engine.evaluation.joint_section import joint_section
from rewas_engine.evaluation.splits import Split
from rewas_engine.world import Scene, held_out_captions, render_brightness, render_sound, sample_scene

CLASSES = ("rain", "bell", "engine")
RAIN, BELL, ENGINE = np.eye(3, dtype=np.float32)


def scene(seed: int, class_name: str, off_screen: bool = False) -> Scene:
    return replace(
        sample_scene(seed, class_name, duration_s=0.5, pattern="steady"),
        off_screen=off_screen,
        ambience=None,
        caption=f"caption {seed}",
    )


RAINS, BELLS, ENGINES = scene(0, "rain"), scene(1, "bell"), scene(2, "engine", off_screen=True)
SCENES = (RAINS, BELLS, ENGINES, scene(3, "rain"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ReWaS:
    """A pack whose space hears and reads all classes, and takes pictures of rain for bells and of bells for rain."""
    model, space = tiny_model(tmp_path_factory.mktemp("pack")), ScriptedJoint()
    rate, width, height = model.frame_format
    for one in SCENES:
        vector = {"rain": RAIN, "bell": BELL, "engine": ENGINE}[one.class_name]
        space.tell_text(one.caption, vector)
        space.tell_sound(model.front_end.encode(normalise(render_sound(one))), vector)
        if not one.off_screen:
            shown = BELL if one.class_name == "rain" else RAIN
            space.tell_picture(render_brightness(one, frame_rate=rate, width=width, height=height), shown)
    for name in CLASSES:
        for phrase in held_out_captions(name):
            # Of what it has not read it takes rain and engines for bells.
            space.tell_text(phrase, BELL)
    vars(model)["joint"] = space
    return model


@pytest.fixture(scope="module")
def measured(model: ReWaS) -> JointFigures:
    return measure_joint(model, SCENES)


def test_words_are_held_against_the_sounds_of_all_that_is_heard(measured: JointFigures) -> None:
    found = measured.pairs["text_sound"]
    assert found.auc == 1
    # Each of the four is above its three others, but the two rains tie.
    assert found.shuffled_auc == pytest.approx((4 * 12 - 0.5 * 4 * 2) / (4 * 12))
    # Own: the bell's 1, three 0. Of another class: three phrases of bells with the bell's sound, else 0.
    right, wrong = [0, 1, 0, 0], [0, 0, 1, 0, 1, 0, 0, 0, 0, 1]
    expected = np.mean([(r > w) + 0.5 * (r == w) for r in right for w in wrong])
    assert found.paraphrase_auc == pytest.approx(expected)


def test_words_are_held_against_the_pictures_of_what_is_seen(measured: JointFigures) -> None:
    found = measured.pairs["text_picture"]
    assert found.auc == 0
    # Own: 0 each. Others: of the rains each other's 0, and four of a rain and a bell with 1.
    assert found.shuffled_auc == pytest.approx(0.5 * 2 / 6)
    # Own: phrases of bells with pictures of bells, which are shown for rain: 1, 0, 1. Of another class: 0, 1, 1, 0.
    assert found.paraphrase_auc == pytest.approx(np.mean([0.5, 1, 0.5, 1, 0, 0.5, 0, 0.5, 0.5, 1, 0.5, 1]))


def test_videos_are_compared_with_sounds(measured: JointFigures) -> None:
    found = measured.pairs["picture_sound"]
    assert found.auc == 0
    assert found.shuffled_auc == pytest.approx(0.5 * 2 / 6)
    assert found.paraphrase_auc is None
    assert (measured.heard, measured.seen) == (4, 3)


def test_the_section_reports_each_pair_under_its_own_name(model: ReWaS, measured: JointFigures) -> None:
    split = FixedScenes("given", 0, (*SCENES, RAINS))
    made, real = np.zeros((2, 4, 64), np.float32), np.zeros((2, 4, 64), np.float32)
    made[0], made[1], real[0], real[1] = 1, 2, 3, 4
    space = model.joint_scorer
    assert isinstance(space, ScriptedJoint)
    for log_mel, vector in zip([*made, *real], [RAIN, RAIN, RAIN, 0.6 * BELL + 0.8 * RAIN], strict=True):
        space.tell_sound(torch.from_numpy(log_mel), vector)
    clips = [make_clip(name, log_mel) for name, log_mel in zip(("rain", "bell"), real, strict=True)]
    for clip, vector in zip(clips, (RAIN, BELL), strict=True):
        space.tell_text(clip.plain, vector)
    section = joint_section(make_bench(model, clips, plain=made), split, 4)
    pairs = measured.pairs
    assert values_of(section) == pytest.approx(
        {
            "joint_auc_sound": pairs["text_sound"].shuffled_auc,
            "joint_auc_sound_other_class": 1,
            "joint_auc_sound_paraphrased": pairs["text_sound"].paraphrase_auc,
            "joint_auc_picture": pairs["text_picture"].shuffled_auc,
            "joint_auc_picture_other_class": 0,
            "joint_auc_picture_paraphrased": pairs["text_picture"].paraphrase_auc,
            "joint_auc_picture_sound": pairs["picture_sound"].shuffled_auc,
            "joint_auc_picture_sound_other_class": 0,
            "joint_score_made": 0.5,
            "joint_score_real": 0.8,
        }
    )
    assert section.details["scenes"] == {"heard": 4, "seen": 3}
    tenths = section.details["calibration"]["text_sound"]
    # All six of one class are held to be probable, and none of the ten others.
    assert tenths == [
        {"probability": 0.35, "share": 0.0, "pairs": 10},
        {"probability": 0.95, "share": 1.0, "pairs": 6},
    ]
    assert [tenth["probability"] for tenth in section.details["calibration"]["text_picture"]] == [0.05, 0.95]


def test_a_pack_without_a_joint_space_has_no_figures(tmp_path: Path) -> None:
    section = joint_section(make_bench(tiny_model(tmp_path), []), Split("given", 0), 4)
    figures = figures_of(section)
    assert set(figures) == {"joint_auc_picture", "joint_auc_sound"}
    assert {(figure.value, figure.note) for figure in figures.values()} == {
        (None, "not supported: the pack has no joint space")
    }
