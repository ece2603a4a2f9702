"""The SQLite store: refused files."""

import sqlite3
from pathlib import Path

import pytest

from rewas_api import CONTRACT_VERSION
from rewas_api.errors import ProblemError
from rewas_server.jobs.sqlite_store import SqliteJobStore


def test_an_unusable_store_is_reported(tmp_path: Path) -> None:
    below_a_file = tmp_path / "file"
    below_a_file.write_text("")
    others = []
    for contract_version in (CONTRACT_VERSION - 1, CONTRACT_VERSION + 1):
        others.append(tmp_path / f"contract-{contract_version}.sqlite3")
        with sqlite3.connect(others[-1]) as connection:
            connection.execute(f"PRAGMA user_version = {contract_version}")
        connection.close()
    for path in (below_a_file / "jobs.sqlite3", *others):
        with pytest.raises(ProblemError) as raised:
            SqliteJobStore(path)
        assert str(path) in raised.value.what
        assert raised.value.remedy
