"""Which words are held against which pictures by the section on conflicts, in a space that knows each by heart."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from given_bench import figures_of, given_bench, values_of
from given_pack import tiny_model
from given_space import GivenScenes, KnownByHeart

from rewas_engine import ReWaS
from rewas_engine.evaluation.conflict import Halved, Judged, conflict_section, judge_scenes
from rewas_engine.evaluation.splits import Split
from rewas_engine.matching.embedding_matcher import EmbeddingMatcher
from rewas_engine.world import Scene, captions, render_brightness, sample_scene

RAIN, BELL, ENGINE = np.eye(3, dtype=np.float32)
VECTORS = {"rain": RAIN, "bell": BELL, "engine": ENGINE}
LASTS_S = Fraction(12, 25)


def scene(seed: int, class_name: str) -> Scene:
    made = sample_scene(seed, class_name, duration_s=float(LASTS_S), pattern="steady")
    return replace(made, off_screen=False, ambience=None, caption=f"caption {seed}")


RAINING, RINGING, IDLING, POURING, CHIMING = (
    scene(seed, name) for seed, name in enumerate(("rain", "bell", "engine", "rain", "bell"))
)
RAINING_BEHIND = replace(RINGING, ambience=RAINING)
SCENES = (RAINING, RAINING_BEHIND, IDLING, POURING, CHIMING)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ReWaS:
    """A pack that reads all words rightly, and takes the picture of the engine for rain."""
    model = tiny_model(tmp_path_factory.mktemp("pack"))
    space = KnownByHeart({captions(name)[0]: vector for name, vector in VECTORS.items()})
    rate, width, height = model.picture_format
    for one in SCENES:
        space.tell_text(one.caption, VECTORS[one.class_name])
        seen = RAIN if one is IDLING else VECTORS[one.class_name]
        space.tell_picture(render_brightness(one, frame_rate=rate, width=width, height=height), seen)
    vars(model)["matcher"] = EmbeddingMatcher(space, "by heart", rate)
    return model


@pytest.fixture(scope="module")
def judged(model: ReWaS) -> tuple[list[Judged], list[Halved]]:
    return judge_scenes(model, SCENES)


def test_every_picture_is_held_against_its_own_words_and_all_others(judged: tuple[list[Judged], list[Halved]]) -> None:
    rows = np.array(judged[0], dtype=object).reshape(5, 5)
    assert [[one.own for one in row] for row in rows] == [[True] + 4 * [False]] * 5
    # Each row: the clip's own words, then those of the clips after it, in a ring.
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


def test_better_words_name_what_the_picture_is_of(judged: tuple[list[Judged], list[Halved]]) -> None:
    conflicts = [(row, one) for row, one in enumerate(judged[0]) if one.report.verdict == "conflict"]
    for place, one in conflicts:
        shown = "rain" if SCENES[place // 5] is IDLING else SCENES[place // 5].class_name
        assert [better.words for better in one.report.suggestions] == [captions(shown)[0]]
        # The engine's picture is taken for rain, so it is never named.
        assert one.names_it == (SCENES[place // 5] is not IDLING)


def test_a_clip_that_turns_into_another_is_held_against_the_words_of_its_beginning(
    judged: tuple[list[Judged], list[Halved]],
) -> None:
    told = {one.prompt: one for one in judged[1]}
    assert set(told) == {one.caption for one in SCENES}
    assert {(one.border_s, one.end_s) for one in judged[1]} == {(LASTS_S, 2 * LASTS_S)}
    # First comes what the words say, then something else: the second half is told, and only it.
    for caption in (RAINING_BEHIND.caption, POURING.caption, CHIMING.caption):
        assert (told[caption].overlap, told[caption].false_share) == (1, 0)
    # The bell behind which rain sounds is passed over, and the engine's picture is taken for more rain.
    assert (told[RAINING.caption].overlap, told[RAINING.caption].false_share) == (0, 0)
    # After the engine comes rain, which its own picture is taken for too: all of it is told.
    assert (told[IDLING.caption].overlap, told[IDLING.caption].false_share) == (0.5, 1)


def test_the_section_measures_what_sounds_and_is_seen(model: ReWaS, judged: tuple[list[Judged], list[Halved]]) -> None:
    unseen = replace(IDLING, off_screen=True, caption="not to be read")
    split = GivenScenes("given", 0, (*SCENES, unseen))
    section = conflict_section(given_bench(model, []), split, 6)
    found = {key.removeprefix("conflict_"): value for key, value in values_of(section).items()}
    assert section.details["prompts"] == {"right": 5, "wrong": 20, "another_class": 12}
    assert found["right_agree"] == pytest.approx(4 / 5)
    assert found["right_conflict"] == pytest.approx(1 / 5)
    assert section.details["halved_clips"] == len(judged[1])


def test_a_pack_that_cannot_compare_has_no_such_figures(tmp_path: Path) -> None:
    section = conflict_section(given_bench(tiny_model(tmp_path), []), Split("given", 0), 4)
    (figure,) = figures_of(section).values()
    assert (figure.value, figure.note) == (None, "not supported: the pack has no joint space that checks")
