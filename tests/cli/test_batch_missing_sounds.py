"""The reports of a batch list the clips that got no sound, and say why."""

from __future__ import annotations

import csv
from fractions import Fraction
from pathlib import Path
from typing import Any

import opentimelineio as otio
import pytest
from rewas_command import environment, write_clip
from silent_sounds import generate_silence

from rewas_cli import runner
from rewas_cli.main import run
from rewas_server.batch.local_maker import LocalMaker

RATE = 24
LOST = 'The clip "lost": The media file /gone/lost.mov does not exist.'


@pytest.fixture
def film(tmp_path: Path, packs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A timeline of four clips: a door, one without a prompt, one that asks for silence, and one without media."""
    for name, value in environment(packs, tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(
        runner.LocalRunner, "sound_maker", lambda self, record, is_detached: LocalMaker(record, generate_silence)
    )
    write_clip(tmp_path / "ball.mp4", frames=48, rate=Fraction(RATE))
    track = otio.schema.Track(name="V1", kind=otio.schema.TrackKind.Video)
    for name, url, ours in (
        ("door", "ball.mp4", {"rewas": {"prompt": "a door"}}),
        ("plain", "ball.mp4", {}),
        ("hush", "ball.mp4", {}),
        ("lost", "/gone/lost.mov", {"rewas": {"prompt": "rain"}}),
    ):
        span = otio.opentime.TimeRange(
            otio.opentime.RationalTime(6 * len(track), RATE), otio.opentime.RationalTime(6, RATE)
        )
        track.append(otio.schema.Clip(name, otio.schema.ExternalReference(url), span, ours))
    timeline = otio.schema.Timeline("film")
    timeline.tracks.append(track)
    otio.adapters.write_to_file(timeline, str(tmp_path / "film.otio"))
    (tmp_path / "film.csv").write_text("clip,prompt\nhush,-\n")
    (tmp_path / "ours.toml").write_text("schema = 1\n[reports]\ncsv = true\nhtml = true\n")
    return tmp_path / "film.otio"


def test_clips_without_a_sound_are_in_the_reports(film: Path, packs: Path, capfd: Any) -> None:
    folder = film.parent
    code = run(
        [
            "batch", str(film), "-o", str(folder / "out.otio"), "--stems", str(folder / "stems"),
            "--sheet", str(folder / "film.csv"), "--profile", str(folder / "ours.toml"),
            "--pack", str(packs / "starter"),
        ]
    )  # fmt: skip
    assert code == 1, capfd.readouterr().err
    with (folder / "stems" / "film report.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = [
            (row["Clip"], row["Number"], row["Timecode in"], row["Reason for missing sound"])
            for row in csv.DictReader(file)
        ]
    assert rows[0] == ("door", "1", "00:00:00:00", "")
    assert rows[1][:3] == ("lost", "2", "00:00:00:18")
    assert rows[1][3].startswith(LOST)
    assert rows[2] == ("plain", "", "00:00:00:06", "It has no prompt.")
    assert rows[3][:3] == ("hush", "", "00:00:00:12")
    assert "asks for no sound" in rows[3][3]
    page = (folder / "stems" / "film report.html").read_text("utf-8")
    assert page.index("Clips without a sound") < page.index("lost.mov") < page.index("Clips without a prompt")
    assert page.index("Clips without a prompt") < page.index("It has no prompt.")
