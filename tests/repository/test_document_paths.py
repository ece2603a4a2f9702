"""Every path, module and make target that the documents name exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "addon/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
FOLDER_OF_PACKAGE = {
    "rewas_engine": "",
    "rewas_server": "server",
    "rewas_cli": "server",
    "rewas_otio": "server",
    "rewas_stage": "server",
    "rewas_api": "proto",
}
PATH = re.compile(r"(?<![\w./-])(?:scripts|tests|rewas_engine|server|benchmarks|addon|proto)/[\w./-]*\w")
MODULE = re.compile(rf"(?<![\w./-])(?:{'|'.join(FOLDER_OF_PACKAGE)})(?:\.\w+)+")


ENTRY_POINT_GROUP = "rewas_engine.backbones"


def module_exists(name: str) -> bool:
    """Whether a dotted name is a module, one or two names within a module, or a public name of a package."""
    package, *names = name.split(".")
    folder = ROOT / FOLDER_OF_PACKAGE[package] / package
    for length in range(len(names), max(len(names) - 2, 1) - 1, -1):
        path = folder.joinpath(*names[:length])
        if path.joinpath("__init__.py").is_file() or path.with_suffix(".py").is_file():
            return True
    return len(names) == 1 and f'"{names[0]}"' in (folder / "__init__.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_and_module_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    missing = [path for path in PATH.findall(text) if not (ROOT / path).exists()]
    missing += [name for name in MODULE.findall(text) if name != ENTRY_POINT_GROUP and not module_exists(name)]
    assert not missing


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        target
        for document in DOCUMENTS
        for target in re.findall(r"`make ([a-z][\w-]*)", document.read_text(encoding="utf-8"))
    }
    assert named
    assert named <= targets
