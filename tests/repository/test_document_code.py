"""Python examples in the documents use names, attributes and arguments that exist."""

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "addon/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
FENCE = re.compile(r"^ *```python\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
OURS = ("rewas_engine", "rewas_api", "rewas_server", "rewas_cli", "rewas_otio", "rewas_stage", "rewas_nle")


def trees(document: Path) -> list[ast.Module]:
    """The examples of a document. Raises SyntaxError for one that is not valid Python."""
    return [ast.parse(textwrap.dedent(block)) for block in FENCE.findall(document.read_text(encoding="utf-8"))]


def imported_names(tree: ast.Module) -> Iterator[tuple[str, Any]]:
    """Names that an example imports from the project, with their objects. Raises AttributeError for a missing one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.split(".")[0] in OURS:
            module = importlib.import_module(node.module)
            for alias in node.names:
                yield alias.asname or alias.name, getattr(module, alias.name)


def resolve(node: ast.expr, names: dict[str, Any]) -> Any:
    """The object that a name or attribute stands for; None if it is not known."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = resolve(node.value, names)
        if owner is None:
            return None
        fields = getattr(owner, "__dataclass_fields__", {})
        return None if node.attr in fields else getattr(owner, node.attr)
    return None


def check_example(tree: ast.Module, names: dict[str, Any]) -> int:
    """Check the calls of an example. Later examples of a document may use `names` of earlier ones.

    Returns the number of calls whose arguments were checked.
    """
    names |= dict(imported_names(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Call):
            called = node.value.func
            owner = called.value if isinstance(called, ast.Attribute) and called.attr == "from_pretrained" else called
            found = resolve(owner, names)
            if inspect.isclass(found):
                names[node.targets[0].id] = found
    checked = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            resolve(node, names)
        if isinstance(node, ast.Call) and callable(found := resolve(node.func, names)):
            parameters = inspect.signature(found).parameters
            takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
            unknown = {word.arg for word in node.keywords if word.arg is not None} - parameters.keys()
            assert takes_any or not unknown, f"{ast.unparse(node.func)} has no parameter {sorted(unknown)}"
            checked += 1
    return checked


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if FENCE.search(document.read_text("utf-8"))])
def test_the_examples_of_a_document_use_what_exists(document: Path) -> None:
    names: dict[str, Any] = {}
    for tree in trees(document):
        check_example(tree, names)


@pytest.mark.parametrize(
    ("example", "error"),
    [
        ("from rewas_engine import ReWas", AttributeError),
        ("from rewas_engine import ReWaS\nmodel = ReWaS.from_pretrained('starter')\nmodel.make()", AttributeError),
        ("from rewas_engine import VideoClip\nVideoClip('shot.mp4', begin=3)", AssertionError),
    ],
)
def test_what_does_not_exist_is_found(example: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_example(ast.parse(example), {})


def test_calls_with_arguments_are_checked() -> None:
    assert sum(check_example(tree, {}) for document in DOCUMENTS for tree in trees(document)) > 20
