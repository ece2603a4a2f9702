"""The command in real processes, with a tiny untrained pack and generated clips."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rewas_command import CommandResult, Rewas, environment, running_server, write_clip
from warm_process import WarmProcess

from rewas_cli.main import run


@pytest.fixture(scope="session")
def packs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one tiny untrained pack called starter, which is found before the shipped one."""
    from rewas_engine.recipes.untrained_starter import write_untrained_pack

    folder = tmp_path_factory.mktemp("packs")
    write_untrained_pack(folder / "starter")
    return folder


@pytest.fixture
def bare_rewas(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Rewas:
    """The command without installed packs, called in the process of the test, which is faster."""
    home = tmp_path_factory.mktemp("home")

    def call(*arguments: object, cwd: Path | None = None) -> CommandResult:
        for name, value in environment(home, home).items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(cwd or home)
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return CommandResult(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def rewas(packs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rewas]:
    """The command with the tiny pack installed, in a separate process."""
    home = tmp_path_factory.mktemp("home")
    variables = environment(packs, home)
    warm = WarmProcess(packs / "starter", variables)

    def run(
        *arguments: object,
        cwd: Path | None = None,
        press_ctrl_c: bool = False,
        file_size_limit_bytes: int | None = None,
        **more: str,
    ) -> CommandResult:
        return CommandResult(
            *warm.run(
                [*map(str, arguments)], {**variables, **more}, cwd, timeout_s=300,
                press_ctrl_c=press_ctrl_c, file_size_limit_bytes=file_size_limit_bytes,
            )
        )  # fmt: skip

    yield run
    warm.close()


@pytest.fixture(scope="session")
def server(packs: Path, tmp_path_factory: pytest.TempPathFactory, media: Path) -> Iterator[str]:
    """The address of a server that may read the folder of `media`."""
    with running_server(packs, tmp_path_factory.mktemp("server"), media) as address:
        yield address


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ball.mp4: two seconds of a falling ball at 24000/1001 frames per second, with sound."""
    folder = tmp_path_factory.mktemp("media")
    write_clip(folder / "ball.mp4", frames=48)
    return folder
