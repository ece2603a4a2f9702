"""The PostgreSQL server of the tests starts in any process, and leaves nothing behind."""

import os
import tempfile
from pathlib import Path

import postgres_server
import pytest

pytestmark = pytest.mark.slow


def test_it_starts_with_the_umask_of_a_server() -> None:
    before = os.umask(0o077)
    try:
        server = postgres_server.PostgresServer()
    finally:
        os.umask(before)
    assert "test_1" in server.new_store()
    folder = server.socket_folder.parent
    server.stop()
    with pytest.raises(AssertionError, match=r"(?s)exit status: not started.*ready to accept connections"):
        server.execute("SELECT 1")
    server.close()
    assert not folder.exists()


def test_a_failed_start_leaves_no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    # The account of the server must reach the folder.
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setattr(os, "access", lambda *_: False)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        monkeypatch.setattr(postgres_server, "SUPERUSER", "pg_reserved")
        with pytest.raises(AssertionError, match="pg_reserved"):
            postgres_server.PostgresServer()
        assert list(Path(folder).iterdir()) == []
