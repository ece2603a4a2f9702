"""A pack is written by one process at a time, and leftovers of a killed process are removed."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rewas_engine import PackError
from rewas_engine.packs.description import new_pack_folder

WRITER = """
import sys
from pathlib import Path
from rewas_engine.packs.description import new_pack_folder
with new_pack_folder(Path(sys.argv[1])) as unfinished:
    (unfinished / "theirs").write_text("theirs", "utf-8")
    print("begun", flush=True)
    sys.stdin.readline()
"""
END_TIMEOUT_S = 60


@contextmanager
def start_writer(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that has started to write a pack and continues after it reads a line."""
    command = [sys.executable, "-c", WRITER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        try:
            yield process
        finally:
            process.kill()


def finish(process: "subprocess.Popen[str]") -> int:
    process.communicate("go on\n", timeout=END_TIMEOUT_S)
    return process.returncode


@pytest.mark.slow
def test_a_pack_being_written_by_another_process_is_refused(tmp_path: Path) -> None:
    with start_writer(tmp_path / "two") as process:
        message = r"Another process is writing the pack two in .*\. Wait"
        with pytest.raises(PackError, match=message) as caught, new_pack_folder(tmp_path / "two"):
            pytest.fail("two processes are writing the same pack")
        assert str(tmp_path) in caught.value.what
        with new_pack_folder(tmp_path / "three") as unfinished:
            (unfinished / "ours").touch()
        assert finish(process) == 0
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "three",
        "three/ours",
        "two",
        "two/theirs",
    ]


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    with start_writer(tmp_path / "two") as process:
        process.kill()
        process.wait(END_TIMEOUT_S)
    assert (tmp_path / ".two.partial" / "theirs").is_file()
    with new_pack_folder(tmp_path / "two") as unfinished:
        (unfinished / "ours").touch()
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == ["two", "two/ours"]


def test_a_failed_pack_leaves_no_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), new_pack_folder(tmp_path / "two") as unfinished:
        (unfinished / "gone" / "ours").touch()
    assert list(tmp_path.iterdir()) == []


def test_a_pack_finished_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    with start_writer(tmp_path / "two") as process:
        assert finish(process) == 0
    with pytest.raises(PackError, match="already exists"), new_pack_folder(tmp_path / "two"):
        pytest.fail("the pack already exists")
    assert [path.name for path in tmp_path.iterdir()] == ["two"]
