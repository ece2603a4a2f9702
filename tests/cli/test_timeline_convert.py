"""`rewas timeline convert`: from each format to each other one, losses, and outputs that cannot be written."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import opentimelineio as otio
import pytest
import soundfile

from rewas_cli import app
from rewas_server.otio.formats import FORMATS
from rewas_server.otio.media_paths import find_path
from rewas_server.otio.reading import ReadOptions, open_timeline

WRITTEN = [suffix for suffix, found in FORMATS.items() if found.writes]


def span(start: float, frames: float, rate: float = 25) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(otio.opentime.RationalTime(start, rate), otio.opentime.RationalTime(frames, rate))


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """A timeline with a picture, and a sound in a folder next to it."""
    folder = tmp_path / "project"
    (folder / "stems").mkdir(parents=True)
    soundfile.write(folder / "stems" / "door 1.wav", np.zeros(96000), 48000, subtype="PCM_24")
    (folder / "shot.mov").write_bytes(b"film")
    timeline = otio.schema.Timeline("cut", global_start_time=otio.opentime.RationalTime(90000, 25))
    pictures = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    sounds = otio.schema.Track("A1", kind=otio.schema.TrackKind.Audio)
    timeline.tracks.extend([pictures, sounds])
    pictures.append(otio.schema.Clip("shot", otio.schema.ExternalReference("shot.mov", span(0, 500)), span(100, 50)))
    media = otio.schema.ExternalReference("stems/door 1.wav", span(90000 * 1920, 96000, 48000))
    sounds.append(otio.schema.Clip("door", media, span(90000, 50)))
    pictures[0].markers.append(otio.schema.Marker("bang", span(110, 1)))
    otio.adapters.write_to_file(timeline, str(folder / "cut.otio"))
    return folder / "cut.otio"


def convert(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = app.run(["timeline", "convert", *map(str, arguments)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.mark.parametrize("suffix", WRITTEN)
def test_a_round_trip_keeps_the_clips_and_their_files(
    cut: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    there, back = cut.parent / f"there{suffix}", cut.parent / "back.otio"
    code, out, _ = convert(capsys, cut, "-o", there, "--json")
    assert code == 0
    assert ("1 marker" in json.loads(out)["lost"]) == (suffix in (".aaf", ".edl"))
    code, out, err = convert(capsys, there, "-o", back, "--rate", "25")
    assert (code, err) == (0, "")
    assert out.endswith("Nothing was lost.\n")
    found = open_timeline(back, ReadOptions()).timeline
    assert found.global_start_time.rescaled_to(25).value == 90000
    pictures, sounds = found.tracks
    assert [clip.name for clip in pictures] + [clip.name for clip in sounds] == ["shot", "door"]
    for clip, file in ((pictures[0], "shot.mov"), (sounds[0], "door 1.wav")):
        path = find_path(clip.media_reference.target_url, back.parent)
        assert path is not None
        assert path.name == file
        assert Path(path).is_file()
        assert Fraction(clip.source_range.duration.value) / Fraction(clip.source_range.duration.rate) == 2


def test_losses_are_reported(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = convert(capsys, cut, "-o", cut.with_suffix(".edl"))
    assert code == 0
    assert out == f"Wrote {cut.with_suffix('.edl')}.\nLost: 1 marker.\n"


@pytest.mark.parametrize("style", ["relative", "absolute", "url"])
def test_media_paths_are_chosen(cut: Path, style: str, capsys: pytest.CaptureFixture[str]) -> None:
    output = cut.parent / "out.otio"
    assert convert(capsys, cut, "-o", output, "--media-paths", style)[0] == 0
    found = open_timeline(output, ReadOptions()).timeline.tracks[1][0].media_reference.target_url
    stems = cut.parent / "stems"
    assert (
        found
        == {
            "relative": "stems/door 1.wav",
            "absolute": f"{stems}/door 1.wav",
            "url": f"file://{stems}/door%201.wav",
        }[style]
    )


@pytest.mark.parametrize(
    ("output", "options", "sentence"),
    [
        ("cut.otio", [], "which is also an input"),
        ("out.mov", [], "its suffix is not that of a timeline format"),
        ("out.aaf", ["--media-paths", "relative"], "does not support relative media paths. Use url"),
        ("out.otioz", ["--media-paths", "url"], "contains its media"),
        ("out.otio", ["--media-paths", "near"], '"near" is not a kind of media path.'),
        ("gone/out.otio", [], "does not exist. Create it first."),
    ],
)
def test_an_impossible_output_is_refused(
    cut: Path, output: str, options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = cut.read_bytes()
    code, _, err = convert(capsys, cut, "-o", cut.parent / output, *options)
    assert code == 2
    assert sentence in " ".join(err.split())
    assert cut.read_bytes() == before
    assert sorted(path.name for path in cut.parent.iterdir()) == ["cut.otio", "shot.mov", "stems"]
