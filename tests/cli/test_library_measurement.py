"""Commands that measure a pack, with a library of recordings."""

from pathlib import Path

import pytest
from rewas_command import Rewas

from rewas_cli.diagnosis import OK, check_installation
from rewas_engine.recipes.world_library import write_world_library


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world_library(
        tmp_path_factory.mktemp("packs") / "balls", classes=("ball_bounce", "rain"), takes=1
    ).path


@pytest.mark.parametrize(
    ("arguments", "what", "remedy"),
    [
        (("bench",), "The pack balls is a library of recordings and has no model.", "Choose a pack with a model."),
        (
            ("eval", "--choose"),
            "The pack balls performs recordings, so --choose would have no effect.",
            "Omit it, or choose a pack with a model.",
        ),
        (
            ("eval", "--steps", 4, "--guidance-scale", 2),
            "The pack balls performs recordings, so --steps and --guidance-scale would have no effect.",
            "Omit them, or choose a pack with a model.",
        ),
    ],
)
def test_what_needs_a_model_is_refused(
    bare_rewas: Rewas, library: Path, tmp_path: Path, arguments: tuple[object, ...], what: str, remedy: str
) -> None:
    result = bare_rewas(*arguments, "--pack", library, "--json", cwd=tmp_path)
    assert result.code != 0
    error = result.json()["error"]
    assert (error["what"], error["remedy"]) == (what, remedy)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_eval_prints_the_table_of_a_library(bare_rewas: Rewas, library: Path, tmp_path: Path) -> None:
    options = ("--clips-per-class", 1, "--classes", "ball_bounce,rain", "--only", "energy,vocoder", "-o", "report")
    result = bare_rewas("eval", "--pack", library, *options, cwd=tmp_path)
    assert result.code == 0, result.errors
    assert "balls 1.0.0: 1 clips per class, performed from recordings" in result.output
    assert "Energy error of the mel" in result.output
    assert "not supported: a library has no vocoder" in (tmp_path / "report" / "report.md").read_text("utf-8")


@pytest.mark.slow
def test_doctor_performs_a_sound_if_a_library_is_the_default_pack(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REWAS_PACKS", str(library.parent))
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "doctor.toml"
    file.write_text(f'default_pack = "balls"\ndevice = "cpu"\nstate_dir = "{tmp_path / "state"}"\n')
    findings = {finding.name: finding for finding in check_installation(file, full=True)}
    assert findings["pack balls"].level == OK
    assert findings["generation"].level == OK, findings["generation"].found
    assert "loading balls took" in findings["generation"].found
