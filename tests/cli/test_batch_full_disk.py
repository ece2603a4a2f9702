"""`rewas batch` when the disk is full or folders vanish: it says so, and leaves no incomplete file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import opentimelineio as otio
import pytest
import soundfile
from rewas_command import CommandResult, Rewas, write_clip

RATE = 24
LIMITS_BYTES = {
    20_000: "record.sqlite cannot be written",
    130_000: "stems cannot be written (File too large)",
    200_000: ".wav cannot be written (File too large)",
    350_000: "out.otio cannot be written (File too large)",
}
"""Largest files that can be written: too small for the record, a sound, a stem in stereo, and the timeline."""


def span(start: int, frames: int) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(otio.opentime.RationalTime(start, RATE), otio.opentime.RationalTime(frames, RATE))


@pytest.fixture
def reel(tmp_path: Path) -> Path:
    """A timeline of three clips in an otherwise empty folder, which is longer than any other file of a batch."""
    folder = tmp_path / "project"
    folder.mkdir()
    media = write_clip(tmp_path / "ball.mp4", frames=72, rate=Fraction(RATE))
    track = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    for number in range(3):
        clip = otio.schema.Clip(
            f"shot {number}",
            otio.schema.ExternalReference(str(media)),
            span(number * 24, 24),
            {"rewas": {"prompt": "door"}},
        )
        track.append(clip)
    timeline = otio.schema.Timeline("reel", metadata={"notes": "n" * 450_000})
    timeline.tracks.append(track)
    otio.adapters.write_to_file(timeline, str(folder / "reel.otio"))
    return folder / "reel.otio"


def batch(rewas: Rewas, reel: Path, **limits: int) -> CommandResult:
    folder = reel.parent
    return rewas(
        "batch", reel, "-o", folder / "out.otio", "--stems", folder / "stems", "--steps", 1, "--json",
        "--profile", "stereo", "--report", folder / "report.json", **limits,
    )  # fmt: skip


def unfinished(folder: Path) -> list[str]:
    """Files that are neither complete nor part of a record."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and (".partial" in path.name or path.name.endswith((".tmp", ".part")))
    ]


def test_a_full_disk_at_any_point_loses_nothing(rewas: Rewas, reel: Path) -> None:
    before = reel.read_bytes()
    for limit_bytes, what in LIMITS_BYTES.items():
        result = batch(rewas, reel, file_size_limit_bytes=limit_bytes)
        assert "Traceback" not in result.errors
        assert result.code in (1, 2), limit_bytes
        error = result.json()["error"]
        assert what in error["what"]
        assert error["remedy"]
        assert unfinished(reel.parent) == []
        assert not (reel.parent / "out.otio").exists()
        assert not (reel.parent / "report.json").exists()
        for path in (reel.parent / "stems").glob("*.wav"):
            assert soundfile.info(path).frames == 48_000
    result = batch(rewas, reel)
    assert result.code == 0, result.errors
    assert [clip["origin"] for clip in result.json()["clips"]] == ["kept"] * 3
    assert len(list((reel.parent / "stems").glob("*.wav"))) == 3
    assert reel.read_bytes() == before
