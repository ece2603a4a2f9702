"""`rewas timeline sheet`, and the prompt options of `rewas timeline check`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import opentimelineio as otio
import pytest
from rewas_command import write_clip

from rewas_cli import app


def span(start: float, frames: float) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(otio.opentime.RationalTime(start, 25), otio.opentime.RationalTime(frames, 25))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of four seconds."""
    path = tmp_path_factory.mktemp("media") / "film.mp4"
    write_clip(path, frames=96)
    return path


@pytest.fixture
def cut(tmp_path: Path, film: Path) -> Path:
    """A timeline from 01:00:00:00 with the clips door, pan and street, of which pan has a prompt."""
    timeline = otio.schema.Timeline("reel", global_start_time=otio.opentime.RationalTime(90000, 25))
    timeline.tracks.append(otio.schema.Track("V1", kind=otio.schema.TrackKind.Video))
    for name in ("door", "pan", "street"):
        clip = otio.schema.Clip(name, otio.schema.ExternalReference(str(film), span(0, 100)), span(0, 25))
        if name == "pan":
            clip.metadata["rewas"] = {"prompt": "pans"}
        timeline.tracks[0].append(clip)
    otio.adapters.write_to_file(timeline, str(tmp_path / "cut.otio"))
    return tmp_path / "cut.otio"


def rewas(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = app.run(["timeline", *map(str, arguments)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_a_sheet_goes_through_a_spreadsheet_and_back(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = cut.with_name("spotting.csv")
    code, out, _ = rewas(capsys, "sheet", cut, "-o", path, "--prompt-for", "door*=a heavy door")
    assert (code, out) == (0, f"{path}: 3 lines, 2 with a prompt.\n")
    rows = read(path)
    assert [(row["in"], row["out"], row["clip"], row["prompt"]) for row in rows] == [
        ("01:00:00:00", "01:00:01:00", "door", "a heavy door"),
        ("01:00:01:00", "01:00:02:00", "pan", "pans"),
        ("01:00:02:00", "01:00:03:00", "street", ""),
    ]
    rows[2]["prompt"] = "traffic"
    rows[0]["prompt"] = "-"
    with path.open("w", encoding="cp1252", newline="") as file:
        writer = csv.DictWriter(file, [*reversed(rows[0]), "notes"], delimiter=";")
        writer.writeheader()
        writer.writerows([row | {"notes": "für Ann"} for row in reversed(rows)])
    code, out, _ = rewas(capsys, "check", cut, "--sheet", path, "--json")
    report = json.loads(out)
    assert code == 0
    assert [(clip["state"], clip["prompt"], clip["prompt_origin"], clip["reason"]) for clip in report["clips"]] == [
        ("no prompt", "", "", "Row 4 of spotting.csv asks for no sound."),
        ("ready", "pans", "row 3 of spotting.csv", ""),
        ("ready", "traffic", "row 2 of spotting.csv", ""),
    ]
    assert "spotting.csv is not in UTF-8 and was read as Windows-1252." in report["notes"][0]
    code, out, _ = rewas(capsys, "sheet", cut, "--sheet", path, "-o", path, "--delimiter", "tab", "--json")
    assert code == 0
    assert (json.loads(out)["lines"], json.loads(out)["with_prompt"]) == (3, 2)
    header, *lines = path.read_text("utf-8-sig").splitlines()
    assert header.split("\t")[-1] == "notes"
    assert lines[0].split("\t")[4] == "-"
    assert lines[2].split("\t")[-1] == "für Ann"


def test_a_sheet_is_never_overwritten(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = cut.with_name("spotting.csv")
    path.write_text("Ann's work")
    code, _, err = rewas(capsys, "sheet", cut, "-o", path)
    assert code == 2
    assert f"{path} already exists." in err
    assert path.read_text() == "Ann's work"
    before = cut.read_bytes()
    code, _, err = rewas(capsys, "sheet", cut, "-o", cut)
    assert code == 2
    assert "which is also an input" in err
    assert cut.read_bytes() == before


def test_rows_without_a_clip_are_reported_and_fail_the_check(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = cut.with_name("spotting.csv")
    path.write_text("in,clip,prompt\n01:00:09:00,window,glass\n")
    code, out, _ = rewas(capsys, "check", cut, "--sheet", path)
    assert code == 1
    assert "Row 2 of spotting.csv is for the clip “window” at 01:00:09:00, which is not on the timeline." in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--prompt", ""), "--prompt is empty. Describe the sound."),
        (("--prompt", "   "), "--prompt is empty."),
        (("--prompt", "x" * 2001), "--prompt has 2001 characters. Shorten it to at most 2000."),
        (("--prompt-for", "door"), '--prompt-for is "door". Write a pattern'),
        (("--prompt-for", "door="), 'The prompt for "door" is empty.'),
        (("--markers", "pinkish"), '--markers is "pinkish". Choose labelled, all, none, or a colour: black, blue,'),
        (("--sheet", "gone.csv"), "The spotting sheet gone.csv cannot be read (No such file or directory)."),
    ],
)
def test_wrong_options_are_refused(
    arguments: tuple[str, str], message: str, cut: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = rewas(capsys, "check", cut, *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_a_wrong_delimiter_and_folder_are_refused(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = rewas(capsys, "sheet", cut, "-o", cut.with_name("s.csv"), "--delimiter", "pipe")
    assert (code, '--delimiter is "pipe". Choose one of comma, semicolon, tab.' in err) == (2, True)
    code, _, err = rewas(capsys, "sheet", cut, "-o", cut.with_name("none") / "s.csv")
    assert (code, "does not exist. Create it first." in err) == (2, True)


@pytest.mark.parametrize("prompt", ["扉が閉まる", "باب ثقيل", "דלת", "ประตู", "🚪 slam", "дверь"])
def test_prompts_may_be_in_any_script(prompt: str, cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = cut.with_name("spotting.csv")
    assert rewas(capsys, "sheet", cut, "-o", path, "--prompt", prompt)[0] == 0
    code, out, _ = rewas(capsys, "check", cut, "--sheet", path, "--json")
    assert code == 0
    assert [clip["prompt"] for clip in json.loads(out)["clips"]] == [prompt, "pans", prompt]


def test_an_update_keeps_drop_frame(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rate = 30000 / 1001
    length = otio.opentime.TimeRange(otio.opentime.RationalTime(0, rate), otio.opentime.RationalTime(30, rate))
    timeline = otio.schema.Timeline("reel", global_start_time=otio.opentime.RationalTime(0, rate))
    timeline.tracks.append(otio.schema.Track("V1", [otio.schema.Clip("a", None, length)], kind="Video"))
    ntsc, path = cut.with_name("ntsc.otio"), cut.with_name("spotting.csv")
    otio.adapters.write_to_file(timeline, str(ntsc))
    assert rewas(capsys, "sheet", ntsc, "-o", path)[0] == 0
    before = path.read_bytes()
    code, _, err = rewas(capsys, "sheet", ntsc, "-o", path, "--sheet", path, "--non-drop")
    assert code == 2
    assert "spotting.csv has drop-frame timecode" in " ".join(err.split())
    assert "Leave out --non-drop" in " ".join(err.split())
    assert path.read_bytes() == before
    assert rewas(capsys, "sheet", ntsc, "-o", cut.with_name("other.csv"), "--non-drop")[0] == 0
    assert read(cut.with_name("other.csv"))[0]["out"] == "00:00:01:00"
