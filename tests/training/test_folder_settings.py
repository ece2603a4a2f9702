"""A folder belongs to its first settings, and other settings are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewas_engine.errors import SettingsError
from rewas_engine.training.folder_settings import FolderSettings

SETTINGS = {"clips": 8, "rates": (25, 30), "loop": {"steps": 4}}


def test_settings_are_written_once_and_read_again(tmp_path: Path) -> None:
    folder_settings = FolderSettings(tmp_path / "inner" / "corpus.json", SETTINGS)
    assert not folder_settings.matches()
    folder_settings.ensure()
    assert folder_settings.matches()
    written = folder_settings.path.stat().st_mtime_ns
    folder_settings.ensure()
    assert folder_settings.path.stat().st_mtime_ns == written
    assert [path.name for path in folder_settings.path.parent.iterdir()] == ["corpus.json"]


@pytest.mark.parametrize(
    ("others", "differing"),
    [
        ({**SETTINGS, "clips": 9}, "clips"),
        ({**SETTINGS, "loop": {"steps": 5}, "rates": (25,)}, "rates, loop"),
        ({"clips": 8, "rates": (25, 30)}, "loop"),
        ({**SETTINGS, "first_seed": None}, "first_seed"),
    ],
)
def test_other_settings_are_refused_with_the_difference(others: dict, differing: str, tmp_path: Path) -> None:
    FolderSettings(tmp_path / "corpus.json", SETTINGS).ensure()
    content = (tmp_path / "corpus.json").read_bytes()
    other = FolderSettings(tmp_path / "corpus.json", others, "clips of other recordings")
    for attempt in (other.matches, other.ensure):
        with pytest.raises(
            SettingsError, match=rf"contains clips of other recordings; these settings differ: {differing}\."
        ):
            attempt()
    assert (tmp_path / "corpus.json").read_bytes() == content
