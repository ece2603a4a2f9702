"""Repository conventions: top-level files, module names, links, versions and licences."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import rewas_api
import rewas_server

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"addon", "server", "proto", "rewas_engine", "tests", "docs", "scripts", "benchmarks", "checkpoints"}
REQUIRED_BY_TOOLS = {
    ".ci",
    ".editorconfig",
    ".gitattributes",
    ".gitignore",
    ".pre-commit-config.yaml",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "mkdocs.yml",
    "pyproject.toml",
}
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "manager", "misc", "common"}
MACHINE_PATH = re.compile(r"(?<![\w.}/])/(?:work|root|home/\w+|Users/\w+)/\w")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+\s+(.+)$", re.MULTILINE)


def files() -> list[Path]:
    """All files that git tracks. Untracked files belong to the user and are ignored."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, text=True, capture_output=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def written_modules() -> list[Path]:
    return [path for path in files() if path.suffix == ".py" and "proto/rewas_api/v1" not in path.as_posix()]


def texts() -> list[Path]:
    return [
        path for path in files() if path.suffix in {".py", ".md", ".toml", ".proto", ".sh"} or path.name == "Makefile"
    ]


def documents() -> list[Path]:
    return [path for path in files() if path.suffix == ".md"]


def test_the_top_level_has_only_known_files_and_folders() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in files()} <= FOLDERS | REQUIRED_BY_TOOLS


def test_no_module_has_a_vague_name() -> None:
    assert not [path for path in written_modules() if VAGUE_NAMES & {part.removesuffix(".py") for part in path.parts}]


def test_no_text_contains_an_absolute_path() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]
    assert not found


def anchors(path: Path) -> set[str]:
    headings = HEADING.findall(path.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_in_the_documents_work() -> None:
    broken = []
    for document in documents():
        for target in LINK.findall(document.read_text(encoding="utf-8")):
            if "://" in target or target.startswith("mailto:"):
                continue
            name, _, anchor = target.partition("#")
            path = (document.parent / name).resolve() if name else document
            if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
                broken.append(f"{document.relative_to(ROOT)}: {target}")
    assert not broken


def test_every_document_is_linked_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        document = waiting.pop()
        if document in reached:
            continue
        reached.add(document)
        for target in LINK.findall(document.read_text(encoding="utf-8")):
            path = (document.parent / target.partition("#")[0]).resolve()
            if path.suffix == ".md" and path.is_file():
                waiting.append(path)
    pages = {path for path in documents() if path.parent == ROOT or path.is_relative_to(ROOT / "docs")}
    assert pages <= reached


def test_all_versions_are_equal() -> None:
    versions = {
        str(path.relative_to(ROOT)): version_in(path)
        for path in (
            ROOT / "pyproject.toml",
            ROOT / "proto" / "pyproject.toml",
            ROOT / "addon" / "rewas_nle" / "blender_manifest.toml",
        )
    }
    versions |= {"rewas_server": rewas_server.__version__, "rewas_api": rewas_api.__version__}
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    versions["CHANGELOG.md"] = released[0]
    assert len(set(versions.values())) == 1, versions


def version_in(path: Path) -> str:
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return str(content["project"]["version"] if "project" in content else content["version"])


def test_each_package_has_its_licence() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "GNU GENERAL PUBLIC LICENSE" in (ROOT / "addon" / "LICENSE").read_text(encoding="utf-8")
    for pyproject in (ROOT / "pyproject.toml", ROOT / "proto" / "pyproject.toml"):
        assert tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["license"] == "Apache-2.0"
    manifest = tomllib.loads((ROOT / "addon" / "rewas_nle" / "blender_manifest.toml").read_text(encoding="utf-8"))
    assert manifest["license"] == ["SPDX:GPL-3.0-or-later"]


@pytest.mark.parametrize(
    "target",
    [
        "demo",
        "setup",
        "test",
        "test-fast",
        "test-weights",
        "docs",
        "docs-images",
        "lint",
        "format",
        "extension",
        "serve",
        "parity",
        "clean",
    ],
)
def test_make_help_lists_the_target(target: str) -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, text=True, capture_output=True, check=True
    )
    assert f"make {target} " in shown.stdout
