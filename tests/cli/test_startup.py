"""Ctrl-C while the command is starting: one line, the exit code, and no traceback."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rewas_command import environment

from rewas_cli.startup import OMP_SPIN_COUNT

pytestmark = pytest.mark.slow

INTERRUPTED = 130
WAIT_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")

INTERRUPT_AT_IMPORT = """
import importlib.abc, os, signal, sys

class AtImport(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, AtImport())
from rewas_cli.main import main
main(sys.argv[2:])
"""


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("module", ["typer", "rewas_cli.console", "rewas_engine", "opentimelineio", "grpc"])
def test_ctrl_c_while_a_module_is_imported(media: Path, tmp_path: Path, module: str, as_json: bool) -> None:
    arguments = ["energy", media / "ball.mp4", "--from", "flat", *(["--json"] if as_json else [])]
    completed = subprocess.run(
        [sys.executable, "-c", INTERRUPT_AT_IMPORT, module, *map(str, arguments)],
        capture_output=True, text=True, timeout=300, env=environment(tmp_path, tmp_path),
        # A shell without job control starts background processes with SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert completed.returncode == INTERRUPTED, completed.stderr
    assert completed.stderr == "Error: Stopped by Ctrl-C. No incomplete files were left.\n"
    if as_json:
        assert json.loads(completed.stdout)["error"]["kind"] == "CANCELLED"
    else:
        assert completed.stdout == ""


def test_a_second_ctrl_c_ends_the_command_at_once(media: Path, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; import rewas_cli.runner as running; from rewas_cli.main import main\n"
        "def interrupt(path):\n"
        "    for _ in range(2): os.kill(os.getpid(), signal.SIGINT)\n"
        "    return path\n"
        "running.find_media_file = interrupt; main(sys.argv[1:])"
    )
    completed = subprocess.run(
        [sys.executable, "-c", program, "energy", str(media / "ball.mp4"), "--json"],
        capture_output=True, text=True, timeout=300, env=environment(tmp_path, tmp_path),
    )  # fmt: skip
    assert completed.returncode == INTERRUPTED, completed.stderr
    assert json.loads(completed.stdout)["error"]["kind"] == "CANCELLED"
    assert "Traceback" not in completed.stderr


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, f"{OMP_SPIN_COUNT} None"),
        ({"GOMP_SPINCOUNT": "7"}, "7 None"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "None ACTIVE"),
    ],
)
def test_thread_wait_variables_are_set_before_torch_is_imported(
    media: Path, tmp_path: Path, variables: dict[str, str], expected: str
) -> None:
    program = (
        "import importlib.abc, os, sys\n"
        "class AtImport(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torch':\n"
        "            print(os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_WAIT_POLICY'), flush=True)\n"
        "            os._exit(0)\n"
        "sys.meta_path.insert(0, AtImport())\n"
        "from rewas_cli.main import main; main(sys.argv[1:])"
    )
    unset = {name: value for name, value in environment(tmp_path, tmp_path).items() if name not in WAIT_VARIABLES}
    completed = subprocess.run(
        [sys.executable, "-c", program, "energy", media / "ball.mp4"],
        capture_output=True, text=True, timeout=300, env=unset | variables,
    )  # fmt: skip
    # Standard output is reserved for results.
    assert completed.stderr.strip() == expected
