"""A folder is begun with one thing, and nothing else is ever put there."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewas_engine.errors import SettingsError
from rewas_engine.training.folder_settings import FolderSettings

SETTINGS = {"clips": 8, "rates": (25, 30), "loop": {"steps": 4}}


def test_a_claim_is_made_once_and_found_again(tmp_path: Path) -> None:
    claim = FolderSettings(tmp_path / "inner" / "corpus.json", SETTINGS)
    assert not claim.matches()
    claim.make()
    assert claim.matches()
    written = claim.path.stat().st_mtime_ns
    claim.make()
    assert claim.path.stat().st_mtime_ns == written
    assert [path.name for path in claim.path.parent.iterdir()] == ["corpus.json"]


@pytest.mark.parametrize(
    ("others", "differing"),
    [
        ({**SETTINGS, "clips": 9}, "clips"),
        ({**SETTINGS, "loop": {"steps": 5}, "rates": (25,)}, "rates, loop"),
        ({"clips": 8, "rates": (25, 30)}, "loop"),
        ({**SETTINGS, "first_seed": None}, "first_seed"),
    ],
)
def test_another_claim_is_refused_and_what_differs_is_named(others: dict, differing: str, tmp_path: Path) -> None:
    FolderSettings(tmp_path / "corpus.json", SETTINGS).make()
    content = (tmp_path / "corpus.json").read_bytes()
    other = FolderSettings(tmp_path / "corpus.json", others, "clips of other recordings")
    for attempt in (other.is_made, other.make):
        with pytest.raises(SettingsError, match=rf"holds clips of other recordings; what differs is: {differing}\."):
            attempt()
    assert (tmp_path / "corpus.json").read_bytes() == content
