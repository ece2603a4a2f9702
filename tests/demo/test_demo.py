"""The whole demo, as `make demo` runs it, written to a temporary folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import opentimelineio as otio
import pytest
import soundfile

import rewas_engine

ROOT = Path(__file__).resolve().parents[2]


def run_demo(output: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "scripts" / "demo" / "run_demo.py", "--output", output]
    return subprocess.run(
        command, cwd=ROOT, text=True, capture_output=True, env={**os.environ, **variables}, check=False
    )


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped pack in float32, which is fast on every processor, where it is found before the shipped one."""
    shipped = Path(rewas_engine.__file__).parent / "data" / "packs" / "starter"
    folder = tmp_path_factory.mktemp("packs")
    description = Path(shutil.copytree(shipped, folder / "starter")) / "pack.toml"
    stored = description.read_text("utf-8")
    assert 'precision = "bfloat16"' in stored
    description.write_text(stored.replace('precision = "bfloat16"', 'precision = "float32"'), "utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".venv-blender-4.5").exists(), reason="Blender 4.5 is not set up; `make test` does it")
def test_the_whole_demo(packs: Path, tmp_path: Path) -> None:
    output = tmp_path / "demo"
    completed = run_demo(output, REWAS_PACKS=str(packs))
    assert completed.returncode == 0, completed.stdout + completed.stderr
    report = json.loads((output / "report.json").read_text(encoding="utf-8"))
    assert [clip["clip"] for clip in report["clips"]] == ["ball.mp4", "nail.mp4"]
    for clip in report["clips"]:
        stem = soundfile.info(output / clip["stem"])
        assert clip["samples"] == clip["expected_samples"] == stem.frames
        assert stem.subtype == "PCM_24"
        assert clip["energy_correlation"] > 0.5
    timeline = otio.adapters.read_from_file(str(output / "timeline.otio"))
    video_tracks, audio_tracks = timeline.video_tracks(), timeline.audio_tracks()
    video_clips = [item.range_in_parent() for item in video_tracks[0].find_clips()]
    sounds = [item.range_in_parent() for track in audio_tracks for item in track.find_clips()]
    assert sounds == video_clips
    assert len(sounds) == 2


def test_a_folder_with_other_files_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    completed = run_demo(tmp_path)
    assert completed.returncode == 1
    assert "thesis.txt" in completed.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
