"""Each promise of docs/security.md names a test that exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| Promise |")]
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_the_page_has_promises() -> None:
    assert len(ROWS) > 30


@pytest.mark.parametrize("row", ROWS)
def test_each_promise_names_a_test_that_exists(row: str) -> None:
    named = TEST.findall(row)
    assert named
    for path, name in named:
        module = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert name in {each.name for each in module.body if isinstance(each, ast.FunctionDef)}
