# SPDX-License-Identifier: GPL-3.0-or-later
"""The process of the installed server: starts it, finds it again after a restart of Blender, and stops it.

The server does not end with Blender. Otherwise a timeline that runs overnight, and a job that was started just before
quitting, would stop until Blender is started again. Several Blenders share one server. The panel stops it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from .contract import UserProblemError
from .messages import Problem
from .python_search import NO_WINDOW, clean_environment
from .server_install import ServerFolder, write_json

START_TIMEOUT_S = 240.0
STOP_TIMEOUT_S = 30.0
_POLL_S = 0.1
_LISTENING = "ReWaS listens on "
_PORT_IS_TAKEN = "Cannot use port"
_TAIL_BYTES = 16_384


@dataclass(frozen=True)
class ServerProcess:
    """The server that the add-on started, in this or another Blender. address: "HOST:PORT"."""

    pid: int
    address: str
    device: str


_own_processes: dict[int, subprocess.Popen[bytes]] = {}
"""Processes that this Blender started. The system keeps their pids until they are polled."""


def find_process(folder: ServerFolder) -> ServerProcess | None:
    """Return the server that was started from this folder and is still running, or None."""
    try:
        found = ServerProcess(**json.loads(folder.process_file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return found if _is_running(found.pid, folder) else None


def start_process(
    folder: ServerFolder, *, port: int, device: str, cancelled: Callable[[], bool] = lambda: False
) -> ServerProcess:
    """Start the installed server and wait until it answers. If the port is taken, the server picks a free one.

    Raises:
        UserProblemError: The server ended, with the reason that it printed, or does not start in time.
    """
    for chosen_port in (port, 0) if _is_free(port) else (0,):
        try:
            return _start_on_port(folder, chosen_port, device, cancelled)
        except _PortTaken:
            continue
    raise UserProblemError(Problem("The server found no free port.", "Stop other servers, then try again."))


def stop_process(folder: ServerFolder, process: ServerProcess) -> None:
    """End the server and wait until it has ended. Its unfinished jobs continue when it runs again."""
    deadline_s = time.monotonic() + STOP_TIMEOUT_S
    kill_s = deadline_s - STOP_TIMEOUT_S / 3
    _signal(process.pid, signal.SIGTERM)
    while _is_running(process.pid, folder):
        now_s = time.monotonic()
        if now_s > deadline_s:
            raise UserProblemError(
                Problem(f"The server (process {process.pid}) does not stop.", "End it in your system's task manager.")
            )
        if now_s > kill_s:
            _signal(process.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        threading.Event().wait(_POLL_S)
    folder.process_file.unlink(missing_ok=True)


def read_log_tail(path: Path, lines: int = 40) -> list[str]:
    """Return the last lines of a log; none if there is no log."""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - _TAIL_BYTES, 0))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return text.splitlines()[-lines:]


class _PortTaken(Exception):
    """Another program took the port in the meantime."""


def _start_on_port(folder: ServerFolder, port: int, device: str, cancelled: Callable[[], bool]) -> ServerProcess:
    process = _launch(folder, port, device)
    _own_processes[process.pid] = process
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while True:
        lines = read_log_tail(folder.server_log)
        ready = next((line for line in lines if line.startswith(_LISTENING)), "")
        if ready:
            address = ready.removeprefix(_LISTENING).split(". ")[0].strip()
            started = ServerProcess(process.pid, address, device)
            write_json(folder.process_file, asdict(started))
            return started
        if process.poll() is not None:
            lines = read_log_tail(folder.server_log)
            error = next((line.removeprefix("Error: ") for line in reversed(lines) if line.startswith("Error: ")), "")
            if _PORT_IS_TAKEN in error and port != 0:
                raise _PortTaken
            last = next((line for line in reversed(lines) if line.strip()), "no output")
            raise UserProblemError(
                Problem(error or f"The server ended while it was starting: {last[:200]}", "Read the server log.")
            )
        if cancelled() or time.monotonic() > deadline_s:
            process.kill()
            process.wait()
            raise UserProblemError(Problem("The server did not start in time.", "Read the server log, then try again."))
        threading.Event().wait(_POLL_S)


def _launch(folder: ServerFolder, port: int, device: str) -> subprocess.Popen[bytes]:
    # The path of the environment is in the command line, by which the process is recognised later.
    program = ["-m", "rewas_cli.main"] if sys.platform == "win32" else [str(folder.programs / "rewas")]
    command = [str(folder.python), *program, "serve", "--port", str(port), "--device", device]
    try:
        if folder.server_log.exists():
            folder.server_log.replace(folder.server_log.with_suffix(".old.log"))
        # Opened by this user alone: a log may name files and prompts.
        descriptor = os.open(folder.server_log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as log:  # noqa: PTH123
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder.folder,
                env={**clean_environment(), "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"},
                start_new_session=sys.platform != "win32",
                creationflags=NO_WINDOW | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
    except OSError as error:
        raise UserProblemError(
            Problem(
                f"The server cannot be started ({error.strerror or error}).", "Remove the server and install it again."
            )
        ) from error


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        if sys.platform != "win32":
            # As servers do: a port whose last connections are still being closed counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _is_running(pid: int, folder: ServerFolder) -> bool:
    """Return whether the process runs and is a server of this folder: the system reuses pids for other programs."""
    own = _own_processes.get(pid)
    if own is not None:
        if own.poll() is None:
            return True
        del _own_processes[pid]
        return False
    return str(folder.environment) in _command_of(pid)


def _command_of(pid: int) -> str:
    """Return the command line of a process (on Windows: the path of its program), or "" if there is none."""
    if sys.platform == "win32":
        return _windows_program(pid)
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "surrogateescape")
    except OSError:
        if sys.platform.startswith("linux"):
            return ""
    with contextlib.suppress(OSError):
        command = ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return ""


def _windows_program(pid: int) -> str:
    import ctypes

    limited_information, still_active = 0x1000, 259
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined]
    handle = kernel.OpenProcess(limited_information, False, pid)
    if not handle:
        return ""
    try:
        status, size, path = ctypes.c_ulong(), ctypes.c_ulong(32_768), ctypes.create_unicode_buffer(32_768)
        kernel.GetExitCodeProcess(handle, ctypes.byref(status))
        if status.value != still_active or not kernel.QueryFullProcessImageNameW(handle, 0, path, ctypes.byref(size)):
            return ""
        return path.value
    finally:
        kernel.CloseHandle(handle)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
