"""The judge: counting, strict loading, training, and independence of loudness."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rewas_engine.curves.energy import SILENCE_NATS
from rewas_engine.errors import PackError, SettingsError
from rewas_engine.evaluation.judge import JUDGE_FOLDER, Judge, accuracy, class_accuracies, confusion
from rewas_engine.evaluation.judge_network import JudgeNetwork
from rewas_engine.recipes.judge import JudgeRecipe, credits_of, distort, measure_judge, train_judge, world_clips
from rewas_engine.training.corpus import WorldCorpus, world_front_end
from rewas_engine.training.grain_recordings import GrainRecording
from rewas_engine.training.loop import LoopConfig
from rewas_engine.world import ALL_CLASSES, CLASS_NAMES, sample_scene

CLASSES = ("low", "middle", "high")


def bands(count: int, seed: int = 0) -> tuple[torch.Tensor, list[str]]:
    """Log-mels of short noises, each in one third of the bins, and the names of the thirds."""
    generator = torch.Generator().manual_seed(seed)
    log_mels = torch.full((count, 96, 64), SILENCE_NATS)
    names = []
    for clip in log_mels:
        third = int(torch.randint(3, (1,), generator=generator))
        start = int(torch.randint(64, (1,), generator=generator))
        names.append(CLASSES[third])
        clip[start : start + 24, 21 * third : 21 * third + 21] = -2 + torch.randn((24, 21), generator=generator)
    return log_mels.half(), names


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a judge of three easy classes."""
    log_mels, names = bands(120)
    folder = tmp_path_factory.mktemp("run")
    recipe = JudgeRecipe(
        LoopConfig(steps=40, learning_rate=3e-3, warmup_steps=5, ema_decay=0.9), batch_size=8, crop_frames=48
    )
    train_judge(log_mels, [None, *names[1:]], folder, recipe=recipe, classes=CLASSES)
    return folder / "judge"


@pytest.mark.slow
def test_the_judge_learns_easy_classes(trained: Path) -> None:
    judge = Judge.load(trained)
    log_mels, names = bands(60, seed=1)
    table = confusion(names, judge.names(log_mels), judge.classes)
    assert judge.classes == CLASSES
    assert accuracy(table) >= 0.95


