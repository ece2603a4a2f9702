"""Help, version, shell completion, and the page that is generated from the help."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shlex
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main
from rewas_command import ROOT, Rewas, environment

from rewas_cli.app import app

SCRIPT = ROOT / "scripts" / "docs" / "write_cli_page.py"


def page_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_cli_page", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


COMMANDS: dict[str, Any] = dict(page_script().walk("rewas", typer.main.get_command(app)))
LEAVES = {path: command for path, command in COMMANDS.items() if not getattr(command, "commands", None)}


def test_the_page_matches_the_help() -> None:
    written = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert written == page_script().write_page(), "run scripts/docs/write_cli_page.py"


def test_the_version_is_shown(bare_rewas: Rewas) -> None:
    result = bare_rewas("--version")
    assert result.code == 0
    assert result.output == f"rewas {importlib.metadata.version('rewas-nle')}\n"


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("path", ["rewas", "rewas generate", "rewas packs", "rewas train pack"])
def test_help_fits_the_terminal(
    bare_rewas: Rewas, monkeypatch: pytest.MonkeyPatch, path: str, width: int, capfd: Any
) -> None:
    from rewas_cli.main import run

    for name, value in {"COLUMNS": str(width), "TERM": "dumb"}.items():
        monkeypatch.setenv(name, value)
    assert run([*path.split()[1:], "--help"]) == 0
    panels, _, examples = capfd.readouterr().out.partition(" Examples\n")
    lines = panels.splitlines()
    assert max(map(len, lines)) <= width
    # The panels use the whole width.
    assert sum(len(line) == width for line in lines) > 10
    for example in COMMANDS[path].epilog.strip().splitlines():
        assert f"   {example}\n" in examples


def test_options_are_in_panels_by_theme(bare_rewas: Rewas) -> None:
    shown = bare_rewas("generate", "--help").output
    places = [
        shown.index(f"─ {panel} ─")
        for panel in ("Arguments", "Prompt", "Clip", "Energy and texture", "Layers", "Sampling", "Output", "Model")
    ]
    assert sorted(places) == places
    commands = bare_rewas("--help").output
    assert all(f"─ {panel} ─" in commands for panel in ("Sound", "Analysis", "Models", "Server"))


def test_a_group_without_a_command_shows_its_help(bare_rewas: Rewas) -> None:
    for arguments in ([], ["packs"], ["train"]):
        result = bare_rewas(*arguments)
        assert result.code == 2
        assert "Commands" in result.output or "Sound" in result.output
        assert "Error" not in result.errors


def options(command: Any) -> dict[str, Any]:
    return {
        option: param
        for param in command.params
        if param.param_type_name == "option" and not param.hidden
        for option in (*param.opts, *param.secondary_opts)
    }


@pytest.mark.parametrize("path", LEAVES)
def test_options_are_described_and_examples_are_valid(path: str) -> None:
    known = options(COMMANDS[path])
    assert all(param.help for param in known.values())
    examples = COMMANDS[path].epilog.strip().splitlines()
    for example in examples:
        assert example.startswith(path)
        typed = shlex.split(example.removeprefix(path))
        assert {word for word in typed if word.startswith("-")} <= known.keys() | {"-1"}
        context = COMMANDS[path].make_context(path, typed, resilient_parsing=True)
        assert context.command is COMMANDS[path]


def test_an_option_has_the_same_meaning_in_every_command() -> None:
    metavars = defaultdict(set)
    for command in LEAVES.values():
        for option, param in options(command).items():
            metavars[option].add(param.metavar)
    mixed = {option: found for option, found in metavars.items() if len(found) > 1}
    # A folder if the command writes several files, a file if it writes a curve or a timeline.
    assert mixed.keys() <= {"--output", "-o"}
    assert metavars["--output"] == {"DIR", "FILE"}
    for path, command in LEAVES.items():
        named_pack = [param for param in command.params if param.name == "pack"]
        assert all("--pack" in param.opts for param in named_pack), path


def test_every_command_that_runs_a_model_has_a_device_option() -> None:
    without = {path for path, command in LEAVES.items() if "--device" not in options(command)}
    assert without == {
        *(
            f"rewas packs {name}"
            for name in ("list", "info", "verify", "add", "remove", "load", "library", "recordings", "convert rewas")
        ),
        "rewas train world",
        *("rewas train tavd", "rewas dream"),  # the tiny model runs on the CPU
        *(f"rewas config {name}" for name in ("show", "path", "init")),
        *(
            path
            for path in LEAVES
            if path.startswith(("rewas jobs ", "rewas status", "rewas doctor", "rewas timeline "))
            and path != "rewas timeline sheet"  # a pack suggests prompts for it
        ),
    }


def test_the_shell_completes_packs_and_samplers_without_torch(packs: Path) -> None:
    expected = {
        "rewas generate --pack st": ["starter"],
        "rewas packs info --pack st": ["starter"],
        "rewas train phi --start-from st": ["starter"],
        "rewas generate --sampler dpm": ["dpm++", "dpm++-sde"],
        "rewas generate --control on": ["onsets"],
        "rewas batch --conflict s": ["soften"],
    }
    program = (
        "import os, sys\nfrom rewas_cli.main import run\n"
        "for typed in sys.argv[1:]:\n"
        "    os.environ.update(COMP_WORDS=typed, COMP_CWORD=str(len(typed.split()) - 1))\n"
        "    try:\n        run([])\n    except SystemExit:\n        pass\n"
        "    assert 'torch' not in sys.modules\n"
        "    print('--- end')"
    )
    completed = subprocess.run(
        [sys.executable, "-c", program, *expected], capture_output=True, text=True, timeout=60,
        env={**environment(packs, packs), "_REWAS_COMPLETE": "complete_bash"},
    )  # fmt: skip
    assert completed.returncode == 0, completed.stderr
    *offered, rest = completed.stdout.split("--- end\n")
    assert [each.split() for each in offered] == list(expected.values())
    assert rest == ""


def test_device_is_refused_with_a_server(bare_rewas: Rewas, tmp_path: Path) -> None:
    for arguments in (["energy"], ["texture"], ["conflict", "-p", "rain"], ["generate", "-p", "rain"]):
        result = bare_rewas(
            arguments[0], tmp_path / "clip.mp4", *arguments[1:], "--server", "127.0.0.1:1", "--device", "cpu", "--json"
        )
        assert result.code == 2
        assert "where the server is started" in result.json()["error"]["what"]


def test_an_unknown_device_is_refused(bare_rewas: Rewas, media: Path) -> None:
    result = bare_rewas("energy", media / "ball.mp4", "--device", "toaster", "--json")
    assert result.code == 2
    assert "toaster" in result.json()["error"]["what"]
