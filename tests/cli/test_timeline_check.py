"""`rewas timeline check`: the table, the JSON, the exit code, and files that cannot be read."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import av
import numpy as np
import opentimelineio as otio
import pytest

from rewas_cli import app


def span(start: float, frames: float, rate: float = 25) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(otio.opentime.RationalTime(start, rate), otio.opentime.RationalTime(frames, rate))


def shot(name: str, prompt: str = "", start: float = 0, frames: float = 50, length: float = 100) -> otio.schema.Clip:
    clip = otio.schema.Clip(name, otio.schema.ExternalReference(f"{name}.mov", span(0, length)))
    clip.source_range = span(start, frames)
    if prompt:
        clip.metadata["rewas"] = {"prompt": prompt}
    return clip


def reel(*clips: otio.core.Composable, name: str = "reel") -> otio.schema.Timeline:
    timeline = otio.schema.Timeline(name, global_start_time=otio.opentime.RationalTime(90000, 25))
    track = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    track.extend(clips)
    timeline.tracks.append(track)
    return timeline


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A movie of 100 frames at 25 frames per second."""
    path = tmp_path_factory.mktemp("movie") / "a.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for level in range(100):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64), level, np.uint8), format="gray")
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    return path.read_bytes()


@pytest.fixture(autouse=True)
def media(tmp_path: Path, movie: bytes) -> None:
    """The media of the clips, beside the timeline."""
    for name in ("good", "bad", "silent", "off", "one", "two"):
        path = tmp_path / f"{name}.mov"
        path.write_bytes(movie)
        os.utime(path, (1e9, 1e9))


