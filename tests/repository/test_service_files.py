"""The examples of services in docs/service: the system's own tools accept them, and their command lines exist."""

import plistlib
import re
import shutil
import subprocess
import sys
from pathlib import Path, PureWindowsPath
from typing import Any
from xml.etree import ElementTree

import pytest
import typer.main

from rewas_cli.app import app

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "service"
UNIT = (FOLDER / "rewas.service").read_text("utf-8")
TASK = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"


def check_command_line(program: str, arguments: list[str]) -> None:
    assert PureWindowsPath(program).stem == "rewas"
    command: Any = typer.main.get_command(app)
    while getattr(command, "commands", None):
        command = command.commands[arguments.pop(0)]
    command.make_context("rewas", arguments)


def test_the_systemd_unit_runs_the_command() -> None:
    (line,) = re.findall(r"^ExecStart=(.+)$", UNIT, re.MULTILINE)
    program, *arguments = line.split()
    check_command_line(program, arguments)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_unit_and_rates_it(tmp_path: Path) -> None:
    # The tool demands that the program exists.
    unit = tmp_path / "rewas.service"
    unit.write_text(UNIT.replace("%h/.local/bin/rewas", sys.executable))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=50
    )
    complaints = [line for line in verified.stderr.splitlines() if "rewas.service" in line]
    assert complaints == []
    assert verified.returncode == 0, verified.stderr


def test_systemd_would_reject_a_misspelt_setting(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    unit = tmp_path / "rewas.service"
    unit.write_text(UNIT.replace("%h/.local/bin/rewas", sys.executable).replace("UMask=", "Umask2="))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=50
    )
    assert "Umask2" in verified.stderr


@pytest.mark.parametrize(
    "setting", ["NoNewPrivileges=yes", "PrivateTmp=yes", "ProtectSystem=strict", "UMask=0077", "OOMPolicy=continue"]
)
def test_the_systemd_unit_is_hardened(setting: str) -> None:
    assert setting in UNIT.splitlines()


def test_the_launchd_agent_runs_the_command_with_private_files() -> None:
    agent = plistlib.loads((FOLDER / "org.rewas.server.plist").read_bytes())
    assert agent["Label"] == "org.rewas.server"
    assert agent["Umask"] == 0o077
    program, *arguments = agent["ProgramArguments"]
    assert Path(program).is_absolute()
    check_command_line(program, arguments)


def test_the_windows_task_runs_the_command() -> None:
    task = ElementTree.fromstring((FOLDER / "rewas-task.xml").read_text("utf-8"))
    assert task.tag == f"{TASK}Task"
    action = task.find(f"{TASK}Actions/{TASK}Exec")
    assert action is not None
    program, arguments = action.findtext(f"{TASK}Command"), action.findtext(f"{TASK}Arguments")
    check_command_line(str(program), str(arguments).split())
    # Otherwise Windows would end the server after three days.
    assert task.findtext(f"{TASK}Settings/{TASK}ExecutionTimeLimit") == "PT0S"
    assert task.findtext(f"{TASK}Principals/{TASK}Principal/{TASK}RunLevel") == "LeastPrivilege"
