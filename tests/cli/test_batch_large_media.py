"""`rewas batch` with media that takes minutes to read: it reports its progress, and Ctrl-C stops it at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from fractions import Fraction
from pathlib import Path

import opentimelineio as otio
from rewas_command import command, environment, write_clip

HUGE_BYTES = 10**12
"""If reading neither reported its progress nor stopped, the test would run out of time with a file of this size."""


def test_reading_large_media_is_shown_and_can_be_cancelled(packs: Path, tmp_path: Path) -> None:
    media = write_clip(tmp_path / "rushes.mp4", frames=48, rate=Fraction(24))
    os.truncate(media, HUGE_BYTES)
    span = otio.opentime.TimeRange(otio.opentime.RationalTime(0, 24), otio.opentime.RationalTime(6, 24))
    clip = otio.schema.Clip("shot 1", otio.schema.ExternalReference(str(media)), span, {"rewas": {"prompt": "a door"}})
    timeline = otio.schema.Timeline("reel")
    timeline.tracks.append(otio.schema.Track("V1", [clip], kind=otio.schema.TrackKind.Video))
    otio.adapters.write_to_file(timeline, str(tmp_path / "reel.otio"))
    arguments = ["batch", tmp_path / "reel.otio", "-o", tmp_path / "out.otio", "--stems", tmp_path / "stems", "--json"]
    process = subprocess.Popen(
        command(*arguments), env=environment(packs, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate()
    finally:
        process.kill()
    assert line.startswith("Clip 1 of 1 shot 1: Reading the media, ")
    assert line.endswith(" of 1.0 TB\n")
    assert process.returncode == 130, errors
    assert json.loads(output)["error"]["what"] == "Stopped on request. 0 of 1 clips have their sound."
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["reel.otio", "rushes.mp4"]
    assert not (tmp_path / "stems").exists()