def test_probabilities_are_valid_and_independent_of_the_batch(trained: Path) -> None:
    judge = Judge.load(trained)
    log_mels, _ = bands(5)
    together = judge.classify(log_mels)
    assert together.shape == (5, 3)
    assert together.sum(axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    alone = np.concatenate([judge.classify(clip[None]) for clip in log_mels])
    assert together == pytest.approx(alone, abs=1e-5)
    assert judge.classify(log_mels[:0]).shape == (0, 3)


@pytest.mark.parametrize("gain_nats", [-2.5, -0.7, 1.0])
def test_a_gain_does_not_change_the_result(trained: Path, gain_nats: float) -> None:
    judge = Judge.load(trained)
    log_mels = bands(6)[0].float()
    softer = (log_mels + gain_nats).clamp(min=SILENCE_NATS)
    # Both floors lie more than 9 nats below their peaks only where the clip is loud enough.
    loud = log_mels.amax(dim=(1, 2)) + min(gain_nats, 0) - SILENCE_NATS > 9
    floor = loud.numpy() & (log_mels.amax(dim=(1, 2)) - SILENCE_NATS > 9).numpy()
    assert judge.classify(softer)[floor] == pytest.approx(judge.classify(log_mels)[floor], abs=1e-5)
    assert judge.names(softer) == judge.names(log_mels)


def test_a_judge_with_fewer_answers_ranks_them_as_before() -> None:
    torch.manual_seed(4)
    judge = Judge(JudgeNetwork(classes=CLASS_NAMES), {})
    some = judge.classes[1:6:2]
    narrowed = judge.among({*some, "dragon"})
    assert narrowed.classes == some
    log_mels = torch.randn(5, 64, 64, generator=torch.Generator().manual_seed(3)) - 6
    all_answers = judge.classify(log_mels)[:, [judge.classes.index(name) for name in some]]
    expected = all_answers / all_answers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(narrowed.classify(log_mels), expected, rtol=1e-4)
    assert set(narrowed.names(log_mels)) <= set(some)
    assert narrowed.among(some[:2]).classes == some[:2]
    assert judge.among(judge.classes) is judge
    with pytest.raises(SettingsError, match="fewer than two"):
        judge.among(["dragon", some[0]])


def test_silence_gives_finite_probabilities(trained: Path) -> None:
    probabilities = Judge.load(trained).classify(torch.full((1, 96, 64), SILENCE_NATS))
    assert np.isfinite(probabilities).all()


def test_training_is_the_same_each_time_and_leaves_the_random_state_alone(tmp_path: Path) -> None:
    log_mels, names = bands(20)
    recipe = JudgeRecipe(LoopConfig(steps=3, learning_rate=1e-3, warmup_steps=1), batch_size=4, crop_frames=32)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    judges = [train_judge(log_mels, names, tmp_path / name, recipe=recipe, classes=CLASSES) for name in ("a", "b")]
    assert torch.equal(torch.rand(3), expected)
    assert np.array_equal(judges[0].classify(log_mels), judges[1].classify(log_mels))


def test_a_judge_can_be_continued(trained: Path, tmp_path: Path) -> None:
    log_mels, names = bands(12)
    recipe = JudgeRecipe(LoopConfig(steps=1, learning_rate=0.0), batch_size=2, crop_frames=32)
    first = Judge.load(trained)
    again = train_judge(log_mels, names, tmp_path, recipe=recipe, classes=CLASSES, start_from=first)
    assert again.classify(log_mels) == pytest.approx(first.classify(log_mels), abs=2e-3)
    assert again.figures["steps"] == first.figures["steps"] + 1
    with pytest.raises(SettingsError, match="does not have the classes"):
        train_judge(log_mels, names, tmp_path, classes=("low", "high"), start_from=first)


@pytest.mark.parametrize("damage", ["missing", "unknown", "not finite", "no weights", "no figures"])
def test_a_damaged_judge_is_refused(trained: Path, tmp_path: Path, damage: str) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "judge"))
    tensors = load_file(folder / "model.safetensors")
    if damage == "missing":
        del tensors["stem.bias"]
    elif damage == "unknown":
        tensors["stem.shadow"] = torch.zeros(1)
    elif damage == "not finite":
        tensors["stem.bias"][0] = torch.nan
    save_file(tensors, folder / "model.safetensors")
    if damage == "no weights":
        (folder / "model.safetensors").unlink()
    if damage == "no figures":
        (folder / "figures.json").unlink()
    with pytest.raises(PackError, match="judge"):
        Judge.load(folder)


def test_the_judge_is_small_and_has_a_licence(trained: Path, tmp_path: Path) -> None:
    assert json.loads((trained / "figures.json").read_text("utf-8"))["licence"] == "Apache-2.0"
    weights = JudgeNetwork(CLASS_NAMES).num_parameters()
    assert 2 * weights < 1_500_000


