"""The splits: training never draws their scenes, and each kind of scene matches its name."""

import numpy as np
import pytest

from rewas_engine.errors import SettingsError
from rewas_engine.evaluation.splits import DEVELOPMENT, HELD_OUT_SEED, TEST, Split
from rewas_engine.recipes.judge import FIRST_SEED as JUDGES_SEED
from rewas_engine.training.config import MOST_CLIPS, SEED_LIMIT, SEEDS_APART, StarterConfig
from rewas_engine.world import ALL_CLASSES, CLASS_NAMES

LAST = CLASS_NAMES[-1]


def seeds_of(split: Split) -> set[int]:
    by_class = {scene.seed for name in ALL_CLASSES for scene in split.audible(name, 3)}
    return by_class | {scene.seed for scene in (*split.any_scenes(50), *split.silent_motion(3), *split.off_screen(3))}


def test_the_splits_share_no_scene_with_each_other_or_with_training() -> None:
    development, test = seeds_of(DEVELOPMENT), seeds_of(TEST)
    assert not development & test
    assert min(development | test) >= HELD_OUT_SEED
    last = StarterConfig(seed=SEED_LIMIT - 1, sounds=MOST_CLIPS, pictures=MOST_CLIPS)
    assert last.seed * SEEDS_APART + MOST_CLIPS + last.pictures <= JUDGES_SEED < HELD_OUT_SEED


@pytest.mark.parametrize("values", [{"seed": SEED_LIMIT}, {"seed": 925}, {"seed": -1}, {"sounds": MOST_CLIPS + 1}])
def test_training_never_draws_held_out_clips(values: dict[str, int]) -> None:
    with pytest.raises(SettingsError, match=r"The seed|sounds is"):
        StarterConfig(**values)


@pytest.mark.parametrize("split", [DEVELOPMENT, TEST])
def test_classes_and_mixed_scenes_share_no_seed(split: Split) -> None:
    seeds = [scene.seed for name in ALL_CLASSES for scene in split.audible(name, 2)]
    seeds += [scene.seed for scene in (*split.any_scenes(50), *split.unseen(50, ALL_CLASSES[len(CLASS_NAMES) :]))]
    assert len(set(seeds)) == len(seeds)
    assert all(split.first_seed <= seed < split.first_seed + 10_000_000 for seed in seeds)
    with pytest.raises(SettingsError, match="no class 'unicorn'"):
        split.audible("unicorn", 1)


@pytest.mark.parametrize("split", [DEVELOPMENT, TEST])
def test_a_class_has_as_many_audible_clips_as_requested(split: Split) -> None:
    scenes = split.audible(LAST, 20)
    assert len({scene.seed for scene in scenes}) == 20
    assert {scene.class_name for scene in scenes} == {LAST}
    assert not any(scene.is_silent or scene.ambience for scene in scenes)


def test_larger_draws_begin_with_the_same_clips() -> None:
    few, many = (TEST.audible("rain", count) for count in (2, 5))
    assert [scene.seed for scene in few] == [scene.seed for scene in many[:2]]
    np.testing.assert_array_equal(few[0].envelope, many[0].envelope)


def test_each_kind_of_scene_matches_its_name() -> None:
    assert all(scene.silent_motion for scene in TEST.silent_motion(3))
    assert all(scene.off_screen and not scene.is_silent for scene in TEST.off_screen(3))
    assert not any(scene.off_screen or scene.is_silent or scene.ambience for scene in TEST.visible(20))
    unseen = TEST.unseen(20, ("thunder", "siren"))
    assert {scene.class_name for scene in unseen} == {"thunder", "siren"}
    assert all(scene.off_screen and not scene.is_silent for scene in unseen)
    assert [len(TEST.silent_motion(3)), len(TEST.off_screen(3)), len(TEST.visible(20))] == [3, 3, 20]
