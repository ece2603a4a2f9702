"""No worker outlives a command that was killed."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = "import sys; from rewas_server.cli import main; main(sys.argv[1:])"
ENDS_S = 20


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no process groups")
@pytest.mark.parametrize(
    "command",
    [["world", "--clips", "100000", "--workers", "2", "--size", "64x64"], ["starter", "--stage", "corpus"]],
    ids=["world", "corpus"],
)
def test_no_worker_outlives_a_killed_command(command: list[str], tmp_path: Path) -> None:
    started = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "train", *command, "-o", str(tmp_path / "out")],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert started.stderr is not None
        assert " of " in started.stderr.readline()  # the workers have made something, and are making more
        started.kill()
        # All that it started speak into the same pipe, which ends with the last of them.
        started.communicate(timeout=ENDS_S)
        assert started.returncode == -signal.SIGKILL
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.communicate()
