"""A separate process that trains and is killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_HERE = Path(__file__).resolve().parent
_BEGIN = """
import sys
from pathlib import Path
import torch
sys.path[:0] = [sys.argv[1], sys.argv[2]]
torch.set_num_threads(int(sys.argv[3]))

def wait(said):
    print(said, flush=True)
    sys.stdin.readline()

"""


@contextmanager
def killed_child(code: str, *arguments: str | Path, said: str) -> Iterator[None]:
    """Run code in a child process until it calls wait(said), and kill it with SIGKILL at the end of the block.

    Args:
        code: Python source. Its arguments begin at sys.argv[4].
        said: The text with which the code calls wait().
    """
    beginning = [str(_HERE.parents[1]), str(_HERE), str(torch.get_num_threads())]
    child = subprocess.Popen(
        [sys.executable, "-c", _BEGIN + code, *beginning, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == f"{said}\n"
        yield
    finally:
        child.kill()
        child.communicate()
    assert child.returncode == -9
