"""`rewas timeline profiles` lists the delivery profiles, and prints one to copy."""

from __future__ import annotations

from pathlib import Path

import pytest
from rewas_command import Rewas

from rewas_server.delivery.profiles import load_profile


def test_the_list_has_shipped_and_user_profiles(
    bare_rewas: Rewas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    listed = bare_rewas("timeline", "profiles")
    assert listed.code == 0
    assert [line.split(":")[0] for line in listed.output.splitlines()][:4] == ["default", "post", "reaper", "stereo"]
    folder = Path(bare_rewas("timeline", "profiles", "--json").json()["folder"])
    assert folder == tmp_path / "rewas" / "profiles"
    assert str(folder) in listed.output
    folder.mkdir(parents=True)
    (folder / "studio.toml").write_text('schema = 1\nsummary = "Ours."')
    assert "studio: Ours.\n" in bare_rewas("timeline", "profiles").output
    (folder / "wrong.toml").write_text("schema = 1\nfile.rate = 1")
    with_problem = bare_rewas("timeline", "profiles")
    assert with_problem.code == 1
    assert "wrong: unusable. In wrong.toml: there is no setting `file.rate`." in with_problem.output


def test_a_profile_that_is_shown_can_be_saved_and_used(bare_rewas: Rewas, tmp_path: Path) -> None:
    shown = bare_rewas("timeline", "profiles", "--show", "post")
    copy = tmp_path / "copy.toml"
    copy.write_text(shown.output)
    assert load_profile(str(copy)).tracks == load_profile("post").tracks
    report = bare_rewas("timeline", "profiles", "--show", copy, "--json").json()
    assert (report["name"], report["file"]["handle_frames"], report["names"]["ucs"]) == ("copy", 12, True)


def test_a_profile_that_does_not_exist_is_refused(bare_rewas: Rewas) -> None:
    refused = bare_rewas("timeline", "profiles", "--show", "pots")
    assert refused.code == 2
    assert 'There is no delivery profile "pots". Did you mean "post"?' in refused.errors
