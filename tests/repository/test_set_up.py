"""What `make` sets up, and when. A recording script replaces the real set-up script."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECORDING_SET_UP = """#!/bin/sh
echo "$1 ${TORCH:-}" >> calls
mkdir -p .venv/bin .venv-protoc .venv-blender-4.2 .venv-blender-4.5 .venv-blender-5.0 .venv-blender-5.2
ln -sf /bin/true .venv/bin/python
"""


@pytest.fixture
def repository_copy(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "proto/pyproject.toml", "scripts/dev/constraints"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        source = ROOT / name
        shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy(source, tmp_path / name)
    script = tmp_path / "scripts" / "dev" / "set_up.sh"
    script.write_text(RECORDING_SET_UP, encoding="utf-8")
    script.chmod(0o755)
    return tmp_path


def make(folder: Path, *arguments: str) -> list[str]:
    """Run make and return what it set up, in order."""
    calls = folder / "calls"
    calls.write_text("", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "TORCH")}
    completed = subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, text=True, capture_output=True, check=False
    )
    assert completed.returncode == 0, completed.stderr
    return [line.strip() for line in calls.read_text(encoding="utf-8").splitlines()]


def test_make_demo_sets_up_only_what_it_uses(repository_copy: Path) -> None:
    assert make(repository_copy, "demo") == ["main torch==2.13.0", "blender-4.5.15"]


def test_make_test_sets_up_every_environment(repository_copy: Path) -> None:
    environments = [call.split()[0] for call in make(repository_copy, "test")]
    blenders = ["blender-4.2.23", "blender-4.5.15", "blender-5.0.1", "blender-5.2.3"]
    assert environments == ["main", "protoc", "browser", *blenders]


def test_a_second_run_sets_up_nothing(repository_copy: Path) -> None:
    make(repository_copy, "test")
    assert make(repository_copy, "test") == []
    assert make(repository_copy, "demo") == []


def test_changed_versions_are_installed_again(repository_copy: Path) -> None:
    make(repository_copy, "test")
    constraints = repository_copy / "scripts" / "dev" / "constraints" / "protoc.txt"
    later = (repository_copy / ".venv-protoc" / ".set-up").stat().st_mtime + 10
    os.utime(constraints, (later, later))
    assert make(repository_copy, "test") == ["protoc"]


def test_a_requested_torch_build_is_installed_and_kept(repository_copy: Path) -> None:
    make(repository_copy, "demo")
    assert make(repository_copy, "demo", "TORCH=torch==9.9+cu1") == ["main torch==9.9+cu1"]
    assert make(repository_copy, "demo", "TORCH=torch==9.9+cu1") == []
    assert make(repository_copy, "demo") == []


@pytest.mark.skipif(Path("/usr/bin/python3.13").exists(), reason="Python 3.13 cannot be hidden here")
def test_blender_is_left_out_without_its_python(repository_copy: Path) -> None:
    script = repository_copy / "scripts" / "dev" / "set_up.sh"
    shutil.copy(ROOT / "scripts" / "dev" / "set_up.sh", script)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(repository_copy)}
    completed = subprocess.run([script, "blender-5.2.3"], env=environment, text=True, capture_output=True, check=False)
    assert completed.returncode == 0, completed.stderr
    assert "Python 3.13 was not found, so the tests inside Blender 5.2.3 are not run." in completed.stdout
    assert not (repository_copy / ".venv-blender-5.2").exists()


def test_the_summary_names_the_blender_that_was_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    specification = importlib.util.spec_from_file_location("run_tests", ROOT / "scripts" / "dev" / "run_tests.py")
    assert specification is not None
    assert specification.loader is not None
    run_tests = importlib.util.module_from_spec(specification)
    # Its dataclasses look up their module.
    monkeypatch.setitem(sys.modules, "run_tests", run_tests)
    specification.loader.exec_module(run_tests)
    monkeypatch.setattr(run_tests, "ROOT", tmp_path)
    run_tests.summarise({}, "full", 1.0)
    assert "not run: the tests inside Blender 5.2, because Python 3.13 was not found" in capsys.readouterr().out
    assert [check.name for check in run_tests.blender_tests()] == [
        f"tests inside Blender {version}" for version in ("4.5", "5.0", "4.2")
    ]
