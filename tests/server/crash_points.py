"""Kills a process before each of its steps in turn.

A step is a system call with which SQLite changes a file, or a call from Python to a function of the operating system, a
file or SQLite. SQLite's calls are reached through its table of system calls, which its tests use, too. A call that
writes counts twice: the process ends before it, or after half of its bytes.
"""

import contextlib
import ctypes
import ctypes.util
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

WRITE_CALLS = ("write", "pwrite", "pwrite64")
CHANGING_CALLS = ("open", "ftruncate", "unlink", "fchmod", "fallocate")
READING_FUNCTIONS = frozenset(
    [
        "fspath",
        "stat",
        "lstat",
        "fstat",
        "getpid",
        "urandom",
        "access",
        "scandir",
        "listdir",
        "geteuid",
        "get_terminal_size",
        "WIFSIGNALED",
        "sysconf",
        "getcwd",
        "fileno",
        "tell",
        "seek",
        "read",
        "readinto",
        "readable",
        "writable",
        "seekable",
        "isatty",
        "isoff",
        "fetchone",
        "fetchall",
        "cpu_count",
        "sched_getaffinity",
        "statvfs",
        "uname",
    ]
)
"""Functions that change nothing: to be killed before them is to be killed before the next step."""

_Acknowledge = Callable[[str], None]
Scenario = Callable[[Path, _Acknowledge], None]


class _Vfs(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_int),
        ("file_bytes", ctypes.c_int),
        ("max_pathname", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("app_data", ctypes.c_void_p),
        *[(f"method_{number}", ctypes.c_void_p) for number in range(13)],
        ("set_system_call", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)),
        ("get_system_call", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)),
    ]


class Steps:
    """Counts the steps of this process and kills it before one of them. In a forked process only.

    fatal: number of the step, from 1; 0 kills it at none.
    """

    def __init__(self, fatal: int) -> None:
        self.count = 0
        self._fatal = fatal
        self._in_sqlite: list[Any] = []
        self._replace_system_calls()
        sys.setprofile(self._profile)

    def stop(self) -> None:
        """Count no further steps."""
        sys.setprofile(None)
        self._fatal = -1

    def step(self) -> None:
        """Count a step, and die if it is the fatal one."""
        self.count += 1
        if self.count == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def _profile(self, frame: FrameType, event: str, called: Any) -> None:
        if event != "c_call":
            return
        owner = getattr(called, "__self__", None)
        module = getattr(called, "__module__", None) or type(owner).__module__
        if module in ("posix", "_io", "sqlite3", "fcntl") and called.__name__ not in READING_FUNCTIONS:
            self.step()

    def _replace_system_calls(self) -> None:
        import _sqlite3

        library = ctypes.CDLL(_sqlite3.__file__)
        library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        vfs = library.sqlite3_vfs_find(None)
        assert vfs.contents.version >= 3
        assert vfs.contents.name == b"unix"
        for name in (*WRITE_CALLS, *CHANGING_CALLS):
            original = vfs.contents.get_system_call(vfs, name.encode())
            if original:
                replacement = self._replacement(name, original)
                self._in_sqlite.append(replacement)
                pointer = ctypes.cast(replacement, ctypes.c_void_p)
                assert vfs.contents.set_system_call(vfs, name.encode(), pointer) == 0

    def _replacement(self, name: str, original: int) -> Any:
        word = ctypes.c_ssize_t
        arguments = {
            "write": [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t],
            "pwrite": [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64],
            "pwrite64": [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64],
            "open": [ctypes.c_char_p, ctypes.c_int, ctypes.c_int],
            "ftruncate": [ctypes.c_int, ctypes.c_int64],
            "unlink": [ctypes.c_char_p],
            "fchmod": [ctypes.c_int, ctypes.c_uint],
            "fallocate": [ctypes.c_int, ctypes.c_int64, ctypes.c_int64],
        }[name]
        result = word if name in WRITE_CALLS else ctypes.c_int
        kind = ctypes.CFUNCTYPE(result, *arguments, use_errno=True)
        call = kind(original)

        def before(*values: Any) -> int:
            self.step()
            if name in WRITE_CALLS:
                self.count += 1
                if self.count == self._fatal:
                    descriptor, start, size_bytes, *offset = values
                    call(descriptor, start, size_bytes // 2, *offset)
                    os.kill(os.getpid(), signal.SIGKILL)
            done: int = call(*values)
            return done

        return kind(before)


def crashes(scenario: Scenario, folder: Path, prepared: Path) -> Iterator[tuple[int, Path, list[str]]]:
    """Run a scenario in forked processes, each of which is killed before another step, until one reaches the end.

    Yields the number of the step, the folder in which it ran, and what was acknowledged before.

    Args:
        scenario: Gets the folder and a function that acknowledges a piece of work.
        folder: Holds the folders of all runs.
        prepared: Each run gets a copy of this folder.
    """
    step = 0
    while True:
        step += 1
        run_folder = folder / str(step)
        shutil.copytree(prepared, run_folder)
        status, acknowledged = _run_until(scenario, run_folder, step)
        yield step, run_folder, acknowledged
        shutil.rmtree(run_folder)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, "the scenario failed"
            return
        assert os.WTERMSIG(status) == signal.SIGKILL


def _run_until(scenario: Scenario, folder: Path, step: int) -> tuple[int, list[str]]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        with contextlib.suppress(BaseException):
            os.close(reading)
            steps = Steps(step)
            scenario(folder, lambda text: _write_line(writing, text))
            steps.stop()
            code = 0
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        acknowledged = pipe.read().splitlines()
    _, status = os.waitpid(pid, 0)
    return status, acknowledged


def _write_line(descriptor: int, text: str) -> None:
    os.write(descriptor, f"{text}\n".encode())
