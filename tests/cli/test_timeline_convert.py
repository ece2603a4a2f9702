"""`rewas timeline convert`: from each format to each other one, losses, and outputs that cannot be written."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from fractions import Fraction
from pathlib import Path

import aaf2
import numpy as np
import opentimelineio as otio
import pytest
import soundfile

from rewas_cli import app
from rewas_server.otio.clips import timeline_start_s
from rewas_server.otio.formats import FORMATS
from rewas_server.otio.frame_timeline import placed_clips
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


NTSC = 30000 / 1001


@pytest.fixture
def ntsc_cut(cut: Path) -> Path:
    """A timeline at 29.97 whose first frame is 108000: 01:00:00:00 without drop-frame, 01:00:03;18 with it."""
    timeline = otio.schema.Timeline("cut", global_start_time=otio.opentime.RationalTime(108000, NTSC))
    for kind, name in (("Video", "shot.mov"), ("Audio", "stems/door 1.wav")):
        media = otio.schema.ExternalReference(name, span(108000, 50, NTSC))
        clips = [otio.schema.Clip(f"{kind} {number}", media.clone(), span(108000, 20, NTSC)) for number in (1, 2)]
        timeline.tracks.append(otio.schema.Track(kind, kind=kind, children=clips))
    otio.adapters.write_to_file(timeline, str(cut))
    return cut


def stated_timecode(path: Path) -> tuple[bool, str]:
    """Whether the timecode of a written file is drop-frame, and its text in the file, if there is one."""
    if path.suffix == ".edl":
        text = path.read_text("utf-8")
        return "FCM: DROP FRAME" in text, text.splitlines()[3].split()[-2]
    if path.suffix == ".xml":
        timecode = ElementTree.parse(path).find("./project/children/sequence/timecode")
        if timecode is None:
            timecode = ElementTree.parse(path).find("./sequence/timecode")
        assert timecode is not None
        return timecode.findtext("displayformat") == "DF", timecode.findtext("string") or ""
    if path.suffix == ".rpp":
        mode = next(line for line in path.read_text("utf-8").splitlines() if line.startswith("TIMEMODE")).split()
        assert mode[4] == "30"
        return mode[5] == "1", ""
    with aaf2.open(str(path)) as file:
        (mob,) = file.content.toplevel()
        (timecode,) = (slot.segment for slot in mob.slots if isinstance(slot.segment, aaf2.components.Timecode))
        assert (timecode.start, timecode.fps) == (108000, 30)
        return bool(timecode.drop), ""


def places(path: Path) -> list[tuple[str, Fraction, Fraction]]:
    """Name, timecode and duration of each clip, in seconds."""
    timeline = open_timeline(path, ReadOptions(rate=Fraction(30000, 1001))).timeline
    return [
        (placed.item.name, timeline_start_s(timeline) + placed.start_s, placed.duration_s)
        for track in timeline.tracks
        for placed in placed_clips(track)
    ]


@pytest.mark.parametrize("suffix", [".edl", ".xml", ".aaf", ".rpp"])
def test_timecode_is_drop_frame_or_not_as_chosen_and_nothing_moves(
    ntsc_cut: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for option in ("--drop", "--non-drop"):
        output = ntsc_cut.with_name(f"out{option}{suffix}")
        assert convert(capsys, ntsc_cut, "-o", output, option)[0] == 0
        found[option] = (stated_timecode(output), places(output))
    (dropped, dropped_label), dropped_places = found["--drop"]
    (counted, label), counted_places = found["--non-drop"]
    assert (dropped, counted) == (True, False)
    assert (dropped_label, label) in ((("01:00:03;18", "01:00:00:00")), ("", ""))
    assert dropped_places == counted_places
    tolerance_s = Fraction(1, 48000) if suffix == ".rpp" else 0
    expected = [(Fraction(108000 + first) * 1001 / 30000, Fraction(20) * 1001 / 30000) for first in (0, 20)]
    for (_, begin_s, duration_s), (wanted_s, length_s) in zip(counted_places, expected * 2, strict=True):
        assert abs(begin_s - wanted_s) <= tolerance_s
        assert abs(duration_s - length_s) <= tolerance_s
    # Without the option, an EDL or a project stays as it is.
    if suffix in (".edl", ".rpp"):
        again = ntsc_cut.with_name("again.edl")
        assert convert(capsys, output, "-o", again, "--rate", "29.97")[0] == 0
        assert stated_timecode(again) == (False, "01:00:00:00")


def test_drop_frame_is_refused_at_other_rates(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = convert(capsys, cut, "-o", cut.with_suffix(".edl"), "--drop")
    assert code == 2
    assert "Drop-frame timecode does not exist at 25 frames per second." in " ".join(err.split())
    assert not cut.with_suffix(".edl").exists()


@pytest.mark.parametrize(("suffix", "moves"), [(".xml", True), (".edl", True), (".aaf", False), (".rpp", False)])
def test_a_start_before_midnight_is_reported(
    cut: Path, suffix: str, moves: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    timeline = otio.adapters.read_from_file(str(cut))
    timeline.global_start_time = otio.opentime.RationalTime(-250, 25)
    otio.adapters.write_to_file(timeline, str(cut))
    code, out, _ = convert(capsys, cut, "-o", cut.with_suffix(suffix), "--json")
    assert code == 0
    assert ("the start timecode (moved forward by 24 hours)" in json.loads(out)["lost"]) == moves
