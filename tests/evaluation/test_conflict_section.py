"""Which prompts the conflict section compares with which videos, in a joint space with scripted vectors."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from bench_fixtures import figures_of, make_bench, values_of
from joint_fixtures import FixedScenes, ScriptedJoint
from pack_fixtures import tiny_model

from rewas_engine import ReWaS
from rewas_engine.evaluation.conflict import CheckedPrompt, HalvedClip, conflict_section, judge_scenes
from rewas_engine.evaluation.splits import Split
from rewas_engine.matching.embedding_matcher import EmbeddingMatcher
from rewas_engine.world import Scene, captions, render_brightness, sample_scene

RAIN, BELL, ENGINE = np.eye(3, dtype=np.float32)
VECTORS = {"rain": RAIN, "bell": BELL, "engine": ENGINE}
LASTS_S = Fraction(12, 25)


def scene(seed: int, class_name: str) -> Scene:
    sampled = sample_scene(seed, class_name, duration_s=float(LASTS_S), pattern="steady")
    return replace(sampled, off_screen=False, ambience=None, caption=f"caption {seed}")


RAINING, RINGING, IDLING, POURING, CHIMING = (
    scene(seed, name) for seed, name in enumerate(("rain", "bell", "engine", "rain", "bell"))
)
RAINING_BEHIND = replace(RINGING, ambience=RAINING)
SCENES = (RAINING, RAINING_BEHIND, IDLING, POURING, CHIMING)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ReWaS:
    """A pack that embeds all prompts correctly, but the engine's video as rain."""
    model = tiny_model(tmp_path_factory.mktemp("pack"))
    space = ScriptedJoint({captions(name)[0]: vector for name, vector in VECTORS.items()})
    rate, width, height = model.frame_format
    for one in SCENES:
        space.set_text_vector(one.caption, VECTORS[one.class_name])
        video_vector = RAIN if one is IDLING else VECTORS[one.class_name]
        space.set_video_vector(render_brightness(one, frame_rate=rate, width=width, height=height), video_vector)
    vars(model)["matcher"] = EmbeddingMatcher(space, "scripted", rate)
    return model


@pytest.fixture(scope="module")
def judged(model: ReWaS) -> tuple[list[CheckedPrompt], list[HalvedClip]]:
    return judge_scenes(model, SCENES)


def test_every_video_is_compared_with_its_own_prompt_and_all_others(
    judged: tuple[list[CheckedPrompt], list[HalvedClip]],
) -> None:
    rows = np.array(judged[0], dtype=object).reshape(5, 5)
    assert [[one.own for one in row] for row in rows] == [[True] + 4 * [False]] * 5
    # Each row: the clip's own prompt, then those of the clips after it, cyclically.
    assert [[one.report.verdict for one in row] for row in rows] == [
        ["agree", "conflict", "conflict", "agree", "conflict"],
        ["agree", "conflict", "conflict", "agree", "conflict"],
        ["conflict", "agree", "conflict", "agree", "conflict"],
        ["agree", "conflict", "agree", "conflict", "conflict"],
        ["agree", "conflict", "agree", "conflict", "conflict"],
    ]
    assert [[one.belongs for one in row] for row in rows] == [
        [1, 0, -1, 1, -1],
        [1, -1, 0, 1, 0],
        [1, -1, -1, -1, -1],
        [1, -1, 1, 0, -1],
        [1, -1, 1, -1, -1],
    ]


def test_suggestions_name_the_class_in_the_video(judged: tuple[list[CheckedPrompt], list[HalvedClip]]) -> None:
    conflicts = [(row, one) for row, one in enumerate(judged[0]) if one.report.verdict == "conflict"]
    for place, one in conflicts:
        visible_class = "rain" if SCENES[place // 5] is IDLING else SCENES[place // 5].class_name
        assert [suggestion.text for suggestion in one.report.suggestions] == [captions(visible_class)[0]]
        # The engine's video is embedded as rain, so the engine is never named.
        assert one.names_it == (SCENES[place // 5] is not IDLING)


def test_a_clip_that_changes_class_is_compared_with_the_prompt_of_its_first_half(
    judged: tuple[list[CheckedPrompt], list[HalvedClip]],
) -> None:
    by_prompt = {one.prompt: one for one in judged[1]}
    assert set(by_prompt) == {one.caption for one in SCENES}
    assert {(one.border_s, one.end_s) for one in judged[1]} == {(LASTS_S, 2 * LASTS_S)}
    # The first half matches the prompt, the second does not: only the second half is reported.
    for caption in (RAINING_BEHIND.caption, POURING.caption, CHIMING.caption):
        assert (by_prompt[caption].overlap, by_prompt[caption].false_share) == (1, 0)
    # The bell with rain in the background is skipped, and the engine's video counts as more rain.
    assert (by_prompt[RAINING.caption].overlap, by_prompt[RAINING.caption].false_share) == (0, 0)
    # The engine is followed by rain, and its own video is embedded as rain too: all of it is reported.
    assert (by_prompt[IDLING.caption].overlap, by_prompt[IDLING.caption].false_share) == (0.5, 1)


def test_the_section_measures_audible_visible_scenes(
    model: ReWaS, judged: tuple[list[CheckedPrompt], list[HalvedClip]]
) -> None:
    unseen = replace(IDLING, off_screen=True, caption="not to be read")
    split = FixedScenes("given", 0, (*SCENES, unseen))
    section = conflict_section(make_bench(model, []), split, 6)
    found = {key.removeprefix("conflict_"): value for key, value in values_of(section).items()}
    assert section.details["prompts"] == {"right": 5, "wrong": 20, "another_class": 12}
    assert found["right_agree"] == pytest.approx(4 / 5)
    assert found["right_conflict"] == pytest.approx(1 / 5)
    assert section.details["halved_clips"] == len(judged[1])


def test_a_pack_without_joint_space_has_no_conflict_figures(tmp_path: Path) -> None:
    section = conflict_section(make_bench(tiny_model(tmp_path), []), Split("given", 0), 4)
    (figure,) = figures_of(section).values()
    assert (figure.value, figure.note) == (None, "not supported: the pack has no joint space for the conflict check")
