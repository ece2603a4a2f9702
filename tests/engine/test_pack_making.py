"""A folder that becomes a pack is written by one process at a time, and what a killed one left is cleared."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rewas_engine import PackError
from rewas_engine.packs.description import new_pack_folder

MAKER = """
import sys
from pathlib import Path
from rewas_engine.packs.description import new_pack_folder
with new_pack_folder(Path(sys.argv[1])) as unfinished:
    (unfinished / "theirs").write_text("theirs", "utf-8")
    print("begun", flush=True)
    sys.stdin.readline()
"""
ENDED_S = 60


@contextmanager
def being_made(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that has begun to make a pack and goes on once it is given a line."""
    command = [sys.executable, "-c", MAKER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        try:
            yield process
        finally:
            process.kill()


def finish(process: "subprocess.Popen[str]") -> int:
    process.communicate("go on\n", timeout=ENDED_S)
    return process.returncode


@pytest.mark.slow
def test_a_pack_that_another_process_makes_is_left_to_it(tmp_path: Path) -> None:
    with being_made(tmp_path / "two") as process:
        said = r"Another process is writing the pack two in .*\. Wait"
        with pytest.raises(PackError, match=said) as caught, new_pack_folder(tmp_path / "two"):
            pytest.fail("two processes are making one pack")
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


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    with being_made(tmp_path / "two") as process:
        process.kill()
        process.wait(ENDED_S)
    assert (tmp_path / ".two.partial" / "theirs").is_file()
    with new_pack_folder(tmp_path / "two") as unfinished:
        (unfinished / "ours").touch()
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == ["two", "two/ours"]


def test_nothing_stays_of_one_that_fails(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), new_pack_folder(tmp_path / "two") as unfinished:
        (unfinished / "gone" / "ours").touch()
    assert list(tmp_path.iterdir()) == []


def test_a_pack_that_was_finished_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    with being_made(tmp_path / "two") as process:
        assert finish(process) == 0
    with pytest.raises(PackError, match="already exists"), new_pack_folder(tmp_path / "two"):
        pytest.fail("there is a pack already")
    assert [path.name for path in tmp_path.iterdir()] == ["two"]
