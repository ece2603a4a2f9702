"""Workers end with the command that started them, whether it is stopped or killed."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

COMMAND = """
import os, sys
from rewas_cli.main import main
from rewas_engine.training import corpus
os.cpu_count = lambda: 1  # a single worker of a corpus is always within a shard
corpus.SHARD_CLIPS = 6  # a whole shard takes a minute
main(sys.argv[1:])
"""
END_TIMEOUT_S = 120


@contextlib.contextmanager
def start_training(command: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run `rewas train` with a command, and kill its whole process group at the end."""
    started = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "train", *command, "-o", str(folder / "out")],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.communicate()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups")
@pytest.mark.parametrize(
    "command",
    [["world", "--clips", "100000", "--workers", "2", "--size", "64x64"], ["starter", "--stage", "corpus"]],
    ids=["world", "corpus"],
)
def test_workers_exit_when_the_command_is_killed(command: list[str], tmp_path: Path) -> None:
    with start_training(command, tmp_path) as started:
        assert started.stderr is not None
        assert " of " in started.stderr.readline()  # the workers have written a clip and are busy with more
        started.kill()
        # All child processes write to the same pipe, which is closed with the last of them.
        started.communicate(timeout=END_TIMEOUT_S)
        assert started.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is not a signal on Windows")
def test_ctrl_c_finishes_the_current_clips(tmp_path: Path) -> None:
    with start_training(["starter", "--stage", "corpus"], tmp_path) as started:
        assert started.stderr is not None
        assert " of " in started.stderr.readline()
        # To the whole process group, as a terminal does.
        os.killpg(started.pid, signal.SIGINT)
        _, errors = started.communicate(timeout=5 * END_TIMEOUT_S)
    assert started.returncode == 130
    assert "Stopping after this step" in errors
    assert "The training was stopped in the stage corpus" in errors
    assert not list((tmp_path / "out").rglob("*.partial*"))
