"""`rewas batch --profile`, from the command to the delivered files."""

from __future__ import annotations

import csv
from fractions import Fraction
from pathlib import Path
from typing import Any

import opentimelineio as otio
import pytest
from rewas_command import CommandResult, Rewas, write_clip
from wavinfo import WavInfoReader

RATE = Fraction(30000, 1001)
HOUR_FRAMES = 107_892
"""01:00:00;00 in drop-frame timecode."""


def span(start: int, frames: int) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(
        otio.opentime.RationalTime(start, float(RATE)), otio.opentime.RationalTime(frames, float(RATE))
    )


@pytest.fixture(scope="module")
def reel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of 15 frames with rain and steps, the first with two takes, ambience and mix."""
    folder = tmp_path_factory.mktemp("reel")
    media = write_clip(folder / "ball.mp4", frames=60, rate=RATE)

    def clip(name: str, start: int, settings: dict[str, Any]) -> otio.schema.Clip:
        reference = otio.schema.ExternalReference(str(media), span(0, 60))
        return otio.schema.Clip(name, reference, span(start, 15), {"rewas": {"seed": 7, **settings}})

    layers = [{"name": "ambience", "prompt": "room tone"}]
    track = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    track.append(clip("A001", 3, {"prompt": "rain", "takes": 2, "mix": True, "layers": layers}))
    track.append(otio.schema.Gap(source_range=span(0, 10)))
    track.append(clip("A002", 30, {"prompt": "someone walks"}))
    timeline = otio.schema.Timeline("Film", global_start_time=span(HOUR_FRAMES, 0).start_time)
    timeline.tracks.append(track)
    otio.adapters.write_to_file(timeline, str(folder / "film.otio"))
    return folder


def batch(rewas: Rewas, reel: Path, profile: str, *options: object) -> CommandResult:
    result = rewas(
        "batch", reel / "film.otio", "-o", reel / "out.otio", "--stems", reel / "stems", "--steps", 1,
        "--profile", profile, "--json", *options,
    )  # fmt: skip
    assert result.code == 0, result.errors
    return result


def origins(result: CommandResult) -> list[str]:
    return [clip["origin"] for clip in result.json()["clips"]]


def wave_names(reel: Path) -> list[str]:
    return sorted(path.name for path in (reel / "stems").glob("*.wav"))


@pytest.mark.slow
def test_profiles_are_applied_to_existing_sounds(rewas: Rewas, reel: Path) -> None:
    first = batch(rewas, reel, "post")
    assert origins(first) == ["generated", "generated"]
    assert wave_names(reel) == [
        "AMBRoom_Room Tone 001 ambience T1_ReWaS_Film.wav",
        "AMBRoom_Room Tone 001 ambience T2_ReWaS_Film.wav",
        "FEETHmn_Someone Walks 002 primary T1_ReWaS_Film.wav",
        "RAIN_Rain 001 mix T1_ReWaS_Film.wav",
        "RAIN_Rain 001 mix T2_ReWaS_Film.wav",
        "RAIN_Rain 001 primary T1_ReWaS_Film.wav",
        "RAIN_Rain 001 primary T2_ReWaS_Film.wav",
    ]
    timeline = otio.adapters.read_from_file(str(reel / "out.otio"))
    audible = [track for track in timeline.audio_tracks() if track.enabled]
    # Rain and room tone overlap on the track for ambience.
    assert [track.name for track in audible] == ["FOLEY", "AMB", "AMB (2)"]
    assert sum(len(track.find_clips()) for track in audible) == 3
    steps = audible[0].find_clips()[0]
    assert otio.opentime.to_timecode(steps.source_range.start_time) == "01:00:00;25"
    assert steps.source_range == span(HOUR_FRAMES + 25, 15)
    info = WavInfoReader(str(reel / "stems" / "FEETHmn_Someone Walks 002 primary T1_ReWaS_Film.wav"))
    # Handles of 12 frames on both sides: 39 frames of 1601.6 samples.
    assert info.data.frame_count == 62_462
    assert info.bext.time_reference == round((HOUR_FRAMES + 25 - 12) * Fraction(48_000) / RATE)
    assert info.ixml.parsed.findtext("SPEED/TIMECODE_FLAG") == "DF"
    with (reel / "stems" / "Film cue sheet.csv").open(encoding="utf-8-sig", newline="") as file:
        cues = [(row["Timecode in"], row["Track"], row["Prompt"]) for row in csv.DictReader(file)]
    assert cues == [
        ("01:00:00;00", "AMB", "rain"),
        ("01:00:00;00", "AMB", "room tone"),
        ("01:00:00;25", "FOLEY", "someone walks"),
    ]
    assert "FEETHmn_Someone Walks 002" in (reel / "stems" / "Film report.html").read_text("utf-8")

    # Another profile generates nothing: its files have no handles. --clean removes those of the first.
    stereo = batch(rewas, reel, "stereo", "--clean")
    assert origins(stereo) == ["cut", "cut"]
    assert len(wave_names(reel)) == 7
    assert not any("ReWaS" in name for name in wave_names(reel))
    info = WavInfoReader(str(reel / "stems" / "002 A002 primary take 1 seed 7.wav"))
    assert (info.fmt.channel_count, info.data.frame_count) == (2, 24_024)


def test_a_profile_is_checked_before_the_work_begins(rewas: Rewas, reel: Path) -> None:
    (reel / "wrong.toml").write_text("schema = 1\n[file]\nhandles = 12")
    result = rewas(
        "batch", reel / "film.otio", "-o", reel / "no.otio", "--stems", reel / "none", "--profile", reel / "wrong.toml"
    )
    assert result.code == 2
    assert "In wrong.toml: there is no setting `file.handles`. Did you mean `file.handle_frames`?" in result.errors
    assert not (reel / "none").exists()
