"""The model card: the training of the pack, and figures that a larger evaluation may replace."""

import json
from pathlib import Path

import pytest

from rewas_engine import PackError, SettingsError
from rewas_engine.evaluation.figures import Evaluation, Figure, Section, merge_reports
from rewas_engine.recipes.model_card import read_trainings, replace_figures, write_model_card
from rewas_engine.training.config import StarterConfig

RECORDS = {"base": {"seconds": 120, "losses": [2.0, 1.0]}}
PACK = {"name": "small", "version": "1.1.0", "licence": "Apache-2.0", "controls": ["energy"]}


def evaluation(value: float, key: str = "energy_correlation_mean", clips: int = 2, steps: int = 10) -> Evaluation:
    figure = Figure(key, f"Figure {key}", value)
    return Evaluation(PACK, {"clips": clips, "num_steps": steps}, "cpu", (Section("energy", "Energy", (figure,)),))


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    folder.mkdir()
    write_model_card(folder, StarterConfig(), RECORDS, {"denoiser": "nothing"}, evaluation(0.5), version="1.0.0")
    return folder


def test_a_continued_pack_lists_all_trainings(pack: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.mkdir()
    start = {"denoiser": "small 1.0.0"}
    earlier = read_trainings(pack)
    write_model_card(second, StarterConfig(), RECORDS, start, evaluation(0.6), version="1.1.0", earlier=earlier)
    card = (second / "README.md").read_text("utf-8")
    assert "| 1.0.0 | base | 2 | 2 | 2.0 | 1.5 |" in card
    assert "| 1.1.0 | base | 2 | 2 | 2.0 | 1.5 |" in card
    assert "Continued from small 1.0.0: denoiser. All other components were trained from scratch." in card
    assert [part["version"] for part in read_trainings(second)] == ["1.0.0", "1.1.0"]


def test_remarks_are_between_training_and_figures(pack: Path) -> None:
    plain = (pack / "README.md").read_text("utf-8")
    write_model_card(
        pack,
        StarterConfig(),
        RECORDS,
        {"denoiser": "nothing"},
        evaluation(0.5),
        version="1.0.0",
        remarks="Started twice.",
    )
    assert (pack / "README.md").read_text("utf-8") == plain.replace("\n## Figures", "\nStarted twice.\n\n## Figures")


def test_replacing_figures_changes_nothing_else(pack: Path) -> None:
    before = (pack / "README.md").read_text("utf-8")
    replace_figures(pack, evaluation(0.97, clips=540))
    after = (pack / "README.md").read_text("utf-8")
    assert "0.970" in after
    assert "0.500" not in after
    assert "540 held-out scenes of the synthetic world" in after
    assert after.split("## Figures")[0] == before.split("## Figures")[0]
    assert after.split("## Limits")[1] == before.split("## Limits")[1]
    stored = json.loads((pack / "figures.json").read_text("utf-8"))
    assert stored["figures"] == {"scenes": 540, "energy_correlation_mean": 0.97}
    assert stored["config"]["seed"] == 1
    assert stored["measured"] == PACK
    replace_figures(pack, evaluation(0.97, clips=540))
    assert (pack / "README.md").read_text("utf-8") == after


def test_a_folder_without_a_model_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="cannot be read"):
        replace_figures(tmp_path, evaluation(0.5))
    (tmp_path / "README.md").write_text("# something else\n", "utf-8")
    (tmp_path / "figures.json").write_text("{}", "utf-8")
    with pytest.raises(PackError, match="no figures and limits"):
        replace_figures(tmp_path, evaluation(0.5))
    assert read_trainings(tmp_path) == []


def test_reports_of_one_pack_are_merged() -> None:
    reports = [evaluation(0.9).report(), evaluation(0.3, "picture_visible", clips=540).report()]
    together = merge_reports(reports)
    assert {key: figure.value for key, figure in together.figures().items()} == {
        "energy_correlation_mean": 0.9,
        "picture_visible": 0.3,
    }
    assert together.trained == "cpu"
    assert together.setting["clips"] == 540
    with pytest.raises(SettingsError, match="measured with different settings"):
        merge_reports([*reports, evaluation(0.9, steps=4).report()])
