"""File locks: exclusive, removed after use, and optional if the file system does not support them."""

import errno
import fcntl
from pathlib import Path

import pytest

from rewas_engine.runtime.process_locks import AlreadyLocked, file_lock


def test_a_lock_is_exclusive_and_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "some.lock"
    with file_lock(path):
        assert path.exists()
        with pytest.raises(AlreadyLocked), file_lock(path):
            pytest.fail("the lock was acquired twice")
        assert path.exists()
    assert list(tmp_path.iterdir()) == []
    with file_lock(path):
        pass


def test_a_file_left_behind_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "some.lock"
    path.touch()
    with file_lock(path):
        pass
    assert not path.exists()


def test_an_error_inside_releases_the_lock(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError, match="inside"), file_lock(tmp_path / "some.lock"):
            raise RuntimeError("inside")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with file_lock(tmp_path / "some.lock"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_lock_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError), file_lock(tmp_path / "file" / "some.lock"):
        pytest.fail("the folder of the lock file does not exist")
