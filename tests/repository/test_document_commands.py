"""Every `rewas` command line in the documents names a command, options and arguments that exist."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from rewas_cli.app import app

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "addon/README.md")),
    # docs/cli.md is generated from the help itself.
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if path.name != "cli.md"),
]
FENCE = re.compile(r"^ *```(?:sh|text)?\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:\.venv/bin/)?rewas [^`]+)`")


def command_lines(document: Path) -> list[str]:
    text = document.read_text(encoding="utf-8")
    blocks = "\n".join(FENCE.findall(text)).replace("\\\n", " ")
    inline = [" ".join(line.split()) for line in INLINE.findall(FENCE.sub("", text))]
    return [line.strip() for line in (*blocks.splitlines(), *inline) if re.match(r"\s*(\.venv/bin/)?rewas ", line)]


LINES = [(document, line) for document in DOCUMENTS for line in command_lines(document)]


@pytest.mark.parametrize(("document", "line"), LINES, ids=[f"{document.name}: {line}" for document, line in LINES])
def test_the_command_line_is_valid(document: Path, line: str) -> None:
    _, *words = shlex.split(re.sub(r"[\[\]…]", " ", line), comments=True)
    command: Any = typer.main.get_command(app)
    while getattr(command, "commands", None) and words and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    if words and words[0] in {"COMMAND", "--help"}:
        return
    assert not getattr(command, "commands", None) or not words, f"no such command: {words[0]}"
    options = {name: param for param in command.params for name in (*param.opts, *param.secondary_opts)}
    positional = []
    while words:
        word = words.pop(0)
        if word in {"--help", "OPTIONS"}:
            continue
        if word.startswith("-"):
            assert word in options, word
            if not getattr(options[word], "is_flag", False) and words and not words[0].startswith("--"):
                words.pop(0)
        else:
            positional.append(word)
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    if not any(param.nargs == -1 for param in arguments):
        assert len(positional) <= len(arguments), positional
