"""Installing the server: real pip, uv and environments, with a tiny release that needs no network."""

import functools
import http.server
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_server import CHECK, VERSION, write_index, write_release

from rewas_nle.core import python_search, server_install
from rewas_nle.core.contract import UserProblemError
from rewas_nle.core.install_output import InstallOutput, InstallProgress, explain_failure
from rewas_nle.core.python_search import clean_environment, find_python, find_uv, probe_python
from rewas_nle.core.server_install import (
    Cancelled,
    ServerFolder,
    ServerInstaller,
    ServerRelease,
    remove_server,
    without_hashes,
)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> tuple[ServerRelease, Path]:
    requirements, wheels = write_release(tmp_path_factory.mktemp("release"))
    return ServerRelease(VERSION, requirements, CHECK), wheels


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uv-cache")


@pytest.fixture(autouse=True)
def _programs(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Use the uv and the Python of this environment, because trying every Python of a machine takes seconds."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("UV_CACHE_DIR", str(cache))
    monkeypatch.setattr(server_install, "find_python", lambda **_: probe_python(Path(sys.executable)))


@pytest.fixture
def folder(tmp_path: Path) -> ServerFolder:
    return ServerFolder(tmp_path / "data folder" / "sërver")


def install(
    folder: ServerFolder, release: tuple[ServerRelease, Path], wheels: Path | None = None
) -> list[InstallProgress]:
    shown: list[InstallProgress] = []
    ServerInstaller(folder, release[0], wheelhouse=wheels or release[1], report=shown.append).install()
    return shown


def test_a_release_is_installed_from_a_folder_and_removed(
    folder: ServerFolder, release: tuple[ServerRelease, Path]
) -> None:
    assert folder.installed_version == ""
    shown = install(folder, release)
    fractions = [progress.fraction for progress in shown]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert len({progress.text for progress in shown}) > 4
    assert folder.installed_version == VERSION
    found = folder.read_installation()
    assert found is not None
    assert found.tool == "uv"
    assert "toy-dependency" in folder.install_log.read_text(encoding="utf-8")
    (folder.environment / "kept").touch()
    assert install(folder, release)[-1].fraction == 1
    assert (folder.environment / "kept").exists()
    remove_server(folder)
    assert not folder.folder.exists()
    assert folder.installed_version == ""


def test_a_failed_installation_continues(
    folder: ServerFolder, release: tuple[ServerRelease, Path], tmp_path: Path
) -> None:
    wheels = tmp_path / "some wheels"
    wheels.mkdir()
    for name in ("rewas_api", "rewas_nle"):
        shutil.copy(next(release[1].glob(f"{name}-*.whl")), wheels)
    with pytest.raises(UserProblemError) as failed:
        install(folder, release, wheels)
    assert failed.value.problem.what == f"toy-dependency was not found in the folder {wheels}."
    assert folder.installed_version == ""
    (folder.environment / "kept").touch()
    install(folder, release)
    assert folder.installed_version == VERSION
    assert (folder.environment / "kept").exists()


def test_a_cancelled_installation_continues(folder: ServerFolder, release: tuple[ServerRelease, Path]) -> None:
    def cancel(progress: InstallProgress) -> None:
        if progress.fraction > 0.03:
            installer.cancel()

    installer = ServerInstaller(folder, release[0], wheelhouse=release[1], report=cancel)
    with pytest.raises(Cancelled):
        installer.install()
    with pytest.raises(Cancelled):
        installer.install()
    assert folder.installed_version == ""
    (folder.environment / "kept").touch()
    install(folder, release)
    assert folder.installed_version == VERSION
    assert (folder.environment / "kept").exists()


@pytest.mark.parametrize("use_uv", [True, False])
@pytest.mark.parametrize("lost", [("METADATA", "RECORD"), ("METADATA",), ("RECORD",)])
def test_a_package_that_was_not_completely_installed_is_installed_again(
    folder: ServerFolder, release: tuple[ServerRelease, Path], lost: tuple[str, ...], use_uv: bool
) -> None:
    def new_installer() -> ServerInstaller:
        return ServerInstaller(folder, release[0], wheelhouse=release[1], use_uv=use_uv)

    new_installer().install()
    found = folder.read_installation()
    assert found is not None
    folder.write_installation(replace(found, is_complete=False))
    (note,) = folder.environment.rglob("rewas_api-*.dist-info")
    for name in lost:
        (note / name).unlink()
    (module,) = folder.environment.rglob("toy_dependency.py")
    (folder.environment / "kept").touch()
    new_installer().install()
    assert folder.installed_version == VERSION
    assert (folder.environment / "kept").exists()
    assert all((note / name).exists() for name in ("METADATA", "RECORD"))
    assert module.exists()
    log = folder.install_log.read_text(encoding="utf-8")
    assert f"rewas_api-{VERSION} was not completely installed" in log
    assert "toy_dependency" not in log.split("$", maxsplit=1)[0]


def test_a_hanging_program_is_ended_by_cancel(folder: ServerFolder, release: tuple[ServerRelease, Path]) -> None:
    installer = ServerInstaller(folder, release[0])
    threading.Timer(0.3, installer.cancel).start()
    code = "import os, time; os.fork() or time.sleep(600); time.sleep(600)"
    with pytest.raises(Cancelled):
        installer._run([sys.executable, "-c", code])


def test_a_damaged_installation_is_replaced(
    folder: ServerFolder, release: tuple[ServerRelease, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The file is shared with the cache of uv, which is damaged, too.
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    install(folder, release)
    (module,) = folder.environment.rglob("toy_dependency.py")
    module.write_text("WHOLE = ", encoding="utf-8")
    (folder.environment / "kept").touch()
    install(folder, release)
    assert folder.installed_version == VERSION
    assert not (folder.environment / "kept").exists()
    assert "damaged" in folder.install_log.read_text(encoding="utf-8")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows copies the program")
def test_an_environment_whose_python_is_gone_is_rebuilt(
    folder: ServerFolder, release: tuple[ServerRelease, Path]
) -> None:
    install(folder, release)
    folder.python.unlink()
    folder.python.symlink_to(folder.folder / "gone")
    assert folder.installed_version == ""
    install(folder, release)
    assert folder.installed_version == VERSION


def test_a_server_that_does_not_start_is_reported(folder: ServerFolder, release: tuple[ServerRelease, Path]) -> None:
    broken = ServerRelease(VERSION, release[0].requirements, "raise SystemExit('deliberate')")
    with pytest.raises(UserProblemError, match="does not start"):
        install(folder, (broken, release[1]))
    assert "deliberate" in folder.install_log.read_text(encoding="utf-8")
    assert folder.installed_version == ""


def test_two_blenders_do_not_install_at_once(folder: ServerFolder, release: tuple[ServerRelease, Path]) -> None:
    with folder.lock():
        with pytest.raises(UserProblemError, match="Another Blender is installing"):
            install(folder, release)
        with pytest.raises(UserProblemError, match="Another Blender is installing"):
            remove_server(folder)


@pytest.fixture
def index(release: tuple[ServerRelease, Path], tmp_path: Path) -> Iterator[str]:
    """The URL of a package index with the release, on this machine."""
    write_index(release[1], tmp_path)
    handler = functools.partial(QuietHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/simple/"
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@pytest.mark.parametrize("tool", ["uv", pytest.param("pip", marks=pytest.mark.slow)])
def test_packages_of_an_index_must_have_the_pinned_hashes(
    folder: ServerFolder,
    release: tuple[ServerRelease, Path],
    index: str,
    tool: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", index)
    monkeypatch.setenv("UV_DEFAULT_INDEX", index)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    changed = tmp_path / "requirements.txt"
    text = release[0].requirements.read_text(encoding="utf-8")
    changed.write_text(text[:-10] + "0" * 9 + "\n", encoding="utf-8")
    wrong = ServerInstaller(folder, ServerRelease(VERSION, changed, release[0].check), use_uv=tool == "uv")
    with pytest.raises(UserProblemError, match="not the one that this release was tested with"):
        wrong.install()
    (folder.environment / "kept").touch()
    ServerInstaller(folder, release[0], use_uv=tool == "uv").install()
    assert folder.installed_version == VERSION
    assert (folder.environment / "kept").exists()
    found = folder.read_installation()
    assert found is not None
    assert found.tool == tool


def test_an_index_that_cannot_be_reached_is_reported(
    folder: ServerFolder, release: tuple[ServerRelease, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple/")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(UserProblemError, match="The package index cannot be reached"):
        ServerInstaller(folder, release[0]).install()


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path, release: tuple[ServerRelease, Path]) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserProblemError, match="Cannot write to the folder"):
        install(ServerFolder(tmp_path / "server"), release)


def test_a_file_in_the_way_is_reported(tmp_path: Path, release: tuple[ServerRelease, Path]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserProblemError, match="Cannot write to the folder"):
        install(ServerFolder(tmp_path / "file" / "server"), release)


def test_without_a_python_the_remedy_names_one(
    folder: ServerFolder, release: tuple[ServerRelease, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_install, "find_uv", lambda: None)
    monkeypatch.setattr(server_install, "find_python", lambda **_: None)
    with pytest.raises(UserProblemError, match=r"Python 3\.11, 3\.12 or 3\.13 was not found"):
        install(folder, release)
    without_venv = python_search.FoundPython(Path(sys.executable), (3, 11), has_venv=False)
    monkeypatch.setattr(server_install, "find_python", lambda **_: without_venv)
    with pytest.raises(UserProblemError, match="python3-venv"):
        install(folder, release)


@pytest.fixture
def pythons(tmp_path: Path) -> dict[str, Path]:
    """Programs that may or may not be a usable Python."""
    answers = {
        "3.10": "echo '[[3, 10], true, true, \"/310\"]'",
        "3.11 without venv": "echo '[[3, 11], true, false, \"/311\"]'",
        "3.12": "echo '[[3, 12], true, true, \"/312\"]'",
        "3.13": "echo '[[3, 13], true, true, \"/313\"]'",
        "3.11 of 32 bits": "echo '[[3, 11], false, true, \"/32\"]'",
        "shim": "echo 'pyenv: python3.12: command not found' >&2; exit 127",
        "talkative": "echo Hello",
    }
    found = {}
    for name, answer in answers.items():
        found[name] = tmp_path / name
        found[name].write_text(f"#!/bin/sh\n{answer}\n", encoding="utf-8")
        found[name].chmod(0o755)
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="uses shell scripts")
def test_the_best_python_is_found(pythons: dict[str, Path]) -> None:
    def find(*names: str, own: str | None = None) -> str:
        found = find_python([pythons[name] for name in names], own_python=pythons[own] if own else None)
        return str(found.path) if found is not None else ""

    assert find("3.10", "shim", "talkative", "3.11 of 32 bits") == ""
    assert find("3.13", "3.12", "3.10") == "/312"
    assert find("3.11 without venv", "3.13") == "/313"
    assert find("3.11 without venv") == "/311"
    assert find("3.11 without venv", own="3.12") == "/312"
    assert find("3.13", own="3.12") == "/313"
    assert find("3.10", own="3.10") == ""
    assert probe_python(Path("/no/such/python")) is None
    assert find_python([Path(sys.executable)]) == probe_python(Path(sys.executable))


def test_this_machine_has_uv_and_a_python() -> None:
    assert find_uv() is not None
    found = find_python()
    assert found is not None
    assert found.version in python_search.PYTHON_VERSIONS


def test_variables_for_another_python_are_left_out() -> None:
    variables = {
        "PYTHONPATH": "a",
        "PYTHONHOME": "b",
        "VIRTUAL_ENV": "c",
        "PIP_TARGET": "d",
        "__PYVENV_LAUNCHER__": "e",
    }
    kept = {"PATH": "p", "REWAS_PACKS": "q", "PIP_INDEX_URL": "r", "HTTPS_PROXY": "s"}
    assert clean_environment(variables | kept) == kept


def test_constraints_have_no_hashes() -> None:
    text = "# x\na==1 ; sys_platform == 'linux' \\\n    --hash=sha256:0 \\\n    --hash=sha256:1\nb==2\n"
    assert without_hashes(text) == "# x\na==1 ; sys_platform == 'linux'\nb==2\n"


PIP_OUTPUT = """\
Looking in indexes: https://example.org/simple
Collecting aiohttp==3.14.5 (from -r requirements.txt (line 2))
  Downloading aiohttp-3.14.5-cp311-cp311-manylinux2014_x86_64.whl.metadata (7.7 kB)
Collecting torch==2.13.0 (from -r requirements.txt (line 9))
  Downloading torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl (859.4 MB)
Progress 0 of 859400000
Progress 429700000 of 859400000
Requirement already satisfied: numpy in ./lib/python3.11/site-packages (2.4.6)
Installing collected packages: numpy, torch, aiohttp
Successfully installed aiohttp-3.14.5 torch-2.13.0
"""
UV_OUTPUT = """\
Using Python 3.11.7 environment at: uvt
Resolved 3 packages in 1.44s
Downloading numpy (16.1MiB)
Downloading grpcio (7.0MiB)
 Downloaded grpcio
 Downloaded numpy
Prepared 3 packages in 2.48s
Installed 3 packages in 218ms
 + grpcio==1.85.1
"""


def read_all(output: str, packages: int) -> list[tuple[str, float]]:
    reader = InstallOutput(packages)
    shown = filter(None, map(reader.read, output.splitlines()))
    return [(progress.text, round(progress.fraction, 3)) for progress in shown]


def test_the_output_of_pip_is_understood() -> None:
    assert read_all(PIP_OUTPUT, 4) == [
        ("Looking for aiohttp (1 of about 4)", 0.0),
        ("Downloading aiohttp (7.7 kB)", 0.0),
        ("Looking for torch (2 of about 4)", 0.2),
        ("Downloading torch (859.4 MB)", 0.2),
        ("Downloading torch: 0 of 859 MB", 0.2),
        ("Downloading torch: 429 of 859 MB", 0.3),
        ("Looking for numpy (3 of about 4)", 0.4),
        ("Unpacking the packages", 0.8),
        ("Installed the packages", 1.0),
    ]


def test_the_output_of_uv_is_understood() -> None:
    assert read_all(UV_OUTPUT, 100) == [
        ("Downloading 3 packages", 0.05),
        ("Downloading numpy (16.1 MiB)", 0.05),
        ("Downloading grpcio (7.0 MiB)", 0.05),
        ("Downloaded grpcio", 0.267),
        ("Downloaded numpy", 0.533),
        ("Unpacking the packages", 0.8),
        ("Installed the packages", 1.0),
    ]


@given(st.lists(st.sampled_from((PIP_OUTPUT + UV_OUTPUT).splitlines()) | st.text(), max_size=40), st.integers(0, 5))
def test_progress_never_goes_back(lines: list[str], packages: int) -> None:
    fractions = [fraction for _, fraction in read_all("\n".join(lines), packages)]
    assert fractions == sorted(fractions)
    assert all(0 <= fraction <= 1 for fraction in fractions)


@pytest.mark.parametrize(
    ("line", "wheelhouse", "expected"),
    [
        (
            "ERROR: No matching distribution found for torch==2.13.0",
            "",
            "torch==2.13.0 was not found in the package index",
        ),
        (
            "  cause: Because torch was not found in the provided package locations and you",
            "/w",
            "torch was not found in the folder /w",
        ),
        (
            "    rewas-api 0.2.0 depends on grpcio>=1.66\n    The user requested (constraint) grpcio==1.85.1",
            "/w",
            "grpcio==1.85.1 was not found in the folder /w",
        ),
        ("Because there are no versions of rewas-nle==0.2.0 and", "", "rewas-nle==0.2.0 was not found"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "", "disk is full"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "", "not the one that"),
        ("ConnectionError: Temporary failure in name resolution", "", "cannot be reached"),
        ("error: error sending request for url (https://example.org/simple/torch/)", "", "cannot be reached"),
        ("RuntimeError: something else", "", "stopped: RuntimeError: something else"),
    ],
)
def test_failures_are_explained(line: str, wheelhouse: str, expected: str) -> None:
    problem = explain_failure(["Collecting torch", line, ""], wheelhouse=wheelhouse)
    assert expected in problem.what
    assert problem.remedy