def test_distortion_depends_on_its_generator_and_keeps_the_loud_parts() -> None:
    log_mels = bands(8)[0].float()
    once, again, other = (distort(log_mels, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    loud = log_mels > -3
    assert (once - log_mels)[loud].abs().median() < 0.5


def test_held_out_scenes_are_measured(tmp_path: Path) -> None:
    log_mels, _ = bands(4)
    recipe = JudgeRecipe(LoopConfig(steps=1, learning_rate=1e-3), batch_size=2, crop_frames=32)
    judge = train_judge(log_mels, list(CLASS_NAMES[:4]), tmp_path, recipe=recipe)
    figures = measure_judge(judge, 6)
    assert np.sum(figures["confusion"]) == figures["scenes"] == 6
    assert 0 <= figures["worst_class_accuracy"] <= figures["accuracy"] <= 1


def test_classes_are_measured_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    judge = Judge(JudgeNetwork(ALL_CLASSES), {})
    monkeypatch.setattr(judge, "names", lambda log_mel: ["rain"])
    figures = measure_judge(judge, 7, classes=("thunder", "rain", "siren"))
    assert figures["class_accuracies"] == {"rain": 1.0, "thunder": 0.0, "siren": 0.0}
    assert (figures["accuracy"], figures["accuracy_with_picture"]) == (2 / 7, 1.0)
    # Thunder gets the third clip of the last turn.
    assert np.sum(figures["confusion"], axis=1)[ALL_CLASSES.index("thunder")] == 3
    assert measure_judge(judge, 1, classes=("thunder",))["accuracy_with_picture"] is None


def test_the_figures_credit_each_author_once(tmp_path: Path) -> None:
    recordings = [
        GrainRecording(tmp_path / name, name, "rain", "rain", licence, credit, "")
        for name, licence, credit in [("b", "CC0-1.0", "Bo"), ("a", "CC-BY-3.0", "Ann"), ("c", "CC-BY-3.0", "Ann")]
    ]
    found = credits_of(recordings)
    assert found["recordings"] == 3
    assert found["credits"] == [
        {"author and source": "Ann", "licence": "CC-BY-3.0"},
        {"author and source": "Bo", "licence": "CC0-1.0"},
    ]
    assert "recordings" in found["permits"]
    assert credits_of([]) == {}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> WorldCorpus:
    written = WorldCorpus(tmp_path_factory.mktemp("corpus"), 12, 0, 40)
    written.write(1)
    return written


@pytest.mark.slow
@pytest.mark.slow
def test_synthetic_clips_have_their_classes(corpus: WorldCorpus) -> None:
    log_mels, labels = world_clips(corpus)
    scenes = [sample_scene(40 + clip) for clip in range(12)]
    assert labels == [None if scene.is_silent else scene.class_name for scene in scenes]
    assert log_mels.shape == (12, 512, 64)
    silent = [bool((clip <= SILENCE_NATS + 0.01).all()) for clip in log_mels]
    assert silent == [scene.is_silent for scene in scenes]
    corpus.sounds(world_front_end(), lambda texts: torch.zeros(len(texts), 2))
    assert torch.equal(world_clips(corpus)[0], log_mels)


@pytest.mark.slow
def test_clips_of_another_version_are_refused(corpus: WorldCorpus, tmp_path: Path) -> None:
    shutil.copytree(corpus.folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "00000.json").write_text(json.dumps(["a unicorn"] * 12), "utf-8")
    with pytest.raises(SettingsError, match="another version"):
        world_clips(replace(corpus, folder=tmp_path))


def test_confusion_counts() -> None:
    table = confusion(["a", "a", "b", "c"], ["a", "b", "b", "a"], ("a", "b", "c", "d"))
    assert table.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert accuracy(table) == 0.5
    assert class_accuracies(table, ("a", "b", "c", "d")) == {"a": 0.5, "b": 1.0, "c": 0.0}
    assert accuracy(confusion([], [], ("a",))) is None


def test_confusion_refuses_invalid_input() -> None:
    with pytest.raises(SettingsError, match="unicorn"):
        confusion(["a"], ["unicorn"], ("a", "b"))
    with pytest.raises(SettingsError, match="2 true"):
        confusion(["a", "b"], ["a"], ("a", "b"))


def test_the_shipped_judge_recognises_the_classes() -> None:
    judge = Judge.load()
    assert judge.classes == ALL_CLASSES
    assert judge.figures["accuracy"] >= 0.97
    # Parts of recordings are in its corpus, so they are credited.
    assert len(judge.figures["credits"]) > 0
    assert sum(path.stat().st_size for path in JUDGE_FOLDER.iterdir()) <= 1_500_000
    assert measure_judge(judge, 65, first_seed=850_000_000)["accuracy"] >= 0.9
