"""Run `rewas` in forks of one process that has already imported everything.

A fresh `rewas` spends seconds importing torch, diffusers and transformers before it does any work. A fork skips that
and is still a process: it has its own environment, working directory, file descriptors, signals and exit code.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

from rewas_command import interrupt_when_handled

CLOSE_WITHIN_S = 60
THREADS_END_WITHIN_S = 30.0


class WarmProcess:
    """Starts the parent process once, and runs one command after another in its forks."""

    def __init__(self, pack: Path, environment: Mapping[str, str]) -> None:
        """Start the parent. It loads `pack` once to import the modules that only loading needs."""
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close
        self._process = subprocess.Popen(
            [sys.executable, __file__, pack],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, env=environment,
        )  # fmt: skip
        self._read_answer()

    def run(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path | None,
        timeout_s: float,
        *,
        press_ctrl_c: bool = False,
        file_size_limit_bytes: int | None = None,
    ) -> tuple[int, str, str]:
        """Run `rewas` with these arguments; return its exit code, standard output and standard error.

        Args:
            arguments: What follows `rewas`.
            environment: All its variables.
            folder: Working directory; the current one if None.
            timeout_s: After this time it is killed.
            press_ctrl_c: Whether to send SIGINT once the command handles it.
            file_size_limit_bytes: The largest file that it can write, as on a full disk.
        """
        with tempfile.TemporaryDirectory() as temporary:
            output, errors = Path(temporary, "output"), Path(temporary, "errors")
            request = {
                "arguments": list(arguments),
                "environment": dict(environment),
                "folder": str(folder or Path.cwd()),
                "output": str(output),
                "errors": str(errors),
                "timeout_s": timeout_s,
                "press_ctrl_c": press_ctrl_c,
                "file_size_limit_bytes": file_size_limit_bytes,
            }
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            code = self._read_answer()["code"]
            assert code is not None, f"rewas {' '.join(arguments)} ran for more than {timeout_s:g} s"
            return code, output.read_text("utf-8"), errors.read_text("utf-8")

    def close(self) -> None:
        """End the parent process."""
        try:
            self._process.communicate(timeout=CLOSE_WITHIN_S)
        finally:
            self._process.kill()
            self._log.close()

    def _read_answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            raise AssertionError(f"the warm process ended:\n{self._log.read().decode()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def serve_requests(pack: Path) -> None:
    """Fork a child for each request on standard input, and answer with its exit code."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Output of an import must not be taken for an answer.
    import_everything(pack)
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            answers.close()
            run_command(request)
        if request["press_ctrl_c"]:
            interrupt_when_handled(child)
        print(json.dumps({"code": wait_for(child, request["timeout_s"])}), file=answers, flush=True)


def import_everything(pack: Path) -> None:
    """Import what any command imports, and leave no thread: a fork keeps only the thread that forked."""
    import matplotlib.pyplot  # noqa: F401

    import rewas_cli
    import rewas_engine
    import rewas_server

    gc.disable()
    for package in (rewas_engine, rewas_server, rewas_cli):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    rewas_engine.ReWaS.from_pretrained(pack, device="cpu")
    gc.enable()
    # A fork that searched the shared objects for garbage would copy all of them.
    gc.freeze()
    # Threads of a pool that has finished its work may still be ending.
    deadline_s = time.monotonic() + THREADS_END_WITHIN_S
    for thread in set(threading.enumerate()) - {threading.main_thread()}:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    assert threading.active_count() == 1, threading.enumerate()


def run_command(request: dict[str, Any]) -> NoReturn:
    """Turn this child into the command, and exit with its code as the interpreter does."""
    code = 1
    try:
        for descriptor, path in ((1, request["output"]), (2, request["errors"])):
            opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(opened, descriptor)
            os.close(opened)
        opened = os.open(os.devnull, os.O_RDONLY)
        os.dup2(opened, 0)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        if request["file_size_limit_bytes"] is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_size_limit_bytes"],) * 2)
        sys.argv[1:] = request["arguments"]
        from rewas_cli.main import main

        main(request["arguments"])
        code = 0
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)


def wait_for(child: int, timeout_s: float) -> int | None:
    """Wait for the child's exit code; kill the child and return None after the timeout."""
    killed = threading.Event()

    def kill() -> None:
        killed.set()
        os.kill(child, signal.SIGKILL)

    timer = threading.Timer(timeout_s, kill)
    timer.start()
    _, status = os.waitpid(child, 0)
    timer.cancel()
    timer.join()
    return None if killed.is_set() else os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    serve_requests(Path(sys.argv[1]))
