# SPDX-License-Identifier: GPL-3.0-or-later
"""Use case: install the server into a separate environment in the user's data folder, or remove it.

The environment is created with uv if it is installed, otherwise with a Python of this platform. Nothing is installed
into Blender's Python. An interrupted installation continues where it stopped. If the server then does not run, the
installation starts again from the beginning.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .contract import UserProblemError
from .install_output import InstallOutput, InstallProgress, explain_failure
from .messages import Problem
from .python_search import NO_WINDOW, clean_environment, find_python, find_uv

_KILL_AFTER_S = 5.0
_LINES_KEPT = 200
_NEWEST_PIP_WITHOUT_RAW_PROGRESS = (24, 0)
_CHECK = (
    "import torch, rewas_engine, rewas_server.grpc.app; from importlib.metadata import version; "
    "print(version('rewas-nle'))"
)


@dataclass(frozen=True)
class ServerRelease:
    """The release of the server that fits this add-on.

    version: of the packages rewas-nle and rewas-api. requirements: file with every other package, pinned with hashes.
    check: Python code that imports what the server needs and prints the version.
    """

    version: str
    requirements: Path
    check: str = _CHECK


class ServerFolder:
    """The files of the installed server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = folder / "environment"
        self.install_log = folder / "install.log"
        self.server_log = folder / "server.log"
        self.process_file = folder / "process.json"
        self._installation_file = folder / "installation.json"
        self._lock_file = folder / "installing.lock"

    @property
    def programs(self) -> Path:
        """The folder of the environment's programs."""
        return self.environment / ("Scripts" if sys.platform == "win32" else "bin")

    @property
    def python(self) -> Path:
        """The environment's Python."""
        return self.programs / ("python.exe" if sys.platform == "win32" else "python")

    @property
    def installed_version(self) -> str:
        """The version of the installed server, or "" if the installation is missing or unfinished."""
        found = self.read_installation()
        return found.version if found is not None and found.is_complete and self.python.exists() else ""

    def read_installation(self) -> Installation | None:
        """Return the note of the last installation, or None."""
        try:
            return Installation(**json.loads(self._installation_file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write_installation(self, installation: Installation) -> None:
        """Note the state of an installation. Raises OSError."""
        write_json(self._installation_file, asdict(installation))

    def forget_installation(self) -> None:
        """Delete the note. Raises OSError."""
        self._installation_file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock of the folder. Raises UserProblemError if another Blender is installing or removing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock_file.open("a+b") as file:
            try:
                _lock_file(file.fileno())
            except OSError:
                raise UserProblemError(
                    Problem("Another Blender is installing the server.", "Wait until it has finished.")
                ) from None
            yield


@dataclass(frozen=True)
class Installation:
    """The note of an installation. tool: "uv" or "pip". python: the Python that the environment was created with."""

    version: str
    tool: str
    python: str
    is_complete: bool = False


class Cancelled(Exception):
    """The user cancelled the installation."""


class ServerInstaller:
    """One installation. `report` is called with its progress.

    Args:
        folder: Where to install.
        release: What to install.
        wheelhouse: A folder with all wheels, to install without a network. None: from the package index.
        own_python: Blender's Python, used if the platform has none.
        use_uv: Whether to use uv if it is found.
    """

    def __init__(
        self,
        folder: ServerFolder,
        release: ServerRelease,
        *,
        wheelhouse: Path | None = None,
        own_python: Path | None = None,
        use_uv: bool = True,
        report: Callable[[InstallProgress], object] = lambda progress: None,
    ) -> None:
        self._folder = folder
        self._release = release
        self._wheelhouse = wheelhouse
        self._own_python = own_python
        self._use_uv = use_uv
        self._cache_options: dict[str, list[str]] = {}
        self._report = report
        self._cancelled = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._log: Callable[[str], object] = lambda text: None
        self._process_lock = threading.Lock()

    def cancel(self) -> None:
        """Stop the installation. Returns at once; `install` then raises Cancelled. Installed packages are kept."""
        self._cancelled.set()
        with self._process_lock:
            if self._process is not None:
                threading.Thread(target=_end, args=[self._process], name="rewas-end-installer", daemon=True).start()

    def install(self) -> None:
        """Install the server. Blocks for minutes.

        Raises:
            UserProblemError: The installation failed, with the reason.
            Cancelled: `cancel` was called.
        """
        if self._wheelhouse is not None and not any(self._wheelhouse.glob("*.whl")):
            raise UserProblemError(
                Problem(
                    f"The folder {self._wheelhouse} contains no wheels.",
                    "Choose the folder with the .whl files of the server and the packages that it needs.",
                )
            )
        try:
            with self._folder.lock(), self._open_log() as log:
                self._log = log
                self._install()
        except OSError as error:
            raise UserProblemError(
                Problem(
                    f"Cannot write to the folder {self._folder.folder} ({error.strerror or error}).",
                    "Free some disk space or change the permissions of the folder, then try again.",
                )
            ) from error

    def _install(self) -> None:
        interrupted = self._find_interrupted()
        if interrupted is not None:
            for name in remove_unfinished_packages(self._folder.environment):
                self._log(f"{name} was not completely installed. Installing it again.\n")
            self._install_packages(interrupted.tool)
            if self._passes_check():
                self._complete(interrupted)
                return
            self._log("The interrupted installation is damaged. Starting from the beginning.\n")
            # uv links files to its cache, so the cache may have the same damage.
            self._cache_options = {"uv": ["--no-cache"], "pip": ["--no-cache-dir"]}
        created = self._create_environment()
        self._install_packages(created.tool)
        if not self._passes_check():
            raise UserProblemError(
                Problem(
                    "The server was installed but does not start.",
                    "Read the installation log, or install it again with another Python.",
                )
            )
        self._complete(created)

    def _complete(self, installation: Installation) -> None:
        self._folder.write_installation(replace(installation, is_complete=True))
        self._report(InstallProgress("Installed", 1.0))

    def _find_interrupted(self) -> Installation | None:
        """Return an earlier installation of this release that can continue: its environment runs, and so does its tool.

        An update may have removed the Python that the environment was created with.
        """
        found = self._folder.read_installation()
        if found is None or found.version != self._release.version or not self._folder.python.exists():
            return None
        if found.tool == "uv" and find_uv() is None:
            return None
        tool = ["-m", "pip", "--version"] if found.tool == "pip" else ["-c", ""]
        return found if self._run([str(self._folder.python), *tool])[0] == 0 else None

    def _create_environment(self) -> Installation:
        self._report(InstallProgress("Looking for Python", 0.01))
        uv = find_uv() if self._use_uv else None
        python = find_python(own_python=self._own_python)
        if uv is None and (python is None or not python.has_venv):
            raise UserProblemError(_missing_python(python is not None))
        self._folder.forget_installation()
        remove_tree(self._folder.environment)
        self._report(InstallProgress("Creating the environment", 0.03))
        if uv is not None:
            wanted = str(python.path) if python is not None else "3.11"
            offline = ["--offline"] if self._wheelhouse is not None else []
            command = [str(uv), "venv", "--no-config", *offline, "--python", wanted, str(self._folder.environment)]
        else:
            assert python is not None
            command = [str(python.path), "-I", "-m", "venv", str(self._folder.environment)]
        code, lines = self._run(command)
        if code != 0:
            raise UserProblemError(explain_failure(lines, wheelhouse=str(self._wheelhouse or "")))
        installation = Installation(
            self._release.version, "uv" if uv is not None else "pip", str(python.path) if python is not None else "uv"
        )
        self._folder.write_installation(installation)
        return installation

    def _install_packages(self, tool: str) -> None:
        pins = re.findall(r"^[\w.-]+==", self._release.requirements.read_text(encoding="utf-8"), re.MULTILINE)
        own = [f"rewas-api=={self._release.version}", f"rewas-nle=={self._release.version}"]
        program = [*self._installer_command(tool), *self._cache_options.get(tool, [])]
        if self._wheelhouse is not None:
            constraints = self._folder.folder / "constraints.txt"
            constraints.write_text(without_hashes(self._release.requirements.read_text(encoding="utf-8")), "utf-8")
            source = ["--no-index", "--find-links", str(self._wheelhouse)]
            self._install_step([*program, *source, "--constraint", str(constraints), *own], len(pins), 0.05, 0.9)
        else:
            pinned = ["--require-hashes", "--no-deps", "--requirement", str(self._release.requirements)]
            self._install_step([*program, *pinned], len(pins), 0.05, 0.87)
            self._install_step([*program, "--no-deps", *own], len(own), 0.87, 0.9)

    def _installer_command(self, tool: str) -> list[str]:
        uv = find_uv() if tool == "uv" else None
        if uv is not None:
            config = ["--no-config", "--offline"] if self._wheelhouse is not None else []
            return [str(uv), "pip", "install", *config, "--no-progress", "--python", str(self._folder.python)]
        pip = [str(self._folder.python), "-m", "pip"]
        isolated = ["--isolated"] if self._wheelhouse is not None else []
        options = ["--disable-pip-version-check", "--no-input", "--no-color", *isolated]
        return [*pip, "install", *options, "--progress-bar", "raw" if self._pip_has_raw_progress(pip) else "off"]

    def _pip_has_raw_progress(self, pip: list[str]) -> bool:
        lines = self._run([*pip, "--version"])[1]
        found = re.search(r"^pip (\d+)\.(\d+)", "\n".join(lines), re.MULTILINE)
        return found is not None and (int(found[1]), int(found[2])) > _NEWEST_PIP_WITHOUT_RAW_PROGRESS

    def _install_step(self, command: list[str], packages: int, begin: float, end: float) -> None:
        output = InstallOutput(packages)

        def read(line: str) -> None:
            progress = output.read(line)
            if progress is not None:
                self._report(InstallProgress(progress.text, begin + (end - begin) * progress.fraction))

        code, lines = self._run(command, read)
        if code != 0:
            raise UserProblemError(explain_failure(lines, wheelhouse=str(self._wheelhouse or "")))

    def _passes_check(self) -> bool:
        self._report(InstallProgress("Checking the server", 0.92))
        code, lines = self._run([str(self._folder.python), "-c", self._release.check])
        return code == 0 and self._release.version in lines

    def _run(self, command: list[str], read: Callable[[str], object] = lambda line: None) -> tuple[int, list[str]]:
        """Run a program, write its output to the log, and return its exit status and last lines. Raises Cancelled."""
        self._log(f"$ {' '.join(command)}\n")
        with self._process_lock:
            if self._cancelled.is_set():
                raise Cancelled
            process = self._process = _start(command)
        kept: list[str] = []
        try:
            assert process.stdout is not None
            for line in process.stdout:
                self._log(line)
                kept = [*kept[1 - _LINES_KEPT :], line.rstrip("\n")]
                read(line)
            code = process.wait()
        finally:
            _end(process)
            with self._process_lock:
                self._process = None
        if self._cancelled.is_set():
            raise Cancelled
        if code != 0:
            self._log(f"exit status {code}\n")
        return code, kept

    @contextlib.contextmanager
    def _open_log(self) -> Iterator[Callable[[str], object]]:
        with self._folder.install_log.open("w", encoding="utf-8", buffering=1) as file:
            yield file.write


def remove_server(folder: ServerFolder) -> None:
    """Delete the installed server. Stop it first. Its jobs and sounds are stored elsewhere and are kept.

    Raises:
        UserProblemError: Files cannot be deleted, or another Blender is installing.
    """
    try:
        with folder.lock():
            folder.forget_installation()
            remove_tree(folder.environment)
            for file in (folder.install_log, folder.server_log, folder.process_file):
                file.unlink(missing_ok=True)
        shutil.rmtree(folder.folder)
    except OSError as error:
        raise UserProblemError(
            Problem(
                f"Cannot delete {error.filename or folder.folder} ({error.strerror or error}).",
                "Stop all programs that use the server, then try again.",
            )
        ) from error


def remove_unfinished_packages(environment: Path) -> list[str]:
    """Delete the .dist-info folders of packages whose installation was interrupted. Raises OSError.

    Returns the names of the packages. An installer that was killed leaves a .dist-info folder without metadata or list
    of files, and every later installation would fail because of it. Without the folder, the package is installed again
    over its files.
    """
    removed = []
    packages = "Lib/site-packages" if sys.platform == "win32" else "lib/python*/site-packages"
    for note in sorted(environment.glob(f"{packages}/*.dist-info")):
        if not all(_has_content(note / name) for name in ("METADATA", "RECORD")):
            shutil.rmtree(note)
            removed.append(note.stem)
    return removed


def _has_content(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except OSError:
        return False


def remove_tree(folder: Path) -> None:
    """Rename a folder, so that its name is free at once, and delete it. Raises OSError."""
    for left_over in folder.parent.glob(f".{folder.name}-removed-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    if folder.exists():
        renamed = folder.with_name(f".{folder.name}-removed-{uuid.uuid4().hex[:8]}")
        folder.rename(renamed)
        shutil.rmtree(renamed)


def without_hashes(requirements: str) -> str:
    """Return pinned requirements without their hashes, for use as constraints."""
    lines = [line.removesuffix("\\").rstrip() for line in requirements.splitlines()]
    return "\n".join(line for line in lines if line and not line.lstrip().startswith("--hash")) + "\n"


def write_json(path: Path, content: dict[str, object]) -> None:
    """Write a JSON file atomically. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _missing_python(has_python: bool) -> Problem:
    if has_python:
        return Problem(
            "The Python on this computer cannot create virtual environments.",
            "Install the package that adds them (python3-venv on Debian and Ubuntu), or install uv, then try again.",
        )
    return Problem(
        "Python 3.11, 3.12 or 3.13 was not found on this computer.",
        "Install Python from python.org or your package manager, or install uv, then try again.",
    )


def _start(command: list[str]) -> subprocess.Popen[str]:
    # A separate session, so that cancelling ends the processes that it starts, too.
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        env={**clean_environment(), "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"},
        start_new_session=sys.platform != "win32",
        creationflags=NO_WINDOW,
    )


def _end(process: subprocess.Popen[str]) -> None:
    """End a process and those that it started, if it is still running."""
    if process.poll() is not None:
        return
    _signal_group(process, signal.SIGTERM)
    try:
        process.wait(_KILL_AFTER_S)
    except subprocess.TimeoutExpired:
        _signal_group(process, getattr(signal, "SIGKILL", signal.SIGTERM))


def _signal_group(process: subprocess.Popen[str], number: int) -> None:
    if sys.platform == "win32":
        process.terminate()
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _lock_file(descriptor: int) -> None:
    """Lock an open file until it is closed. Raises OSError if another process holds the lock."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
