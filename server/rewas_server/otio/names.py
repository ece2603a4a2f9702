"""Names of clips and timelines as lists, results and errors show them."""

from __future__ import annotations

MAX_NAME_CHARACTERS = 200
"""Longer names are shortened, so that a list of jobs stays readable, whatever its clips are called."""


MAX_QUOTED_CHARACTERS = 60
"""Longer texts are shortened where an error or an origin quotes them."""


def shorten_quote(text: str) -> str:
    """Return a text on one line, with at most MAX_QUOTED_CHARACTERS. A longer one ends with "…"."""
    text = " ".join(text.split())
    return text if len(text) <= MAX_QUOTED_CHARACTERS else text[: MAX_QUOTED_CHARACTERS - 1] + "…"


def shorten_name(name: str) -> str:
    """Return a name with at most MAX_NAME_CHARACTERS. A longer one ends with "…"."""
    return name if len(name) <= MAX_NAME_CHARACTERS else name[: MAX_NAME_CHARACTERS - 1] + "…"
