"""The process of the installed server, and the use case that the panel watches: real processes of a tiny server."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toy_server import CHECK, VERSION, write_release, write_wheel

from rewas_nle.core import local_server, server_install, server_process
from rewas_nle.core.contract import UserProblemError
from rewas_nle.core.local_server import LocalServer, LocalServerStatus
from rewas_nle.core.python_search import probe_python
from rewas_nle.core.server_install import ServerFolder, ServerInstaller, ServerRelease
from rewas_nle.core.server_process import find_process, read_log_tail, start_process, stop_process


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> tuple[ServerRelease, Path]:
    requirements, wheels = write_release(tmp_path_factory.mktemp("release"))
    return ServerRelease(VERSION, requirements, CHECK), wheels


@pytest.fixture(scope="module")
def installed(release: tuple[ServerRelease, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of an installed tiny server."""
    folder = tmp_path_factory.mktemp("server")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("UV_CACHE_DIR", str(tmp_path_factory.mktemp("uv-cache")))
        patch.setattr(server_install, "find_python", lambda **_: probe_python(Path(sys.executable)))
        ServerInstaller(ServerFolder(folder), release[0], wheelhouse=release[1]).install()
        yield folder


@pytest.fixture
def folder(installed: Path) -> Iterator[ServerFolder]:
    found = ServerFolder(installed)
    yield found
    process = find_process(found)
    if process is not None:
        stop_process(found, process)
    found.process_file.unlink(missing_ok=True)


def connect(address: str) -> None:
    host, port = address.split(":")
    socket.create_connection((host, int(port)), timeout=10).close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_server_starts_is_found_again_and_stops(folder: ServerFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/a/folder/of/another/python")
    port = free_port()
    started = start_process(folder, port=port, device="cpu")
    assert started.address == f"127.0.0.1:{port}"
    connect(started.address)
    assert find_process(folder) == started
    assert read_log_tail(folder.server_log)[0] == "Device cpu, proxies []"
    if sys.platform != "win32":
        assert folder.server_log.stat().st_mode & 0o077 == 0
        assert os.getsid(started.pid) == started.pid  # closing Blender's terminal does not end it
    # Another Blender knows only what is in the file.
    code = (
        "import sys; from pathlib import Path; from rewas_nle.core.server_process import *;"
        "folder = ServerFolder(Path(sys.argv[1])); stop_process(folder, find_process(folder))"
    )
    reaped = threading.Thread(target=server_process._own_processes[started.pid].wait)
    reaped.start()
    addon = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "addon")}
    subprocess.run([sys.executable, "-c", code, folder.folder], check=True, env=addon)
    reaped.join()
    assert find_process(folder) is None
    with pytest.raises(OSError):
        connect(started.address)
    assert not folder.process_file.exists()


