"""The real command in real processes, with a tiny untrained pack and clips that are made here."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rewas_command import Ran, Rewas, command, environment, write_clip

from rewas_cli.main import run

START_LIMIT_S = 60


@pytest.fixture(scope="session")
def packs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one tiny untrained pack called starter, so that it stands before the shipped one."""
    from rewas_engine.recipes.untrained_starter import write_untrained_pack

    folder = tmp_path_factory.mktemp("packs")
    write_untrained_pack(folder / "starter")
    return folder


@pytest.fixture
def bare_rewas(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Rewas:
    """The command on a machine without a pack of one's own, called within the test's process, which is quicker."""
    home = tmp_path_factory.mktemp("home")

    def call(*arguments: object, cwd: Path | None = None) -> Ran:
        for name, value in environment(home, home).items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(cwd or home)
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        said = capfd.readouterr()
        return Ran(code, said.out, said.err)

    return call


@pytest.fixture(scope="session")
def rewas(packs: Path, tmp_path_factory: pytest.TempPathFactory) -> Rewas:
    """The command on a machine with the tiny pack."""
    return _runner(environment(packs, tmp_path_factory.mktemp("home")))


def _runner(variables: dict[str, str]) -> Rewas:
    def run(*arguments: object, cwd: Path | None = None, **more: str) -> Ran:
        done = subprocess.run(
            command(*arguments), capture_output=True, text=True, timeout=300, env={**variables, **more}, cwd=cwd
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def server(packs: Path, tmp_path: Path, media: Path) -> Iterator[str]:
    """The address of a server that may read the folder of `media`."""
    process = subprocess.Popen(
        command("serve", "--port", 0, "--allow-root", media, "--state-dir", tmp_path / "state"),
        stderr=subprocess.PIPE,
        text=True,
        env=environment(packs, tmp_path),
    )
    assert process.stderr is not None
    try:
        address = ""
        for line in process.stderr:
            if "listens on" in line:
                address = line.split("listens on ")[1].split(". ")[0]
                break
        assert address, "the server ended before it listened"
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        process.stderr.close()
        assert process.wait(START_LIMIT_S) == 0


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ball.mp4: two seconds of a falling ball at 24000/1001 frames per second, with sound."""
    folder = tmp_path_factory.mktemp("media")
    write_clip(folder / "ball.mp4", frames=48)
    return folder
