"""An operator that the add-on calls while Python threads run must not crash Blender."""

import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

# Of a hundred operators under `temp_override`, one crashes. From Python 3.12 none does.
ROUNDS = 400 if sys.version_info < (3, 12) else 20
PROGRAM = """
import os, sys, threading
import bpy
sys.path.insert(0, sys.argv[1])
from rewas_nle.blender import compat

sys.setswitchinterval(1e-5)
ended = threading.Event()

def use_memory():
    while not ended.is_set():
        for _ in range(2000):
            cycle = []
            cycle.append(cycle)

bpy.ops.wm.read_homefile(use_empty=True)
threads = [threading.Thread(target=use_memory) for _ in range(3)]
for thread in threads:
    thread.start()
window = bpy.context.window
for number in range(int(sys.argv[2])):
    compat.push_undo(f"step {number}")
ended.set()
for thread in threads:
    thread.join()
print("same window" if bpy.context.window == window else "another window", flush=True)
os._exit(0)
"""


def test_an_operator_does_not_crash_while_threads_run() -> None:
    # A separate process, because it may crash.
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, Path(ROOT) / "addon", str(ROUNDS)],
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "same window" in done.stdout