def test_a_port_in_use_is_left_to_its_program(folder: ServerFolder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        started = start_process(folder, port=port, device="auto")
        assert started.address != f"127.0.0.1:{port}"
        connect(started.address)


def test_the_reason_of_a_failed_start_is_reported(folder: ServerFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_SERVER_FAILS", "1")
    with pytest.raises(UserProblemError) as failed:
        start_process(folder, port=free_port(), device="auto")
    assert failed.value.problem.what == "The disk is on fire. Put it out."
    assert find_process(folder) is None


def test_a_server_that_ignores_the_signal_is_killed(folder: ServerFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_SERVER_IS_STUBBORN", "1")
    monkeypatch.setattr(server_process, "STOP_TIMEOUT_S", 3.0)
    stop_process(folder, start_process(folder, port=free_port(), device="auto"))
    assert find_process(folder) is None


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_a_server_that_crashed_is_not_found(folder: ServerFolder) -> None:
    started = start_process(folder, port=free_port(), device="auto")
    os.kill(started.pid, signal.SIGKILL)
    server_process._own_processes[started.pid].wait()
    assert find_process(folder) is None


def test_a_pid_that_belongs_to_another_program_is_not_the_server(folder: ServerFolder) -> None:
    server_install.write_json(folder.process_file, {"pid": os.getpid(), "address": "127.0.0.1:1", "device": "cpu"})
    assert find_process(folder) is None
    folder.process_file.write_text("{", encoding="utf-8")
    assert find_process(folder) is None


def test_a_start_can_be_cancelled(folder: ServerFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_process, "_LISTENING", "never printed")
    with pytest.raises(UserProblemError, match="did not start in time"):
        start_process(folder, port=free_port(), device="auto", cancelled=lambda: True)
    assert server_process._own_processes
    assert all(process.poll() is not None for process in server_process._own_processes.values())


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"first\n" + b"\xff" * 100_000 + b"\n" + b"".join(b"line %d\n" % n for n in range(100)))
    assert read_log_tail(log, 3) == ["line 97", "line 98", "line 99"]
    assert read_log_tail(tmp_path / "none") == []


@pytest.fixture
def no_other_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server answers, whatever runs on this machine."""
    monkeypatch.setattr(local_server, "find_answering_server", lambda addresses=(): "")


def wait(server: LocalServer) -> LocalServerStatus:
    assert server.join(60)
    return server.status


@pytest.mark.usefixtures("no_other_server")
def test_the_panel_goes_from_nothing_to_a_running_server_and_back(
    release: tuple[ServerRelease, Path], installed: Path, tmp_path: Path
) -> None:
    server = LocalServer(tmp_path / "server", release[0])
    server.refresh()
    assert wait(server) == LocalServerStatus("absent")
    server.install(wheelhouse=release[1], then_start=(f"127.0.0.1:{free_port()}", "cpu"))
    assert server.status.phase == "installing"
    assert server.status.is_busy
    running = wait(server)
    assert (running.phase, running.version, running.device, running.is_own) == ("running", VERSION, "cpu", True)
    connect(running.address)
    assert any("ReWaS listens on" in line for line in server.log_lines())
    other = LocalServer(tmp_path / "server", release[0])
    other.start("127.0.0.1:1", "auto")
    assert wait(other).address == running.address  # one server for all Blenders
    server.close()
    assert server.join(10)
    connect(running.address)  # the server does not end with Blender
    other.stop()
    assert wait(other) == LocalServerStatus("stopped", VERSION)
    other.start(f"127.0.0.1:{free_port()}", "auto")
    address = wait(other).address
    other.remove()
    assert wait(other) == LocalServerStatus("absent")
    with pytest.raises(OSError):
        connect(address)
    assert not (tmp_path / "server").exists()


@pytest.mark.usefixtures("no_other_server")
def test_problems_and_interruptions_are_shown(
    release: tuple[ServerRelease, Path], installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = LocalServer(tmp_path / "server", release[0])
    server.install(wheelhouse=tmp_path)
    failed = wait(server)
    assert failed.phase == "absent"
    assert failed.problem is not None
    assert failed.problem.what == f"The folder {tmp_path} contains no wheels."
    write_wheel(tmp_path, "other", {"other.py": ""})
    server.install(wheelhouse=tmp_path)
    failed = wait(server)
    assert failed.phase == "unfinished"
    assert failed.problem is not None
    assert "was not found in the folder" in failed.problem.what
    assert server.log_lines()
    monkeypatch.setattr(ServerInstaller, "_passes_check", lambda self: self.cancel() or self._run(["none"]))
    server.install(wheelhouse=release[1])
    cancelled = wait(server)
    assert (cancelled.phase, cancelled.problem) == ("unfinished", None)
    monkeypatch.setattr(ServerInstaller, "install", failing(OSError(28, "No space left on device", "/data/file")))
    server.install()
    problem = wait(server).problem
    assert problem is not None
    assert "Cannot use /data/file (No space left on device)" in problem.what


def failing(error: Exception) -> Callable[[object], None]:
    def fail(installer: object) -> None:
        raise error

    return fail


@pytest.mark.usefixtures("no_other_server")
def test_a_failed_start_is_shown_until_the_next_action(
    installed: Path, release: tuple[ServerRelease, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = LocalServer(installed, release[0])
    monkeypatch.setenv("TOY_SERVER_FAILS", "1")
    server.start(f"127.0.0.1:{free_port()}", "auto")
    failed = wait(server)
    assert failed.phase == "stopped"
    assert failed.problem is not None
    assert "on fire" in failed.problem.what
    server.refresh()
    assert wait(server).problem == failed.problem
    monkeypatch.delenv("TOY_SERVER_FAILS")
    server.start(f"127.0.0.1:{free_port()}", "auto")
    assert wait(server).problem is None
    server.stop()
    wait(server)


@pytest.mark.usefixtures("no_other_server")
def test_a_server_of_another_version_is_replaced(release: tuple[ServerRelease, Path], tmp_path: Path) -> None:
    server = LocalServer(tmp_path / "server", release[0])
    server.install(wheelhouse=release[1], then_start=(f"127.0.0.1:{free_port()}", "cpu"))
    running = wait(server)
    assert not running.is_outdated
    # The add-on was updated while the server runs.
    newer = ServerRelease("9.2.0", release[0].requirements, release[0].check.replace(VERSION, "9.2.0"))
    updated = LocalServer(tmp_path / "server", newer)
    updated.refresh()
    assert wait(updated).is_outdated
    wheels = tmp_path / "wheels"
    write_release(tmp_path, version="9.2.0")
    updated.install(wheelhouse=wheels, then_start=(f"127.0.0.1:{free_port()}", "cpu"))
    status = wait(updated)
    assert (status.phase, status.version, status.is_outdated, status.problem) == ("running", "9.2.0", False, None)
    with pytest.raises(OSError):
        connect(running.address)
    updated.stop()
    wait(updated)


def test_a_server_that_answers_is_used(
    installed: Path, release: tuple[ServerRelease, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_server, "find_answering_server", lambda addresses: "127.0.0.1:50999")
    server = LocalServer(installed, release[0])
    server.start("127.0.0.1:50071", "auto")
    running = wait(server)
    assert (running.phase, running.address, running.is_own) == ("running", "127.0.0.1:50999", False)
    assert find_process(ServerFolder(installed)) is None
