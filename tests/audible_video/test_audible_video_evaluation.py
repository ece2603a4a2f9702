"""The evaluation of models for audible video: drawn clips pass, shuffled and untrained ones do not."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rewas_cli.app import run
from rewas_engine.audible_video.model import AudibleVideo
from rewas_engine.errors import SettingsError
from rewas_engine.evaluation.audible_video import (
    ClipMeasurement,
    Clips,
    agree,
    mean,
    measure_audible_video,
    placements,
    shuffle_within_classes,
)
from rewas_engine.evaluation.joint_retrieval import ranking_auc
from rewas_engine.recipes.audible_video import AudibleVideoTraining
from rewas_engine.recipes.audible_video_config import AudibleVideoConfig
from rewas_engine.training.loop import LoopConfig
from rewas_engine.world.clear_scenes import CLEAR_PATTERNS, SEEDS_PER_SCENE, clear_scene
from rewas_engine.world.video import first_frames_of_shots

CLASSES = ("hammer", "helicopter")


TINY = AudibleVideoConfig(
    classes=CLASSES,
    clips_per_class=3,
    picture_widths=(16, 16),
    sound_widths=(16, 16),
    batch=2,
    loop=LoopConfig(steps=1, learning_rate=1e-4),
)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    training = AudibleVideoTraining(TINY, tmp_path_factory.mktemp("tavd"))
    training.run()
    return training.model_folder


def test_drawn_clips_reach_the_targets_of_class_and_avh_score(untrained: Path) -> None:
    measurement = ClipMeasurement(AudibleVideo(untrained).description)
    drawn = measurement.drawn(5)
    assert drawn.frames.shape == (10, 10, 32, 32)
    assert drawn.log_mels.shape == (10, 160, 64)
    right = measurement.measure(drawn)
    assert min(right.sound_class.value, right.picture_class.value, right.avh_auc.value) >= 0.9
    assert right.struck_agreement is not None
    assert right.struck_agreement.clips == 5
    # The pictures of one class with the sounds of the other.
    swapped = measurement.measure(Clips(drawn.frames, drawn.log_mels.roll(5, dims=0), drawn.class_names))
    assert swapped.sound_class.value <= 0.1
    assert swapped.picture_class.value == right.picture_class.value
    assert swapped.avh_auc.value <= 0.2


def test_an_untrained_model_misses_its_targets(untrained: Path) -> None:
    model = AudibleVideo(untrained)
    told: list[float] = []
    figures, clips = measure_audible_video(
        model, clips_per_class=2, num_steps=2, report=lambda progress: told.append(progress.fraction)
    )
    assert figures.generated.both_classes.value <= 0.5
    assert figures.drawn.sound_class.value == 1
    assert clips.class_names == ("hammer", "hammer", "helicopter", "helicopter")
    assert not np.array_equal(clips.frames[0], clips.frames[1])
    assert told == sorted(told)
    assert told[-1] == 1
    json.dumps(figures.report(), allow_nan=False)
    with pytest.raises(SettingsError, match="too few"):
        measure_audible_video(model, clips_per_class=1)


def test_the_command_writes_the_figures(untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["eval", "--tavd", str(untrained), "--output", str(tmp_path / "report"), "--fast", "--steps", "2"]
    assert run([*options, "--json"]) == 0
    written = json.loads((tmp_path / "report" / "figures.json").read_text("utf-8"))
    assert json.loads(capsys.readouterr().out) == written
    assert written["generated"]["sound_class"]["clips"] == 4
    assert run([*options, "--preset", "rewas-table2"]) == 2
    assert "--tavd" in capsys.readouterr().err
    assert run([*options, "--only", "energy"]) == 2
    assert "--only would have no effect with --tavd" in capsys.readouterr().err
    assert run([*options, "--clips-per-class", "3"]) == 2
    assert run(["eval", "--tavd", str(tmp_path), "--output", str(tmp_path / "other")]) != 0


def test_motion_agrees_with_the_energy_of_the_same_frame() -> None:
    levels = np.array([0, 0, 100, 100, 100, 0], np.uint8)
    frames = np.broadcast_to(levels[:, None, None], (6, 4, 4))
    energy = np.repeat(np.array([-5.0, -9, -1, -9, -9, -1]), 2)
    log_mel = np.repeat(energy[:, None], 8, axis=1)
    assert agree(frames, log_mel) == pytest.approx(1)
    assert agree(frames, -log_mel) == pytest.approx(-1)
    assert agree(np.zeros_like(frames), log_mel) == 0
    assert agree(frames, np.zeros_like(log_mel)) == 0


@given(
    arrays.arrays(np.float64, st.integers(1, 12), elements=st.integers(-3, 3).map(float)),
    arrays.arrays(np.float64, st.integers(1, 12), elements=st.integers(-3, 3).map(float)),
)
def test_the_mean_placement_is_the_area_under_the_curve(right: np.ndarray, wrong: np.ndarray) -> None:
    found = mean(placements(right, wrong))
    assert found.value == pytest.approx(ranking_auc(right, wrong))
    assert found.low <= found.value + 1e-9
    assert found.value <= found.high + 1e-9
    assert found.clips == right.size


def test_shuffled_clips_keep_their_class_and_change_their_sound() -> None:
    names = ("a", "b", "a", "b", "a")
    clips = Clips(np.zeros((5, 2, 2, 2), np.uint8), torch.arange(5.0)[:, None, None].repeat(1, 4, 2), names)
    shuffled = shuffle_within_classes(clips).log_mels[:, 0, 0].int().tolist()
    assert sorted(shuffled) == [0, 1, 2, 3, 4]
    assert all(names[row] == names[place] and row != place for place, row in enumerate(shuffled))


def test_a_clear_scene_has_one_source_on_screen_in_one_shot() -> None:
    for number in range(20):
        scene = clear_scene("bell", 7_000_000 + number * SEEDS_PER_SCENE, 1.6)
        assert scene.pattern in CLEAR_PATTERNS
        assert (scene.off_screen, scene.is_silent, scene.ambience) == (False, False, None)
        assert not first_frames_of_shots(scene, frame_rate=Fraction(25, 4))
    with pytest.raises(SettingsError, match="no class"):
        clear_scene("dragon", 0, 1.6)


def test_clips_of_a_training_end_before_those_of_the_next_seed() -> None:
    config = AudibleVideoConfig()
    last = len(config.classes) * config.clips_per_class * SEEDS_PER_SCENE
    assert last <= 1_000_000
    with pytest.raises(SettingsError, match="not enough scenes"):
        replace(config, clips_per_class=10_000)


def test_the_model_card_states_what_was_measured(untrained: Path) -> None:
    training = AudibleVideoTraining(TINY, untrained.parent)
    figures = training.measure(clips_per_class=2, num_steps=2)
    card = (untrained / "README.md").read_text("utf-8")
    found = figures.generated.sound_class
    assert f"| class of the sound | {found.value:.2f} ({found.low:.2f} to {found.high:.2f}) | 0.80 |" in card
    assert "4 clips from sentences that training has not used, 2 steps" in card
    assert "1 steps of 2 clips" in card
    assert "hammer, helicopter" in card
    document = json.loads((untrained / "figures.json").read_text("utf-8"))
    assert document["figures"] == json.loads(json.dumps(figures.report()))
