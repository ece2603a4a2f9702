"""`rewas eval`: figures, report, invalid options, and Ctrl-C."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rewas_command import Rewas

QUICK = ("--clips-per-class", 1, "--steps", 1, "--classes", "drum_hit,rain")


@pytest.mark.slow
def test_eval_prints_one_json_object_and_writes_a_report(rewas: Rewas, tmp_path: Path) -> None:
    result = rewas("eval", "--pack", "starter", *QUICK, "--only", "energy,onsets", "-o", tmp_path / "report", "--json")
    assert result.code == 0, result.errors
    report = result.json()
    assert report["figures"]["energy_mae_nats"]["passed"] is False
    assert report["figures"]["onset_f1"]["note"].startswith("not supported")
    folder = Path(report["output"])
    assert {path.name for path in folder.iterdir()} == {"report.md", "figures.json", *report["plots"]}
    assert json.loads((folder / "figures.json").read_text("utf-8"))["figures"] == report["figures"]
    assert "| figure | value | target |" in (folder / "report.md").read_text("utf-8")


@pytest.mark.slow
def test_text_output_shows_figures_with_their_targets(rewas: Rewas, tmp_path: Path) -> None:
    result = rewas("eval", "--pack", "starter", *QUICK, "--only", "energy", cwd=tmp_path)
    assert result.code == 0, result.errors
    assert "Energy error of the mel" in result.output
    assert "≤ 0.2" in result.output
    assert "miss" in result.output
    assert (tmp_path / "eval-starter" / "report.md").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nobody",), "'nobody'"),
        (("starter", "--real", "nowhere"), "nowhere"),
        (("starter", "--only", "energy,noise"), "'noise'"),
        (("starter", "--classes", "dragon,rain"), "'dragon'"),
        (("starter", "--clips-per-class", 0), "--clips-per-class is 0"),
        (("starter", "--only", "real"), "needs a folder of real clips"),
        (("starter", "--only", " , "), "--only names no section"),
        (("starter", "--only", "energy", "--real", "."), "--only leaves them out"),
        (("starter", "--fast", "--clips-per-class", 3), "--fast and --clips-per-class"),
        (("starter", "--choose", "--steps", 5, "--generated", "kept"), "--steps and --generated would have no effect"),
        (("starter", "--output", "file/below"), "file/below"),
    ],
)
def test_invalid_options_are_refused_and_nothing_is_written(
    bare_rewas: Rewas, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "file").write_text("")
    result = bare_rewas("eval", "--pack", *arguments, "--json", cwd=tmp_path)
    assert result.code == 2, result.errors
    assert message in result.json()["error"]["what"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.slow
def test_settings_out_of_range_are_refused(rewas: Rewas, tmp_path: Path) -> None:
    result = rewas("eval", "--pack", "starter", "--steps", 0, "--json", cwd=tmp_path)
    assert result.code == 2, result.errors
    assert "--steps is 0" in result.json()["error"]["what"]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_ctrl_c_stops_eval_and_leaves_no_files(rewas: Rewas, tmp_path: Path) -> None:
    result = rewas("eval", "--pack", "starter", "--steps", 1000, "-o", tmp_path / "out", "--json", press_ctrl_c=True)
    assert result.code == 130, result.errors
    assert '"CANCELLED"' in result.output
    assert "Traceback" not in result.errors
    assert not (tmp_path / "out").exists()
