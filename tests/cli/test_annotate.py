"""`rewas annotate`: what it writes, what it leaves out, and how it continues."""

import csv
import json
import shutil
import signal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from rewas_command import Rewas

from rewas_cli.annotations import AnnotationRecord
from rewas_engine.annotation.annotator import Annotation
from rewas_engine.media.clip import VideoClip
from rewas_engine.pipeline import ReWaS

BAD_INPUT, FAILED_WORK, CANCELLED = 2, 1, 130


def test_clips_are_described_in_a_report_and_a_table(bare_rewas: Rewas, media: Path, tmp_path: Path) -> None:
    shots = tmp_path / "shots"
    (shots / "day 2").mkdir(parents=True)
    shutil.copy(media / "ball.mp4", shots / "ball.mp4")
    shutil.copy(media / "ball.mp4", shots / "day 2" / "again.mp4")
    (shots / "broken.mp4").write_bytes(b"no video")
    (shots / "notes.txt").write_text("not a clip", "utf-8")
    report, table = tmp_path / "shots.json", tmp_path / "shots.csv"
    result = bare_rewas("annotate", shots, "-o", report, "--csv", table, "--json")
    assert result.code == 0, result.errors
    document = result.json()
    assert document == json.loads(report.read_text("utf-8"))
    assert [Path(row["file"]).name for row in document["clips"]] == ["ball.mp4", "again.mp4"]
    assert [Path(row["file"]).name for row in document["failed"]] == ["broken.mp4"]
    assert "left out" in result.errors
    assert document["statistics"]["clips"] == 2
    assert document["clips"][0]["prompt"]
    with table.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["prompt"] for row in rows] == [row["prompt"] for row in document["clips"]]


def test_a_run_continues_with_the_clips_that_are_new_or_changed(bare_rewas: Rewas, media: Path, tmp_path: Path) -> None:
    shots, report = tmp_path / "shots", tmp_path / "shots.json"
    shots.mkdir()
    shutil.copy(media / "ball.mp4", shots / "a.mp4")
    assert bare_rewas("annotate", shots, "-o", report, "--no-sound").code == 0
    document = json.loads(report.read_text("utf-8"))
    document["clips"][0]["prompt"] = "kept from the earlier run"
    report.write_text(json.dumps(document), "utf-8")
    shutil.copy(media / "ball.mp4", shots / "b.mp4")
    assert bare_rewas("annotate", shots, "-o", report, "--no-sound").code == 0
    prompts = [row["prompt"] for row in json.loads(report.read_text("utf-8"))["clips"]]
    assert prompts[0] == "kept from the earlier run"
    assert prompts[1] != prompts[0]
    # Other models give other sentences, so nothing is taken over.
    assert bare_rewas("annotate", shots, "-o", report).code == 0
    assert json.loads(report.read_text("utf-8"))["clips"][0]["prompt"] == prompts[1]


def test_a_stopped_run_keeps_the_earlier_clips_that_it_has_not_reached(tmp_path: Path) -> None:
    stages, report = {"picture": "a"}, tmp_path / "shots.json"
    annotation = Annotation(Fraction(1), (), (), "A ball.", "", "A ball.", "a ball")
    clips = [VideoClip(tmp_path / name) for name in ("a.mp4", "b.mp4", "c.mp4")]
    for clip in clips:
        clip.path.write_bytes(b"video")
    first = AnnotationRecord(report, stages)
    for clip in clips:
        first.add(clip, annotation)
    first.write()
    clips[0].path.write_bytes(b"another video")
    stopped = AnnotationRecord(report, stages)
    stopped.read_earlier()
    assert stopped.reuse(clips[0]) is None
    stopped.add(clips[0], annotation)
    continued = AnnotationRecord(report, stages)
    continued.read_earlier()
    assert all(continued.reuse(clip) is not None for clip in clips[:2])
    # At the end of a run, the file has its clips only.
    continued.write()
    rows = json.loads(report.read_text("utf-8"))["clips"]
    assert [Path(row["file"]).name for row in rows] == ["a.mp4", "b.mp4"]
    # A row that lacks something is described again.
    report.write_text(
        json.dumps({"stages": stages, "clips": [{"file": row["file"], "state": row["state"]} for row in rows]})
    )
    damaged = AnnotationRecord(report, stages)
    damaged.read_earlier()
    assert damaged.reuse(clips[0]) is None


def test_ctrl_c_while_models_are_loaded_stops_before_the_next_one(
    bare_rewas: Rewas, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_pack = ReWaS.from_pretrained

    def interrupted(*arguments: Any, **options: Any) -> ReWaS:
        loaded = load_pack(*arguments, **options)
        signal.raise_signal(signal.SIGINT)
        return loaded

    monkeypatch.setattr(ReWaS, "from_pretrained", interrupted)
    # The folder contains no model, which would be an error if it were read.
    result = bare_rewas("annotate", media / "ball.mp4", "--picture-model", tmp_path)
    assert result.code == CANCELLED, result.errors
    assert "contains no" not in result.errors


def test_bad_input_is_refused(bare_rewas: Rewas, media: Path, tmp_path: Path) -> None:
    nothing = bare_rewas("annotate", tmp_path)
    assert nothing.code == BAD_INPUT
    assert "There are no video files in" in nothing.errors
    remote = bare_rewas("annotate", media / "ball.mp4", "--language-server", "http://example.com/v1")
    assert remote.code == BAD_INPUT
    assert "is on another computer" in remote.errors
    both = bare_rewas(
        "annotate", media / "ball.mp4", "--language-server", "http://[::1]:1/v1", "--language-model", tmp_path
    )
    assert both.code == BAD_INPUT
    assert "are both given" in both.errors
    folder = bare_rewas("annotate", media / "ball.mp4", "--picture-model", tmp_path)
    assert folder.code == BAD_INPUT
    assert "contains no image-to-text model" in folder.errors
    away = bare_rewas("annotate", media / "ball.mp4", "--language-server", "http://127.0.0.1:9/v1")
    assert away.code == FAILED_WORK
    assert "does not answer" in away.errors
