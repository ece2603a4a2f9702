# SPDX-License-Identifier: GPL-3.0-or-later
"""Use case: install, start, stop and remove the server of this computer, in a thread that the panel watches."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from .contract import ServerChoice, UserProblemError, open_client, problem_from
from .install_output import InstallProgress
from .messages import Problem
from .server_install import Cancelled, ServerFolder, ServerInstaller, ServerRelease, remove_server
from .server_process import find_process, read_log_tail, start_process, stop_process
from .server_watch import query_server

DEVICES = ("auto", "cpu", "cuda")
_ANSWER_TIMEOUT_S = 3.0
_LOOPBACK_HOST = "127.0.0.1"


@dataclass(frozen=True)
class LocalServerStatus:
    """What the panel shows about the server of this computer.

    phase: "absent", "unfinished" (an installation was interrupted), "stopped", "running", or while the thread works:
    "installing", "starting", "stopping", "removing". version: the installed one. text, fraction: progress of the
    installation. address: of the running server, "HOST:PORT". device: the one that it was started with. is_own: whether
    the add-on started it and can therefore stop it. is_outdated: whether the installed server belongs to another
    version of the add-on. problem: why the last action failed.
    """

    phase: str = "absent"
    version: str = ""
    text: str = ""
    fraction: float = 0.0
    address: str = ""
    device: str = ""
    is_own: bool = False
    is_outdated: bool = False
    problem: Problem | None = None

    @property
    def is_busy(self) -> bool:
        """Whether the thread is working."""
        return self.phase in ("installing", "starting", "stopping", "removing")


class LocalServer:
    """The server of this computer. Call its methods on the main thread; they return at once.

    Args:
        folder: Where the server is installed.
        release: What to install.
        own_python: Blender's own Python, used if the computer has no other.
    """

    def __init__(self, folder: Path, release: ServerRelease, *, own_python: Path | None = None) -> None:
        self.folder = ServerFolder(folder)
        self.release = release
        self._own_python = own_python
        self._status = LocalServerStatus()
        self._thread: threading.Thread | None = None
        self._installer: ServerInstaller | None = None
        self._closed = threading.Event()
        self.use_uv = True

    @property
    def status(self) -> LocalServerStatus:
        """The state of the server. Each change creates a new object."""
        return self._status

    def refresh(self) -> None:
        """Look for the installation and its process in a thread."""
        self._begin(self._status.phase, lambda: None)

    def install(self, *, wheelhouse: Path | None = None, then_start: tuple[str, str] | None = None) -> None:
        """Install the server, continue an interrupted installation, or replace a server of another version.

        Args:
            wheelhouse: A folder with all wheels, to install without a network.
            then_start: The address and device to start it with afterwards.
        """
        installer = self._installer = ServerInstaller(
            self.folder,
            self.release,
            wheelhouse=wheelhouse,
            own_python=self._own_python,
            use_uv=self.use_uv,
            report=self._show_progress,
        )

        def install() -> None:
            if self.folder.installed_version not in ("", self.release.version):
                self._stop()
            installer.install()
            if then_start is not None and not self._closed.is_set():
                self._set(replace(self._status, phase="starting", text="Starting the server"))
                self._start(*then_start)

        self._begin("installing", install)

    def cancel(self) -> None:
        """Cancel the installation. The next one continues where this one stopped."""
        if self._installer is not None:
            self._installer.cancel()

    def start(self, address: str, device: str) -> None:
        """Start the installed server, or use a server of this user that already answers.

        Args:
            address: The preferred address.
            device: One of DEVICES.
        """
        self._begin("starting", lambda: self._start(address, device))

    def stop(self) -> None:
        """Stop the server that the add-on started."""
        self._begin("stopping", self._stop)

    def remove(self) -> None:
        """Stop the server and delete its environment. Jobs and sounds are kept."""

        def remove() -> None:
            self._stop()
            remove_server(self.folder)

        self._begin("removing", remove)

    def log_lines(self, lines: int = 40) -> list[str]:
        """Return the last lines of the current log: that of the installation until it is finished."""
        return read_log_tail(self.log_path, lines)

    @property
    def log_path(self) -> Path:
        """The current log."""
        installing = self._status.phase in ("absent", "unfinished", "installing")
        return self.folder.install_log if installing else self.folder.server_log

    def close(self) -> None:
        """Stop an installation, and keep the server running. Returns at once; follow with join()."""
        self._closed.set()
        self.cancel()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread. Returns False if it is still working after `timeout_s` seconds."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self._thread is None or not self._thread.is_alive()

    def _begin(self, phase: str, act: Callable[[], None]) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        if phase != self._status.phase:
            self._set(replace(self._status, phase=phase, problem=None, text="", fraction=0.0))
        self._thread = threading.Thread(target=self._work, args=[act], name="rewas-local-server", daemon=True)
        self._thread.start()

    def _work(self, act: Callable[[], None]) -> None:
        problem = self._status.problem
        try:
            act()
        except Cancelled:
            pass
        except Exception as error:
            if not isinstance(error, UserProblemError | OSError):
                traceback.print_exc()
            problem = _describe_file_error(error) if isinstance(error, OSError) else problem_from(error)
        self._set(replace(self._look(), problem=problem))

    def _look(self) -> LocalServerStatus:
        version = self.folder.installed_version
        found = LocalServerStatus(version=version, is_outdated=version not in ("", self.release.version))
        process = find_process(self.folder)
        if process is not None:
            return replace(found, phase="running", address=process.address, device=process.device, is_own=True)
        if self._status.phase in ("starting", "running") and self._status.address:
            return replace(found, phase="running", address=self._status.address)
        if version:
            return replace(found, phase="stopped")
        return replace(found, phase="unfinished" if self.folder.read_installation() is not None else "absent")

    def _start(self, address: str, device: str) -> None:
        own = find_process(self.folder)
        if own is not None:
            return
        answering = find_answering_server([address])
        if answering:
            self._set(replace(self._status, address=answering))
            return
        try:
            start_process(self.folder, port=_port_of(address), device=device, cancelled=self._closed.is_set)
        except UserProblemError:
            # Another Blender may have started a server in the meantime: a state folder has only one.
            answering = find_answering_server([address])
            if not answering:
                raise
            self._set(replace(self._status, address=answering))

    def _stop(self) -> None:
        process = find_process(self.folder)
        if process is not None:
            stop_process(self.folder, process)

    def _show_progress(self, progress: InstallProgress) -> None:
        self._set(replace(self._status, text=progress.text, fraction=progress.fraction))

    def _set(self, status: LocalServerStatus) -> None:
        self._status = status


def find_answering_server(addresses: Iterable[str] = ()) -> str:
    """Return the address of a server of this user on this machine that answers, or "". Blocks for seconds at most."""
    from rewas_api.access import default_state_folder
    from rewas_api.addresses import is_loopback, split_address
    from rewas_api.errors import ProblemError

    announced = sorted((default_state_folder() / "servers").glob("*.token"))
    candidates = [*addresses, *(f"{_LOOPBACK_HOST}:{path.stem}" for path in announced)]
    for address in dict.fromkeys(candidates):
        try:
            if not is_loopback(split_address(address)[0]):
                continue
            with open_client(ServerChoice(address), timeout_s=_ANSWER_TIMEOUT_S) as client:
                if query_server(client).problem is None:
                    return address
        except (ProblemError, UserProblemError):
            continue
    return ""


def _describe_file_error(error: OSError) -> Problem:
    return Problem(
        f"Cannot use {error.filename or 'a file of the server'} ({error.strerror or error}).",
        "Free some disk space or change the permissions of its folder, then try again.",
    )


def _port_of(address: str) -> int:
    from rewas_api import DEFAULT_PORT
    from rewas_api.addresses import is_loopback, split_address
    from rewas_api.errors import ProblemError

    try:
        host, port = split_address(address)
    except ProblemError:
        return DEFAULT_PORT
    return port if is_loopback(host) else DEFAULT_PORT
