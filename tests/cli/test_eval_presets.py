"""`rewas eval --preset`: tables on folders of clips, other systems, and invalid options."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rewas_command import Rewas, write_clip

from rewas_api.errors import ProblemError
from rewas_cli.commands.evaluate_table import parse_systems


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for name in ("a dog barks", "steady rain"):
        write_clip(folder / f"{name}.mp4", 48)
    write_clip(folder / "mute wind.mp4", 48, sound=False)
    return folder


@pytest.mark.slow
def test_a_preset_writes_one_page_and_one_json_object(rewas: Rewas, clips: Path, tmp_path: Path) -> None:
    options = (
        "--preset",
        "rewas-table3",
        "--steps",
        1,
        "--system",
        f"copies={clips}",
        "-o",
        tmp_path / "out",
        "--json",
    )
    result = rewas("eval", clips, *options)
    assert result.code == 0, result.errors
    report = result.json()
    written = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert {**written, "output": str(tmp_path / "out")} == report
    assert [row["label"] for row in report["rows"]] == ["original sound", "starter, energy from the picture", "copies"]
    assert [row["clips"] for row in report["rows"]] == [2, 2, 2]
    assert report["rows"][2]["values"]["energy_mae"]["value"] == pytest.approx(0, abs=1e-4)
    assert [each["what"] for each in report["clips"]["left_out"]] == ["mute_wind"]
    assert report["quoted"]["rows"][-1]["values"]["onset_ap"] == 63.28
    assert "CondFoleyGen" in (tmp_path / "out" / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_the_table_is_printed_with_quoted_rows_and_problems(rewas: Rewas, clips: Path, tmp_path: Path) -> None:
    result = rewas(
        "eval",
        clips,
        "--preset",
        "rewas-table3",
        "--no-pack",
        "--system",
        f"copies={clips}",
        "--limit",
        1,
        cwd=tmp_path,
    )
    assert result.code == 0, result.errors
    assert "ReWaS, table 3: onsets on Greatest Hits" in result.output
    assert "CondFoleyGen" in result.output
    assert "63.28" in result.output
    assert "original sound" not in result.output  # every column of this table compares with it
    assert (tmp_path / "rewas-table3-starter" / "report.html").is_file()


@pytest.mark.slow
def test_ctrl_c_stops_a_preset_and_the_next_run_continues(rewas: Rewas, clips: Path, tmp_path: Path) -> None:
    options = ("eval", clips, "--preset", "rewas-table3", "-o", tmp_path / "out", "--json")
    stopped = rewas(*options, "--steps", 1000, press_ctrl_c=True)
    assert stopped.code == 130, stopped.errors
    assert '"CANCELLED"' in stopped.output
    assert not (tmp_path / "out" / "report.json").exists()
    result = rewas(*options, "--steps", 1)
    assert result.code == 0, result.errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--preset", "rewas-table2"), "--preset needs a folder of clips"),
        ((".", "--preset", "table-9"), "no preset 'table-9'"),
        (("nowhere", "--preset", "rewas-table2"), "nowhere does not exist"),
        ((".",), "CLIPS would have no effect without --preset"),
        (("--limit", 3, "--encoders", "."), "--limit and --encoders would have no effect without --preset"),
        ((".", "--preset", "rewas-table2", "--only", "energy"), "--only would have no effect with --preset"),
        ((".", "--preset", "rewas-table2", "--fast", "--choose"), "--fast and --choose would have no effect"),
        ((".", "--preset", "rewas-table2", "--system", "nameless"), "'nameless' is not of the form NAME=DIR"),
        ((".", "--preset", "rewas-table2", "--no-pack"), "There is no row to measure"),
    ],
)
def test_invalid_preset_options_are_refused_and_nothing_is_written(
    bare_rewas: Rewas, tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    result = bare_rewas("eval", *arguments, "--json", cwd=tmp_path)
    assert result.code == 2, result.errors
    assert message in result.json()["error"]["what"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "=folder", "name=", "a/b=folder", "original=folder", "../up=folder"])
def test_systems_need_a_plain_name_and_a_folder(text: str) -> None:
    with pytest.raises(ProblemError):
        parse_systems([text])
    with pytest.raises(ProblemError, match="already in use"):
        parse_systems(["one=a", "one=b"])
