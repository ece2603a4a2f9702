"""What the page on controls promises is so: words mean the values beside them, the code imports what there is."""

import ast
import inspect
import itertools
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import rewas_engine
from rewas_server.commands.conflict import conflict
from rewas_server.commands.energy import energy
from rewas_server.commands.generate import generate

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "controls.md").read_text(encoding="utf-8")
EDITS = re.findall(r"^\| `([^`]+)` \| `([A-Z]\w+\([^`]*\))` \|", PAGE, re.MULTILINE)
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = {"conflict": conflict, "energy": energy, "generate": generate}


def test_every_edit_stands_on_the_page() -> None:
    kinds = {name for name in rewas_engine.__all__ if _is_edit(getattr(rewas_engine, name))}
    assert {value.partition("(")[0] for _, value in EDITS} == kinds


def _is_edit(thing: object) -> bool:
    return inspect.isclass(thing) and issubclass(thing, rewas_engine.EnergyEdit) and not inspect.isabstract(thing)


@pytest.mark.parametrize(("words", "value"), EDITS)
def test_words_mean_the_value_beside_them(words: str, value: str) -> None:
    call = ast.parse(value, mode="eval").body
    assert isinstance(call, ast.Call)
    assert isinstance(call.func, ast.Name)
    arguments = [ast.literal_eval(argument) for argument in call.args]
    assert rewas_engine.parse_edit(words) == getattr(rewas_engine, call.func.id)(*arguments)


def test_the_python_of_the_page_imports_what_there_is() -> None:
    code = "".join(block for kind, block in BLOCKS if kind == "python")
    imported = [
        alias.name for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    assert imported
    assert set(imported) <= set(rewas_engine.__all__)


def test_the_commands_of_the_page_take_these_options_and_edits() -> None:
    lines = "".join(block for kind, block in BLOCKS if kind == "sh").replace("\\\n", " ").splitlines()
    assert lines
    for line in lines:
        _, command, _, *words = shlex.split(line)
        known = options(COMMANDS[command])
        assert {word for word in words if word.startswith("--")} <= known
        for option, value in itertools.pairwise(words):
            if option == "--edit":
                assert str(rewas_engine.parse_edit(value)) == value


def options(command: Callable[..., None]) -> set[str]:
    """The options that a command takes."""
    found = set()
    for name, hint in get_type_hints(command, include_extras=True).items():
        for said in get_args(hint)[1:]:
            # Within Annotated, what stands first is the option's name and not its default.
            found |= {said.default, *(said.param_decls or ()), f"--{name.replace('_', '-')}"}
    return found


def test_the_curve_file_of_the_page_is_read(tmp_path: Path) -> None:
    (table,) = (block for _, block in BLOCKS if block.startswith("time_s,energy"))
    (tmp_path / "curve.csv").write_text(table)
    curve = rewas_engine.read_curve(tmp_path / "curve.csv", duration=5)
    assert curve.values.max() == pytest.approx(-3, abs=0.1)
