"""A tiny model for audible video: training that continues, its folder, and clips from sentences."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from tiny_audible_video import TINY, train_tiny_model

from rewas_cli.app import run
from rewas_engine.audible_video.model import DESCRIPTION_FILE, AudibleVideo, load_lender, to_brightness, to_levels
from rewas_engine.errors import PackError, SettingsError
from rewas_engine.packs.description import find_pack, read_model_pack
from rewas_engine.recipes import audible_video
from rewas_engine.recipes.audible_video import AudibleVideoTraining
from rewas_engine.recipes.audible_video_config import AudibleVideoConfig
from rewas_engine.runtime.progress import Progress
from rewas_engine.training.progress import TrainingStopped
from rewas_engine.world import clear_scenes


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny_model(tmp_path_factory.mktemp("tavd"))


@pytest.fixture(scope="module")
def model(trained: Path) -> AudibleVideo:
    return AudibleVideo(trained)


def test_a_sentence_becomes_frames_and_sound_of_the_same_length(model: AudibleVideo) -> None:
    clip = model.dream("a hammer hits a nail", seed=3, num_steps=2)
    again = model.dream("a hammer hits a nail", seed=3, num_steps=2)
    other = model.dream("a hammer hits a nail", seed=4, num_steps=2)
    assert clip.frames.shape == (4, 32, 32)
    assert Fraction(clip.waveform.size, clip.sample_rate_hz) == len(clip.frames) / clip.frame_rate
    assert np.abs(clip.waveform).max() <= 1
    assert np.array_equal(clip.frames, again.frames)
    assert np.array_equal(clip.waveform, again.waveform)
    assert not np.array_equal(clip.frames, other.frames)


@pytest.mark.parametrize(
    ("sentence", "options", "message"),
    [
        ("", {}, "empty"),
        (" \n", {}, "empty"),
        ("rain " * 1000, {}, "sentence"),
        ("rain", {"num_steps": 0}, "0 steps"),
        ("rain", {"guidance_scale": float("nan")}, "guidance"),
        ("rain", {"guidance_scale": float("inf")}, "guidance"),
        ("rain", {"seed": -1}, "seed"),
    ],
)
def test_impossible_requests_are_refused(
    model: AudibleVideo, sentence: str, options: dict[str, float], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        model.dream(sentence, **options)


def test_a_stopped_training_ends_with_the_same_weights(trained: Path, tmp_path: Path) -> None:
    cancel = threading.Event()

    def stop_early(progress: Progress) -> None:
        if progress.stage == "tavd" and progress.step == 2:
            cancel.set()

    with pytest.raises(TrainingStopped):
        AudibleVideoTraining(TINY, tmp_path, report=stop_early, cancel=cancel).run()
    continued = AudibleVideoTraining(TINY, tmp_path)
    assert not continued.model_folder.exists()
    continued.run()
    for part in ("denoiser", "frame_codec"):
        name = f"{part}/model.safetensors"
        assert (continued.model_folder / name).read_bytes() == (trained / name).read_bytes()


def test_other_settings_do_not_continue_a_training(trained: Path) -> None:
    with pytest.raises(SettingsError, match="other settings"):
        AudibleVideoTraining(replace(TINY, classes=("bell", "rain")), trained.parent).run()


def test_another_version_of_the_lender_does_not_continue_a_training(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    borrowed = load_lender(read_model_pack(find_pack("starter")))
    monkeypatch.setattr(audible_video, "load_lender", lambda description: (*borrowed[:3], "0" * 64))
    with pytest.raises(SettingsError, match="another version of starter"):
        AudibleVideoTraining(TINY, trained.parent).run()


@pytest.mark.parametrize("frame_rate", ["0", "1/0", "fast"])
def test_a_model_with_an_impossible_frame_rate_is_refused(trained: Path, tmp_path: Path, frame_rate: str) -> None:
    description = json.loads((trained / DESCRIPTION_FILE).read_text("utf-8"))
    (tmp_path / DESCRIPTION_FILE).write_text(json.dumps(description | {"frame_rate": frame_rate}), "utf-8")
    with pytest.raises(PackError, match="cannot be read"):
        AudibleVideo(tmp_path)


def test_a_model_needs_the_pack_that_it_was_trained_with(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(PackError, match="cannot be read"):
        AudibleVideo(tmp_path)
    copy = tmp_path / "model"
    for path in trained.rglob("*"):
        if path.is_file():
            target = copy / path.relative_to(trained)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    described = (copy / DESCRIPTION_FILE).read_text("utf-8")
    sha256 = AudibleVideo(trained).description.lender_sha256
    (copy / DESCRIPTION_FILE).write_text(described.replace(sha256, "0" * 64), "utf-8")
    with pytest.raises(PackError, match="another version of the pack starter"):
        AudibleVideo(copy)


def test_brightness_survives_the_way_to_levels_and_back() -> None:
    brightness = np.arange(256, dtype=np.uint8)
    levels = to_levels(brightness)
    assert np.array_equal(to_brightness(levels), brightness)
    assert (float(levels.min()), float(levels.max())) == (-2.0, 2.0)
    assert to_brightness(torch.tensor([-9.0, 9.0])).tolist() == [0, 255]


def test_unknown_classes_and_sizes_are_refused() -> None:
    with pytest.raises(SettingsError, match="no class 'dragon'"):
        AudibleVideoConfig(classes=("dragon",))
    for classes in ((), ("bell",), ("bell", "bell")):
        with pytest.raises(SettingsError, match="two or more different classes"):
            AudibleVideoConfig(classes=classes)
    with pytest.raises(SettingsError, match="do not fit"):
        AudibleVideoConfig(size=30)
    for frame_rate in ("fast", "0", "1/0", "-25/4"):
        with pytest.raises(SettingsError, match="frame rate"):
            AudibleVideoConfig(frames_per_s=frame_rate)
    with pytest.raises(SettingsError, match="40 channels"):
        AudibleVideoConfig(picture_widths=(40, 80))
    with pytest.raises(SettingsError, match="between 0 and 1"):
        AudibleVideoConfig(apart_share=1.5)
    with pytest.raises(SettingsError, match="behind the picture"):
        AudibleVideoConfig(apart_share=0.0, sound_lag=0.5)


def test_a_lender_without_a_joint_space_is_refused_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = tmp_path / "plain"
    shutil.copytree(find_pack("starter"), pack)
    described = (pack / "pack.toml").read_text("utf-8")
    for line in described.splitlines(keepends=True):
        if line.startswith(("joint = ", '"joint/')):
            described = described.replace(line, "")
    (pack / "pack.toml").write_text(described, "utf-8")
    shutil.rmtree(pack / "joint")
    # Without its weights, the pack cannot be loaded: it is refused before that.
    for weights in pack.rglob("*.safetensors"):
        weights.unlink()
    monkeypatch.setenv("REWAS_PACKS", str(tmp_path))
    run = tmp_path / "run"
    with pytest.raises(PackError, match="has no joint space"):
        AudibleVideoTraining(replace(TINY, lender="plain"), run).run()
    assert not run.exists()


def test_a_class_without_a_clear_scene_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clear_scenes, "_FARTHEST", -1.0)
    with pytest.raises(SettingsError, match="None of 64 scenes of 'bell' of 1 s"):
        clear_scenes.clear_scene("bell", 0, 1.0)


def test_the_command_writes_a_video_with_sound(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "shot.mp4"
    options = ["--model", str(trained), "--output", str(output), "--steps", "2", "--height", "64"]
    assert run(["dream", "rain on the roof", *options, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    with av.open(str(output)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        assert (video.width, video.height, video.average_rate) == (64, 64, Fraction(25, 4))
        assert sound.rate == 16_000
        assert sum(1 for _ in container.decode(video)) == result["frames"] == 4
    assert result["duration_s"] == pytest.approx(0.64)
    assert list(output.parent.iterdir()) == [output]
    assert run(["dream", " ", *options]) == 2
    assert "empty" in capsys.readouterr().err
    assert output.is_file()


@pytest.mark.parametrize("model", [[], ["--model", "m", "--server", "127.0.0.1:1"]])
def test_the_command_needs_one_model(model: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dream", "rain", *model, "--output", str(tmp_path / "shot.mp4")]) == 2
    assert "Either --model or --server" in capsys.readouterr().err


@pytest.mark.parametrize("rate", ["many", "0", "1/0", "500"])
def test_impossible_frame_rates_are_refused(rate: str, trained: Path, tmp_path: Path) -> None:
    options = ["--model", str(trained), "--output", str(tmp_path / "shot.mp4"), "--frame-rate", rate]
    assert run(["dream", "rain", *options]) == 2
    assert not list(tmp_path.iterdir())
