"""`rewas train world`: exact files, resuming, and no overwriting."""

from __future__ import annotations

import json
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from rewas_cli.commands.train import train
from rewas_cli.main import run
from rewas_engine.errors import Cancelled, SettingsError
from rewas_engine.training.world_export import ClipFolder
from rewas_engine.world import render_sound, sample_scene

SMALL = {"frame_rate": Fraction(24000, 1001), "width": 32, "height": 16}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> ClipFolder:
    target = ClipFolder(tmp_path_factory.mktemp("world") / "clips", first_seed=3, **SMALL)
    assert target.write(3, workers=1) == 3
    return target


@pytest.mark.slow
def test_video_sound_and_description_agree(written: ClipFolder) -> None:
    for index in range(3):
        scene = sample_scene(3 + index)
        sound, rate_hz = soundfile.read(written.path(index, ".wav"), dtype="float32")
        assert rate_hz == 16_000
        assert np.array_equal(sound, render_sound(scene))
        description = json.loads(written.path(index, ".json").read_text("utf-8"))
        assert description["class"] == scene.class_name
        assert description["full_caption"] == scene.full_caption
        assert description["event_times_s"] == pytest.approx(scene.event_times_s.tolist(), abs=1e-5)
        stems = [
            soundfile.read(path, dtype="float32")[0] for path in sorted(written.folder.glob(f"clip_{index:06d}.*.wav"))
        ]
        assert len(stems) == (1 if description["ambience"] is None else 2)
        assert np.abs(np.sum(stems, axis=0) - sound).max() < 1e-6
        with av.open(str(written.path(index, ".mp4"))) as container:
            video = container.streams.video[0]
            assert video.average_rate == SMALL["frame_rate"]
            assert (video.width, video.height) == (32, 16)
            assert sum(1 for _ in container.decode(video)) == 123
            assert container.streams.audio[0].rate == 16_000


def test_no_incomplete_files_are_left(written: ClipFolder) -> None:
    assert not [path for path in written.folder.iterdir() if "partial" in path.name]


@pytest.mark.slow
def test_a_stopped_run_is_resumed(tmp_path: Path) -> None:
    target, cancel = ClipFolder(tmp_path / "out", **SMALL), threading.Event()
    with pytest.raises(Cancelled):
        target.write(12, workers=1, report=lambda done, total: cancel.set(), cancel=cancel)
    existing = len(list(target.folder.glob("*.json"))) - 1
    assert 1 <= existing < 12
    assert target.write(existing + 1, workers=1) == 1
    assert target.write(existing + 1, workers=1) == 0


def test_another_corpus_is_refused(written: ClipFolder, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="clips with other settings; these settings differ: first_seed"):
        ClipFolder(written.folder, first_seed=4, **SMALL).write(1, workers=1)
    (tmp_path / "corpus.json").write_text("{}")
    with pytest.raises(SettingsError, match="contains other files"):
        ClipFolder(tmp_path, **SMALL).write(1, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.json"]


@pytest.mark.parametrize("wrong", [{"width": 33}, {"height": 8}, {"frame_rate": Fraction(0)}, {"first_seed": -1}])
def test_an_unsupported_format_is_refused(wrong: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        ClipFolder(tmp_path, **wrong)


def test_the_command_writes_clips(written: ClipFolder) -> None:
    options = ["--first-seed", "3", "--fps", "24000/1001", "--size", "32x16", "--workers", "1", "--json"]
    result = CliRunner().invoke(train, ["world", "-o", str(written.folder), "--clips", "2", *options])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"folder": str(written.folder), "clips": 2, "made": 0, "first_seed": 3}


@pytest.mark.parametrize("rate", ["500", "1/2", "120001/1000"])
def test_an_invalid_rate_is_refused_with_the_limits(
    rate: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", "world", "-o", str(tmp_path / "out"), "--clips", "1", "--fps", rate]) == 2
    assert f"{rate} frames per second are not possible; give a rate from 1 to 120." in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "option", [("--fps", "0"), ("--fps", "25/0"), ("--fps", "x"), ("--size", "64"), ("--clips", "0")]
)
def test_invalid_options_are_refused(option: tuple[str, str], tmp_path: Path) -> None:
    result = CliRunner().invoke(train, ["world", "-o", str(tmp_path / "out"), "--clips", "1", *option])
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()
