"""`rewas config`: what the settings are, where they come from, and the file."""

from pathlib import Path

import pytest
from rewas_command import Rewas


def test_show_names_value_and_source(bare_rewas: Rewas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "studio.toml"
    file.write_text("queue_limit = 7\n")
    monkeypatch.setenv("REWAS_PORT", "6000")
    result = bare_rewas("config", "show", "--config", file)
    assert result.code == 0
    lines = {line.split()[0]: line for line in result.output.splitlines()}
    assert lines["queue_limit"].endswith(f"7    from: file ({file}, line 1)")
    assert lines["port"].endswith("6000    from: environment (REWAS_PORT)")
    assert lines["log_level"].endswith("info    from: default")
    settings = bare_rewas("config", "show", "--config", file, "--json").json()["settings"]
    assert settings["queue_limit"] == {
        "value": 7, "source": "file", "place": f"{file}, line 1", "variable": "REWAS_QUEUE_LIMIT",
        "description": "Maximum number of unfinished jobs, where a timeline counts as one.",
    }  # fmt: skip


def test_init_writes_a_file_that_changes_nothing(
    bare_rewas: Rewas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REWAS_CONFIG", str(tmp_path / "deep" / "config.toml"))
    path = Path(bare_rewas("config", "path", "--json").json()["path"])
    assert path == tmp_path / "deep" / "config.toml"
    assert bare_rewas("config", "init").output == f"Wrote {path}.\n"
    settings = bare_rewas("config", "show", "--json").json()["settings"]
    assert {each["source"] for each in settings.values()} == {"default"}
    refused = bare_rewas("config", "init", "--json")
    assert refused.code == 2
    assert str(path) in refused.json()["error"]["what"]


def test_a_mistake_in_the_file_is_reported_by_serve_too(bare_rewas: Rewas, tmp_path: Path) -> None:
    file = tmp_path / "studio.toml"
    file.write_text("prot = 1\n")
    for arguments in (["config", "show"], ["serve", "--port", "0"]):
        result = bare_rewas(*arguments, "--config", file)
        assert result.code == 2
        assert "line 1" in result.errors
        assert "`prot`" in result.errors
