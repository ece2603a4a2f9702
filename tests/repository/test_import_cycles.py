"""No module imports itself through others, in any of the packages."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "rewas_engine": ROOT,
    "rewas_server": ROOT / "server",
    "rewas_cli": ROOT / "server",
    "rewas_otio": ROOT / "server",
    "rewas_stage": ROOT / "server",
    "rewas_api": ROOT / "proto",
    "rewas_nle": ROOT / "addon",
}


def find_modules(package: str, parent: Path) -> dict[str, Path]:
    """Map the dotted name of every module of a package to its file; parent: folder that contains the package."""
    found = {}
    for path in (parent / package).rglob("*.py"):
        parts = path.relative_to(parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def find_imports(module: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The known modules that a module names in import statements, wherever they are in the file."""
    found = set()
    base = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            prefix = base[: len(base) - node.level + 1] if node.level else []
            source = ".".join([*prefix, *([node.module] if node.module else [])])
            names = {f"{source}.{alias.name}" for alias in node.names}
            found |= {name if name in known else source for name in names}
    # A module may import from the package it is in: `from . import x` names x, not the package.
    return {name for name in found if name in known and name != module}


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    known = {
        module: path for package, parent in PACKAGES.items() for module, path in find_modules(package, parent).items()
    }
    return {module: find_imports(module, path, known) for module, path in known.items()}


def find_cycle(imports: dict[str, set[str]]) -> list[str]:
    """One cycle of imports, or an empty list."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_through_others(imports: dict[str, set[str]]) -> None:
    assert len(imports) > 300
    assert not find_cycle(imports), " -> ".join(find_cycle(imports))


def test_a_cycle_is_found(imports: dict[str, set[str]]) -> None:
    planted = {**imports, "rewas_engine.curves.curve": imports["rewas_engine.curves.curve"] | {"rewas_engine.pipeline"}}
    assert "rewas_engine.curves.curve" in find_cycle(planted)


def test_imports_in_functions_and_relative_imports_count(imports: dict[str, set[str]]) -> None:
    assert "rewas_engine.evaluation.samplers" in imports["rewas_cli.commands.bench"]
    assert any(name.startswith("rewas_nle.core") for name in imports["rewas_nle.blender.pump"])
