"""docs/timeline-formats.md says what the table of formats in the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "docs" / "write_formats_page.py"


def page_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_formats_page", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_has_the_tables_of_the_code() -> None:
    script = page_script()
    text = script.PAGE.read_text("utf-8")
    assert script.BEGIN in text
    assert text == script.write_page(text), "run scripts/docs/write_formats_page.py"
