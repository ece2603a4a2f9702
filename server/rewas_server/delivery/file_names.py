"""File names that are valid on every system."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator

_RESERVED_NAMES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
MAX_NAME_BYTES = 180
"""Limit for file names without extension. It leaves room for a number and an extension within 255 bytes."""


def safe_file_name(name: str, max_bytes: int = MAX_NAME_BYTES) -> str:
    """Return a file name that is valid on every system and close to the given name; never empty.

    max_bytes: maximum length in UTF-8.
    """
    text = unicodedata.normalize("NFC", name)
    text = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in text)
    text = re.sub(r'[/\\:*?"<>|]+', "-", text)
    text = re.sub(r"\s+", " ", text)
    while len(text.encode()) > max_bytes:
        text = text[:-1]
    text = text.strip(" .-")
    if text.split(".")[0].casefold() in _RESERVED_NAMES:
        text = f"_{text}"
    return text or "clip"


def numbered_names(name: str) -> Iterator[str]:
    """Yield a name, and without end the same name with the numbers from 2: "door", "door 2", "door 3"."""
    yield name
    for number in itertools.count(2):
        yield f"{name} {number}"
