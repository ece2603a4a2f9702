"""The media linker and the hooks for OpenTimelineIO, used through its command otioconvert."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import opentimelineio as otio
import pytest
from installed_plugins import search_path

ROOT = Path(__file__).resolve().parents[2]
BALL = ROOT / "addon" / "rewas_nle" / "sample" / "ball.mp4"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def otioconvert(tmp_path: Path) -> Run:
    """Run otioconvert with the plugins installed."""
    environment = {**os.environ, "PYTHONPATH": search_path(tmp_path / "site")}

    def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [Path(sys.executable).with_name("otioconvert"), *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, env={**environment, **variables}, capture_output=True, text=True, check=False
        )

    return run


def clip(name: str, url: str, rate: float = 24, start: float = 0) -> otio.schema.Clip:
    time = otio.opentime.RationalTime
    shown = otio.opentime.TimeRange(time(start, rate), time(24, rate))
    return otio.schema.Clip(name, otio.schema.ExternalReference(url), shown)


def save(path: Path, *clips: otio.schema.Clip, **fields: Any) -> Path:
    timeline = otio.schema.Timeline("cut", **fields)
    track = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    track.extend(clips)
    timeline.tracks.append(track)
    otio.adapters.write_to_file(timeline, str(path))
    return path


def converted(completed: subprocess.CompletedProcess[str], path: Path) -> list[otio.schema.Clip]:
    assert completed.returncode == 0, completed.stderr
    return list(otio.adapters.read_from_file(str(path)).find_clips())


def test_the_media_linker_finds_media_by_name_and_by_path_maps(otioconvert: Run, tmp_path: Path) -> None:
    rushes = tmp_path / "rushes" / "day 1"
    rushes.mkdir(parents=True)
    shutil.copy(BALL, rushes / "a.mp4")
    shutil.copy(BALL, rushes / "b.mp4")
    cut = save(tmp_path / "cut.otio", clip("a", "/gone/a.mp4"), clip("b", r"X:\Media\b.mp4"), clip("c", "c.mp4"))
    arguments = ("-i", cut, "-o", tmp_path / "out.otio", "-m", "rewas")
    options = ("-M", f"search_folders={tmp_path / 'rushes'}", "-M", rf"path_maps=X:\Media={rushes}")
    completed = otioconvert(*arguments, *options)
    linked = converted(completed, tmp_path / "out.otio")
    assert [each.media_reference.target_url for each in linked] == [
        str(rushes / "a.mp4"),
        str(rushes / "b.mp4"),
        "c.mp4",
    ]
    assert linked[0].media_reference.available_range.duration.to_seconds() == pytest.approx(4, abs=1e-9)
    assert 'The clip "c": The media file c.mp4 does not exist.' in completed.stderr
    variables = {"OTIO_DEFAULT_MEDIA_LINKER": "rewas", "REWAS_SEARCH_FOLDERS": str(tmp_path / "rushes")}
    by_variable = converted(otioconvert("-i", cut, "-o", tmp_path / "out.otio", **variables), tmp_path / "out.otio")
    assert by_variable[0].media_reference.target_url == str(rushes / "a.mp4")


def test_the_read_hook_writes_prompts_into_the_clips(otioconvert: Run, tmp_path: Path) -> None:
    cut = save(tmp_path / "cut.otio", clip("door 1", "a.mov"), clip("rain", "b.mov"), clip("x", "c.mov"))
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("clip,prompt,seed\nrain,heavy rain on a tin roof,7\n", encoding="utf-8")
    completed = otioconvert(
        *("-i", cut, "-o", tmp_path / "out.otio", "-H", f"rewas_sheet={sheet}"),
        *("-H", "rewas_prompt_for=door*=a heavy wooden door", "-H", "rewas_prompt=room tone"),
    )
    prompted = converted(completed, tmp_path / "out.otio")
    assert [dict(each.metadata["rewas"]) for each in prompted] == [
        {"prompt": "a heavy wooden door"},
        {"prompt": "heavy rain on a tin roof", "seed": 7},
        {"prompt": "room tone"},
    ]
    missing = otioconvert("-i", cut, "-o", tmp_path / "out.otio", "-H", "rewas_sheet=no.csv")
    assert missing.returncode != 0
    assert "no.csv" in missing.stderr.splitlines()[-1]


def test_the_read_hook_makes_rates_exact(otioconvert: Run, tmp_path: Path) -> None:
    start = otio.opentime.RationalTime(86400, 23.976)
    cut = save(tmp_path / "cut.otio", clip("a", "a.mov", 23.98, 12), global_start_time=start)
    arguments = ("-i", cut, "-o", tmp_path / "out.otio", "-H", "rewas_exact_rates=True")
    (exact,) = converted(otioconvert(*arguments), tmp_path / "out.otio")
    assert exact.source_range.start_time == otio.opentime.RationalTime(12, 24000 / 1001)
    timeline = json.loads((tmp_path / "out.otio").read_text(encoding="utf-8"))
    assert timeline["global_start_time"]["rate"] == 24000 / 1001
    assert timeline["global_start_time"]["value"] == 86400


@pytest.mark.parametrize(
    ("style", "expected"),
    [("relative", "../a b.mov"), ("absolute", "{folder}/a b.mov"), ("url", "file://{url}/a%20b.mov")],
)
def test_the_write_hook_names_media(otioconvert: Run, tmp_path: Path, style: str, expected: str) -> None:
    (tmp_path / "mix").mkdir()
    cut = save(tmp_path / "cut.otio", clip("a", str(tmp_path / "a b.mov")))
    output = tmp_path / "mix" / "out.otio"
    (written,) = converted(otioconvert("-i", cut, "-o", output, "-H", f"rewas_media_paths={style}"), output)
    assert written.media_reference.target_url == expected.format(folder=tmp_path, url=tmp_path)


def test_without_arguments_the_hooks_change_nothing(otioconvert: Run, tmp_path: Path) -> None:
    cut = save(tmp_path / "cut.otio", clip("a", str(tmp_path / "a.mov"), 23.976), clip("b", "b.mov"))
    before = cut.read_bytes()
    assert otioconvert("-i", cut, "-o", tmp_path / "out.otio").returncode == 0
    assert (tmp_path / "out.otio").read_bytes() == before


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("rewas_promt=rain", "The hook argument rewas_promt does not exist. Use rewas_exact_rates, "),
        ("rewas_media_paths=near", "'near' is not a kind of media path. Use one of these: relative, absolute, url."),
    ],
)
def test_a_wrong_hook_argument_is_explained(otioconvert: Run, tmp_path: Path, argument: str, message: str) -> None:
    cut = save(tmp_path / "cut.otio", clip("a", "a.mov"))
    completed = otioconvert("-i", cut, "-o", tmp_path / "out.otio", "-H", argument)
    assert completed.returncode != 0
    assert message in completed.stderr.splitlines()[-1]
    assert not (tmp_path / "out.otio").exists()
