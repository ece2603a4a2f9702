"""Names of clips and timelines as lists, results and errors show them."""

from __future__ import annotations

MAX_NAME_CHARACTERS = 200
"""Longer names are shortened, so that a list of jobs stays readable, whatever its clips are called."""


def shorten_name(name: str) -> str:
    """Return a name with at most MAX_NAME_CHARACTERS. A longer one ends with "…"."""
    return name if len(name) <= MAX_NAME_CHARACTERS else name[: MAX_NAME_CHARACTERS - 1] + "…"
