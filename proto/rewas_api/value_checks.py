"""Checks of single values of settings, with messages that name the field and its owner."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from rewas_api.errors import ProblemError, ProblemKind


def format_value(value: object) -> str:
    """Format a value for a message, at most 60 characters long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def invalid_value(name: str, value: object, owner: str, remedy: str) -> ProblemError:
    """Return the problem of a value that a field cannot have.

    owner: what the field belongs to, in the middle of a sentence.
    """
    return ProblemError(f"{name} of {owner} is {format_value(value)}.", remedy, ProblemKind.SETTINGS)


def validate_number(
    name: str, value: object, owner: str, low: float, high: float, *, is_whole: bool = False
) -> int | float:
    """Check a number from low to high, and return it as an int if `is_whole`, else as a float.

    Raises ProblemError (SETTINGS), which names the field and its owner, for a value that is not such a number.
    """
    # A NaN is in no range.
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
        if not is_whole:
            return float(value)
        if value == int(value):
            return int(value)
    if is_whole:
        raise invalid_value(name, value, owner, f"Set a whole number from {low} to {high}.")
    raise invalid_value(name, value, owner, f"Set a number from {low:g} to {high:g}.")


def validate_choice(name: str, value: object, owner: str, names: tuple[str, ...]) -> str:
    """Check that a value is one of `names` and return it. Raises ProblemError (SETTINGS)."""
    if value in names:
        return str(value)
    raise invalid_value(name, value, owner, f"Set one of {', '.join(names)}.")


def known_entries(value: Any, names: tuple[str, ...]) -> dict[str, Any] | None:
    """Return the entries of a dictionary with these names; None if the value is no dictionary."""
    # OTIO returns dictionaries as AnyDictionary, which has a mapping's methods but is not a Mapping for isinstance.
    if not isinstance(value, Mapping) and not hasattr(value, "items"):
        return None
    # Ending a loop over one of OTIO's dictionaries takes as long as everything else here.
    keys = set(islice(value, len(value)))
    return {name: value[name] for name in names if name in keys}


__all__ = ["format_value", "invalid_value", "known_entries", "validate_choice", "validate_number"]
