"""The import orders in docs/architecture.md are those that import-linter enforces."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
HEADINGS = {
    "rewas_engine": "### The engine",
    "rewas_server": "### The server",
    "rewas_cli": "### The command line",
    "rewas_nle": "### The add-on",
}


def layers_of(container: str) -> list[set[str]]:
    """The layers in the contract of a package, from the lowest to the highest."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = (each["layers"] for each in contracts if each.get("containers") == [container])
    return [set(re.findall(r"\w+", layer)) for layer in reversed(layers)]


@pytest.mark.parametrize(("container", "heading"), HEADINGS.items())
def test_the_page_lists_the_packages_in_import_order(container: str, heading: str) -> None:
    table = PAGE.split(heading, 1)[1].split("\n#", 1)[0]
    rows = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
    assert [set(re.findall(r"`(\w+)`", row)) for row in rows] == layers_of(container)
