"""Tables as CSV that spreadsheets open without taking a text for a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""Spreadsheets take cells that begin with these for formulas."""


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV, with an apostrophe before texts that a spreadsheet would take for formulas."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    return text.getvalue()


def read_csv(text: str) -> list[list[str]]:
    """Return the rows of a table from `csv_text`, with its header, without added apostrophes. Raises csv.Error."""
    return [[_original(cell) for cell in row] for row in csv.reader(io.StringIO(text, newline=""), strict=True)]


def _harmless(cell: object) -> object:
    """Return a cell that no spreadsheet takes for a formula. Texts of users may begin with "="."""
    if not isinstance(cell, str) or not cell.startswith(_FORMULA_STARTS):
        return cell
    is_number = cell[1:].replace(".", "", 1).isdecimal() and cell[0] in "+-"
    return cell if is_number else f"'{cell}"


def _original(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA_STARTS) else cell


__all__ = ["csv_text", "read_csv"]