def check(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = app.run(["timeline", "check", *map(str, arguments)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A timeline with one clip of each state."""
    off = shot("off", "rain")
    off.enabled = False
    timeline = reel(shot("good", "a door"), shot("bad", "rain", start=90), shot("silent"), off)
    file = tmp_path / "cut.otio"
    otio.adapters.write_to_file(timeline, str(file))
    return file


def test_each_clip_is_listed_as_json(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = check(capsys, mixed, "--json")
    report = json.loads(out)
    assert code == 1
    assert report["counts"] == {"ready": 1, "no prompt": 1, "hidden": 1, "refused": 1}
    assert (report["timeline"], report["frame_rate"], report["start"]) == ("reel", "25", "01:00:00:00")
    good, bad, silent, off = report["clips"]
    assert (good["in"], good["out"], good["prompt"], good["prompt_origin"]) == (
        "01:00:00:00",
        "01:00:02:00",
        "a door",
        "the clip",
    )
    assert good["source"] == {
        "media": str(mixed.parent / "good.mov"),
        "start_s": 0.0,
        "in": "00:00:00:00",
        "out": "00:00:02:00",
        "frame_rate": "25",
        "speed": 1.0,
    }
    assert bad["reason"] == (
        'The clip "bad" shows 00:00:03:15 to 00:00:05:15 of its media, which spans 00:00:00:00 to 00:00:04:00.'
    )
    assert bad["remedy"]
    assert good["media"] == {
        "location": "good.mov",
        "path": str(mixed.parent / "good.mov"),
        "found": "relative",
        "notes": [],
    }
    assert (silent["state"], silent["reason"]) == ("no prompt", "")
    assert (off["state"], off["reason"]) == ("hidden", "It is disabled.")


def test_the_table_fits_a_narrow_terminal(
    mixed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = check(capsys, mixed)
    assert code == 1
    table = [line for line in out.splitlines() if not line.startswith(("reel:", "1 clip"))]
    assert max(map(len, table)) <= 80
    for text in ("01:00:00:00", "good", "a door", "(from the clip)", "No prompt.", "It is disabled."):
        assert text in out
    assert out.splitlines()[-1] == (
        "1 clip gets a sound, 1 has a prompt but cannot get one, 1 has no prompt, 1 is not visible."
    )


def test_a_long_timeline_is_printed_as_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cut.otio"
    otio.adapters.write_to_file(reel(*(shot(f"s{number}", frames=1) for number in range(1100))), str(file))
    code, out, _ = check(capsys, file)
    lines = out.splitlines()
    assert code == 0
    assert len(lines) == 1102
    assert lines[1].startswith("    1 01:00:00:00 01:00:00:01 V1 s0: No prompt.")
    assert lines[-1] == "0 clips get a sound, 1100 have no prompt."


@pytest.mark.usefixtures("media")
def test_names_cannot_control_the_terminal_and_long_ones_are_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cut.otio"
    clip = shot("good", "a \x1b[31mdoor")
    clip.name = "\x1b[2J\x1b]0;owned\x07" + "long " * 100
    otio.adapters.write_to_file(reel(clip, name="\x1b[1mreel"), str(file))
    code, out, _ = check(capsys, file)
    assert code == 0
    assert "\x1b" not in out
    assert out.count("long") < 15


def test_a_timeline_without_problems_ends_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cut.otio"
    otio.adapters.write_to_file(reel(shot("good", "a door"), shot("silent")), str(file))
    assert check(capsys, file)[0] == 0


def test_missing_media_is_reported_and_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    far, near = shot("far", "rain"), shot("near", "a door")
    far.media_reference.target_url = "X:\\Rushes\\day\\one.mov"
    near.media_reference.target_url = "/Volumes/Other/two.mov"
    file = tmp_path / "cut.otio"
    otio.adapters.write_to_file(reel(far, near), str(file))
    code, out, _ = check(capsys, file, "--json")
    assert code == 1
    reasons = [clip["reason"] for clip in json.loads(out)["clips"]]
    assert reasons[0] == 'The clip "far": X:\\Rushes\\day\\one.mov is a path of another machine.'
    assert reasons[1] == 'The clip "near": The media file /Volumes/Other/two.mov does not exist.'
    (tmp_path / "day").mkdir()
    (tmp_path / "one.mov").rename(tmp_path / "day" / "one.mov")
    found = ["--path-map", f"X:/Rushes={tmp_path}", "--search-folder", tmp_path, "--json"]
    code, out, _ = check(capsys, file, *found)
    assert code == 0
    assert [clip["media"]["found"] for clip in json.loads(out)["clips"]] == ["mapped", "relinked"]
    for options in (["--path-map", "X:/a"], ["--path-map", "X:/a=/no/folder"], ["--search-folder", tmp_path / "no"]):
        code, _, err = check(capsys, file, *options)
        assert code == 2
        assert str(options[0]) in err or "path map" in err


def test_one_of_several_timelines_is_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inner = otio.schema.SerializableCollection("bin", [reel(shot("two", "b"), name="Reel 2")])
    bin_of_all = otio.schema.SerializableCollection("all", [reel(shot("one", "a"), name="Reel 1"), inner])
    file = tmp_path / "bin.otio"
    otio.adapters.write_to_file(bin_of_all, str(file))
    code, _, err = check(capsys, file)
    assert code == 2
    assert 'bin.otio contains 2 timelines. Choose one with --timeline NAME: "Reel 1", "Reel 2".' in err
    code, out, _ = check(capsys, file, "--timeline", "Reel 2", "--json")
    assert code == 0
    assert [clip["name"] for clip in json.loads(out)["clips"]] == ["two"]
    code, _, err = check(capsys, file, "--timeline", "Reel 3")
    assert 'bin.otio contains no timeline with the name "Reel 3".' in err


@pytest.mark.parametrize("suffix", [".otioz", ".otiod"])
def test_bundles_are_read_with_their_media(tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str) -> None:
    clip = shot("good", "a door")
    clip.media_reference.target_url = (tmp_path / "good.mov").as_uri()
    file = tmp_path / f"cut{suffix}"
    otio.adapters.write_to_file(reel(clip), str(file))
    code, out, _ = check(capsys, file, "--json")
    (found,) = json.loads(out)["clips"]
    assert code == 0
    assert found["source"]["media"].endswith("/media/good.mov")
    assert not found["source"]["media"].startswith("media")


def test_an_edl_is_read_at_a_given_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cut.edl"
    file.write_text(
        "TITLE: CUT\n001  AX  V  C  00:00:00:00 00:00:02:00 01:00:00:00 01:00:02:00\n* FROM CLIP NAME: A\n", "utf-8"
    )
    code, out, _ = check(capsys, file, "--rate", "23.976", "--json")
    report = json.loads(out)
    assert (code, report["frame_rate"], report["notes"]) == (0, "24000/1001", [])
    assert report["clips"][0]["in"] == "01:00:00:00"
    for rate in ("0", "x", "24/0", "nan", "1e9"):
        code, _, err = check(capsys, file, "--rate", rate)
        assert code == 2
        assert "is not a number of frames per second" in err


def deep_xml(depth: int = 20_000) -> bytes:
    return b"<xmeml>" + b"<a>" * depth + b"</a>" * depth + b"</xmeml>"


LAUGHS = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><xmeml>&b;</xmeml>'


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.otio", b"[" * 200_000 + b"]" * 200_000, "is not valid OpenTimelineIO JSON (it is nested too deeply)"),
        ("a.otio", b"\xff\xfe\x00\x00 not text", "is not UTF-8 text"),
        ("a.otio", b"", "is not valid OpenTimelineIO JSON"),
        ("a.xml", deep_xml(), "is nested too deeply"),
        ("a.xml", LAUGHS, "defines XML entities"),
        ("a.xml", b"<xmeml><sequence>", "is not well-formed XML"),
        ("a.xml", b"<html/>", "a.xml"),
        ("a.fcpxml", b"<fcpxml/>", "a.fcpxml"),
        ("a.aaf", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "a.aaf cannot be read"),
        ("a.ale", b"\0" * 50, "a.ale"),
        ("a.otioz", b"PK no zip", "is not an intact .otioz archive"),
        ("a.mov", b"", "its suffix is not that of a timeline format"),
    ],
)
def test_a_file_that_cannot_be_read_gives_an_error_message(
    name: str, content: bytes, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    code, out, err = check(capsys, file)
    assert (code, out) == (2, "")
    assert expected in err
    assert "Traceback" not in err
    assert 'File "' not in err


@pytest.mark.parametrize(
    "name", ["../out.mov", "/tmp/out.mov", "media/../../out.mov", "media\\..\\out.mov", "C:/out.mov"]
)
def test_an_archive_unpacks_nothing_outside_its_folder(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.otioz"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("content.otio", reel(shot("a")).to_json_string())
        archive.writestr(name, b"x")
    code, _, err = check(capsys, file)
    assert code == 2
    assert "contains a file with the unsafe name" in err


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "does not exist" in check(capsys, tmp_path / "no.otio")[2]
    assert "is a folder, not a timeline file" in check(capsys, tmp_path)[2]
    (tmp_path / "a.otiod").mkdir()
    assert "a.otiod contains no content.otio" in check(capsys, tmp_path / "a.otiod")[2]
