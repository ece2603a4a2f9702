"""Write docs/cli.md from the help of the `rewas` command.

Usage: python scripts/docs/write_cli_page.py
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import typer.main

from rewas_cli.app import app

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
INTRODUCTION = """\
# Command line

<!-- Written by scripts/docs/write_cli_page.py from the help of the command. Do not edit. -->

`rewas --help` and `rewas COMMAND --help` show what this page lists.

- The same option has the same name in every command.
- `--output` (`-o`) names the main result of a command: a folder (`DIR`) where the command writes several files, one
  file (`FILE`) where it writes a curve or a timeline.
- A pack is always given as `--pack`: the name of an installed pack, or a folder.
- `--json` prints exactly one JSON object to standard output: the result, or
  `{"error": {"what": …, "remedy": …, "kind": …}}`. Progress, notes and errors go to standard error.
- Exit codes: 0 for success, 1 if the work failed or no server answered, 2 for wrong input, 130 after Ctrl-C.
- `rewas --install-completion` sets up completion in your shell, which also completes the names of packs and samplers.
"""


def write_page() -> str:
    """Return the page as Markdown."""
    parts = [INTRODUCTION]
    for path, command in walk("rewas", typer.main.get_command(app)):
        parts.append("\n".join(_section(path, command)))
    return "\n".join(parts)


def walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Yield each command with its full name: a group first, then what it holds, in the order of the help."""
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from walk(f"{path} {name}", child)


def _section(path: str, command: Any) -> Iterator[str]:
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    usage = [path, *(argument.metavar or argument.name.upper() for argument in arguments)]
    commands = getattr(command, "commands", {})
    yield f"## {path}\n"
    yield f"{inspect.cleandoc(command.help or '')}\n"
    yield f"```text\n{' '.join([*usage, 'COMMAND' if commands else '[OPTIONS]'])}\n```\n"
    if commands:
        yield "| Command | Description |\n|---|---|"
        for name, child in commands.items():
            yield f"| [`{path} {name}`](#{path.replace(' ', '-')}-{name}) | {_first_line(child.help)} |"
        yield ""
    panels: dict[str, list[Any]] = {}
    for param in command.params:
        if not getattr(param, "hidden", False):
            default_panel = "Arguments" if param.param_type_name == "argument" else "Options"
            panels.setdefault(getattr(param, "rich_help_panel", None) or default_panel, []).append(param)
    for panel, params in panels.items():
        yield f"| {panel} | Description |\n|---|---|"
        for param in params:
            yield f"| {_name(param)} | {_cell(_description(param))} |"
        yield ""
    if command.epilog:
        yield f"```sh\n{command.epilog.strip()}\n```\n"


def _name(param: Any) -> str:
    if param.param_type_name == "argument":
        return f"`{param.metavar or param.name.upper()}`"
    value = "" if getattr(param, "is_flag", False) else f" {param.metavar or param.type.name.upper()}"
    names = ", ".join(f"`{option}`" for option in (*sorted(param.opts, key=len, reverse=True), *param.secondary_opts))
    # A vertical bar would end the cell.
    return names[:-1] + value.replace("|", "\\|") + "`"


def _description(param: Any) -> str:
    text = " ".join((param.help or "").split())
    default = param.default.value if isinstance(param.default, Enum) else param.default
    if getattr(param, "required", False) and param.param_type_name == "option":
        return f"{text} Required."
    if default in (None, False, "", (), []) or callable(default):
        return text
    return f"{text} Default: `{default}`."


def _first_line(text: str | None) -> str:
    return " ".join(inspect.cleandoc(text or "").split("\n\n")[0].split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(write_page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
