"""Which prompts, videos and sounds are compared, in a joint space with scripted vectors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bench_fixtures import figures_of, make_bench, make_clip, values_of
from joint_fixtures import FixedScenes, ScriptedJoint
from pack_fixtures import tiny_model

from rewas_engine import ReWaS
from rewas_engine.conditioning.levels import normalise
from rewas_engine.evaluation import joint_section as joint_section_module
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
    """A pack whose joint space embeds texts and sounds correctly, but swaps the videos of rain and bells."""
    model, space = tiny_model(tmp_path_factory.mktemp("pack")), ScriptedJoint()
    rate, width, height = model.frame_format
    for one in SCENES:
        vector = {"rain": RAIN, "bell": BELL, "engine": ENGINE}[one.class_name]
        space.set_text_vector(one.caption, vector)
        space.set_sound_vector(model.front_end.encode(normalise(render_sound(one))), vector)
        if not one.off_screen:
            video_vector = BELL if one.class_name == "rain" else RAIN
            space.set_video_vector(render_brightness(one, frame_rate=rate, width=width, height=height), video_vector)
    for name in CLASSES:
        for phrase in held_out_captions(name):
            # Held-out prompts of every class are embedded as bells.
            space.set_text_vector(phrase, BELL)
    vars(model)["joint_scorer"] = space
    return model


@pytest.fixture(scope="module")
def measured(model: ReWaS) -> JointFigures:
    return measure_joint(model, SCENES)


def test_prompts_are_compared_with_the_sounds_of_audible_scenes(measured: JointFigures) -> None:
    found = measured.pairs["text_sound"]
    assert found.auc == 1
    # Each of the four prompts ranks above its three others, except that the two rains tie.
    assert found.shuffled_auc == pytest.approx((4 * 12 - 0.5 * 4 * 2) / (4 * 12))
    # Own class: 1 for the bell, 0 for the other three. Other classes: 1 for prompts with the sound of the bell, else 0.
    right, wrong = [0, 1, 0, 0], [0, 0, 1, 0, 1, 0, 0, 0, 0, 1]
    expected = np.mean([(r > w) + 0.5 * (r == w) for r in right for w in wrong])
    assert found.paraphrase_auc == pytest.approx(expected)


def test_prompts_are_compared_with_the_videos_of_visible_scenes(measured: JointFigures) -> None:
    found = measured.pairs["text_picture"]
    assert found.auc == 0
    # Own video: 0 each. Others: 0 between the two rains, and 1 for the four pairs of rain and bell.
    assert found.shuffled_auc == pytest.approx(0.5 * 2 / 6)
    # All prompts are embedded as bells, and videos of rain too. Own class: 1, 0, 1. Other classes: 0, 1, 1, 0.
    assert found.paraphrase_auc == pytest.approx(np.mean([0.5, 1, 0.5, 1, 0, 0.5, 0, 0.5, 0.5, 1, 0.5, 1]))


def test_videos_are_compared_with_sounds(measured: JointFigures) -> None:
    found = measured.pairs["picture_sound"]
    assert found.auc == 0
    assert found.shuffled_auc == pytest.approx(0.5 * 2 / 6)
    assert found.paraphrase_auc is None
    assert (measured.heard, measured.seen) == (4, 3)


def test_the_section_reports_each_pair(model: ReWaS, measured: JointFigures) -> None:
    split = FixedScenes("given", 0, (*SCENES, RAINS))
    generated, real = np.zeros((2, 4, 64), np.float32), np.zeros((2, 4, 64), np.float32)
    generated[0], generated[1], real[0], real[1] = 1, 2, 3, 4
    space = model.joint_scorer
    assert isinstance(space, ScriptedJoint)
    for log_mel, vector in zip([*generated, *real], [RAIN, RAIN, RAIN, 0.6 * BELL + 0.8 * RAIN], strict=True):
        space.set_sound_vector(torch.from_numpy(log_mel), vector)
    clips = [make_clip(name, log_mel) for name, log_mel in zip(("rain", "bell"), real, strict=True)]
    for clip, vector in zip(clips, (RAIN, BELL), strict=True):
        space.set_text_vector(clip.plain, vector)
    section = joint_section(make_bench(model, clips, plain=generated), split, 4)
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
    # All six pairs of one class are probable, and none of the ten others.
    assert tenths == [
        {"probability": 0.35, "share": 0.0, "pairs": 10},
        {"probability": 0.95, "share": 1.0, "pairs": 6},
    ]
    assert [tenth["probability"] for tenth in section.details["calibration"]["text_picture"]] == [0.05, 0.95]


def test_classes_without_a_picture_are_heard_but_not_seen(model: ReWaS, measured: JointFigures) -> None:
    thunder = scene(4, "thunder")
    space = model.joint_scorer
    assert isinstance(space, ScriptedJoint)
    space.set_text_vector(thunder.caption, BELL)
    space.set_sound_vector(model.front_end.encode(normalise(render_sound(thunder))), RAIN)
    for phrase in held_out_captions("thunder"):
        space.set_text_vector(phrase, BELL)
    found = measure_joint(model, [*SCENES, replace(thunder, off_screen=True)])
    assert (found.heard, found.seen) == (5, 3)
    assert found.pairs["text_picture"] == measured.pairs["text_picture"]
    # The prompt for thunder is embedded as a bell, and its sound as rain.
    assert found.pairs["text_sound"].auc < 1
    assert found.seen_classes == measured.pairs["text_sound"]
    assert measured.seen_classes is None


def test_the_section_adds_scenes_of_classes_without_a_picture(model: ReWaS, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Scene] = []

    def measure(model: ReWaS, scenes: list[Scene], on_scene: object) -> JointFigures:
        drawn.extend(scenes)
        return JointFigures()

    monkeypatch.setattr(joint_section_module, "measure_joint", measure)
    clip = make_clip("rain", np.ones((4, 64), np.float32))
    space = model.joint_scorer
    assert isinstance(space, ScriptedJoint)
    space.set_text_vector(clip.plain, RAIN)
    space.set_sound_vector(torch.ones((4, 64)), RAIN)
    bench = make_bench(model, [clip], plain=clip.log_mel[None])
    joint_section(bench, Split("given", 900_000_000), 54, unseen_classes=("thunder", "siren", "frog"))
    # As many of each as of the 27 with a picture: 54 / 27 · 3.
    assert [one.off_screen for one in drawn[54:]] == [True] * 6
    assert {one.class_name for one in drawn[54:]} <= {"thunder", "siren", "frog"}


def test_a_pack_without_a_joint_space_has_no_figures(tmp_path: Path) -> None:
    section = joint_section(make_bench(tiny_model(tmp_path), []), Split("given", 0), 4)
    figures = figures_of(section)
    assert set(figures) == {"joint_auc_picture", "joint_auc_sound"}
    assert {(figure.value, figure.note) for figure in figures.values()} == {
        (None, "not supported: the pack has no joint space")
    }
