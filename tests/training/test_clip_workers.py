"""Workers end with the command that started them, whether it is stopped or killed."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

COMMAND = "import sys; from rewas_cli.main import main; main(sys.argv[1:])"
ENDS_S = 120


@contextlib.contextmanager
def spoken(command: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`rewas train` with a command, of which nothing is left in the end."""
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
@pytest.mark.skipif(sys.platform == "win32", reason="there are no process groups")
@pytest.mark.parametrize(
    "command",
    [["world", "--clips", "100000", "--workers", "2", "--size", "64x64"], ["starter", "--stage", "corpus"]],
    ids=["world", "corpus"],
)
def test_no_worker_outlives_a_killed_command(command: list[str], tmp_path: Path) -> None:
    with spoken(command, tmp_path) as started:
        assert started.stderr is not None
        assert " of " in started.stderr.readline()  # the workers have made something, and are making more
        started.kill()
        # All that it started speak into the same pipe, which ends with the last of them.
        started.communicate(timeout=ENDS_S)
        assert started.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is no signal")
def test_ctrl_c_lets_the_clips_in_work_be_finished(tmp_path: Path) -> None:
    with spoken(["starter", "--stage", "corpus"], tmp_path) as started:
        assert started.stderr is not None
        assert " of " in started.stderr.readline()
        # As a terminal does: to all that belong to the command.
        os.killpg(started.pid, signal.SIGINT)
        _, said = started.communicate(timeout=5 * ENDS_S)
    assert started.returncode == 130
    assert "Stopping after this step" in said
    assert "The training was stopped in the stage corpus" in said
    assert not list((tmp_path / "out").rglob("*.partial*"))
