"""pytest imports test files by name, so two with the same name in different folders stop the whole run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_no_two_test_files_have_the_same_name() -> None:
    # The tests inside Blender run separately, in other environments.
    names = [path.name for path in TESTS.rglob("*.py") if path.relative_to(TESTS).parts[0] != "blender"]

    assert [name for name, count in Counter(names).items() if count > 1 and name != "conftest.py"] == []
