"""docs/controls.md is correct: edits match the values in their rows, and code and commands use existing names."""

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
from rewas_cli.commands.conflict import conflict
from rewas_cli.commands.energy import energy
from rewas_cli.commands.generate import generate
from rewas_cli.commands.texture import texture

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "controls.md").read_text(encoding="utf-8")
TEXTURE_SECTION = PAGE[PAGE.index("## Texture") : PAGE.index("## Takes")]
EDIT_ROW = re.compile(r"^\| `([^`]+)` \| `([A-Z]\w+\([^`]*\))` \|", re.MULTILINE)
TEXTURE_EDITS = EDIT_ROW.findall(TEXTURE_SECTION)
EDITS = EDIT_ROW.findall(PAGE.replace(TEXTURE_SECTION, ""))
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = {"conflict": conflict, "energy": energy, "generate": generate, "texture": texture}


@pytest.mark.parametrize(
    ("edits", "kind"), [(EDITS, rewas_engine.EnergyEdit), (TEXTURE_EDITS, rewas_engine.TextureEdit)]
)
def test_every_edit_is_on_the_page(edits: list[tuple[str, str]], kind: type) -> None:
    exports = {name: getattr(rewas_engine, name) for name in rewas_engine.__all__}
    kinds = {
        name
        for name, export in exports.items()
        if inspect.isclass(export) and issubclass(export, kind) and not inspect.isabstract(export)
    }
    assert {value.partition("(")[0] for _, value in edits} == kinds


PARSED = [
    *((text, value, rewas_engine.parse_edit) for text, value in EDITS),
    *((text, value, rewas_engine.parse_texture_edit) for text, value in TEXTURE_EDITS),
]


@pytest.mark.parametrize(("text", "value", "parse"), PARSED)
def test_edit_text_parses_to_the_value_in_its_row(text: str, value: str, parse: Callable[[str], object]) -> None:
    call = ast.parse(value, mode="eval").body
    assert isinstance(call, ast.Call)
    assert isinstance(call.func, ast.Name)
    arguments = [ast.literal_eval(argument) for argument in call.args]
    assert parse(text) == getattr(rewas_engine, call.func.id)(*arguments)


def test_python_examples_import_public_names() -> None:
    code = "".join(block for kind, block in BLOCKS if kind == "python")
    imported = [
        alias.name for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    assert imported
    assert set(imported) <= set(rewas_engine.__all__)


def test_command_examples_use_valid_options_and_edits() -> None:
    lines = "".join(block for kind, block in BLOCKS if kind == "sh").replace("\\\n", " ").splitlines()
    assert lines
    for line in lines:
        _, command, _, *words = shlex.split(line)
        known = options(COMMANDS[command])
        assert {word for word in words if word.startswith("--")} <= known
        for option, value in itertools.pairwise(words):
            if option == "--texture-edit" or (option == "--edit" and command == "texture"):
                assert rewas_engine.parse_texture_edit(value)
            elif option == "--edit":
                assert str(rewas_engine.parse_edit(value)) == value


def options(command: Callable[..., None]) -> set[str]:
    """The option names of a command."""
    found = set()
    for name, hint in get_type_hints(command, include_extras=True).items():
        for option in get_args(hint)[1:]:
            # Within Annotated, the first argument is the name of the option, not its default.
            found |= {option.default, *(option.param_decls or ()), f"--{name.replace('_', '-')}"}
    return found


def test_the_curve_file_example_is_valid(tmp_path: Path) -> None:
    (table,) = (block for _, block in BLOCKS if block.startswith("time_s,energy"))
    (tmp_path / "curve.csv").write_text(table)
    curve = rewas_engine.read_curve(tmp_path / "curve.csv", duration=5)
    assert curve.values.max() == pytest.approx(-3, abs=0.1)


def test_the_texture_file_example_is_valid(tmp_path: Path) -> None:
    (table,) = (block for _, block in BLOCKS if block.startswith("time_s,tilt"))
    (tmp_path / "texture.csv").write_text(table)
    texture = rewas_engine.read_texture(tmp_path / "texture.csv", duration=5)
    assert texture.tilt_nats.max() == pytest.approx(3, abs=0.1)


def test_images_exist_and_are_all_shown() -> None:
    folder = Path(__file__).resolve().parents[2] / "docs" / "images"
    shown = set(re.findall(r"\(images/(controls-[a-z]+\.png)\)", PAGE))
    assert shown == {path.name for path in folder.glob("controls-*.png")}
    assert sum((folder / name).stat().st_size for name in shown) < 1.5 * 2**20
